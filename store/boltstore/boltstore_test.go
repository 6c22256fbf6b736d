package boltstore

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore/boltfile"
	"github.com/openhands-local/openhands-local/store/storetest"
)

var update = flag.Bool("update", false, "write testdata/schema1.db")

// TestMain is the program of the other processes that tests start, too.
func TestMain(m *testing.M) {
	path := os.Getenv("BOLTSTORE_TEST_PATH")
	switch os.Getenv("BOLTSTORE_TEST_CHILD") {
	case "open":
		began := time.Now()
		_, err := Open(path, Options{})
		fmt.Printf("%v, less than a second %v", err, time.Since(began) < time.Second)
	case "append":
		appendForEver(path)
	case "flip":
		flipRounds(path)
	case "compact":
		if _, _, err := Compact(context.Background(), path, Watcher{}); err != nil {
			panic(err)
		}
	default:
		os.Exit(m.Run())
	}
}

// child starts this program as another process that does something at path.
func child(t *testing.T, what, path string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "BOLTSTORE_TEST_CHILD="+what, "BOLTSTORE_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "events.db") }

// openStore opens a store that is closed, and whose file is checked, when the
// test ends.
func openStore(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAndCheck(t, s, path) })
	return s
}

func closeAndCheck(t *testing.T, s *Store, path string) {
	t.Helper()
	if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
		t.Errorf("Close = %v", err)
	}
	withBolt(t, path, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: time.Second}, func(db *bolt.DB) error {
		return db.View(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				t.Errorf("check: %v", err)
			}
			return nil
		})
	})
}

// withBolt opens a file with bbolt alone.
func withBolt(t *testing.T, path string, o *bolt.Options, do func(db *bolt.DB) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// add appends texts to a conversation, which it creates if need be.
func add(t *testing.T, s *Store, conversation string, texts ...string) {
	t.Helper()
	_, err := s.Create(t.Context(), store.Conversation{ID: conversation, Title: "title of " + conversation})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	for _, text := range texts {
		if _, _, err := s.Append(t.Context(), conversation, store.NewEvent{JSON: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
}

// restore adds events that have their ids to a conversation, in one transaction.
func restore(ctx context.Context, s *Store, conversation string, events ...store.Event) error {
	return s.write(ctx, "restore", conversation, func(tx *bolt.Tx) error {
		t, err := s.tail(tx, conversation)
		if err != nil {
			return err
		}
		delete(s.tails, conversation)
		return t.restore(tx, events)
	})
}

// texts returns what Events reads, "0=a 1=b".
func texts(t *testing.T, s *Store, conversation string, r store.Range) (string, error) {
	t.Helper()
	page, err := store.Events(t.Context(), s, conversation, r, store.PageEvents)
	var list []string
	for _, e := range page {
		list = append(list, fmt.Sprintf("%d=%s", e.ID, e.JSON))
	}
	return strings.Join(list, " "), err
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openStore(t, newPath(t)) })
}

func TestStoreReopened(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		r := &reopened{t: t, path: newPath(t)}
		r.s = openStore(t, r.path)
		t.Cleanup(func() { closeAndCheck(t, r.s, r.path) })
		return r
	})
}

