package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
	"github.com/go-git/go-git/v5/plumbing/format/index"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const (
	// maxDiff is the size in bytes of the largest file that Diff reads, as in
	// the real server.
	maxDiff = 1 << 20

	// maxFiles is the largest number of files and folders of a commit that Changes
	// compares with. A tree of trees can name more files than any disk can hold.
	maxFiles = 500_000

	// maxPath is the length in bytes of the longest path in a commit. A tree that
	// is a folder of itself has no longest.
	maxPath = 4096
)

// A Change is a file that differs from the commit that its repository is
// compared with.
type Change struct {
	Status string `json:"status"` // "M" modified, "A" added, "D" deleted
	Path   string `json:"path"`   // below the workspace
}

// Changes returns what has changed in the git repositories of the workspace:
// that of the workspace itself and those of the folders directly in it, in the
// order of the paths.
//
// As in the real server a repository is compared, not with its last commit, but
// with what origin last had: the branch of the same name, else the commit where
// the branch left origin's default branch, else that branch, else nothing at
// all, so that every file is added. Compared are the files that git tracks, as
// they are in the folder, and the untracked ones that neither a .gitignore nor
// .git/info/exclude ignores. A file that was renamed is deleted and added; one
// in conflict is modified.
//
// Only a folder .git is a repository: a file .git, as in a worktree or a
// submodule, is not followed, no configuration is read, objects kept elsewhere
// are not found. The error is [ErrNoRepository], [ErrTooLarge] (more than
// [maxFiles]), that of ctx, or tells what is wrong with the repository.
func (w *Workspace) Changes(ctx context.Context) ([]Change, error) {
	repositories, err := w.repositories()
	if err != nil {
		return nil, err
	}
	changes := []Change{}
	for _, dir := range repositories {
		found, err := w.openRepository(ctx, dir).changes()
		if err != nil {
			return nil, fmt.Errorf("git repository %s: %w", dir, err)
		}
		for _, c := range found {
			inner := func(other string) bool { return strings.HasPrefix(c.Path, other+"/") }
			if dir == "." && slices.ContainsFunc(repositories, inner) {
				continue
			}
			changes = append(changes, Change{c.Status, path.Join(dir, c.Path)})
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return changes, nil
}

// repositories returns the folders that hold a .git folder: the workspace,
// and those directly in it whose name does not begin with a dot.
func (w *Workspace) repositories() ([]string, error) {
	entries, err := w.readDir(".")
	if w.absent(err) {
		return nil, ErrNoRepository
	} else if err != nil {
		return nil, err
	}
	var dirs []string
	if w.isRepository(".") {
		dirs = append(dirs, ".")
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && w.isRepository(e.Name()) {
			dirs = append(dirs, e.Name())
		}
	}
	if dirs == nil {
		return nil, ErrNoRepository
	}
	return dirs, nil
}

func (w *Workspace) isRepository(dir string) bool {
	if w.root == nil {
		return false
	}
	info, err := w.root.Stat(path.Join(dir, ".git"))
	return err == nil && info.IsDir()
}

// Diff returns a file as it is, and as it is in the commit that its repository,
// the innermost one around it, is compared with (see [Workspace.Changes]). Both
// have LF at the ends of their lines and none at the end; a file that is not
// there is "". A link is the path that it leads to. The error is
// [fs.ErrNotExist] when both are missing, [ErrNoRepository], [ErrFolder],
// [ErrNotText] for what is not UTF-8, [ErrTooLarge] (more than [maxDiff]),
// [ErrOutside], [fs.ErrInvalid], that of ctx, or tells what is wrong with the
// repository [sub_git_repo].
func (w *Workspace) Diff(ctx context.Context, name string) (modified, original string, err error) {
	local, err := w.local(name)
	if err != nil {
		return "", "", err
	}
	now, err := w.content(local)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return "", "", w.outside(name, err)
	}
	dir := path.Dir(local)
	for ; !w.isRepository(dir); dir = path.Dir(dir) {
		if dir == "." {
			return "", "", fmt.Errorf("%s: %w", local, ErrNoRepository)
		}
	}
	before, err := w.openRepository(ctx, dir).original(strings.TrimPrefix(local, dir+"/"))
	if err != nil && (missing || !errors.Is(err, fs.ErrNotExist)) {
		return "", "", fmt.Errorf("%s: %w", local, err)
	}
	if !utf8.Valid(now) || !utf8.Valid(before) {
		return "", "", fmt.Errorf("%s: %w", local, ErrNotText)
	}
	return lines(now), lines(before), nil
}

// lines returns a text for comparison.
func lines(b []byte) string {
	return strings.TrimSuffix(newlines.Replace(string(b)), "\n")
}

// content returns what git keeps of a file: its bytes, or the path that a link
// leads to.
func (w *Workspace) content(local string) ([]byte, error) {
	if w.root == nil {
		return nil, fs.ErrNotExist
	}
	info, err := w.root.Lstat(local)
	if errors.Is(err, w.escapes) {
		return nil, err
	} else if err != nil {
		return nil, fs.ErrNotExist
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := w.root.Readlink(local)
		return []byte(target), err
	}
	return w.readFile(local, maxDiff)
}

// A repository is a git repository in the workspace, for one request.
type repository struct {
	w     *Workspace
	ctx   context.Context
	dir   string // that holds .git
	reads int
	*filesystem.Storage
	objects objects
}

func (w *Workspace) openRepository(ctx context.Context, dir string) *repository {
	r := &repository{w: w, ctx: ctx, dir: dir}
	g := &gitFS{w: w, ctx: ctx, dir: path.Join(dir, ".git"), reads: &r.reads}
	r.objects = objects{fs: g, cache: cache.NewObjectLRU(16 * cache.MiByte)}
	r.Storage = filesystem.NewStorage(g, r.objects.cache)
	return r
}

// EncodedObject reads an object, which begins a count of reads.
func (r *repository) EncodedObject(t plumbing.ObjectType, h plumbing.Hash) (plumbing.EncodedObject, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	r.reads = 0
	o, err := r.objects.object(h)
	if err == nil && t != plumbing.AnyObject && o.Type() != t {
		return nil, plumbing.ErrObjectNotFound
	}
	return o, err
}

// base returns the tree that the repository is compared with, nil for the
// empty one.
func (r *repository) base() (*object.Tree, error) {
	commit, err := r.baseCommit()
	if ended := r.ctx.Err(); ended != nil {
		return nil, ended // go-git takes a reference that it cannot read for none
	}
	if err != nil || commit == nil {
		return nil, err
	}
	return commit.Tree()
}

func (r *repository) baseCommit() (*object.Commit, error) {
	head, err := r.commit(plumbing.HEAD)
	if err != nil {
		return nil, err
	}
	if head != nil {
		branch := "HEAD"
		if ref, err := r.Reference(plumbing.HEAD); err == nil && ref.Target().IsBranch() {
			branch = ref.Target().Short()
		}
		origin, err := r.commit(plumbing.NewRemoteReferenceName("origin", branch))
		if origin != nil || err != nil {
			return origin, err
		}
	}
	origin, err := r.commit(plumbing.NewRemoteHEADReferenceName("origin"))
	if origin == nil || head == nil || err != nil {
		return origin, err
	}
	common, err := head.MergeBase(origin)
	if len(common) == 0 || err != nil {
		return origin, err
	}
	return common[0], nil
}

// commit returns the commit that a reference leads to, nil when there is no
// such reference.
func (r *repository) commit(name plumbing.ReferenceName) (*object.Commit, error) {
	ref, err := storer.ResolveReference(r, name)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return object.GetCommit(r, ref.Hash())
}

// original returns a file as it is in the base tree.
func (r *repository) original(name string) ([]byte, error) {
	tree, err := r.base()
	if err != nil {
		return nil, err
	}
	if tree == nil {
		return nil, fs.ErrNotExist
	}
	entry, err := tree.FindEntry(name)
	if errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound) {
		return nil, fs.ErrNotExist
	} else if err != nil {
		return nil, err
	}
	if !entry.Mode.IsFile() {
		return nil, fs.ErrNotExist
	}
	blob, err := object.GetBlob(r, entry.Hash)
	if err != nil {
		return nil, err
	}
	content, err := blob.Reader()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return readAll(content, name, maxDiff)
}

