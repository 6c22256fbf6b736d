package boltstore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore/boltfile"
)

// openFile opens the database at path for writing, once it is sure that bbolt
// can: bbolt does not survive a damaged page while it looks for free ones.
// found is what the file was like.
func openFile(path string) (db *bolt.DB, file *os.File, found boltfile.State, err error) {
	if _, missing := os.Lstat(path); errors.Is(missing, fs.ErrNotExist) {
		makeFile(path)
	}
	const tries = 10
	for i := 0; ; i++ {
		if err := verify(path); err != nil {
			return nil, nil, boltfile.State{}, err
		}
		db, file, found, err = boltOpen(path, &bolt.Options{
			NoFreelistSync:  true,
			FreelistType:    bolt.FreelistMapType,
			InitialMmapSize: initialMmapSize(),
		})
		if err != nil || i == tries || sameFile(file, path) {
			return db, file, found, err
		}
		// The file was replaced (see Compact) while its lock was waited for.
		if err := db.Close(); err != nil {
			return nil, nil, boltfile.State{}, err
		}
	}
}

// boltOpen opens a file with bbolt, which locks it.
func boltOpen(path string, o *bolt.Options) (db *bolt.DB, file *os.File, found boltfile.State, err error) {
	defer func() {
		if err != nil && file != nil {
			file.Close() // bbolt does not, when it panics
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(&err)
	o.Timeout = lockTimeout
	o.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		if err != nil {
			return nil, err
		}
		file = f
		found, err = boltfile.Inspect(f)
		return f, err
	}
	db, err = bolt.Open(path, 0o600, o)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		err = store.ErrInUse
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		err = fmt.Errorf("%w: both meta pages are damaged, or it is no store: %w", store.ErrCorrupt, err)
	}
	return db, file, found, err
}

// sameFile reports whether the open file is still the one of the name.
func sameFile(f *os.File, name string) bool {
	open, err := f.Stat()
	named, err2 := os.Stat(name)
	return errors.Join(err, err2) == nil && os.SameFile(open, named)
}

// openReadOnly opens a file that is there for reading, with a lock that keeps
// writers out. Nothing of it but the meta pages has been read.
func openReadOnly(path string) (db *bolt.DB, file *os.File, found boltfile.State, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, boltfile.State{}, err
	}
	if info.Size() == 0 {
		return nil, nil, boltfile.State{}, errEmpty
	}
	return boltOpen(path, &bolt.Options{ReadOnly: true})
}

var errEmpty = errors.New("is empty: nothing has been stored yet")

// verify finds the damage that would end the process in bbolt: in the list of
// free pages, or where there is none, after a crash, in any page of a tree.
func verify(path string) error {
	db, file, found, err := openReadOnly(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == errEmpty:
		return nil
	case err != nil:
		return err
	}
	var problem error
	w := boltfile.Walk{Reader: boltfile.Reader{File: file, Meta: found.Meta, Ahead: true}, Problem: func(_ [][]byte, err error) { problem = cmp.Or(problem, err) }}
	if found.Meta.HasFreelist() {
		_, _, problem = w.FreePages()
	} else {
		_ = w.All() // Found is not set
	}
	if problem != nil {
		problem = fmt.Errorf("%w: %w", store.ErrCorrupt, problem)
	}
	return errors.Join(problem, db.Close())
}

// makeFile makes an empty database at path, whole or not at all: one that bbolt
// had begun to make when the power went, it would never open again. Where that
// cannot be done (a file system without links) bbolt makes the file itself.
func makeFile(path string) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return
	}
	defer os.Remove(f.Name())
	if f.Close() != nil {
		return
	}
	db, err := bolt.Open(f.Name(), 0o600, nil)
	if err == nil && db.Close() == nil {
		_ = os.Link(f.Name(), path) // not renamed: another process may have made one meanwhile
	}
}

// syncFolder makes a new file's name survive the death of the machine.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be synced there
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
