package workspace

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// shown is the folder that the tests show their workspaces as.
const shown = "/srv/data/ws"

// open opens an empty workspace, and returns its folder.
func open(t testing.TB) (*Workspace, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ws")
	w, err := Create(dir, shown)
	if err != nil {
		t.Fatalf("Create(%s) = %v", dir, err)
	}
	t.Cleanup(func() { w.Close() })
	return w, dir
}

// put writes files below dir, with their folders. A name that ends in a slash
// is a folder; a content that begins with -> is a link.
func put(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if target, link := strings.CutPrefix(content, "->"); err == nil {
			switch {
			case strings.HasSuffix(name, "/"):
				err = os.MkdirAll(file, 0o755)
			case link:
				err = os.Symlink(target, file)
			default:
				err = os.WriteFile(file, []byte(content), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestOpenMissing: a workspace without a folder is empty, makes none, and takes
// nothing.
func TestOpenMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	for _, dir := range []string{dir, ""} {
		w, err := Open(dir, shown)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := w.List(""); len(list) > 0 || err != nil {
			t.Errorf("List = %q, %v, want none", list, err)
		}
		if _, err := w.List(".."); !errors.Is(err, ErrOutside) {
			t.Errorf("List(..) = %v, want %v", err, ErrOutside)
		}
		if _, err := w.Read("a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Read = %v, want %v", err, fs.ErrNotExist)
		}
		if names, _ := archive(t, w); len(names) > 0 {
			t.Errorf("Zip = %q, want none", names)
		}
		if _, err := w.Changes(t.Context()); !errors.Is(err, ErrNoRepository) {
			t.Errorf("Changes = %v, want %v", err, ErrNoRepository)
		}
		if _, _, err := w.Diff(t.Context(), "a/b"); !errors.Is(err, ErrNoRepository) {
			t.Errorf("Diff = %v, want %v", err, ErrNoRepository)
		}
		if found, err := w.Microagents(t.Context()); len(found) > 0 || err != nil {
			t.Errorf("Microagents = %v, %v, want none", found, err)
		}
		if _, err := w.Upload("a", strings.NewReader("")); !errors.Is(err, ErrNoFolder) {
			t.Errorf("Upload = %v, want %v", err, ErrNoFolder)
		}
		if err := w.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for _, shown := range []string{"", ".", "workspace", "/", "//", "/a/.."} {
		if w, err := Create(dir, shown); err == nil {
			t.Errorf("Open(dir, %q) = %v, want an error", shown, w)
		}
	}
	for range 2 { // the second time it is there
		w, err := Create(dir, "/shown/")
		if err != nil {
			t.Fatalf("Create = %v", err)
		}
		if got, want := w.Shown("x"), "/shown/x"; got != want {
			t.Errorf("Shown = %q, want %q", got, want)
		}
		if err := w.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if info, err := os.Stat(dir); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the folder = %v, %v, want 0700", info.Mode(), err)
	}
	file := filepath.Join(dir, "file")
	put(t, dir, map[string]string{"file": ""})
	if _, err := Open(file, Folder); err == nil {
		t.Error("Open of a file = nil, want an error")
	}
}

func TestShown(t *testing.T) {
	w, _ := open(t)
	for name, want := range map[string]string{
		"":               shown + "/", // sub_select_file, sub_upload_files
		"a.txt":          shown + "/a.txt",
		"sub/dir/x.txt":  shown + "/sub/dir/x.txt",
		"../esc.txt":     shown + "/../esc.txt",
		"/abs.txt":       "/abs.txt",
		"/workspace/a.t": "/workspace/a.t",
	} {
		if got := w.Shown(name); got != want {
			t.Errorf("Shown(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	w, _ := open(t)
	const traversal = ". Path resolves outside the workspace. Resolved: "
	for _, test := range []struct {
		name, want, reason string // a local name, or a reason
	}{
		{"", ".", ""},
		{".", ".", ""},
		{"d/", "d", ""},
		{"./a//b/../c", "a/c", ""},
		{"a/../..//ws/b", "b", ""},
		{shown, ".", ""},
		{shown + "/", ".", ""},
		{shown + "/a", "a", ""},
		{Folder, ".", ""},
		{Folder + "/d/a", "d/a", ""},
		{"a\nb", "a\nb", ""},
		{"\xff\xfe", "\xff\xfe", ""},
		{"/abs.txt", "", "Invalid path: /abs.txt. You can only work with files in " + shown + "."},
		{"/", "", "Invalid path: /. You can only work with files in " + shown + "."},
		{Folder + "2/a", "", "Invalid path: /workspace2/a. You can only work with files in " + shown + "."},
		{shown + "2/a", "", "Invalid path: " + shown + "2/a. You can only work with files in " + shown + "."},
		{"../esc.txt", "", "Invalid path traversal: " + shown + "/../esc.txt" + traversal + "/srv/data/esc.txt, Workspace: " + shown},
		{"..", "", "Invalid path traversal: " + shown + "/.." + traversal + "/srv/data, Workspace: " + shown},
		{"../ws2/x", "", "Invalid path traversal: " + shown + "/../ws2/x" + traversal + "/srv/data/ws2/x, Workspace: " + shown},
		{shown + "/../x", "", "Invalid path traversal: " + shown + "/../x" + traversal + "/srv/data/x, Workspace: " + shown},
		{Folder + "/../etc", "", "Invalid path traversal: /workspace/../etc" + traversal + "/etc, Workspace: " + shown},
	} {
		got, err := w.local(test.name)
		if test.reason == "" {
			if got != test.want || err != nil {
				t.Errorf("local(%q) = %q, %v, want %q", test.name, got, err, test.want)
			}
			continue
		}
		outside, ok := errors.AsType[*OutsideError](err)
		if !ok || !errors.Is(err, ErrOutside) || outside.Reason != test.reason {
			t.Errorf("local(%q) = %q, %v, want %q", test.name, got, err, test.reason)
		}
	}
	if _, err := w.local("a\x00b"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("local of a name with NUL = %v, want %v", err, fs.ErrInvalid)
	}
	for _, name := range []string{`C:\x`, `..\x`, "NUL", "COM1.txt", `\\host\share\x`} {
		local, err := w.local(name)
		if runtime.GOOS == "windows" {
			if !errors.Is(err, ErrOutside) {
				t.Errorf("local(%q) = %q, %v, want %v", name, local, err, ErrOutside)
			}
		} else if local != path.Clean(name) || err != nil {
			t.Errorf("local(%q) = %q, %v, want a plain name", name, local, err)
		}
	}
}
