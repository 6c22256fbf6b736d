// Package scratch makes temporary folders that do not outlive their process
// for long: what a killed one left behind is nobody's, and the next [New]
// removes it.
//
//	owner      make folder ─▶ lock, waiting ─▶ still there? else again
//	next one   list folders ─▶ lock, not waiting ─▶ remove ─▶ unlock
//
// Whoever holds the lock is alone with the folder, so no folder of a living
// process is removed, not even one just made.
package scratch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Folder is a temporary folder, locked for as long as its process lives.
type Folder struct {
	// Name is its absolute path.
	Name string

	lock *os.File // the open folder; nil where folders cannot be locked
}

// prefix begins the name of each folder; pid and a random number follow.
const prefix = "openhands-local-scratch-"

// New removes what is left behind, then makes a folder (0700), in the system's
// place for temporary files.
func New() (*Folder, error) {
	sweep(os.TempDir())
	for {
		name, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", prefix, os.Getpid()))
		if err != nil {
			return nil, err
		}
		lock, err := lockFolder(name, true)
		switch {
		case errors.Is(err, fs.ErrNotExist): // swept before it was locked
			continue
		case err != nil:
			return nil, errors.Join(err, os.Remove(name))
		}
		if _, err := os.Stat(name); err == nil {
			return &Folder{name, lock}, nil
		}
		lock.Close()
	}
}

// Remove removes the folder and all in it.
func (f *Folder) Remove() error {
	err := os.RemoveAll(f.Name)
	if f.lock != nil {
		err = errors.Join(err, f.lock.Close())
	}
	return err
}

// sweep removes the folders that no living process holds. What it may not
// touch stays: it is another user's.
func sweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		name := filepath.Join(parent, entry.Name())
		if lock, err := lockFolder(name, false); err == nil && lock != nil {
			_ = os.RemoveAll(name)
			lock.Close()
		}
	}
}