func TestOpen(t *testing.T) {
	path := newPath(t)
	s := openStore(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("Stat = %v, %v, want mode 0600", info, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); len(entries) != 1 || err != nil {
		t.Errorf("the folder has %v, %v, want the file alone", entries, err)
	}
	add(t, s, "c", "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A store that is only read leaves its file as it was.
	s = openStore(t, path)
	if got, err := texts(t, s, "c", store.All); got != "0=a" || err != nil {
		t.Errorf("Events = %s, %v, want 0=a", got, err)
	}
	closeAndCheck(t, s, path)
	if after, err := os.ReadFile(path); !bytes.Equal(after, before) || err != nil {
		t.Errorf("the file changed, %v, want it as it was", err)
	}
}

// TestOpenEmpty opens what a crash of the very first Open can leave.
func TestOpenEmpty(t *testing.T) {
	empty := newPath(t)
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	noBuckets := newPath(t)
	withBolt(t, noBuckets, nil, func(*bolt.DB) error { return nil })
	for _, path := range []string{empty, noBuckets} {
		add(t, openStore(t, path), "c", "a")
	}
}

func TestFaultFileRefused(t *testing.T) {
	setSchema := func(v []byte) func(db *bolt.DB) error {
		return func(db *bolt.DB) error {
			return db.Update(func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(schemaKey, v) })
		}
	}
	cut := func(path string) { os.Truncate(path, 1<<20) }
	for _, test := range []struct {
		name   string
		bolt   func(db *bolt.DB) error // what happens to the file of a store of 5 MB
		damage func(path string)
		want   string
		is     error
	}{
		{"later schema", setSchema([]byte{0, 0, 0, 2}), nil, "has schema 2", nil},
		{"strange schema", setSchema([]byte{1}), nil, "not a store of this program", nil},
		{"no schema", func(db *bolt.DB) error {
			return db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket(metaBucket) })
		}, nil, "not a store of this program", nil},
		{"cut short", nil, cut, "cut short", store.ErrCorrupt},
		{"no bbolt file", nil, func(path string) {
			os.WriteFile(path, bytes.Repeat([]byte("text"), 1<<16), 0o600)
		}, "invalid database", nil},
		{"short text", nil, func(path string) { os.WriteFile(path, []byte("text"), 0o600) }, "invalid database", nil},
		{"damaged list of free pages", nil, func(path string) {
			changePages(path, func(page []byte) {
				if native.Uint16(page[8:]) == freelistFlag {
					native.PutUint16(page[8:], 0x55)
				}
			})
		}, "no list of free pages", store.ErrCorrupt},
		{"damaged root", nil, func(path string) {
			f, err := os.Open(path)
			if err != nil {
				panic(err)
			}
			defer f.Close()
			found, _ := boltfile.Inspect(f)
			changePages(path, func(page []byte) {
				if native.Uint64(page) == found.Meta.Root {
					native.PutUint16(page[8:], 0x55)
				}
			})
		}, "page", store.ErrCorrupt},
	} {
		for _, clean := range []bool{true, false} {
			if test.name == "damaged list of free pages" && !clean {
				continue // has none
			}
			t.Run(fmt.Sprintf("%s/clean=%v", test.name, clean), func(t *testing.T) {
				path := newPath(t)
				s, err := Open(path, Options{})
				if err != nil {
					t.Fatal(err)
				}
				add(t, s, "c")
				fill(t, s, "c", 15_000)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if test.bolt == nil {
					test.bolt = func(db *bolt.DB) error { return db.Update(func(*bolt.Tx) error { return nil }) }
				}
				withBolt(t, path, &bolt.Options{NoFreelistSync: !clean}, test.bolt)
				if test.damage != nil {
					test.damage(path)
				}
				before, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				s, err = Open(path, Options{})
				var e *store.Error
				if s != nil || !errors.As(err, &e) || e.Op != "open" || e.ID != path || !strings.Contains(err.Error(), test.want) {
					t.Errorf("Open = %v, %v, want an error that has %q", s, err, test.want)
				}
				if test.is != nil && !errors.Is(err, test.is) {
					t.Errorf("Open = %v, want %v", err, test.is)
				}
				if after, err := os.ReadFile(path); !bytes.Equal(after, before) || err != nil {
					t.Errorf("the file changed, %v, want it as it was", err)
				}
				// What is refused is not kept open.
				if err := os.Rename(path, path+".away"); err != nil {
					t.Fatal(err)
				}
				openStore(t, path)
			})
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none", "events.db"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open in no folder = %v, want %v", err, os.ErrNotExist)
	}
}

// changePages changes the pages of a file behind those of the meta.
func changePages(path string, change func(page []byte)) {
	b, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	size := os.Getpagesize()
	for at := 2 * size; at < len(b); at += size {
		change(b[at : at+size])
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		panic(err)
	}
}

// TestFaultDamagedPages reads and writes where bbolt finds a damaged page, before
// and after a commit that leaves the file without its list of free pages.
func TestFaultDamagedPages(t *testing.T) {
	for _, damage := range []struct {
		name string
		do   func(page []byte)
	}{
		{"no type", func(page []byte) { native.PutUint16(page[8:], 0x55) }},
		{"other id", func(page []byte) { page[0] ^= 0x40 }},
		{"position far away", func(page []byte) {
			for at := pageHeader; at < pageHeader+20*elementSize; at += elementSize {
				native.PutUint32(page[at+4:], 0xFFFF_FF00)
			}
		}},
	} {
		for _, commit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/commit=%v", damage.name, commit), func(t *testing.T) {
				testDamagedPages(t, damage.do, commit)
			})
		}
	}
}