// A comparison is a repository on the way to its changes.
type comparison struct {
	*repository
	base    map[string]object.TreeEntry // by path; found files are taken out
	index   *index.Index
	tracked map[string]*index.Entry // by path
	folders map[string]bool         // that hold tracked files
	entries int                     // of the trees that base is made of
	found   []Change
}

// changes returns the changes of the repository, with paths below its folder.
func (r *repository) changes() ([]Change, error) {
	c := comparison{repository: r, base: map[string]object.TreeEntry{}, tracked: map[string]*index.Entry{}, folders: map[string]bool{}}
	tree, err := r.base()
	if err != nil {
		return nil, err
	}
	if tree != nil {
		if err := c.addBase(tree, ""); err != nil {
			return nil, err
		}
	}
	if c.index, err = r.Index(); err != nil {
		return nil, err
	}
	for _, e := range c.index.Entries {
		if e.Mode == filemode.Submodule || e.SkipWorktree {
			delete(c.base, e.Name)
			continue
		}
		c.tracked[e.Name] = e
		for dir := path.Dir(e.Name); dir != "." && dir != "/" && !c.folders[dir]; dir = path.Dir(dir) {
			c.folders[dir] = true
		}
	}
	ignores := r.w.patterns(path.Join(r.dir, ".git/info/exclude"), nil)
	if err := c.walk("", nil, ignores, false); err != nil {
		return nil, err
	}
	for name := range c.base {
		c.found = append(c.found, Change{"D", name})
	}
	return c.found, nil
}

