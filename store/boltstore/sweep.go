package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// sweepBatch is how many keys one transaction of the sweeper removes: few
// enough that a writer hardly notices.
const sweepBatch = 1000

// markDeleted marks the births from first to last as deleted.
func markDeleted(tx *bolt.Tx, first, last uint64) error {
	return tx.Bucket(deletedBucket).Put(
		binary.BigEndian.AppendUint64(nil, first),
		binary.BigEndian.AppendUint64(nil, last))
}

func (s *Store) wakeSweeper() {
	select {
	case s.deleted <- struct{}{}:
	default:
	}
}

// sweep removes what belongs to deleted conversations until the store closes.
// It takes its turn with every other writer after each batch.
func (s *Store) sweep() {
	for {
		select {
		case <-s.closing:
			return
		case <-s.deleted:
		}
		for more := true; more; {
			if s.lock(context.Background()) != nil {
				return
			}
			err := s.update(func(tx *bolt.Tx) (err error) {
				more, err = s.sweepSome(tx)
				return err
			})
			s.unlock()
			if err != nil {
				more = false
				if err != errUnchanged {
					s.log.Warn("deleted events could not be removed: tried again after the next delete", "err", err)
				}
			}
		}
	}
}

// sweepSome removes up to a batch of what the first mark names that no Import
// is at, and the mark once that is all. more reports whether to go on.
func (s *Store) sweepSome(tx *bolt.Tx) (more bool, err error) {
	marks := tx.Bucket(deletedBucket)
	cursor := marks.Cursor()
	first, last := cursor.First()
	for first != nil && s.isImporting(binary.BigEndian.Uint64(first)) {
		first, last = cursor.Next()
	}
	if first == nil {
		return false, errUnchanged
	}
	left := sweepBatch
	for _, name := range [][]byte{eventsBucket, keysBucket} {
		c := tx.Bucket(name).Cursor()
		for k, _ := c.Seek(first); k != nil && bytes.Compare(k[:len(last)], last) <= 0; k, _ = c.Seek(first) {
			if left == 0 {
				return true, nil
			}
			if err := c.Delete(); err != nil {
				return false, err
			}
			left--
		}
	}
	return true, marks.Delete(first)
}
