package workspace

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// A testRepository is a git repository written by go-git on the plain file
// system.
type testRepository struct {
	t   testing.TB
	dir string
	*git.Repository
}

func newRepository(t testing.TB, dir string) *testRepository {
	t.Helper()
	r, err := git.PlainInit(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	return &testRepository{t, dir, r}
}

// add puts files, as put does, and tracks them.
func (r *testRepository) add(files map[string]string) {
	r.t.Helper()
	put(r.t, r.dir, files)
	tree, err := r.Worktree()
	if err != nil {
		r.t.Fatal(err)
	}
	for name := range files {
		if _, err := tree.Add(name); err != nil {
			r.t.Fatal(err)
		}
	}
}

// commit commits what is tracked, as the child of the head.
func (r *testRepository) commit() plumbing.Hash {
	r.t.Helper()
	tree, err := r.Worktree()
	if err != nil {
		r.t.Fatal(err)
	}
	h, err := tree.Commit("message", &git.CommitOptions{Author: &object.Signature{Name: "n", Email: "a@b", When: time.Unix(1e9, 0)}, AllowEmptyCommits: true})
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

// ref sets a reference to a commit.
func (r *testRepository) ref(name string, h plumbing.Hash) {
	r.t.Helper()
	if err := r.Storer.SetReference(plumbing.NewHashReference(plumbing.ReferenceName(name), h)); err != nil {
		r.t.Fatal(err)
	}
}

// reset puts HEAD to a commit, on no branch, and nothing else.
func (r *testRepository) reset(h plumbing.Hash) { r.ref("HEAD", h) }

func (r *testRepository) remove(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(r.dir, name)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// changed fails the test when the changes, as "M path", are not those.
func changed(t *testing.T, w *Workspace, want ...string) {
	t.Helper()
	changes, err := w.Changes(t.Context())
	if err != nil {
		t.Fatalf("Changes = %v", err)
	}
	got := []string{}
	for _, c := range changes {
		got = append(got, c.Status+" "+c.Path)
	}
	if !slices.Equal(got, want) {
		t.Errorf("Changes = %q, want %q", got, want)
	}
}

func TestNoRepository(t *testing.T) {
	w, dir := open(t)
	put(t, dir, map[string]string{"a": "", "d/b": "", ".hid/.git/HEAD": "", "file/.git": "gitdir: ../elsewhere\n"})
	if got, err := w.Changes(t.Context()); !errors.Is(err, ErrNoRepository) || got != nil {
		t.Errorf("Changes = %v, %v, want %v", got, err, ErrNoRepository)
	}
	for _, name := range []string{"a", "d/b", "d/nope", "file/x"} {
		if _, _, err := w.Diff(t.Context(), name); !errors.Is(err, ErrNoRepository) {
			t.Errorf("Diff(%q) = %v, want %v", name, err, ErrNoRepository)
		}
	}
}

// TestNoOrigin has the repository of sub_git_repo: without an origin all is
// added.
func TestNoOrigin(t *testing.T) {
	w, dir := open(t)
	r := newRepository(t, dir)
	changed(t, w)
	r.add(map[string]string{"t.txt": "1\n"})
	changed(t, w, "A t.txt")
	r.commit()
	put(t, dir, map[string]string{"t.txt": "2\n", "n.txt": "3\n"})
	changed(t, w, "A n.txt", "A t.txt")
	for name, want := range map[string]string{"n.txt": "3", "t.txt": "2", "/workspace/n.txt": "3"} {
		modified, original, err := w.Diff(t.Context(), name)
		if modified != want || original != "" || err != nil {
			t.Errorf("Diff(%q) = %q, %q, %v, want %q", name, modified, original, err, want)
		}
	}
	for name, want := range map[string]error{"nope": fs.ErrNotExist, "n.txt/x": fs.ErrNotExist, "": ErrFolder, "../x": ErrOutside, "\x00": fs.ErrInvalid} {
		if _, _, err := w.Diff(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("Diff(%q) = %v, want %v", name, err, want)
		}
	}
}

func TestChanges(t *testing.T) {
	w, dir := open(t)
	r := newRepository(t, dir)
	r.add(map[string]string{
		"same": "s", "touched": "s", "modified": "1", "same size": "1", "deleted": "d", "d/deleted": "d", "renamed": "r", "untracked": "u",
		"gone/a/b": "", "kept.log": "", "link": "->same", "becomes link": "same", "becomes folder": "", "deep/er/ö": "",
	})
	r.ref("refs/remotes/origin/master", r.commit())
	changed(t, w)

	r.add(map[string]string{"added": "", "added, gone": ""})
	r.commit() // what the branch has more than origin counts
	put(t, dir, map[string]string{
		"touched": "s", "modified": "12", "same size": "2", ".gitignore": "*.log\nbuild/\n!build/x\ngone/\n!gone/a/x\n", "gone/a/x": "", "a.log": "", "kept.log": "x", "build/x": "", "new": "",
		"d/.gitignore": "x\n!y.log", "d/x": "", "d/y.log": "", "deep/x": "", "inner/repo/.git/HEAD": "", "inner/repo/x": "", "inner/x": "",
	})
	put(t, dir, map[string]string{".git/info/exclude": "excluded\n", "excluded": "", "deep/excluded": ""})
	r.remove("deleted", "d/deleted", "gone/a/b", "added, gone", "link", "becomes link", "becomes folder")
	put(t, dir, map[string]string{"link": "->modified", "becomes link": "->same", "becomes folder/x": ""})
	tree, err := r.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Move("renamed", "renamed to"); err != nil {
		t.Fatal(err)
	}
	idx, err := r.Storer.Index()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := idx.Remove("untracked"); err != nil { // as git rm --cached
		t.Fatal(err)
	}
	for _, stage := range []index.Stage{index.AncestorMode, index.OurMode, index.TheirMode} {
		e := *must(idx.Entry("touched"))
		e.Stage, e.Size, e.ModifiedAt = stage, 0, time.Time{}
		idx.Entries = append(idx.Entries, &e)
	}
	idx.Entries = append(idx.Entries, &index.Entry{Name: "submodule", Mode: filemode.Submodule}, &index.Entry{Name: "sparse", Mode: filemode.Regular, SkipWorktree: true})
	if err := r.Storer.SetIndex(idx); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"A .gitignore", "A added", "D becomes folder", "A becomes folder/x", "M becomes link", "A d/.gitignore", "D d/deleted", "A d/y.log",
		"A deep/x", "D deleted", "D gone/a/b", "A inner/x", "M kept.log", "M link", "M modified", "A new", "D renamed", "A renamed to", "M same size",
		"D untracked", "A untracked",
	}
	changes, err := w.Changes(t.Context())
	if err != nil {
		t.Fatalf("Changes = %v", err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, c.Status+" "+c.Path)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("Changes = %q\nwant %q", got, want)
	}
	paths := slices.IsSortedFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	if !paths {
		t.Errorf("Changes = %q, want them by path", changes)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestChangedMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no executable bit")
	}
	w, dir := open(t)
	r := newRepository(t, dir)
	r.add(map[string]string{"run": "x"})
	r.ref("refs/remotes/origin/master", r.commit())
	if err := os.Chmod(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	changed(t, w, "M run")
}

// TestBase has what a repository is compared with.
func TestBase(t *testing.T) {
	w, dir := open(t)
	r := newRepository(t, dir)
	r.add(map[string]string{"f": "root"})
	root := r.commit()
	r.add(map[string]string{"f": "default"})
	deflt := r.commit()
	r.reset(root)
	r.add(map[string]string{"f": "branch"})
	branch := r.commit()
	put(t, dir, map[string]string{"f": "now\r\n"})

	for _, step := range []struct {
		name string
		refs map[string]string // the content, which begins with ref:, or with a hash
		want string
	}{
		{"no origin", nil, ""},
		{"where the branch left the default branch", map[string]string{"refs/remotes/origin/main": deflt.String(), "refs/remotes/origin/HEAD": "ref: refs/remotes/origin/main"}, "root"},
		{"HEAD on no branch", map[string]string{"HEAD": deflt.String(), "refs/remotes/origin/HEAD": branch.String()}, "branch"},
		{"the branch of the same name", map[string]string{"HEAD": "ref: refs/heads/x/y", "refs/heads/x/y": branch.String(), "refs/remotes/origin/x/y": deflt.String()}, "default"},
		{"no commit yet", map[string]string{"HEAD": "ref: refs/heads/unborn"}, "branch"},
	} {
		for name, content := range step.refs {
			put(t, dir, map[string]string{".git/" + name: content + "\n"})
		}
		if step.refs == nil {
			put(t, dir, map[string]string{".git/HEAD": "ref: refs/heads/b\n", ".git/refs/heads/b": branch.String() + "\n"})
		}
		modified, original, err := w.Diff(t.Context(), "f")
		if modified != "now" || original != step.want || err != nil {
			t.Errorf("%s: Diff = %q, %q, %v, want %q, %q", step.name, modified, original, err, "now", step.want)
		}
		status := "M"
		if step.want == "" {
			status = "A"
		}
		changed(t, w, status+" f")
	}
}

func TestDiff(t *testing.T) {
	w, dir := open(t)
	r := newRepository(t, dir)
	r.add(map[string]string{
		"crlf": " a\r\nb\r\n\r\n", "deleted": "was\n", "d/f": "f\n", "link": "->d/f", "binary": "\xff", "was binary": "\xff", "large": strings.Repeat("x", maxDiff+1),
		"largest": strings.Repeat("x", maxDiff), "folder/x": "",
	})
	r.ref("refs/remotes/origin/master", r.commit())
	r.remove("deleted", "link", "large", "folder")
	put(t, dir, map[string]string{"d/f": "", "link": "->crlf", "was binary": "text", "too large": strings.Repeat("x", maxDiff+1), "folder": "now a file"})
	for name, want := range map[string][2]string{
		"crlf":    {" a\nb\n", " a\nb\n"},
		"deleted": {"", "was"},
		"d/f":     {"", "f"},
		"link":    {"crlf", "d/f"},
		"largest": {strings.Repeat("x", maxDiff), strings.Repeat("x", maxDiff)},
		"folder":  {"now a file", ""},
	} {
		modified, original, err := w.Diff(t.Context(), name)
		if got := [2]string{modified, original}; got != want || err != nil {
			t.Errorf("Diff(%q) = %.20q, %v, want %.20q", name, got, err, want)
		}
	}
	for name, want := range map[string]error{"binary": ErrNotText, "was binary": ErrNotText, "too large": ErrTooLarge, "large": ErrTooLarge, "d": ErrFolder} {
		if _, _, err := w.Diff(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("Diff(%q) = %v, want %v", name, err, want)
		}
	}
}

// TestRepositories has repositories in folders, and one around them.
func TestRepositories(t *testing.T) {
	w, dir := open(t)
	r := newRepository(t, filepath.Join(dir, "app"))
	r.add(map[string]string{"f": "1\n"})
	r.ref("refs/remotes/origin/master", r.commit())
	put(t, dir, map[string]string{"app/f": "2\n", "app.txt": "", "app/new": ""})
	changed(t, w, "M app/f", "A app/new")
	if modified, original, err := w.Diff(t.Context(), "app/f"); modified != "2" || original != "1" || err != nil {
		t.Errorf("Diff = %q, %q, %v, want 2, 1", modified, original, err)
	}
	outer := newRepository(t, dir)
	idx := &index.Index{Version: 2, Entries: []*index.Entry{{Name: "app/f", Mode: filemode.Regular}}}
	if err := outer.Storer.SetIndex(idx); err != nil { // tracked by both: the inner one counts
		t.Fatal(err)
	}
	changed(t, w, "A app.txt", "M app/f", "A app/new")
}

// TestPack reads from a pack, as after git clone.
func TestPack(t *testing.T) {
	w, dir := open(t)
	r := newRepository(t, dir)
	text := strings.Repeat("a line that repeats\n", 1000)
	random := make([]byte, maxDiff)
	rand.NewChaCha8([32]byte{}).Read(random)
	var last plumbing.Hash
	for i := range 5 {
		r.add(map[string]string{"f": text + strconv.Itoa(i), "largest": base64.RawStdEncoding.EncodeToString(random[:maxDiff/4*3-i])})
		last = r.commit()
	}
	r.ref("refs/remotes/origin/master", last)
	if err := r.RepackObjects(&git.RepackConfig{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, filepath.Join(dir, ".git/objects")) {
		if len(name) == 2 {
			r.remove(".git/objects/" + name)
		}
	}
	changed(t, w)
	put(t, dir, map[string]string{"f": "short"})
	changed(t, w, "M f")
	if modified, original, err := w.Diff(t.Context(), "f"); modified != "short" || original != text+"4" || err != nil {
		t.Errorf("Diff = %q, %.20q, %v", modified, original, err)
	}
	if modified, original, err := w.Diff(t.Context(), "largest"); modified != original || len(original) < maxDiff-10 || err != nil {
		t.Errorf("Diff of the largest file = %d bytes, %d bytes, %v", len(modified), len(original), err)
	}
}

func TestChangesEnd(t *testing.T) {
	w, dir := open(t)
	r := newRepository(t, dir)
	r.add(map[string]string{"f": "1"})
	r.ref("refs/remotes/origin/master", r.commit())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Changes(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Changes after the end = %v, want %v", err, context.Canceled)
	}
	if _, _, err := w.Diff(ctx, "f"); !errors.Is(err, context.Canceled) {
		t.Errorf("Diff after the end = %v, want %v", err, context.Canceled)
	}
}

// TestBroken has repositories that cannot be read: an error, no panic, and an
// end.
func TestBroken(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no such commit": {".git/refs/remotes/origin/master": strings.Repeat("1", 40) + "\n"},
		"alternates":     {".git/refs/remotes/origin/master": strings.Repeat("1", 40) + "\n", ".git/objects/info/alternates": "objects\n"},
		"no hash":        {".git/refs/remotes/origin/master": "what\n"},
		"index":          {".git/index": "DIRC\x00\x00\x00\x02\xff\xff\xff\xff"},
		"round": {
			".git/refs/remotes/origin/master": "ref: refs/remotes/origin/x\n", ".git/refs/remotes/origin/x": "ref: refs/remotes/origin/master\n",
		},
	} {
		w, dir := open(t)
		r := newRepository(t, dir)
		r.add(map[string]string{"f": "1"})
		r.commit()
		put(t, dir, files)
		if got, err := w.Changes(t.Context()); err == nil {
			t.Errorf("%s: Changes = %v, want an error", name, got)
		}
	}
}

// TestManyFiles has a tree of trees that would not fit on any disk.
func TestManyFiles(t *testing.T) {
	w, dir := open(t)
	r := newRepository(t, dir)
	r.add(map[string]string{"f": "1"})
	r.commit()
	entry := object.TreeEntry{Name: "", Mode: filemode.Regular, Hash: plumbing.ComputeHash(plumbing.BlobObject, []byte("1"))}
	for range 8 {
		tree := object.Tree{}
		for i := range 50 {
			entry.Name = string(rune('0' + i))
			tree.Entries = append(tree.Entries, entry)
		}
		entry = object.TreeEntry{Mode: filemode.Dir, Hash: r.store(&tree)}
	}
	commit := object.Commit{TreeHash: entry.Hash}
	r.ref("refs/remotes/origin/master", r.store(&commit))
	if _, err := w.Changes(t.Context()); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Changes = %v, want %v", err, ErrTooLarge)
	}
}

// store stores an object.
func (r *testRepository) store(o object.Object) plumbing.Hash {
	r.t.Helper()
	e := r.Storer.NewEncodedObject()
	if err := o.Encode(e); err != nil {
		r.t.Fatal(err)
	}
	h, err := r.Storer.SetEncodedObject(e)
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

// TestDeltaOfItself has a pack whose only object is a delta of itself.
func TestDeltaOfItself(t *testing.T) {
	w, dir := open(t)
	r := newRepository(t, dir)
	r.add(map[string]string{"f": "1"})
	r.commit()
	name := plumbing.NewHash(strings.Repeat("ab", 20))
	putPack(t, dir, name)(deltaOfItself(t, name))
	if _, err := w.Changes(t.Context()); !errors.Is(err, errReads) {
		t.Errorf("Changes = %v, want %v", err, errReads)
	}
}

// putPack puts a pack that has the commit of origin's master.
func putPack(t *testing.T, dir string, name plumbing.Hash) func(pack, idx string) {
	return func(pack, idx string) {
		packed := hex.EncodeToString([]byte(pack[len(pack)-sha1.Size:]))
		put(t, dir, map[string]string{
			".git/objects/pack/pack-" + packed + ".pack": pack,
			".git/objects/pack/pack-" + packed + ".idx":  idx,
			".git/refs/remotes/origin/master":            name.String() + "\n",
		})
	}
}

// TestFaultGitBomb has objects of a few kilobytes that would be large in memory,
// and trees that have no end: each is refused, and little is read of it.
func TestFaultGitBomb(t *testing.T) {
	const large = 32 << 20
	deflate := func(text string, zeros int) string {
		var b bytes.Buffer
		z := zlib.NewWriter(&b)
		io.WriteString(z, text)
		for ; zeros > 0; zeros -= 1 << 20 {
			z.Write(make([]byte, 1<<20))
		}
		z.Close()
		return b.String()
	}
	// head is how an entry of a pack begins: its type and length.
	head := func(typ plumbing.ObjectType, length int) []byte {
		b := []byte{byte(typ)<<4 | byte(length&15)}
		for length >>= 4; length > 0; length >>= 7 {
			b[len(b)-1] |= 0x80
			b = append(b, byte(length&0x7f))
		}
		return b
	}
	name, tree := plumbing.NewHash(strings.Repeat("ab", 20)), plumbing.NewHash(strings.Repeat("cd", 20))
	object := func(h plumbing.Hash, packed string) map[string]string {
		return map[string]string{".git/objects/" + h.String()[:2] + "/" + h.String()[2:]: packed}
	}
	ofItself := append(head(plumbing.REFDeltaObject, 7), name[:]...)
	toTree := func(content string) map[string]string {
		text := fmt.Sprintf("tree %s\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx", tree)
		files := object(name, deflate(fmt.Sprintf("commit %d\x00%s", len(text), text), 0))
		maps.Copy(files, object(tree, deflate(fmt.Sprintf("tree %d\x00%s", len(content), content), 0)))
		return files
	}
	bombs := map[string]struct {
		loose map[string]string
		entry []byte
	}{
		"tells 10 bytes":         {loose: object(name, deflate("commit 10\x00", large))},
		"tells what it has":      {loose: object(name, deflate(fmt.Sprintf("commit %d\x00", large), large))},
		"head without an end":    {loose: object(name, deflate(strings.Repeat("c", 1000), large))},
		"tells less than 0":      {loose: object(name, deflate("commit -1\x00", large))},
		"pack, tells 10 bytes":   {entry: append(head(plumbing.CommitObject, 10), deflate("", large)...)},
		"pack, tells what it is": {entry: append(head(plumbing.CommitObject, large), deflate("", large)...)},
		"delta of large result":  {entry: append(ofItself, deflate("\x01\xff\xff\xff\xff\x7f\x01", 0)...)},
		"tree of itself":         {loose: toTree("40000 d\x00" + string(tree[:]))},
		"twice of itself":        {loose: toTree("40000 d\x00" + string(tree[:]) + "40000 e\x00" + string(tree[:]))},
	}
	for bomb, b := range bombs {
		t.Run(bomb, func(t *testing.T) {
			w, dir := open(t)
			r := newRepository(t, dir)
			r.add(map[string]string{"f": "1"})
			r.commit()
			put(t, dir, map[string]string{".git/refs/remotes/origin/master": name.String() + "\n"})
			put(t, dir, b.loose)
			if b.entry != nil {
				putPack(t, dir, name)(packOf(name, b.entry))
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			changes, err := w.Changes(t.Context())
			_, _, err2 := w.Diff(t.Context(), "f")
			runtime.ReadMemStats(&after)
			if strings.HasSuffix(bomb, "itself") {
				err2 = err // the file is looked for in the first tree alone
			}
			if err == nil || err2 == nil {
				t.Errorf("Changes = %v, %v; Diff = %v, want errors", changes, err, err2)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 4*large {
				t.Errorf("%d bytes of memory are used", took)
			}
		})
	}
}

// sum returns a file with its checksum behind it.
func sum(b []byte) string {
	h := sha1.Sum(b)
	return string(b) + string(h[:])
}
