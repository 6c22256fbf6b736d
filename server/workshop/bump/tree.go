package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// copyModule copies what git has of the module, with what is changed and new,
// and without what it ignores.
func copyModule(ctx context.Context, root, dir string) error {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	var problems bytes.Buffer
	cmd.Stderr = &problems
	names, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w\n%s", err, &problems)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, name), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) { // one that was deleted
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode().Perm())
}

// putInPlace puts the files of dir that differ into root, and returns their
// names. Each is written beside its place first: what can fail has then been
// done, and a reader never sees half a file. When one cannot be put in its
// place after all, those before it are taken back.
func putInPlace(dir, root string, names []string) (changed []string, err error) {
	type step struct{ staged, place, old string }
	var steps []step
	defer func() {
		for _, s := range steps {
			_ = os.Remove(s.staged)
			_ = os.Remove(s.old)
		}
	}()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		place := filepath.Join(root, name)
		old, err := os.ReadFile(place)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(text, old) {
			continue
		}
		s := step{place + ".bump", place, place + ".before-bump"}
		steps = append(steps, s)
		if err := errors.Join(os.WriteFile(s.staged, text, 0o644), os.WriteFile(s.old, old, 0o644)); err != nil {
			return nil, err
		}
		changed = append(changed, name)
	}
	for i, s := range steps {
		if err := os.Rename(s.staged, s.place); err != nil {
			for _, done := range steps[:i] {
				err = errors.Join(err, os.Rename(done.old, done.place))
			}
			return nil, err
		}
	}
	return changed, nil
}
