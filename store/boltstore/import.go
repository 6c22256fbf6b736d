package boltstore

import (
	"context"
	"encoding/binary"
	"iter"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/store"
)

// Bounds of what one transaction of Import stores: enough that the commits do
// not count, little enough that another writer hardly notices.
const (
	importEvents = 4 * store.PageEvents
	importBytes  = 4 << 20
)

// Import implements [store.Store].
//
// The events come under a birth that no conversation has and that is marked as
// deleted from the first: readers cannot see them, and after a crash the
// sweeper removes them. The last transaction takes the mark away and adds the
// conversation, in place of the old one where there is one. A Reset on the way
// takes the mark away too, and the import is ErrNotFound.
func (s *Store) Import(ctx context.Context, c store.Conversation, replace bool, events iter.Seq2[store.Event, error]) (store.Conversation, error) {
	c = c.InUTC()
	write := func(fn func(tx *bolt.Tx) error) error { return s.write(ctx, "import", c.ID, fn) }
	err := write(func(tx *bolt.Tx) (err error) {
		if tx.Bucket(conversationsBucket).Get([]byte(c.ID)) != nil && !replace {
			return store.ErrConflict
		}
		if c.Birth, err = tx.Bucket(metaBucket).NextSequence(); err != nil {
			return err
		}
		s.setImporting(c.Birth, true)
		return markDeleted(tx, c.Birth, c.Birth)
	})
	defer func() {
		s.setImporting(c.Birth, false)
		s.wakeSweeper()
	}()
	if err == nil {
		err = s.importEvents(c.Birth, events, write)
	}
	if err == nil {
		err = write(func(tx *bolt.Tx) error { return s.adopt(tx, c, replace) })
	}
	if err != nil {
		return store.Conversation{}, err
	}
	s.watchers.Wake(c.ID)
	return c, nil
}

// importEvents stores events under a birth that is being imported.
func (s *Store) importEvents(birth uint64, events iter.Seq2[store.Event, error], write func(func(tx *bolt.Tx) error) error) error {
	t := tail{birth: birth}
	var batch []store.Event
	size := 0
	flush := func() error {
		return write(func(tx *bolt.Tx) error {
			if !isMarked(tx, birth) {
				return store.ErrNotFound
			}
			s.adding = len(batch)
			return t.restore(tx, batch)
		})
	}
	for e, err := range events {
		if err != nil {
			return err
		}
		batch = append(batch, e)
		if size += len(e.JSON); size < importBytes && len(batch) < importEvents {
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		batch, size = batch[:0], 0
	}
	return flush()
}

// adopt makes of a birth that was imported the conversation c.
func (s *Store) adopt(tx *bolt.Tx, c store.Conversation, replace bool) error {
	if !isMarked(tx, c.Birth) {
		return store.ErrNotFound
	}
	if tx.Bucket(conversationsBucket).Get([]byte(c.ID)) != nil {
		if !replace {
			return store.ErrConflict
		}
		delete(s.tails, c.ID)
		if err := remove(tx, c.ID); err != nil {
			return err
		}
	}
	if err := tx.Bucket(deletedBucket).Delete(binary.BigEndian.AppendUint64(nil, c.Birth)); err != nil {
		return err
	}
	return addConversation(tx, c)
}

// setImporting says which births the sweeper leaves alone.
func (s *Store) setImporting(birth uint64, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.importing[birth] = true
	} else {
		delete(s.importing, birth)
	}
}

func (s *Store) isImporting(birth uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.importing[birth]
}

// isMarked reports whether a birth has a mark of its own.
func isMarked(tx *bolt.Tx, birth uint64) bool {
	return tx.Bucket(deletedBucket).Get(binary.BigEndian.AppendUint64(nil, birth)) != nil
}
