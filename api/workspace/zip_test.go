package workspace

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// archive zips a workspace, and returns the names in the archive, in order,
// and the contents.
func archive(t testing.TB, w *Workspace) ([]string, map[string]string) {
	t.Helper()
	var buf bytes.Buffer
	if err := w.Zip(t.Context(), &buf); err != nil {
		t.Fatalf("Zip = %v", err)
	}
	z, err := zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	contents := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name)
		contents[f.Name] = string(b)
	}
	return names, contents
}

func TestZip(t *testing.T) {
	w, dir := open(t)
	var empty bytes.Buffer
	if err := w.Zip(t.Context(), &empty); err != nil || empty.Len() != 22 {
		t.Errorf("Zip of an empty workspace = %d bytes, %v, want 22", empty.Len(), err)
	}
	put(t, dir, map[string]string{
		"b": "B", "a/x": "X", "a/.hid": "H", "empty/": "", "a.txt": strings.Repeat("long ", 10_000), ".git/HEAD": "ref: refs/heads/main\n",
		"link": "->a/x", "folder": "->a", "dangling": "->nowhere", "round": "->round", ".gitignore": "b\n",
	})
	got, contents := archive(t, w)
	if want := []string{".git/HEAD", ".gitignore", "a/.hid", "a/x", "a.txt", "b", "link"}; !slices.Equal(got, want) {
		t.Errorf("Zip = %q, want %q", got, want)
	}
	if contents["link"] != "X" || contents["b"] != "B" || len(contents["a.txt"]) != 50_000 {
		t.Errorf("contents = %.40q", contents)
	}
	var first, second bytes.Buffer
	if err := errors.Join(w.Zip(t.Context(), &first), w.Zip(t.Context(), &second)); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("Zip differs from one time to the next, or fails: %v", err)
	}
}

func TestZipBreaksOff(t *testing.T) {
	w, dir := open(t)
	put(t, dir, map[string]string{"d/a": strings.Repeat("x", 1<<20)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Zip(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("Zip after the end = %v, want %v", err, context.Canceled)
	}
	r, out := io.Pipe()
	broken := errors.New("client gone")
	r.CloseWithError(broken)
	if err := w.Zip(t.Context(), out); !errors.Is(err, broken) {
		t.Errorf("Zip to a client that is gone = %v, want %v", err, broken)
	}
}