func testDamagedPages(t *testing.T, damage func(page []byte), commit bool) {
	path := newPath(t)
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, "c")
	fill(t, s, "c", 1000)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	changePages(path, func(page []byte) {
		if native.Uint16(page[8:]) == leafFlag && bytes.Contains(page, benchEvent) {
			damage(page)
		}
	})
	s, err = Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if commit {
		add(t, s, "other")
	}
	_, err = store.Events(t.Context(), s, "c", store.All, store.PageEvents)
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Events = %v, want %v", err, store.ErrCorrupt)
	}
	for range 2 {
		_, _, err = s.Append(t.Context(), "c", store.NewEvent{})
		if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Append = %v, want %v", err, store.ErrCorrupt)
		}
	}
	if _, err := s.Create(t.Context(), store.Conversation{ID: "d"}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Create after that = %v, want %v", err, store.ErrCorrupt)
	}
	if c, err := s.Conversation(t.Context(), "c"); c.ID != "c" || err != nil {
		t.Errorf("Conversation after that = %+v, %v, want c", c, err)
	}
	if err := s.Close(); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Close = %v, want %v", err, store.ErrCorrupt)
	}
	// Another process finds the damage before bbolt does.
	copyFile(t, path, path+".copy")
	want := store.ErrCorrupt
	if !commit {
		want = nil
	}
	if s, err := Open(path+".copy", Options{}); !errors.Is(err, want) {
		t.Errorf("Open = %v, want %v", err, want)
	} else if err == nil {
		s.Close()
	}
}

// TestFaultFlippedBit flips a bit of records in the file.
func TestFaultFlippedBit(t *testing.T) {
	path := newPath(t)
	s := openStore(t, path)
	add(t, s, "c", "first", "second", "third")
	add(t, s, "d", "other")
	e := store.NewEvent{JSON: []byte("keyed"), Key: "k", Digest: sha256.Sum256([]byte("digest"))}
	if _, _, err := s.Append(t.Context(), "d", e); err != nil {
		t.Fatal(err)
	}
	err := s.UpdateRecord(t.Context(), "r", func([]byte) ([]byte, error) { return []byte("settings"), nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"second", "title of c", string(e.Digest[:]), "settings"} {
		flipped := []byte(text)
		flipped[2] ^= 4
		if !bytes.Contains(b, []byte(text)) {
			t.Fatalf("no %q in the file", text)
		}
		// c has to be found for its events to be read.
		if text != "title of c" {
			b = bytes.ReplaceAll(b, []byte(text), flipped)
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, path)
	for _, test := range []struct {
		r    store.Range
		want string
		err  error
	}{
		{store.All, "0=first", store.ErrCorrupt},
		{store.Range{To: 9, Reverse: true}, "2=third", store.ErrCorrupt},
		{store.Range{From: 1, To: 9}, "", store.ErrCorrupt},
		{store.Range{From: 2, To: 9}, "2=third", nil},
	} {
		got, err := texts(t, s, "c", test.r)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("Events(%+v) = %s, %v, want %s, %v", test.r, got, err, test.want, test.err)
		}
		if err != nil && !strings.Contains(err.Error(), "event 1") {
			t.Errorf("Events = %v, want it to name event 1", err)
		}
	}
	for _, r := range []store.Range{store.All, {To: 9, Reverse: true}} {
		var scanned []int64
		for e, err := range store.Scan(t.Context(), s, "c", r) {
			if damaged := new(store.DamagedEvent); errors.As(err, &damaged) {
				e.ID = -damaged.ID
			} else if err != nil {
				t.Fatal(err)
			}
			scanned = append(scanned, e.ID)
		}
		want := []int64{0, -1, 2}
		if r.Reverse {
			slices.Reverse(want)
		}
		if !slices.Equal(scanned, want) {
			t.Errorf("Scan(%+v) = %v, want %v", r, scanned, want)
		}
	}
	for range store.Scan(t.Context(), s, "c", store.Range{From: 1, To: 9}) {
		break // at the damaged one
	}
	if _, _, err := s.Append(t.Context(), "d", e); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Append with a damaged key = %v, want %v", err, store.ErrCorrupt)
	}
	if _, err := s.Record(t.Context(), "r"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Record = %v, want %v", err, store.ErrCorrupt)
	}
	err = s.UpdateRecord(t.Context(), "r", func([]byte) ([]byte, error) { t.Error("change is called"); return nil, nil })
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("UpdateRecord = %v, want %v", err, store.ErrCorrupt)
	}
	add(t, s, "c", "fourth") // nothing of this stops the writer
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.ReplaceAll(b, []byte("title of c"), []byte("tItle of c"))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, path)
	_, errs0 := s.Conversation(t.Context(), "c")
	page, total, errs1 := s.Conversations(t.Context(), 0, 10)
	if damaged := new(store.DamagedConversations); len(page) != 1 || total != 2 || !errors.As(errs1, &damaged) || !slices.Equal(damaged.IDs, []string{"c"}) {
		t.Errorf("Conversations = %v of %d, %v, want d, and that c is damaged", page, total, errs1)
	}
	_, errs2 := s.Update(t.Context(), "c", func(*store.Conversation) error { return nil })
	_, errs3 := store.Events(t.Context(), s, "c", store.All, 10)
	_, _, errs4 := s.Append(t.Context(), "c", store.NewEvent{})
	for i, err := range []error{errs0, errs1, errs2, errs3, errs4} {
		if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("call %d on a damaged conversation = %v, want %v", i, err, store.ErrCorrupt)
		}
	}
	if got, err := texts(t, s, "d", store.Range{To: 0}); got != "0=other" || err != nil {
		t.Errorf("Events of another = %s, %v, want 0=other", got, err)
	}
	if err := s.Delete(t.Context(), "c"); err != nil {
		t.Errorf("Delete of a damaged conversation = %v", err)
	}
	if page, total, err := s.Conversations(t.Context(), 0, 10); len(page) != 1 || total != 1 || err != nil {
		t.Errorf("Conversations after that = %v of %d, %v, want d", page, total, err)
	}
	waitForCounts(t, s, count{events: 2, keys: 1})
}

