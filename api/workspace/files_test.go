package workspace

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestList(t *testing.T) {
	w, dir := open(t)
	if got, err := w.List(""); got == nil || len(got) > 0 || err != nil {
		t.Errorf("List of an empty workspace = %v, %v, want an empty list", got, err)
	}
	put(t, dir, map[string]string{
		"a.txt": "1\n", "d/b.txt": "2\n", ".hid": "3\n", "d/e/c": "", "B": "", "odd\nname": "",
		"in": "->d", "round": "->round",
	})
	all := []string{shown + "/.hid", shown + "/B", shown + "/a.txt", shown + "/d", shown + "/in", shown + "/odd\nname", shown + "/round"}
	for _, test := range []struct {
		name string
		want []string
	}{
		// sub_list_files
		{"", all},
		{"d", []string{shown + "/d/b.txt", shown + "/d/e"}},
		{"d/", []string{shown + "/d/b.txt", shown + "/d/e"}},
		{"nope", []string{}},
		{"a.txt", []string{shown + "/a.txt"}},
		{"/workspace", all},
		{"d/e", []string{shown + "/d/e/c"}},
		// beyond it
		{shown + "/d/e", []string{shown + "/d/e/c"}},
		{"in/e", []string{shown + "/in/e/c"}},
		{"round", []string{}},
		{"a.txt/x", []string{}},
		{strings.Repeat("x", 4000), []string{}},
	} {
		if got, err := w.List(test.name); !slices.Equal(got, test.want) || got == nil || err != nil {
			t.Errorf("List(%.20q) = %q, %v, want %q", test.name, got, err, test.want)
		}
	}
	for name, want := range map[string]error{"/": ErrOutside, "..": ErrOutside, "/etc": ErrOutside, "\x00": fs.ErrInvalid} {
		if got, err := w.List(name); !errors.Is(err, want) || got != nil {
			t.Errorf("List(%q) = %q, %v, want %v", name, got, err, want)
		}
	}
}

