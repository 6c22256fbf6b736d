package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/openhands-local/openhands-local/store"
)

// fileState is what Open finds before bbolt touches the file.
type fileState struct {
	size  int64
	clean bool // it holds its list of free pages
}

// openFile opens the database at path, once it is sure that bbolt can.
func openFile(path string) (db *bolt.DB, found fileState, err error) {
	var file *os.File
	defer func() {
		if err != nil && file != nil {
			file.Close() // bbolt does not, when it panics
		}
	}()
	defer recoverDamage(&err)
	if _, missing := os.Lstat(path); errors.Is(missing, fs.ErrNotExist) {
		makeFile(path)
	}
	db, err = bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         lockTimeout,
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: initialMmapSize(),
		NoStatistics:    true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			if err != nil {
				return nil, err
			}
			file = f
			found, err = inspect(f)
			return f, err
		},
	})
	if errors.Is(err, berrors.ErrTimeout) {
		err = errors.New("is in use by another process")
	}
	return db, found, err
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
	if want := int64(meta.pages) * int64(meta.pageSize); found.size < want {
		return found, fmt.Errorf("%w: the file has been cut short, it has %d of %d bytes; restore it from a backup, or move it away to begin anew",
			store.ErrCorrupt, found.size, want)
	}
	const noFreelist = 1<<64 - 1
	found.clean = meta.freelist != noFreelist
	return found, nil
}

// meta is the part of a bbolt meta page that matters here.
type meta struct {
	pageSize uint32
	freelist uint64 // page of the list of free pages
	pages    uint64 // that the file must have
	txid     uint64
}

// readMeta reads the meta page at an offset; ok tells that it is valid.
//
//	page header 16, magic 4, version 4, page size 4, flags 4,
//	root bucket 16, freelist 8, pages 8, transaction 8, FNV-1a 8 of the meta
func readMeta(f *os.File, offset int64) (m meta, ok bool) {
	b := make([]byte, 80)
	if _, err := f.ReadAt(b, offset); err != nil {
		return meta{}, false
	}
	sum := fnv.New64a()
	sum.Write(b[16:72])
	order := binary.NativeEndian
	return meta{
		pageSize: order.Uint32(b[24:]),
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
