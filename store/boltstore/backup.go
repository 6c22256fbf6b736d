package boltstore

import (
	"context"
	"io"

	bolt "go.etcd.io/bbolt"
)

// Backup writes the store, as it was when Backup was called, as one file that
// [Open] takes. Writers go on meanwhile.
//
// This is the one read transaction that lasts longer than a page. While it
// does, bbolt keeps the pages that it may read: the file of a store that is
// written to grows by as much as that writes, once, and a writer that needs the
// map of the file to grow (see mmapSize) waits. So w should be a file, which
// takes what it gets, and not somebody's connection.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	return s.view(ctx, "backup", "", func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(contextWriter{ctx, w})
		return err
	})
}

// Backup is [Store.Backup] of a store that nobody has open. It locks the file,
// and does not change it.
func Backup(ctx context.Context, path string, w io.Writer) error {
	db, _, _, err := openReadOnly(path)
	if err != nil {
		return wrap("backup", path, advise(err))
	}
	defer db.Close()
	return wrap("backup", path, db.View(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(contextWriter{ctx, w})
		return err
	}))
}

// A contextWriter writes until its context ends.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(b)
}