func TestFaultSecondProcess(t *testing.T) {
	path := newPath(t)
	s := openStore(t, path)
	out, err := child(t, "open", path).Output()
	if want := "store: open " + path + ": is in use by another process, less than a second true"; string(out) != want || err != nil {
		t.Errorf("Open in another process = %s, %v, want %s", out, err, want)
	}
	add(t, s, "c", "a")
}

// TestAppendContextPromptly wants an Append that waits for another writer to
// return as soon as its context ends, and not when the writer is done.
func TestAppendContextPromptly(t *testing.T) {
	s := openStore(t, newPath(t))
	add(t, s, "c")
	_, err := s.Update(t.Context(), "c", func(*store.Conversation) error {
		for name, call := range map[string]func(ctx context.Context) error{
			"Append": func(ctx context.Context) error { _, _, err := s.Append(ctx, "c", store.NewEvent{}); return err },
			"Delete": func(ctx context.Context) error { return s.Delete(ctx, "c") },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			if err := call(ctx); err != context.DeadlineExceeded {
				t.Errorf("%s = %v, want %v", name, err, context.DeadlineExceeded)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if got, err := texts(t, s, "c", store.All); got != "" || err != nil {
		t.Errorf("Events = %s, %v, want none", got, err)
	}
}

// TestAppendsShareCommit queues appends behind a writer, and wants them, and
// none whose context has ended, in one transaction.
func TestAppendsShareCommit(t *testing.T) {
	s := openStore(t, newPath(t))
	add(t, s, "c")
	ended, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	queued := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.queue)
	}
	if err := s.lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := lastTx(t, s)
	for range 50 {
		group.Go(func() {
			if _, _, err := s.Append(t.Context(), "c", store.NewEvent{}); err != nil {
				t.Errorf("Append = %v", err)
			}
		})
	}
	for queued() < 50 {
		time.Sleep(time.Millisecond)
	}
	late := &appending{ctx: ended, conversation: "c", done: make(chan struct{})}
	s.mu.Lock()
	s.queue = append(s.queue, late)
	s.mu.Unlock()
	cancel()
	s.unlock()
	group.Wait()
	<-late.done
	if late.err != context.Canceled {
		t.Errorf("Append whose context ended in the queue = %v, want %v", late.err, context.Canceled)
	}
	if got := lastTx(t, s) - before; got != 1 {
		t.Errorf("50 appends took %d transactions, want 1", got)
	}
	if page, err := store.Events(t.Context(), s, "c", store.All, 100); len(page) != 50 || err != nil {
		t.Errorf("Events = %d, %v, want 50", len(page), err)
	}
}

// TestRefused hands in what the file cannot hold.
func TestRefused(t *testing.T) {
	s := openStore(t, newPath(t))
	for _, c := range []store.Conversation{
		{},
		{ID: strings.Repeat("x", bolt.MaxKeySize+1)},
		{ID: "c", CreatedAt: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		var e *store.Error
		if _, err := s.Create(t.Context(), c); !errors.As(err, &e) {
			t.Errorf("Create(%.20s, %v) = %v, want an Error", c.ID, c.CreatedAt, err)
		}
	}
	if page, total, err := s.Conversations(t.Context(), 0, 10); len(page) != 0 || total != 0 || err != nil {
		t.Errorf("Conversations = %v, %d, %v, want none", page, total, err)
	}
	if c, err := s.Create(t.Context(), store.Conversation{ID: "c"}); c.Birth != 1 || err != nil {
		t.Errorf("Create = %+v, %v, want birth 1", c, err)
	}
	err := s.UpdateRecord(t.Context(), "", func([]byte) ([]byte, error) { return []byte{}, nil })
	var e *store.Error
	if !errors.As(err, &e) {
		t.Errorf("UpdateRecord without a name = %v, want an Error", err)
	}
}

// TestRecoverDamage wants panics that are not bbolt's to go on.
func TestRecoverDamage(t *testing.T) {
	cause := errors.New("cause")
	defer func() {
		if p := recover(); p != cause {
			t.Errorf("recovered %v, want %v", p, cause)
		}
	}()
	var err error
	defer recoverDamage(&err)
	panic(cause)
}

// lastTx returns the number of the last transaction that was committed.
func lastTx(t *testing.T, s *Store) (id int) {
	t.Helper()
	if err := s.db.View(func(tx *bolt.Tx) error { id = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestTailsAreBounded appends to more conversations than are remembered.
func TestTailsAreBounded(t *testing.T) {
	s := openStore(t, newPath(t))
	add(t, s, "c", "a")
	for i := range maxTails {
		s.tails[fmt.Sprint("old", i)] = tail{}
	}
	delete(s.tails, "c")
	add(t, s, "c", "b")
	if len(s.tails) != 1 {
		t.Errorf("%d tails, want 1", len(s.tails))
	}
	if got, err := texts(t, s, "c", store.All); got != "0=a 1=b" || err != nil {
		t.Errorf("Events = %s, %v, want 0=a 1=b", got, err)
	}
}

// TestSweepResumes leaves a deleted conversation's events in the file, and
// wants the next Open to remove them and nothing else.
func TestSweepResumes(t *testing.T) {
	path := newPath(t)
	s := openStore(t, path)
	for _, id := range []string{"before", "gone", "after"} {
		add(t, s, id, "a")
	}
	e := store.NewEvent{Key: "k"}
	if _, _, err := s.Append(t.Context(), "gone", e); err != nil {
		t.Fatal(err)
	}
	events := make([]store.Event, 3*sweepBatch)
	for i := range events {
		events[i] = store.Event{ID: int64(i) + 2, JSON: benchEvent}
	}
	if err := restore(t.Context(), s, "gone", events...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	removeAlone(t, path, "gone", count{events: 3*sweepBatch + 4, keys: 1, marks: 1})
	s = openStore(t, path)
	add(t, s, "gone", "new") // while the sweeper is at work
	waitForCounts(t, s, count{events: 3})
	for id, want := range map[string]string{"before": "0=a", "after": "0=a", "gone": "0=new"} {
		if got, err := texts(t, s, id, store.All); got != want || err != nil {
			t.Errorf("Events(%s) = %s, %v, want %s", id, got, err, want)
		}
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitForCounts(t, s, count{})
}

type count struct{ events, keys, marks int }

// counts counts what is in the file.
func counts(t *testing.T, db *bolt.DB) (c count) {
	t.Helper()
	err := db.View(func(tx *bolt.Tx) error {
		c.events = tx.Bucket(eventsBucket).Stats().KeyN
		c.keys = tx.Bucket(keysBucket).Stats().KeyN
		c.marks = tx.Bucket(deletedBucket).Stats().KeyN
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func waitForCounts(t *testing.T, s *Store, want count) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		got := counts(t, s.db)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the file has %+v, want %+v", got, want)
		}
	}
}

// removeAlone deletes a conversation from a closed store as Delete does, but
// there is no sweeper.
func removeAlone(t *testing.T, path, id string, want count) {
	t.Helper()
	withBolt(t, path, nil, func(db *bolt.DB) error {
		err := db.Update(func(tx *bolt.Tx) error { return remove(tx, id) })
		if got := counts(t, db); got != want {
			t.Errorf("the file has %+v, want %+v", got, want)
		}
		return err
	})
}

// TestFaultKill kills a process that appends and deletes, and wants what it was
// told of to be there.
func TestFaultKill(t *testing.T) {
	path := newPath(t)
	for range storetest.Rounds(t, 4, 40) {
		cmd := child(t, "append", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		told := make(map[int64]string)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var id int64
			var text string
			if n, _ := fmt.Sscan(lines.Text(), &id, &text); n == 2 && strings.HasSuffix(text, ".") {
				told[id] = text
			}
			if len(told) == 500 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || len(told) < 500 {
			t.Fatalf("the process ended with %v after %d appends, want it killed", err, len(told))
		}
		var log bytes.Buffer
		s, err := Open(path, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "was not closed") {
			t.Errorf("log after a crash = %q, want it to say so", log.String())
		}
		var next int64
		for e, err := range store.Scan(t.Context(), s, "c", store.All) {
			if err != nil {
				t.Fatal(err)
			}
			if e.ID != next {
				t.Errorf("event %d after %d, want consecutive ids", e.ID, next-1)
			}
			next++
			if want, ok := told[e.ID]; ok && string(e.JSON) != want {
				t.Errorf("event %d = %s, want %s", e.ID, e.JSON, want)
			}
			delete(told, e.ID)
		}
		if len(told) > 0 {
			t.Errorf("%d events are lost", len(told))
		}
		closeAndCheck(t, s, path)
		log.Reset()
		s, err = Open(path, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if log.Len() > 0 {
			t.Errorf("log after a clean stop = %q, want nothing", log.String())
		}
		closeAndCheck(t, s, path)
	}
}

// appendForEver appends to c, tells each id and text, and makes and deletes
// other conversations meanwhile.
func appendForEver(path string) {
	ctx := context.Background()
	s, err := Open(path, Options{})
	if err == nil {
		_, err = s.Create(ctx, store.Conversation{ID: "c"})
	}
	if err != nil && !errors.Is(err, store.ErrConflict) {
		panic(err)
	}
	for caller := range 8 {
		go func() {
			for i := 0; ; i++ {
				text := fmt.Sprintf("%d-%d-%d.", os.Getpid(), caller, i)
				id, _, err := s.Append(ctx, "c", store.NewEvent{JSON: []byte(text)})
				if err != nil {
					panic(err)
				}
				fmt.Println(id, text)
			}
		}()
	}
	events := make([]store.Event, 2*sweepBatch)
	for i := range events {
		events[i] = store.Event{ID: int64(i), JSON: benchEvent}
	}
	for {
		_, err := s.Create(ctx, store.Conversation{ID: "d"})
		if err != nil && !errors.Is(err, store.ErrConflict) {
			panic(err)
		}
		if err := restore(ctx, s, "d", events...); err != nil && !errors.Is(err, store.ErrConflict) {
			panic(err)
		}
		if err := s.Delete(ctx, "d"); err != nil {
			panic(err)
		}
	}
}

// TestSchema1 reads a store that schema 1 wrote, and goes on with it.
func TestSchema1(t *testing.T) {
	const sample = "testdata/schema1.db"
	if *update {
		writeSchema1(t, sample)
	}
	path := newPath(t)
	copyFile(t, sample, path)
	s := openStore(t, path)
	created := time.Date(2025, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	want := []store.Conversation{
		{ID: "newer", Birth: 3, Title: "new", CreatedAt: created.Add(time.Hour), UpdatedAt: created.Add(time.Hour), Agent: true},
		{ID: "older", Birth: 1, CreatedAt: created, UpdatedAt: created.Add(2 * time.Hour), Repository: new("owner/name"),
			Branch: new("main"), GitProvider: "github", Trigger: "gui"},
	}
	if got, total, err := s.Conversations(t.Context(), 0, 10); !reflect.DeepEqual(got, want) || total != 2 || err != nil {
		t.Errorf("Conversations = %+v, %d, %v, want %+v", got, total, err, want)
	}
	page, err := store.Events(t.Context(), s, "newer", store.All, 10)
	if got, want := fmt.Sprintf("%v", page), `[{0 0 [123 125]} {1 1 [123 34 97 34 58 49 125]} {7 65535 []}]`; got != want || err != nil {
		t.Errorf("Events = %s, %v, want %s", got, err, want)
	}
	if record, err := s.Record(t.Context(), "settings"); string(record) != `{"llm_model":"none"}` || err != nil {
		t.Errorf("Record = %s, %v", record, err)
	}
	for _, test := range []struct {
		digest   string
		id       int64
		repeated bool
		err      error
	}{{"one", 1, true, nil}, {"two", 0, false, store.ErrKeyReused}} {
		e := store.NewEvent{Key: "key", Digest: sha256.Sum256([]byte(test.digest))}
		id, repeated, err := s.Append(t.Context(), "newer", e)
		if id != test.id || repeated != test.repeated || !errors.Is(err, test.err) {
			t.Errorf("Append = %d, %v, %v, want %d, %v, %v", id, repeated, err, test.id, test.repeated, test.err)
		}
	}
	if id, _, err := s.Append(t.Context(), "newer", store.NewEvent{}); id != 8 || err != nil {
		t.Errorf("Append = %d, %v, want 8", id, err)
	}
	waitForCounts(t, s, count{events: 4, keys: 1}) // not those of the deleted conversation
	if c, err := s.Create(t.Context(), store.Conversation{ID: "next"}); c.Birth != 4 || err != nil {
		t.Errorf("Create = %+v, %v, want birth 4", c, err)
	}
}

// writeSchema1 writes the sample of TestSchema1, as small as it can be.
func writeSchema1(t *testing.T, sample string) {
	path := newPath(t)
	s := openStore(t, path)
	created := time.Date(2025, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	ctx := t.Context()
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []store.Conversation{
		{ID: "older", CreatedAt: created, UpdatedAt: created.Add(2 * time.Hour), Repository: new("owner/name"),
			Branch: new("main"), GitProvider: "github", Trigger: "gui"},
		{ID: "deleted", CreatedAt: created},
		{ID: "newer", Title: "new", CreatedAt: created.Add(time.Hour), UpdatedAt: created.Add(time.Hour), Agent: true},
	} {
		_, err := s.Create(ctx, c)
		must(err)
	}
	add(t, s, "deleted", "{}")
	add(t, s, "newer", "{}")
	_, _, err := s.Append(ctx, "newer", store.NewEvent{Flags: 1, JSON: []byte(`{"a":1}`), Key: "key", Digest: sha256.Sum256([]byte("one"))})
	must(err,
		restore(ctx, s, "newer", store.Event{ID: 7, Flags: 65535}),
		s.UpdateRecord(ctx, "settings", func([]byte) ([]byte, error) { return []byte(`{"llm_model":"none"}`), nil }),
		s.Close(),
		os.Remove(sample))
	removeAlone(t, path, "deleted", count{events: 4, keys: 1, marks: 1})
	withBolt(t, path, nil, func(from *bolt.DB) error {
		withBolt(t, sample, nil, func(to *bolt.DB) error { return bolt.Compact(to, from, 0) })
		return nil
	})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// reopened is a store that is closed and opened again after every call.
type reopened struct {
	t        *testing.T
	path     string
	watchers store.Watchers // those of s end with s

	mu     sync.Mutex
	s      *Store
	closed bool
}

func (r *reopened) do(call func(s *Store)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	call(r.s)
	if r.closed {
		return
	}
	if err := r.s.Close(); err != nil {
		r.t.Errorf("Close = %v", err)
	}
	s, err := Open(r.path, Options{})
	if err != nil {
		r.t.Errorf("Open = %v", err)
		return
	}
	r.s = s
}

func (r *reopened) Create(ctx context.Context, c store.Conversation) (got store.Conversation, err error) {
	r.do(func(s *Store) { got, err = s.Create(ctx, c) })
	return got, err
}

func (r *reopened) Conversation(ctx context.Context, id string) (c store.Conversation, err error) {
	r.do(func(s *Store) { c, err = s.Conversation(ctx, id) })
	return c, err
}

func (r *reopened) LineConversations(ctx context.Context, line string, offset, limit int) (page []store.Conversation, total int, err error) {
	r.do(func(s *Store) { page, total, err = s.LineConversations(ctx, line, offset, limit) })
	return page, total, err
}

func (r *reopened) Conversations(ctx context.Context, offset, limit int) (page []store.Conversation, total int, err error) {
	r.do(func(s *Store) { page, total, err = s.Conversations(ctx, offset, limit) })
	return page, total, err
}

func (r *reopened) Update(ctx context.Context, id string, change func(*store.Conversation) error) (c store.Conversation, err error) {
	r.do(func(s *Store) { c, err = s.Update(ctx, id, change) })
	return c, err
}

func (r *reopened) Delete(ctx context.Context, id string) (err error) {
	defer r.watchers.Wake(id)
	r.do(func(s *Store) { err = s.Delete(ctx, id) })
	return err
}

func (r *reopened) Append(ctx context.Context, conversation string, e store.NewEvent) (id int64, repeated bool, err error) {
	defer r.watchers.Wake(conversation)
	r.do(func(s *Store) { id, repeated, err = s.Append(ctx, conversation, e) })
	return id, repeated, err
}

func (r *reopened) Import(ctx context.Context, c store.Conversation, replace bool, events iter.Seq2[store.Event, error]) (got store.Conversation, err error) {
	defer r.watchers.Wake(c.ID)
	// The events may use the store: they are read before.
	var read []store.Event
	var cause error
	for e, err := range events {
		if cause = err; err == nil {
			read = append(read, e)
		}
	}
	r.do(func(s *Store) {
		got, err = s.Import(ctx, c, replace, func(yield func(store.Event, error) bool) {
			for _, e := range read {
				if !yield(e, nil) {
					return
				}
			}
			if cause != nil {
				yield(store.Event{}, cause)
			}
		})
	})
	return got, err
}

func (r *reopened) Visit(ctx context.Context, conversation string, span store.Range, visit func(store.Event) bool) (err error) {
	r.do(func(s *Store) { err = s.Visit(ctx, conversation, span, visit) })
	return err
}

func (r *reopened) Watch(conversation string, wake func()) (stop func()) {
	return r.watchers.Watch(conversation, wake)
}

func (r *reopened) Record(ctx context.Context, name string) (value []byte, err error) {
	r.do(func(s *Store) { value, err = s.Record(ctx, name) })
	return value, err
}

func (r *reopened) UpdateRecord(ctx context.Context, name string, change func(old []byte) ([]byte, error)) (err error) {
	r.do(func(s *Store) { err = s.UpdateRecord(ctx, name, change) })
	return err
}

func (r *reopened) Reset(ctx context.Context) (err error) {
	defer r.watchers.WakeAll()
	r.do(func(s *Store) { err = s.Reset(ctx) })
	return err
}

func (r *reopened) Close() (err error) {
	defer r.watchers.WakeAll()
	r.do(func(s *Store) {
		err = s.Close()
		r.closed = true
	})
	return err
}

// TestOpenSilent: there is nothing to say of a new file, nor of one that was
// closed.
func TestOpenSilent(t *testing.T) {
	path := newPath(t)
	for _, state := range []string{"new", "closed", "closed again"} {
		var log bytes.Buffer
		s, err := Open(path, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if log.Len() > 0 {
			t.Errorf("log of a %s file = %q, want none", state, log.String())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
