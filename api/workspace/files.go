package workspace

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

const (
	// maxRead is the size in bytes of the largest file that Read reads. The real
	// server has no limit.
	maxRead = 16 << 20

	// maxName is the length in bytes of the longest name, below the workspace,
	// that Upload takes. It bounds the depth of folders too.
	maxName = 1024
)

// List returns the absolute paths, as shown, of what the folder name holds,
// not recursively: files and folders, those whose name begins with a dot too,
// without a slash at the end, in the order of their names (the real server has
// no order). What the .gitignore of the workspace ignores is left out. A file
// is listed as itself, what does not exist as nothing. The error is
// [ErrOutside], [fs.ErrInvalid] or one of the system [sub_list_files,
// sub_list_files_gitignore].
func (w *Workspace) List(name string) ([]string, error) {
	list := []string{}
	local, info, err := w.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	} else if err != nil {
		return nil, err
	}
	ignored := gitignore.NewMatcher(w.ignores(".", nil))
	add := func(local string, folder bool) {
		if local == "." || !ignored.Match(strings.Split(local, "/"), folder) {
			list = append(list, path.Join(w.shown, local))
		}
	}
	if !info.IsDir() {
		add(local, false)
		return list, nil
	}
	entries, err := w.readDir(local)
	if w.absent(err) {
		return list, nil
	}
	for _, e := range entries {
		add(path.Join(local, e.Name()), e.IsDir())
	}
	return list, err
}

// ignores returns the patterns of the .gitignore in a folder, relative to
// domain.
func (w *Workspace) ignores(dir string, domain []string) []gitignore.Pattern {
	return w.patterns(path.Join(dir, ".gitignore"), domain)
}

// patterns returns the ignore patterns in a file; none when it cannot be read.
func (w *Workspace) patterns(file string, domain []string) []gitignore.Pattern {
	b, err := w.readFile(file, 1<<20)
	if err != nil {
		return nil
	}
	var patterns []gitignore.Pattern
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, gitignore.ParsePattern(line, domain))
		}
	}
	return patterns
}

// newlines makes every end of a line a line feed.
var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// Read returns the text of a file, CRLF and CR as LF, bytes that are no UTF-8
// as U+FFFD. A file is text when its first kilobyte holds neither 0x00 nor
// 0xFF. The error is [fs.ErrNotExist], [ErrNotText], [ErrFolder],
// [ErrTooLarge] (more than [maxRead]), [ErrOutside], [fs.ErrInvalid] or one of
// the system [sub_select_file].
func (w *Workspace) Read(name string) (string, error) {
	b, err := w.Bytes(name)
	if err != nil {
		return "", err
	}
	if head := b[:min(len(b), 1024)]; bytes.IndexByte(head, 0x00) >= 0 || bytes.IndexByte(head, 0xFF) >= 0 {
		return "", fmt.Errorf("%s: %w", w.Shown(name), ErrNotText)
	}
	text := strings.Map(func(r rune) rune { return r }, string(b)) // U+FFFD for each byte that is no UTF-8
	return newlines.Replace(text), nil
}

// Bytes returns a file as it is. The error is [fs.ErrNotExist], [ErrNotText] for
// what is no regular file, [ErrFolder], [ErrTooLarge] (more than [maxRead]),
// [ErrOutside], [fs.ErrInvalid] or one of the system.
func (w *Workspace) Bytes(name string) ([]byte, error) {
	local, _, err := w.stat(name)
	if err != nil {
		return nil, err
	}
	b, err := w.readFile(local, maxRead)
	return b, w.outside(name, err)
}

// Mkdir makes a folder and those around it that are missing. The error is
// [ErrOutside], [fs.ErrInvalid], [ErrNoFolder] or one of the system.
func (w *Workspace) Mkdir(name string) error {
	local, err := w.local(name)
	if err != nil {
		return err
	}
	if w.root == nil {
		return ErrNoFolder
	}
	if len(local) > maxName {
		return fmt.Errorf("a name of %d bytes: %w", len(local), syscall.ENAMETOOLONG)
	}
	return w.outside(name, w.root.MkdirAll(local, 0o755))
}

// Upload writes a file, whose folders are made, and returns the path that the
// real server shows for it, beside an error too. The bytes are kept as they
// are. A file that is there already is replaced when all of r has been read,
// never before: until then the new one is beside it under a name that begins
// with .upload-, which a crash leaves behind. A link is replaced, not followed.
// The error is [ErrOutside], [ErrFolder] for a folder, such as "",
// [fs.ErrInvalid], [ErrNoFolder], or one of r or the system [sub_upload_files].
//
// The real server lists as skipped only what is outside: a file that cannot be
// written for another reason is listed as uploaded.
func (w *Workspace) Upload(name string, r io.Reader) (shown string, err error) {
	shown = w.Shown(name)
	local, err := w.local(name)
	if err != nil {
		return shown, err
	}
	return shown, w.outside(name, w.write(local, r))
}

// write is Upload to a local name.
func (w *Workspace) write(local string, r io.Reader) error {
	if w.root == nil {
		return ErrNoFolder
	}
	if len(local) > maxName {
		return fmt.Errorf("a name of %d bytes: %w", len(local), syscall.ENAMETOOLONG)
	}
	if info, err := w.root.Stat(local); err == nil && info.IsDir() {
		return &fs.PathError{Op: "upload", Path: local, Err: ErrFolder}
	} else if errors.Is(err, w.escapes) {
		return err
	}
	if err := w.root.MkdirAll(path.Dir(local), 0o755); err != nil {
		return err
	}
	half := path.Join(path.Dir(local), ".upload-"+rand.Text())
	f, err := w.root.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Close()); err == nil {
		err = w.root.Rename(half, local)
	}
	if err != nil {
		return errors.Join(err, w.root.Remove(half))
	}
	return nil
}
