package boltstore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/openhands-local/openhands-local/store"
)

// openFile opens the database at path for writing, once it is sure that bbolt
// can: bbolt does not survive a damaged page while it looks for free ones.
// found is what the file was like.
func openFile(path string) (db *bolt.DB, file *os.File, found fileState, err error) {
	if _, missing := os.Lstat(path); errors.Is(missing, fs.ErrNotExist) {
		makeFile(path)
	}
	const tries = 10
	for i := 0; ; i++ {
		if err := verify(path); err != nil {
			return nil, nil, fileState{}, err
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
			return nil, nil, fileState{}, err
		}
	}
}

// fileState is what inspect finds.
type fileState struct {
	size int64
	meta meta // the zero value when no meta page is valid
}

// boltOpen opens a file with bbolt, which locks it.
func boltOpen(path string, o *bolt.Options) (db *bolt.DB, file *os.File, found fileState, err error) {
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
		found, err = inspect(f)
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

// sameFile tells whether the open file is still the one of the name.
func sameFile(f *os.File, name string) bool {
	open, err := f.Stat()
	named, err2 := os.Stat(name)
	return errors.Join(err, err2) == nil && os.SameFile(open, named)
}

// openReadOnly opens a file that is there for reading, with a lock that keeps
// writers out. Nothing of it but the meta pages has been read.
func openReadOnly(path string) (db *bolt.DB, file *os.File, found fileState, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fileState{}, err
	}
	if info.Size() == 0 {
		return nil, nil, fileState{}, errEmpty
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
	w := walk{pages: pages{file: file, meta: found.meta, ahead: &readAhead{}}, problem: func(_ [][]byte, err error) { problem = cmp.Or(problem, err) }}
	if found.meta.hasFreelist() {
		_, _, problem = w.freelist()
	} else {
		_ = w.all() // found is not set
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

// inspect reads what bbolt's meta pages say of the file, and refuses one that
// is shorter than they say: bbolt opens it, and the process dies when it reads
// beyond the end. A file without a valid meta page is left for bbolt to refuse.
func inspect(f *os.File) (fileState, error) {
	pageSize := int64(os.Getpagesize())
	meta, ok := readMeta(f, 0)
	if ok {
		pageSize = int64(meta.pageSize)
	}
	if second, ok2 := readMeta(f, pageSize); ok2 && (!ok || second.txid > meta.txid) {
		meta, ok = second, true
	}
	// The size is asked for last: another process may have the file open, and
	// it makes the file longer before a meta page says so.
	info, err := f.Stat()
	if err != nil {
		return fileState{}, err
	}
	found := fileState{size: info.Size()}
	if !ok {
		return found, nil
	}
	found.meta = meta
	if want := int64(meta.pages) * int64(meta.pageSize); found.size < want {
		return found, fmt.Errorf("%w: the file has been cut short, it has %d of %d bytes", store.ErrCorrupt, found.size, want)
	}
	return found, nil
}

// meta is the part of a bbolt meta page that matters here.
type meta struct {
	pageSize uint32
	root     uint64 // page that the tree begins with
	freelist uint64 // page of the list of free pages: see hasFreelist
	pages    uint64 // that the file must have
	txid     uint64
}

// hasFreelist tells whether the file has a list of free pages: it was closed.
func (m meta) hasFreelist() bool {
	const none = 1<<64 - 1
	return m.pageSize > 0 && m.freelist != none
}

// readMeta reads the meta page at an offset; ok tells that it is valid.
//
//	page header 16, magic 4, version 4, page size 4, flags 4,
//	root bucket 16, freelist 8, pages 8, transaction 8, FNV-1a 8 of the meta
func readMeta(f io.ReaderAt, offset int64) (m meta, ok bool) {
	b := make([]byte, 80)
	if _, err := f.ReadAt(b, offset); err != nil {
		return meta{}, false
	}
	sum := fnv.New64a()
	sum.Write(b[16:72])
	order := binary.NativeEndian
	return meta{
		pageSize: order.Uint32(b[24:]),
		root:     order.Uint64(b[32:]),
		freelist: order.Uint64(b[48:]),
		pages:    order.Uint64(b[56:]),
		txid:     order.Uint64(b[64:]),
	}, order.Uint32(b[16:]) == 0xED0CDAED && order.Uint64(b[72:]) == sum.Sum64()
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
