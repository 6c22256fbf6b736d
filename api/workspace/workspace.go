// Package workspace holds the files of one conversation: the folder that the
// API lists, reads, zips and uploads to, and the git repositories in it.
//
// Nothing outside that folder is ever read or written. Every file is reached
// through an [os.Root], and the git repositories through it as well, by a file
// system made for go-git. Names that lead out, by themselves or by a link, are
// refused with [ErrOutside]; links that stay inside are followed.
//
// Clients see a workspace under a path of its own, the shown folder: a name
// they send may be relative to it ("d/a.txt"), or absolute below it, or
// absolute below /workspace, which names the workspace everywhere. Names have
// slashes on every system.
//
// [Workspace.List], [Workspace.Read], [Workspace.Upload] and [Workspace.Zip]
// are the files, [Workspace.Changes] and [Workspace.Diff] the git repositories,
// [Workspace.Microagents] the instructions a repository holds for agents.
package workspace

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Folder names every workspace, whatever folder it is shown as.
const Folder = "/workspace"

var (
	// ErrOutside refuses a name that leads out of the workspace. The error that
	// carries it is an [*OutsideError].
	ErrOutside = errors.New("outside the workspace")

	// ErrFolder refuses a folder where a file is asked for.
	ErrFolder = errors.New("is a folder")

	// ErrNotText refuses a file whose content is not text, or which is no
	// regular file.
	ErrNotText = errors.New("not a text file")

	// ErrTooLarge refuses a file, or a repository, beyond a limit of this
	// package.
	ErrTooLarge = errors.New("too large")

	// ErrNoRepository reports that there is no git repository.
	ErrNoRepository = errors.New("not a git repository")

	// ErrNoFolder reports that there is nowhere to put a file.
	ErrNoFolder = errors.New("no folder for files")
)

// An OutsideError refuses a name that leads out of the workspace.
type OutsideError struct {
	// Reason is what the real server says of such a name
	// [sub_upload_files: skipped_files].
	Reason string
}

func (e *OutsideError) Error() string { return ErrOutside.Error() + ": " + e.Reason }

// Unwrap makes the error an [ErrOutside].
func (e *OutsideError) Unwrap() error { return ErrOutside }

// A Workspace is an open workspace. Its methods may be called at once from
// several goroutines.
type Workspace struct {
	root  *os.Root // nil while there is no folder
	shown string

	// escapes is what root answers to a name that leads out. Package os has no
	// name for it.
	escapes error
}

// Create is [Open] of a workspace whose folder is made, with mode 0700, when it
// is missing.
func Create(dir, shown string) (*Workspace, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return Open(dir, shown)
}

// Open opens the workspace in the folder dir. While there is no such folder the
// workspace is empty, and [ErrNoFolder] refuses what is uploaded. shown is the
// folder that clients see it as: absolute, with slashes, not the root of
// everything; [Folder] is the usual one.
func Open(dir, shown string) (*Workspace, error) {
	shown = path.Clean(shown)
	if !path.IsAbs(shown) || shown == "/" {
		return nil, fmt.Errorf("a workspace cannot be shown as %s", shown)
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &Workspace{shown: shown, escapes: ErrOutside}, nil
	} else if err != nil {
		return nil, err
	}
	_, err = root.Lstat("..")
	for e := err; e != nil; e = errors.Unwrap(e) {
		err = e
	}
	return &Workspace{root: root, shown: shown, escapes: err}, nil
}

// Close closes the workspace. Its files stay.
func (w *Workspace) Close() error {
	if w.root == nil {
		return nil
	}
	return w.root.Close()
}

// Shown returns the absolute path that clients see for a name: the shown
// folder and the name, joined and not cleaned, or an absolute name as it is.
// So "" is the shown folder with a slash after it.
func (w *Workspace) Shown(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return w.shown + "/" + name
}

// local returns what root calls the file that a client calls name.
func (w *Workspace) local(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("NUL in a file name: %w", fs.ErrInvalid)
	}
	clean := path.Clean(w.Shown(name))
	for _, folder := range []string{w.shown, Folder} {
		if clean == folder {
			return ".", nil
		}
		// IsLocal knows the names of devices, and drives, on Windows.
		if rel, ok := strings.CutPrefix(clean, folder+"/"); ok && filepath.IsLocal(rel) {
			return rel, nil
		}
	}
	return "", w.refuse(name)
}

// refuse returns the error for a name that leads out of the workspace.
func (w *Workspace) refuse(name string) error {
	if path.IsAbs(name) && !strings.HasPrefix(name, w.shown+"/") && !strings.HasPrefix(name, Folder+"/") {
		return &OutsideError{fmt.Sprintf("Invalid path: %s. You can only work with files in %s.", name, w.shown)}
	}
	shown := w.Shown(name)
	return &OutsideError{fmt.Sprintf("Invalid path traversal: %s. Path resolves outside the workspace. Resolved: %s, Workspace: %s",
		shown, path.Clean(shown), w.shown)}
}

// outside returns an error of root as one of this package: a link on the way
// of name that leads out is an [ErrOutside].
func (w *Workspace) outside(name string, err error) error {
	if errors.Is(err, w.escapes) {
		return w.refuse(name)
	}
	return err
}

// stat finds the file that a client calls name, whatever links lead to it.
// Whatever cannot be looked at is not there.
func (w *Workspace) stat(name string) (local string, info fs.FileInfo, err error) {
	local, err = w.local(name)
	if err != nil {
		return "", nil, err
	}
	if w.root == nil {
		err = fs.ErrNotExist
	} else {
		info, err = w.root.Stat(local)
	}
	if err = w.outside(name, err); err != nil && !errors.Is(err, ErrOutside) {
		err = fmt.Errorf("%s: %w", w.Shown(name), fs.ErrNotExist)
	}
	return local, info, err
}

// open opens a file or folder for reading. It does not wait for the other end
// of a pipe.
func (w *Workspace) open(local string) (*os.File, error) {
	if w.root == nil {
		return nil, fs.ErrNotExist
	}
	return w.root.OpenFile(local, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// openFile opens a regular file for reading.
func (w *Workspace) openFile(local string) (*os.File, fs.FileInfo, error) {
	f, err := w.open(local)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: local, Err: ErrNotText}
		if info.IsDir() {
			err = &fs.PathError{Op: "open", Path: local, Err: ErrFolder}
		}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// readFile reads a regular file of up to limit bytes.
func (w *Workspace) readFile(local string, limit int64) ([]byte, error) {
	f, _, err := w.openFile(local)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, local, limit)
}

// readAll reads up to limit bytes of the file called name.
func readAll(r io.Reader, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: %w: more than %d bytes", name, ErrTooLarge, limit)
	}
	return b, err
}

// readDir returns what a folder holds, by name.
func (w *Workspace) readDir(local string) ([]fs.DirEntry, error) {
	f, err := w.open(local)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, err
}

// absent reports whether err says that there is no such file in the workspace:
// it went since it was listed, is of another kind (a socket cannot be opened at
// all), or is a link that leads nowhere, round in circles, or out.
func (w *Workspace) absent(err error) bool {
	for _, e := range []error{fs.ErrNotExist, ErrFolder, ErrNotText, w.escapes, syscall.ENOTDIR, syscall.ELOOP, syscall.ENXIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
