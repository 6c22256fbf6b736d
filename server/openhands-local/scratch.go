package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// scratch is a temporary data folder, locked for as long as its process
// lives. What a killed process left behind is nobody's, and the next
// newScratch removes it:
//
//	owner      make folder ─▶ lock, waiting ─▶ still there? else again
//	next one   list folders ─▶ lock, not waiting ─▶ remove ─▶ unlock
//
// Whoever holds the lock is alone with the folder, so no folder of a living
// process is removed, not even one just made.
type scratch struct {
	name string
	lock *os.File // the open folder; nil where folders cannot be locked
}

// scratchPrefix begins the name of each folder; pid and a random number
// follow.
const scratchPrefix = "openhands-local-exec-"

// newScratch removes what is left behind, then makes a folder, in the
// system's place for temporary files.
func newScratch() (*scratch, error) {
	sweep(os.TempDir())
	for {
		name, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", scratchPrefix, os.Getpid()))
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
			return &scratch{name, lock}, nil
		}
		lock.Close()
	}
}

// remove removes the folder. What cannot be removed is told.
func (s *scratch) remove(stderr io.Writer) {
	if err := os.RemoveAll(s.name); err != nil {
		fmt.Fprintln(stderr, "openhands-local: exec:", err)
	}
	if s.lock != nil {
		s.lock.Close()
	}
}

// sweep removes the folders that no living process holds. What it may not
// touch stays: it is another user's.
func sweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), scratchPrefix) {
			continue
		}
		name := filepath.Join(parent, entry.Name())
		if lock, err := lockFolder(name, false); err == nil && lock != nil {
			_ = os.RemoveAll(name)
			lock.Close()
		}
	}
}