// addBase adds the files of a tree.
func (c *comparison) addBase(tree *object.Tree, dir string) error {
	for _, e := range tree.Entries {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		name := path.Join(dir, e.Name)
		if c.entries++; c.entries > maxFiles || len(name) > maxPath {
			return fmt.Errorf("%w: more than %d files and folders, or a path of more than %d bytes", ErrTooLarge, maxFiles, maxPath)
		}
		if e.Mode == filemode.Dir {
			sub, err := object.GetTree(c.repository, e.Hash)
			if err == nil {
				err = c.addBase(sub, name)
			}
			if err != nil {
				return err
			}
		} else if e.Mode != filemode.Submodule {
			if e.Mode == filemode.Deprecated {
				e.Mode = filemode.Regular
			}
			c.base[name] = e
		}
	}
	return nil
}

// walk compares the files of a folder of the repository, given by its path as
// git has it and as a list, and of those below. ignores are the patterns of
// the folders above; excluded reports that they ignore the folder, which is here
// only for its tracked files.
func (c *comparison) walk(dir string, domain []string, ignores []gitignore.Pattern, excluded bool) error {
	local := path.Join(c.dir, dir)
	entries, err := c.w.readDir(local)
	if c.w.absent(err) {
		return nil
	} else if err != nil {
		return err
	}
	ignores = append(slices.Clip(ignores), c.w.ignores(local, domain)...)
	ignored := gitignore.NewMatcher(ignores)
	for _, e := range entries {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		name, names := path.Join(dir, e.Name()), append(slices.Clip(domain), e.Name())
		switch {
		case e.Name() == ".git":
		case e.IsDir():
			excluded := excluded || ignored.Match(names, true) || c.w.isRepository(path.Join(c.dir, name))
			if c.folders[name] || !excluded {
				err = c.walk(name, names, ignores, excluded)
			}
		case c.tracked[name] != nil:
			err = c.compare(name, e)
		case e.Type().IsRegular() || e.Type() == fs.ModeSymlink:
			if !excluded && !ignored.Match(names, false) {
				c.found = append(c.found, Change{"A", name})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compare compares a tracked file with the base tree.
func (c *comparison) compare(name string, e fs.DirEntry) error {
	info, err := e.Info()
	if c.w.absent(err) {
		return nil
	} else if err != nil {
		return err
	}
	before, was := c.base[name]
	mode, hash, err := c.state(name, info)
	if c.w.absent(err) {
		return nil // as if it had gone before it was listed
	} else if err != nil {
		return err
	}
	delete(c.base, name)
	switch {
	case !was:
		c.found = append(c.found, Change{"A", name})
	case mode != before.Mode || hash != before.Hash:
		c.found = append(c.found, Change{"M", name})
	}
	return nil
}

// state returns what git would keep of a tracked file: from the index, when
// the file has not been touched since it was put there.
func (c *comparison) state(name string, info fs.FileInfo) (filemode.FileMode, plumbing.Hash, error) {
	entry, local := c.tracked[name], path.Join(c.dir, name)
	mode, err := filemode.NewFromOSFileMode(info.Mode())
	if err != nil {
		return mode, plumbing.ZeroHash, ErrNotText
	}
	if runtime.GOOS == "windows" && mode == filemode.Regular && entry.Mode == filemode.Executable {
		mode = entry.Mode // Windows has no such bit
	}
	if mode == filemode.Symlink {
		target, err := c.w.root.Readlink(local)
		return mode, plumbing.ComputeHash(plumbing.BlobObject, []byte(target)), err
	}
	if mode == entry.Mode && entry.Size == uint32(info.Size()) &&
		entry.ModifiedAt.Equal(info.ModTime()) && info.ModTime().Before(c.index.ModTime) {
		return mode, entry.Hash, nil
	}
	f, info, err := c.w.openFile(local)
	if err != nil {
		return mode, plumbing.ZeroHash, err
	}
	defer f.Close()
	h := plumbing.NewHasher(plumbing.BlobObject, info.Size())
	_, err = io.Copy(h, io.LimitReader(&contextReader{c.ctx, f}, info.Size()))
	return mode, h.Sum(), err
}
