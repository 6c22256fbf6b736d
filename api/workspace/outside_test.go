package workspace

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// canary is in every file outside the workspace, and in no file of it.
const canary = "canary-6e1f"

// surroundings makes a workspace in a folder with things worth stealing, and
// returns it, its folder, and the last commit of the repository outside.
func surroundings(t testing.TB) (*Workspace, string, plumbing.Hash) {
	w, dir := open(t)
	outside := filepath.Join(filepath.Dir(dir), "outside")
	put(t, filepath.Dir(dir), map[string]string{"file": canary, "ws2/file": canary})
	r := newRepository(t, outside)
	r.add(map[string]string{
		"file": canary, "d/file": canary, "a.md": "---\ntriggers: [x]\n---\n" + canary, ".gitignore": "*\n", "exclude": "*\n", ".openhands/microagents/a.md": canary,
	})
	h := r.commit()
	r.ref("refs/remotes/origin/master", h)
	return w, dir, h
}

// snapshot tells everything about the tree around the workspace.
func snapshot(t testing.TB, ws string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(filepath.Dir(ws), func(path string, d fs.DirEntry, err error) error {
		if path == ws {
			return fs.SkipDir
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		modified := info.ModTime().UnixNano()
		if path == filepath.Dir(ws) {
			modified = 0 // folders that are made beside the workspace are seen by name
		}
		fmt.Fprintln(&b, path, info.Mode(), modified)
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%q\n", content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// everything does all that a client can do with these names, and returns all
// that it is told.
func everything(t testing.TB, w *Workspace, names ...string) string {
	var told strings.Builder
	for _, name := range names {
		list, err := w.List(name)
		fmt.Fprintln(&told, list, err)
		text, err := w.Read(name)
		fmt.Fprintln(&told, text, err)
		modified, original, err := w.Diff(t.Context(), name)
		fmt.Fprintln(&told, modified, original, err)
	}
	changes, err := w.Changes(t.Context())
	fmt.Fprintln(&told, changes, err)
	agents, err := w.Microagents(t.Context())
	fmt.Fprintln(&told, agents, err)
	files, contents := archive(t, w)
	fmt.Fprintln(&told, files, contents)
	for _, name := range names { // last, because it changes the workspace
		shown, err := w.Upload(name, strings.NewReader("uploaded"))
		fmt.Fprintln(&told, shown, err)
	}
	return told.String()
}

// TestOutside has workspaces made to lead out, and every operation on them.
func TestOutside(t *testing.T) {
	const config = "[core]\n\tworktree = {outside}\n\tbare = false\n[include]\n\tpath = {outside}/file\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		ask   []string
	}{
		{"names", nil, []string{
			"..", "../file", "../outside", "../outside/file", "../outside/new", "d/../../file", "../ws2/file", "../ws/../file",
			"/", "/etc/hostname", "{outside}", "{outside}/file", "{outside}/new", "{outside}/../file", shown + "/../file", Folder + "/../file", Folder + "2/file",
			"//etc/hostname", "\x00", "../file\x00", "file\n", "\xff/../../file", strings.Repeat("../", 50) + "etc/hostname", strings.Repeat("x/", 5000), strings.Repeat("x", 5000),
			`..\file`, `C:\x`, `C:x`, "NUL", "CON", "COM1.txt", `\\?\C:\x`, "...", "~/x", "$HOME/x", "%2e%2e/file", ".. /file", "..\u2215file",
		}},
		{"links", map[string]string{
			"absolute": "->{outside}/file", "relative": "->../outside/file", "folder": "->../outside", "parent": "->..", "root": "->/", "chain": "->relative", "chain2": "->chain3/file", "chain3": "->folder/d",
			"dangling": "->../outside/new", "dangling2": "->../new", "round": "->round", "d/e/up": "->../../../outside", "d/back": "->../../ws", "twice": "->d/e/up/d", "sly": "->d/../../outside/file",
		}, []string{
			"absolute", "relative", "folder", "folder/file", "folder/new", "folder/new/new", "folder/d/file", "parent", "parent/file", "parent/new", "root", "root/etc/hostname", "chain", "chain2", "chain3", "chain3/new",
			"dangling", "dangling/new", "dangling2", "round", "round/new", "d/e/up", "d/e/up/file", "d/e/up/new", "d/back/../../file", "twice", "twice/file", "sly", "folder/../file", "d/e/up/../../file",
		}},
		{"special files", map[string]string{
			".gitignore": "->../outside/.gitignore", ".openhands_instructions": "->../outside/file", ".openhands": "->../outside/.openhands", "b": "",
		}, []string{"b", ".gitignore", ".openhands", ".openhands/microagents", ".openhands/microagents/a.md", ".openhands/new"}},
		{"microagents", map[string]string{".openhands/microagents": "->../../outside"}, []string{".openhands/microagents", ".openhands/microagents/a.md"}},
		{"a microagent", map[string]string{".openhands/microagents/a.md": "->../../../outside/a.md"}, []string{".openhands/microagents/a.md"}},
		{".git is a link", map[string]string{".git": "->../outside/.git", "file": ""}, []string{"file", ".git", ".git/HEAD", ".git/new"}},
		{".git is a file", map[string]string{".git": "gitdir: ../outside/.git\n", "file": ""}, []string{"file", ".git"}},
		{".git is an absolute file", map[string]string{"sub/.git": "gitdir: {outside}/.git\n", "sub/file": ""}, []string{"sub/file"}},
		{"a repository in a link", map[string]string{"sub": "->../outside"}, []string{"sub/file", "sub/.git/HEAD"}},
		{"objects", map[string]string{".git/objects": "->../../outside/.git/objects", "file": ""}, []string{"file"}},
		{"the index", map[string]string{".git/index": "->../../outside/.git/index", "file": "", "d": "->../outside/d"}, []string{"file", "d/file"}},
		{"references", map[string]string{".git/refs": "->../../outside/.git/refs", ".git/HEAD": "->../../outside/.git/HEAD", ".git/packed-refs": "->../../outside/file", "file": ""}, []string{"file"}},
		{"excluded", map[string]string{".git/info": "->../../outside", "file": ""}, []string{"file"}},
		{"configuration", map[string]string{".git/config": config, ".git/config.worktree": config, ".git/commondir": "{outside}/.git\n", ".git/gitdir": "{outside}/.git\n", "file": ""}, []string{"file"}},
		{"the common folder", map[string]string{".git/commondir": "../../outside/.git\n", "file": ""}, []string{"file"}},
		{"absolute alternates", map[string]string{".git/objects/info/alternates": "{outside}/.git/objects\n", "file": ""}, []string{"file"}},
		{"relative alternates", map[string]string{".git/objects/info/alternates": "../../../outside/.git/objects\n", "file": ""}, []string{"file"}},
		{"linked alternates", map[string]string{".git/outside": "->../../outside/.git", ".git/objects/info/alternates": "outside/objects\n/outside/objects\nobjects\n", "file": ""}, []string{"file"}},
		{"symbolic references", map[string]string{".git/HEAD": "ref: ../../outside/.git/refs/heads/master\n", ".git/refs/remotes/origin/HEAD": "ref: ../../../../../outside/.git/HEAD\n", "file": ""}, []string{"file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, dir, h := surroundings(t)
			before := snapshot(t, dir)
			outside := strings.NewReplacer("{outside}", filepath.Join(filepath.Dir(dir), "outside"))
			files := map[string]string{}
			if test.files[".git"] == "" { // a repository that is compared with the commit outside, if it can be found
				files[".git/HEAD"] = "ref: refs/heads/master\n"
				if test.files[".git/refs"] == "" {
					files[".git/refs/heads/master"] = h.String() + "\n"
					files[".git/refs/remotes/origin/master"] = h.String() + "\n"
				}
			}
			for name, content := range test.files {
				files[name] = outside.Replace(content)
			}
			put(t, dir, files)
			ask := slices.Clone(test.ask)
			for i := range ask {
				ask[i] = outside.Replace(ask[i])
			}
			if told := everything(t, w, ask...); strings.Contains(told, canary) {
				t.Errorf("told: %s", told)
			}
			if after := snapshot(t, dir); after != before {
				t.Errorf("outside is\n%s\nwas\n%s", after, before)
			}
		})
	}
}

// TestRace replaces a folder by a link that leads out, and back, while
// everything goes on.
func TestRace(t *testing.T) {
	w, dir, h := surroundings(t)
	before := snapshot(t, dir)
	put(t, dir, map[string]string{
		"inside/d/": "", "inside/file": "inside", "link": "->../outside", "f": "",
		".git/HEAD": "ref: refs/heads/master\n", ".git/refs/heads/master": h.String() + "\n", ".git/objects/": "", ".git/link": "->../../outside/.git/objects",
	})
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			for _, swap := range [][3]string{{"inside", "link", "swapped"}, {".git/objects", ".git/link", ".git/x"}} {
				a, b, x := filepath.Join(dir, swap[0]), filepath.Join(dir, swap[1]), filepath.Join(dir, swap[2])
				os.Rename(a, x)
				os.Rename(b, a)
				os.Rename(x, b)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for range 50 {
		for _, name := range []string{"inside", "inside/file", "inside/d/file", "inside/new/file", "link/file", "f"} {
			list, _ := w.List(name)
			text, _ := w.Read(name)
			modified, original, _ := w.Diff(t.Context(), name)
			_, err := w.Upload(name, strings.NewReader("uploaded"))
			if told := fmt.Sprint(list, text, modified, original, err); strings.Contains(told, canary) {
				t.Fatalf("told: %s", told)
			}
		}
		changes, err := w.Changes(t.Context())
		_, files := archive(t, w)
		if told := fmt.Sprint(changes, err, files); strings.Contains(told, canary) {
			t.Fatalf("told: %s", told)
		}
	}
	close(stop)
	<-stopped
	if after := snapshot(t, dir); after != before {
		t.Errorf("outside is\n%s\nwas\n%s", after, before)
	}
}

// FuzzNames asks for whatever name: nothing outside is told or touched.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"", ".", "..", "../file", "/file", "in/../../file", "out/file", "out/new", "d/up/file", "/workspace/out/x", shown + "/../file", "\x00", "\xff", "a\nb", `C:\x`, "new/" + strings.Repeat("x", 300), ".git/HEAD", ".git/objects/info/alternates"} {
		f.Add(name)
	}
	w, dir, h := surroundings(f)
	files := map[string]string{
		"in": "->d", "out": "->../outside", "d/up": "->../..", "d/x": "", "file": "->../file", "dangling": "->../new",
		".git/HEAD": h.String() + "\n",
	}
	put(f, dir, files)
	before := snapshot(f, dir)
	f.Fuzz(func(t *testing.T, name string) {
		list, err := w.List(name)
		told := fmt.Sprintln(list, err)
		for _, listed := range list {
			if listed != shown && !strings.HasPrefix(listed, shown+"/") {
				t.Errorf("List(%q) = %q, want paths below %s", name, list, shown)
			}
		}
		text, err := w.Read(name)
		told += fmt.Sprintln(text, err)
		_, err = w.Upload(name, strings.NewReader("x"))
		if told += fmt.Sprintln(err); strings.Contains(told, canary) {
			t.Errorf("told of %q: %s", name, told)
		}
		if err == nil {
			if text, err := w.Read(name); text != "x" || err != nil {
				t.Errorf("Read(%q) after Upload = %q, %v", name, text, err)
			}
			if local, err := w.local(name); err == nil {
				os.RemoveAll(filepath.Join(dir, strings.Split(local, "/")[0]))
				put(t, dir, restored(dir, files))
			}
		}
		if after := snapshot(t, dir); after != before {
			t.Fatalf("after %q outside is\n%s\nwas\n%s", name, after, before)
		}
	})
}

// restored returns those of the files that are not there.
func restored(dir string, files map[string]string) map[string]string {
	missing := map[string]string{}
	for name, content := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			missing[name] = content
		}
	}
	return missing
}
