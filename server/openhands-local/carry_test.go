package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore"
	"github.com/openhands-local/openhands-local/store/storetest"
)

// Of the folders that these tests carry around.
const (
	carriedConversations = 4
	carriedEvents        = 3000
)

// fillFolder makes a data folder with a few conversations.
func fillFolder(t *testing.T) string {
	t.Helper()
	data := t.TempDir()
	s, err := boltstore.Open(filepath.Join(data, "events.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range carriedConversations {
		c := store.Conversation{ID: fmt.Sprintf("c%d", i), CreatedAt: time.Unix(int64(i), 0), UpdatedAt: time.Unix(int64(i), 0)}
		_, err := s.Import(t.Context(), c, false, func(yield func(store.Event, error) bool) {
			for id := range int64(carriedEvents) {
				text := fmt.Appendf(nil, `{"timestamp":"2025-01-01T00:00:00","source":"user","action":"message","args":{"content":"%d %s"}}`, id, strings.Repeat("x", 200))
				if !yield(store.Event{ID: id, JSON: text}, nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return data
}

// program returns a command of this program.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	name, err := exec.LookPath("openhands-local")
	if err != nil {
		t.Fatal(err) // TestMain puts it there
	}
	return exec.Command(name, args...)
}

// endAt sends a signal to a command at a random moment of the time that it
// takes, and waits for its end.
func endAt(t *testing.T, cmd *exec.Cmd, signal os.Signal, r *rand.Rand, took time.Duration) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Duration(r.Int64N(int64(took)+1)), func() { _ = cmd.Process.Signal(signal) })
	_ = cmd.Wait()
	timer.Stop()
}

// TestFaultInterrupted ends export, backup and import at random moments. A
// file is the old one or the new one, whole; a conversation is there whole or
// not at all.
func TestFaultInterrupted(t *testing.T) {
	data, dir := fillFolder(t), t.TempDir()
	all := filepath.Join(dir, "all.ndjson")
	began := time.Now()
	if out, err := program(t, "export", "--data", data, all).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	took := time.Since(began)
	want, err := os.ReadFile(all)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	for round := range storetest.Rounds(t, 4, 60) {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		signal := []os.Signal{os.Kill, syscall.SIGINT}[round%2]
		failf := func(format string, a ...any) {
			t.Helper()
			t.Errorf("seed %d, round %d, %v: "+format, append([]any{seed, round, signal}, a...)...)
		}

		target := filepath.Join(dir, "target")
		if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		endAt(t, program(t, "export", "--data", data, target), signal, r, took)
		if got, err := os.ReadFile(target); err != nil || string(got) != "old" && !bytes.Equal(got, want) {
			failf("after an export the file has %d bytes, %v, want the old 3 or the new %d", len(got), err, len(want))
		}

		if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		endAt(t, program(t, "backup", "--data", data, target), signal, r, took)
		if got, err := os.ReadFile(target); err != nil || string(got) != "old" && wholeStore(t, target) != carriedConversations {
			failf("after a backup the file has %d bytes, %v, and is neither the old one nor a store", len(got), err)
		}

		into := t.TempDir()
		endAt(t, program(t, "import", "--data", into, all), signal, r, 2*took)
		if file := filepath.Join(into, "events.db"); fileExists(file) && wholeStore(t, file) < 0 {
			failf("after an import the store is not whole")
		}
		if left, err := filepath.Glob(filepath.Join(dir, ".*.tmp")); signal == syscall.SIGINT && len(left) > 0 || err != nil {
			failf("left behind: %v, %v", left, err)
		} else {
			for _, name := range left {
				os.Remove(name)
			}
		}
	}
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// wholeStore checks a file and returns how many conversations it has, all of
// them whole, or -1.
func wholeStore(t *testing.T, file string) int {
	t.Helper()
	problems := 0
	r, err := boltstore.Check(context.WithoutCancel(t.Context()), file, boltstore.Watcher{Problem: func(err error) {
		problems++
		t.Errorf("check: %v", err)
	}})
	if err != nil || problems > 0 || r.Events != r.Conversations*carriedEvents {
		t.Errorf("Check(%s) = %+v, %v, want whole conversations", file, r, err)
		return -1
	}
	return r.Conversations
}

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	write := func(text string, failure error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return cmp.Or(err, failure)
		}
	}
	want := func(text string) {
		t.Helper()
		if got, err := os.ReadFile(name); string(got) != text || err != nil {
			t.Errorf("the file is %q, %v, want %q", got, err, text)
		}
		if left, err := os.ReadDir(dir); len(left) != 1 || err != nil {
			t.Errorf("the folder has %v, %v, want the file alone", left, err)
		}
	}
	if err := replaceFile(name, write("first", nil), nil); err != nil {
		t.Fatal(err)
	}
	want("first")
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 && os.PathSeparator == '/' {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	checked := ""
	err := replaceFile(name, write("second", nil), func(temporary string) error {
		text, err := os.ReadFile(temporary)
		checked = string(text)
		return cmp.Or(err, io.ErrNoProgress)
	})
	if !errors.Is(err, io.ErrNoProgress) || checked != "second" {
		t.Errorf("replaceFile = %v, checked %q, want the error of the check of second", err, checked)
	}
	want("first")
	if err := replaceFile(name, write("half", io.ErrClosedPipe), nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("replaceFile = %v, want %v", err, io.ErrClosedPipe)
	}
	want("first")
	if err := replaceFile(name, write("second", nil), func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	want("second")
}

// TestMeter wants nothing of short work, a line a second of long work, and one
// line on a terminal.
func TestMeter(t *testing.T) {
	var out bytes.Buffer
	m := &meter{w: &out, last: time.Now()}
	m.show("first")
	m.last = m.last.Add(-2 * meterTime)
	m.show("second %d", 2)
	m.show("third")
	m.end()
	if out.String() != "second 2\n" {
		t.Errorf("shown %q, want the second alone", out.String())
	}
	out.Reset()
	m = &meter{w: &out, line: true}
	m.show("first")
	m.last = time.Time{}
	m.show("second")
	m.end()
	if want := "\r\x1b[Kfirst\r\x1b[Ksecond\r\x1b[K"; out.String() != want {
		t.Errorf("shown %q, want %q", out.String(), want)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0.0 KiB", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 30: "3.0 GiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
}

// TestBackupCut: a backup of which the end does not come is none.
func TestBackupCut(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "backup.db")
	err := run(t.Context(), []string{"backup", "--url", s.URL, file}, func(string) (string, bool) { return "", false }, io.Discard, io.Discard)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("backup = %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if names, err := os.ReadDir(filepath.Dir(file)); len(names) > 0 || err != nil {
		t.Errorf("the folder has %v, %v, want nothing", names, err)
	}
}
