package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"

	answers "github.com/openhands-local/openhands-local/api/refuse"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore"
)

// errInDatabase is for a backup of what is in no file of ours.
var errInDatabase = answers.Ours(http.StatusConflict, "The data is in a database: pg_dump copies it. GET /_local/export has its conversations.")

// backup copies the store's file for a client. The copy is made at the disk's
// pace and sent at the client's: no transaction waits for somebody's
// connection, and writers go on. It has no name where that can be, so that
// nothing is left of it when the process dies.
func (d *world) backup(ctx context.Context) (io.ReadCloser, int64, error) {
	all, _ := d.store.(counted)
	kept, ok := all.Store.(*boltstore.Store)
	if !ok {
		return nil, 0, errInDatabase
	}
	f, err := os.CreateTemp(d.info.Data, ".backup-*")
	if err != nil {
		return nil, 0, err
	}
	named := os.Remove(f.Name()) != nil // Windows keeps what is open
	b := &backupFile{f, named}
	if err := kept.Backup(ctx, f); err != nil {
		return nil, 0, errors.Join(store.Refused(err), b.Close())
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, b.Close())
	}
	return b, size, nil
}

// A backupFile is removed when it is closed, if it has a name.
type backupFile struct {
	*os.File
	named bool
}

func (b *backupFile) Close() error {
	err := b.File.Close()
	if b.named {
		err = errors.Join(err, os.Remove(b.Name()))
	}
	return err
}
