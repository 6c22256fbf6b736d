package workspace

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5"
)

// maxReads is how many reads of packs one git object may take: a few hundred
// for [maxDiff] bytes, or two for each delta of a chain, which git makes 250
// long at most unless told otherwise. A pack in which an object is a delta of
// itself, which go-git would follow until the stack is full and the process
// dies, ends there.
const maxReads = 5000

var errReads = errors.New("git object takes too many reads")

// A gitFS is the .git folder of a repository as go-git reads it: through the
// root of the workspace, never written to, until ctx ends. No name leads out
// of the folder, only links do, and not out of the workspace.
type gitFS struct {
	w     *Workspace
	ctx   context.Context
	dir   string
	reads *int // of packs, for the object at hand
}

var _ billy.Filesystem = (*gitFS)(nil)

// local returns what the root calls a file of the folder.
func (g *gitFS) local(name string) string {
	return path.Join(g.dir, path.Join("/", filepath.ToSlash(name)))
}

// Open opens a regular file. The list of alternates, folders with more
// objects, is not there for go-git: it would follow a list that names its own
// folder for ever.
func (g *gitFS) Open(name string) (billy.File, error) {
	if path.Base(filepath.ToSlash(name)) == "alternates" {
		return nil, fs.ErrNotExist
	}
	f, _, err := g.w.openFile(g.local(name))
	if g.w.absent(err) {
		return nil, fs.ErrNotExist // go-git looks for what need not be there
	} else if err != nil {
		return nil, err
	}
	return &gitFile{f, g, name}, nil
}

func (g *gitFS) OpenFile(name string, flag int, _ fs.FileMode) (billy.File, error) {
	if flag != os.O_RDONLY {
		return nil, billy.ErrReadOnly
	}
	return g.Open(name)
}

func (g *gitFS) Stat(name string) (fs.FileInfo, error)  { return g.w.root.Stat(g.local(name)) }
func (g *gitFS) Lstat(name string) (fs.FileInfo, error) { return g.w.root.Lstat(g.local(name)) }
func (g *gitFS) Readlink(name string) (string, error)   { return g.w.root.Readlink(g.local(name)) }

func (g *gitFS) ReadDir(name string) ([]fs.FileInfo, error) {
	entries, err := g.w.readDir(g.local(name))
	var infos []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			infos = append(infos, info)
		}
	}
	return infos, err
}

func (g *gitFS) Join(elem ...string) string { return path.Join(elem...) }
func (g *gitFS) Root() string               { return "/" }

func (g *gitFS) Chroot(name string) (billy.Filesystem, error) {
	sub := *g
	sub.dir = g.local(name)
	return &sub, nil
}

func (g *gitFS) Create(string) (billy.File, error)           { return nil, billy.ErrReadOnly }
func (g *gitFS) TempFile(string, string) (billy.File, error) { return nil, billy.ErrReadOnly }
func (g *gitFS) Rename(string, string) error                 { return billy.ErrReadOnly }
func (g *gitFS) Remove(string) error                         { return billy.ErrReadOnly }
func (g *gitFS) MkdirAll(string, fs.FileMode) error          { return billy.ErrReadOnly }
func (g *gitFS) Symlink(string, string) error                { return billy.ErrReadOnly }

// A gitFile is an open file of a gitFS.
type gitFile struct {
	*os.File
	fs   *gitFS
	name string
}

// Name returns what the gitFS calls the file.
func (f *gitFile) Name() string { return f.name }

func (f *gitFile) Read(p []byte) (int, error) {
	if err := f.read(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *gitFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.read(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

// read reports whether the file may be read from once more.
func (f *gitFile) read() error {
	if strings.HasSuffix(f.name, ".pack") {
		if *f.fs.reads++; *f.fs.reads > maxReads {
			return errReads
		}
	}
	return f.fs.ctx.Err()
}

func (f *gitFile) Write([]byte) (int, error)          { return 0, billy.ErrReadOnly }
func (f *gitFile) WriteAt([]byte, int64) (int, error) { return 0, billy.ErrReadOnly }
func (f *gitFile) Truncate(int64) error               { return billy.ErrReadOnly }
func (f *gitFile) Lock() error                        { return nil }
func (f *gitFile) Unlock() error                      { return nil }