// TestListIgnored has what sub_list_files_gitignore has, and more.
func TestListIgnored(t *testing.T) {
	w, dir := open(t)
	put(t, dir, map[string]string{
		".gitignore": "*.log\r\n# *.txt\n\n!keep.log\n/build/\nd/x\n", "a.log": "", "keep.log": "", "b.txt": "",
		"node_modules/": "", "build/x": "", "d/x": "", "d/y": "", "d/z.log": "", "d/build/": "",
	})
	for name, want := range map[string][]string{
		"":      {shown + "/.gitignore", shown + "/b.txt", shown + "/d", shown + "/keep.log", shown + "/node_modules"},
		"d":     {shown + "/d/build", shown + "/d/y"},
		"a.log": {},
		"build": {},
	} {
		if got, err := w.List(name); !slices.Equal(got, want) || err != nil {
			t.Errorf("List(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestRead(t *testing.T) {
	w, dir := open(t)
	put(t, dir, map[string]string{
		"a.txt": "hi\n", "bin": "\xff\xfe\x00", "d/f": "x", "empty": "", "u.txt": "hé", "crlf.txt": "a\r\nb", "p.pdf": "x", "i.png": "x",
		"cr": "a\rb\r\r\nc", "latin1": "caf\xe9 x", "nul": "ab\x00", "ff": "ab\xff", "late": strings.Repeat("x", 1024) + "\x00\xff",
		"largest": strings.Repeat("x", maxRead), "larger": strings.Repeat("x", maxRead+1), "in": "->d/f",
	})
	for name, want := range map[string]string{
		// sub_select_file
		"a.txt": "hi\n", "/workspace/a.txt": "hi\n", "d/f": "x", "empty": "", "u.txt": "hé", "crlf.txt": "a\nb", "p.pdf": "x", "i.png": "x",
		// beyond it
		"cr": "a\nb\n\nc", "latin1": "caf\uFFFD x", "late": strings.Repeat("x", 1024) + "\x00\uFFFD", "in": "x", "largest": strings.Repeat("x", maxRead),
	} {
		if got, err := w.Read(name); got != want || err != nil {
			t.Errorf("Read(%q) = %.40q, %v, want %.40q", name, got, err, want)
		}
	}
	for name, want := range map[string]error{
		"bin": ErrNotText, "nope": fs.ErrNotExist, "d": ErrFolder, "": ErrFolder, "../x": ErrOutside, "/etc/hostname": ErrOutside,
		"\x00": fs.ErrInvalid, strings.Repeat("x", 4000): fs.ErrNotExist,
		"nul": ErrNotText, "ff": ErrNotText, "a.txt/x": fs.ErrNotExist, "larger": ErrTooLarge,
	} {
		if got, err := w.Read(name); !errors.Is(err, want) || got != "" {
			t.Errorf("Read(%.20q) = %q, %v, want %v", name, got, err, want)
		}
	}
}

func TestUpload(t *testing.T) {
	w, dir := open(t)
	for _, test := range []struct{ name, content, shown string }{
		// sub_upload_files
		{"up.txt", "hello", shown + "/up.txt"},
		{"sub/dir/x.txt", "hello", shown + "/sub/dir/x.txt"},
		{"bin", "\xff\xfe\x00", shown + "/bin"},
		// beyond it
		{"up.txt", "again", shown + "/up.txt"},
		{"/workspace/w", "w", "/workspace/w"},
		{"odd/../a\nb", "", shown + "/odd/../a\nb"},
		{"sub/" + strings.Repeat("n", 255), "", shown + "/sub/" + strings.Repeat("n", 255)},
	} {
		if got, err := w.Upload(test.name, strings.NewReader(test.content)); got != test.shown || err != nil {
			t.Errorf("Upload(%.20q) = %q, %v, want %q", test.name, got, err, test.shown)
		}
		local, _ := w.local(test.name)
		if b, err := os.ReadFile(filepath.Join(dir, local)); string(b) != test.content || err != nil {
			t.Errorf("file after Upload(%.20q) = %q, %v, want %q", test.name, b, err, test.content)
		}
	}
	for name, want := range map[string]error{
		"": ErrFolder, "sub": ErrFolder, "/workspace": ErrFolder, "../esc.txt": ErrOutside, "/abs.txt": ErrOutside, "a\x00": fs.ErrInvalid,
		"up.txt/x": nil, strings.Repeat("n", 256): nil, strings.Repeat("n/", maxName/2) + "n": nil,
	} {
		shown, err := w.Upload(name, strings.NewReader("no"))
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("Upload(%.20q) = %v, want %v", name, err, want)
		}
		if shown != w.Shown(name) {
			t.Errorf("Upload(%.20q) = %q beside the error, want %q", name, shown, w.Shown(name))
		}
	}
	if got, want := names(t, dir), []string{"a\nb", "bin", "sub", "up.txt", "w"}; !slices.Equal(got, want) {
		t.Errorf("files = %q, want %q", got, want)
	}
}

// TestUploadHalf breaks off in the middle: what was there stays.
func TestUploadHalf(t *testing.T) {
	w, dir := open(t)
	put(t, dir, map[string]string{"a": "old"})
	broken := errors.New("broken")
	for _, name := range []string{"a", "new"} {
		r := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))
		if _, err := w.Upload(name, r); !errors.Is(err, broken) {
			t.Errorf("Upload(%q) = %v, want %v", name, err, broken)
		}
	}
	if got, err := w.Read("a"); got != "old" || err != nil {
		t.Errorf("Read = %q, %v, want %q", got, err, "old")
	}
	if got, want := names(t, dir), []string{"a"}; !slices.Equal(got, want) {
		t.Errorf("files = %q, want %q", got, want)
	}
}

// names returns the names in a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
