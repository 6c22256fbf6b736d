package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/storetest"
)

// server returns the URL of the PostgreSQL that tests are given, and skips the
// test when there is none.
func server(t *testing.T) string {
	t.Helper()
	const name = "OPENHANDS_LOCAL_TEST_POSTGRES"
	given := os.Getenv(name)
	if given == "" {
		t.Skip("NOT RUN: set " + name + " to the URL of a database where schemas and users may be made; make interop does")
	}
	return given
}

// with returns a URL with a parameter.
func with(t *testing.T, given, name, value string) string {
	t.Helper()
	u, err := url.Parse(given)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// exec runs statements as the user of the URL.
func exec(t *testing.T, given string, statements ...string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	c, err := pgx.Connect(ctx, given)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	for _, s := range statements {
		if _, err := c.Exec(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

var schemas atomic.Int64

// empty returns the URL of a schema that is not there yet, and is removed at
// the end.
func empty(t *testing.T) string {
	t.Helper()
	given := server(t)
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), schemas.Add(1))
	t.Cleanup(func() { exec(t, given, `DROP SCHEMA IF EXISTS `+name+` CASCADE`) })
	return with(t, given, "search_path", name)
}

// opened opens a store, which is closed at the end if the test has not.
func opened(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, Options{})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Errorf("Close = %v", err)
		}
	})
	return s
}

func TestPostgresStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return opened(t, empty(t)) })
}

