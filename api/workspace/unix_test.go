//go:build unix

package workspace

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestPipes has files that are not read to an end: no operation waits for them.
func TestPipes(t *testing.T) {
	w, dir := open(t)
	newRepository(t, dir).add(map[string]string{"a": "", "tracked": ""})
	pipes := []string{"pipe", ".gitignore", "tracked", ".openhands_instructions", ".git/HEAD", ".git/index.lock", ".git/packed-refs"}
	for _, name := range pipes {
		file := filepath.Join(dir, name)
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir) // the path of a socket is short
	socket, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	put(t, dir, map[string]string{"link": "->pipe"})

	for _, name := range []string{"pipe", "link", "tracked"} {
		if _, err := w.Read(name); !errors.Is(err, ErrNotText) {
			t.Errorf("Read(%q) = %v, want %v", name, err, ErrNotText)
		}
	}
	if _, err := w.Read("socket"); err == nil {
		t.Error("Read of a socket = nil, want an error")
	}
	if _, _, err := w.Diff(t.Context(), "pipe"); !errors.Is(err, ErrNotText) {
		t.Errorf("Diff = %v, want %v", err, ErrNotText)
	}
	files, _ := archive(t, w)
	for _, name := range append(pipes, "socket", "link") {
		if slices.Contains(files, name) {
			t.Errorf("Zip has %s", name)
		}
	}
	changed(t, w, "A a", "A link")
	if got, err := w.Microagents(t.Context()); len(got) > 0 || err != nil {
		t.Errorf("Microagents = %v, %v, want none", got, err)
	}
	if _, err := w.Upload("pipe", strings.NewReader("a file now")); err != nil {
		t.Errorf("Upload = %v", err)
	}
	if got, err := w.Read("pipe"); got != "a file now" || err != nil {
		t.Errorf("Read = %q, %v", got, err)
	}
}

// TestForbidden has files that the system refuses.
func TestForbidden(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("nothing is refused to root")
	}
	w, dir := open(t)
	put(t, dir, map[string]string{"f": "", "d/x": ""})
	for _, name := range []string{"f", "d"} {
		file := filepath.Join(dir, name)
		if err := os.Chmod(file, 0); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(file, 0o700)
	}
	if _, err := w.Read("f"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Read = %v, want %v", err, fs.ErrPermission)
	}
	if _, err := w.List("d"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("List = %v, want %v", err, fs.ErrPermission)
	}
	if err := w.Zip(t.Context(), io.Discard); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Zip = %v, want %v", err, fs.ErrPermission)
	}
	if _, err := w.Upload("d/y", strings.NewReader("")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Upload = %v, want %v", err, fs.ErrPermission)
	}
}
