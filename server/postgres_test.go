package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestPostgresServer: a server on a database keeps what it has acknowledged over
// its death, is alone there, and shows its password nowhere.
func TestPostgresServer(t *testing.T) {
	const name = "OPENHANDS_LOCAL_TEST_POSTGRES"
	u, err := url.Parse(os.Getenv(name))
	if err != nil || u.Host == "" {
		t.Skip("NOT RUN: set " + name + " to the URL of a database where schemas and users may be made; make interop does")
	}
	const secret = "s3cret:/word"
	user := fmt.Sprintf("test_server_%d", os.Getpid())
	sql := func(statements ...string) {
		t.Helper()
		ctx := context.WithoutCancel(t.Context())
		c, err := pgx.Connect(ctx, os.Getenv(name))
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
	sql(`CREATE ROLE `+user+` LOGIN PASSWORD '`+secret+`'`, `CREATE SCHEMA `+user+` AUTHORIZATION `+user)
	t.Cleanup(func() { sql(`DROP SCHEMA `+user+` CASCADE`, `DROP ROLE `+user) })
	u.User = url.UserPassword(user, secret)
	u.RawQuery = "search_path=" + user
	shown := "postgres://" + user + "@" + u.Host + u.Path

	want := map[int64]string{}
	var told []string // all that may be seen of it
	for round := range 3 {
		p := startProcess(t, nil, "--data="+u.String(), "--agent=none")
		for i := range 20 {
			content := fmt.Sprintf("%d %d", round, i)
			id, err := post(t.Context(), p.url, "c", content, content)
			if err != nil {
				t.Fatal(err)
			}
			if id != int64(len(want)) {
				t.Errorf("event %q has id %d, want %d", content, id, len(want))
			}
			want[id] = content
			if again, err := post(t.Context(), p.url, "c", content, content); again != id || err != nil {
				t.Errorf("event %q once more has id %d, %v, want %d", content, again, err, id)
			}
		}
		checkEvents(t, p.url, "c", want)
		info := request(t, "GET", p.url+"/_local/info", "").body
		var fields struct{ Data string }
		if json.Unmarshal([]byte(info), &fields) != nil || fields.Data != shown {
			t.Errorf("info = %s, want the data %s", info, shown)
		}
		told = append(told, info, request(t, "GET", p.url+"/", "").body, request(t, "GET", p.url+"/_local/metrics", "").body, request(t, "GET", p.url+"/_local/requests", "").body)
		if round == 0 {
			second, _ := exec.Command(p.Path, "--addr=localhost:0", "--data="+u.String()).CombinedOutput()
			if !strings.Contains(string(second), "database "+shown+": another openhands-local process has it open: stop that first") {
				t.Errorf("a second server says %s", second)
			}
			told = append(told, string(second))
		}
		if round == 1 { // a clean stop between two deaths
			p.stop(t)
		} else if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		} else {
			_ = p.Wait()
		}
		told = append(told, p.log.String())
	}
	withKey := func(c *exec.Cmd) { c.Env = append(os.Environ(), "SESSION_API_KEY=key") }
	p := startProcess(t, withKey, "--data="+u.String())
	backup := exec.Command(p.Path, "backup", "--url", p.url, filepath.Join(t.TempDir(), "backup.db"))
	withKey(backup)
	if text, err := backup.CombinedOutput(); err == nil || !strings.Contains(string(text), "The data is in a database: pg_dump copies it") {
		t.Errorf("backup = %s, %v, want the way out", text, err)
	}
	p.stop(t)
	for _, text := range told {
		for _, s := range []string{secret, url.QueryEscape(secret), "s3cret"} {
			if strings.Contains(text, s) {
				t.Errorf("the password is shown: %s", text)
			}
		}
	}
	if log := told[len(told)-1]; !strings.Contains(log, "data="+shown) {
		t.Errorf("the ready line does not name the database: %s", log)
	}
}