// TestPostgresOpenAgain: what was stored is there after the store is opened
// again, and an import that did not end is not.
func TestPostgresOpenAgain(t *testing.T) {
	at := empty(t)
	s := opened(t, at)
	if _, err := s.Create(t.Context(), store.Conversation{ID: "c", Title: "title"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte("{}"), Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, at, `INSERT INTO imports VALUES ('c', 77), ('d', 78)`, `INSERT INTO events VALUES ('c', 77, 0, 0, ''), ('d', 78, 0, 0, '')`)
	s = opened(t, at)
	if c, err := s.Conversation(t.Context(), "c"); c.Title != "title" || c.Birth != 1 || err != nil {
		t.Errorf("Conversation = %+v, %v", c, err)
	}
	if id, repeated, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte("{}"), Key: "k"}); id != 0 || !repeated || err != nil {
		t.Errorf("Append with a key that was used = %d, %v, %v, want 0, true, nil", id, repeated, err)
	}
	if id, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte("{}")}); id != 1 || err != nil {
		t.Errorf("Append = %d, %v, want 1", id, err)
	}
	var events, imports int
	err := s.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM imports)`).Scan(&events, &imports)
	if events != 2 || imports != 0 || err != nil {
		t.Errorf("there are %d events and %d imports, %v, want 2 and 0", events, imports, err)
	}
}

// TestPostgresInUse: one process at a time, each schema for itself; the next one
// has its turn.
func TestPostgresInUse(t *testing.T) {
	at := empty(t)
	s := opened(t, at)
	_, err := Open(t.Context(), at, Options{})
	if !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), "another openhands-local process has it open") || !strings.Contains(err.Error(), "not supported yet") {
		t.Errorf("second Open = %v, want ErrInUse, and why", err)
	}
	opened(t, empty(t))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	opened(t, at)
}

// TestPostgresOpenTogether: of several that open an empty database at one
// moment one has it, whose tables are whole.
func TestPostgresOpenTogether(t *testing.T) {
	for range 5 {
		at := empty(t)
		var group sync.WaitGroup
		var have atomic.Int64
		for range 4 {
			group.Go(func() {
				s, err := Open(t.Context(), at, Options{})
				if errors.Is(err, store.ErrInUse) {
					return
				}
				if err != nil {
					t.Errorf("Open = %v, want nil or ErrInUse", err)
					return
				}
				have.Add(1)
				if _, err := s.Create(t.Context(), store.Conversation{ID: fmt.Sprint("c", have.Load())}); err != nil {
					t.Errorf("Create = %v", err)
				}
				if err := s.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			})
		}
		group.Wait()
		if have.Load() == 0 {
			t.Error("nobody could open the store")
		}
	}
}

// TestPostgresGroups: appends of one conversation share transactions.
func TestPostgresGroups(t *testing.T) {
	const callers, each = 32, 10
	var commits, events atomic.Int64
	s, err := Open(t.Context(), empty(t), Options{Committed: func(n int, _ time.Duration) { commits.Add(1); events.Add(int64(n)) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Create(t.Context(), store.Conversation{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range each {
				if _, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte("{}")}); err != nil {
					t.Errorf("Append = %v", err)
				}
			}
		})
	}
	group.Wait()
	if events.Load() != callers*each || commits.Load() > callers*each/2 {
		t.Errorf("%d events in %d transactions, want %d in at most half as many", events.Load(), commits.Load(), callers*each)
	}
	t.Logf("%d events in %d transactions", events.Load(), commits.Load())
}

// TestPostgresGroupsAreBounded: large events are not all put into one
// transaction, however many wait.
func TestPostgresGroupsAreBounded(t *testing.T) {
	const size = 1 << 20
	var most atomic.Int64
	s, err := Open(t.Context(), empty(t), Options{Committed: func(n int, _ time.Duration) { most.Store(max(most.Load(), int64(n))) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Create(t.Context(), store.Conversation{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 24 {
		group.Go(func() {
			if _, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: make([]byte, size)}); err != nil {
				t.Errorf("Append = %v", err)
			}
		})
	}
	group.Wait()
	if want := int64(writeBytes / size); most.Load() > want {
		t.Errorf("%d MiB in one transaction, want at most %d", most.Load(), want)
	}
}

// TestPostgresLockLost: without its lock a store writes nothing, reads on, and
// writes again once it has the lock.
func TestPostgresLockLost(t *testing.T) {
	at := empty(t)
	s := opened(t, at)
	if _, err := s.Create(t.Context(), store.Conversation{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	key := `hashtextextended('openhands-local ' || current_schema(), 0)`
	other, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.WithoutCancel(t.Context()))
	// Whoever waits for the lock has it when the session that held it ends.
	waited := make(chan error, 1)
	go func() {
		_, err := other.Exec(t.Context(), `SELECT pg_advisory_lock(`+key+`)`)
		waited <- err
	}()
	const holders = ` FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND (classid::bigint << 32 | objid::bigint) = ` + `(SELECT hashtextextended('openhands-local ' || current_schema(), 0))`
	eventually(t, func() bool {
		var n int
		return s.pool.QueryRow(t.Context(), `SELECT count(*)`+holders+` AND NOT granted`).Scan(&n) == nil && n == 1
	})
	exec(t, at, `SELECT pg_terminate_backend(pid)`+holders+` AND granted`)
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		_, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte("{}")})
		return errors.Is(err, store.ErrReadOnly)
	})
	if _, err := s.Conversation(t.Context(), "c"); err != nil {
		t.Errorf("Conversation without the lock = %v", err)
	}
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		_, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte("{}")})
		return err == nil
	})
}

func eventually(t *testing.T, true func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !true(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}

// TestPostgresRefused: each refusal is a sentence with the way out, and has no
// password.
func TestPostgresRefused(t *testing.T) {
	given := server(t)
	const secret = "s3cretword"
	name := fmt.Sprintf("test_%d_user", os.Getpid())
	exec(t, given, `CREATE ROLE `+name+` LOGIN PASSWORD '`+secret+`'`)
	t.Cleanup(func() { exec(t, given, `DROP ROLE `+name) })
	change := func(f func(u *url.URL)) string {
		u, err := url.Parse(given)
		if err != nil {
			t.Fatal(err)
		}
		f(u)
		return u.String()
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	newer := empty(t)
	opened(t, newer).Close()
	exec(t, newer, `INSERT INTO migrations VALUES (99)`)
	for _, test := range []struct{ url, want string }{
		{change(func(u *url.URL) { u.User = url.UserPassword(name, secret+"x") }), "wrong user or password"},
		{change(func(u *url.URL) { u.User = url.UserPassword("nobody_"+name, secret) }), "wrong user or password"},
		{change(func(u *url.URL) { u.User = url.UserPassword(name, secret) }), "a right is missing"},
		{change(func(u *url.URL) { u.Path = "/no_such_database" }), "there is no such database: make it with createdb"},
		{change(func(u *url.URL) { u.Host = closed.Addr().String() }), "connection refused: is PostgreSQL running there"},
		{change(func(u *url.URL) { u.Host = "no.such.invalid" }), "no.such.invalid is not found"},
		{with(t, given, "sslrootcert", "/no/such/file"), "/no/such/file"},
		{with(t, given, "synchronous_commit", "off"), "synchronous_commit is off"},
		{newer, "the tables have version 99"},
		{"postgres://u:" + secret + "#x@127.0.0.1/db", "not the URL of a database"},
		{"postgres://u:1?" + secret + "@127.0.0.1/db", "not the URL of a database"},
		{"postgres://u:%" + secret + "@127.0.0.1/db", "not the URL of a database"},
	} {
		s, err := Open(t.Context(), test.url, Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%s) = %v, want %q in one line, without the password", test.url, err, test.want)
		}
		t.Log(err)
	}
}

// TestServer: what a server says of itself decides whether it will do.
func TestSettings(t *testing.T) {
	for _, test := range []struct {
		settings
		want string
	}{
		{settings{"140000", "UTF8", "openhands_local", "on"}, ""},
		{settings{"170002", "UTF8", "a1", "remote_apply"}, ""},
		{settings{"130022", "UTF8", "a", "on"}, "the server is PostgreSQL 13 (server_version_num 130022): version 14 or later is needed"},
		{settings{"90624", "UTF8", "a", "on"}, "the server is PostgreSQL 9"},
		{settings{"150000", "SQL_ASCII", "a", "on"}, "the encoding of the database is SQL_ASCII"},
		{settings{"150000", "UTF8", "a, public", "on"}, "want the name of one schema"},
		{settings{"150000", "UTF8", "\"a\"", "on"}, "want the name of one schema"},
		{settings{"150000", "UTF8", "a", "off"}, "synchronous_commit is off"},
		{settings{"150000", "UTF8", "a", "local"}, "synchronous_commit is local"},
	} {
		err := test.check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("check of %+v = %v, want %q", test.settings, err, test.want)
		}
	}
}

// TestName: what is shown of a URL has no password.
func TestName(t *testing.T) {
	for given, want := range map[string]string{
		"postgres://u:secret@h:1234/d?sslmode=disable":       "postgres://u@h:1234/d",
		"postgresql://h/d?user=u&password=secret":            "postgresql://h/d",
		"postgres:///d?host=%2Fvar%2Frun&sslpassword=secret": "postgres:///d",
		"postgres://u:se#cret@h/d":                           "postgres://…",
		"postgres://u:1/secret@h/d":                          "postgres://…",
		"postgres://u:1?secret@h/d":                          "postgres://…",
		"postgres://u:%zzsecret@h/d":                         "postgres://…",
	} {
		if got := Name(given); got != want {
			t.Errorf("Name(%s) = %s, want %s", given, got, want)
		}
	}
}
