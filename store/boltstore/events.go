package boltstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/store"
)

// A tail is where the next event of a conversation goes.
type tail struct {
	birth uint64
	next  int64
}

// maxTails bounds what is remembered of conversations that were appended to.
const maxTails = 10_000

// Append implements [store.Store]. One caller alone pays for one commit; many
// share one: whatever has arrived when a commit ends goes into the next, and
// nothing is waited for.
func (s *Store) Append(ctx context.Context, conversation string, e store.NewEvent) (id int64, repeated bool, err error) {
	a := &appending{
		ctx:          ctx,
		conversation: conversation,
		record:       seal(e.Flags, e.JSON),
		digest:       e.Digest,
		done:         make(chan struct{}),
	}
	if e.Key != "" {
		key := sha256.Sum256([]byte(e.Key))
		a.key = key[:]
	}
	if err := s.submit(a); err != nil {
		return 0, false, wrap("append", conversation, err)
	}
	return a.id, a.repeated, nil
}

// append stores one event.
func (s *Store) append(tx *bolt.Tx, a *appending) (id int64, repeated bool, err error) {
	t, err := s.tail(tx, a.conversation)
	if err != nil {
		return 0, false, err
	}
	var key []byte
	if a.key != nil {
		key = append(binary.BigEndian.AppendUint64(nil, t.birth), a.key...)
		if used := tx.Bucket(keysBucket).Get(key); used != nil {
			_, content, err := unseal(used)
			if err != nil {
				return 0, false, err
			}
			if [sha256.Size]byte(content[8:]) != a.digest {
				return 0, false, store.ErrKeyReused
			}
			return int64(binary.BigEndian.Uint64(content)), true, nil
		}
	}
	id = t.next
	if id > store.MaxID {
		return 0, false, store.ErrFull
	}
	if err := putEvent(tx, t.birth, id, a.record); err != nil {
		return 0, false, err
	}
	if key != nil {
		use := seal(0, binary.BigEndian.AppendUint64(nil, uint64(id)), a.digest[:])
		if err := tx.Bucket(keysBucket).Put(key, use); err != nil {
			return 0, false, err
		}
	}
	t.next++
	s.adding++
	s.tails[a.conversation] = t
	return id, false, nil
}

// tail finds where the next event of a conversation goes.
func (s *Store) tail(tx *bolt.Tx, conversation string) (tail, error) {
	if t, ok := s.tails[conversation]; ok {
		return t, nil
	}
	birth, err := birthOf(tx, conversation)
	if err != nil {
		return tail{}, err
	}
	t := tail{birth: birth}
	low, high := eventKey(birth, 0), eventKey(birth, store.MaxID)
	if k, _ := seekLast(tx.Bucket(eventsBucket).Cursor(), high[:]); between(low[:], k, high[:]) {
		t.next = eventID(k) + 1
	}
	if len(s.tails) >= maxTails {
		clear(s.tails)
	}
	s.tails[conversation] = t
	return t, nil
}

// restore stores events with the ids they have.
func (t *tail) restore(tx *bolt.Tx, events []store.Event) error {
	for _, e := range events {
		if e.ID < t.next || e.ID > store.MaxID {
			return store.ErrConflict
		}
		if err := putEvent(tx, t.birth, e.ID, seal(e.Flags, e.JSON)); err != nil {
			return err
		}
		t.next = e.ID + 1
	}
	return nil
}

// Visit implements [store.Store].
func (s *Store) Visit(ctx context.Context, conversation string, r store.Range, visit func(store.Event) bool) error {
	return s.view(ctx, "events", conversation, func(tx *bolt.Tx) error {
		birth, err := birthOf(tx, conversation)
		if err != nil {
			return err
		}
		if r.Birth != 0 && r.Birth != birth {
			return store.ErrNotFound
		}
		return visitEvents(tx, birth, r, visit)
	})
}

// visitEvents visits the events of a birth. Their JSON lies in the file.
func visitEvents(tx *bolt.Tx, birth uint64, r store.Range, visit func(store.Event) bool) (err error) {
	from, to := max(r.From, 0), r.To
	if to < from {
		return nil
	}
	low, high := eventKey(birth, from), eventKey(birth, to)
	c := tx.Bucket(eventsBucket).Cursor()
	var k, v []byte
	step := c.Next
	if r.Reverse {
		step = c.Prev
		k, v = seekLast(c, high[:])
	} else {
		k, v = c.Seek(low[:])
	}
	for ; between(low[:], k, high[:]); k, v = step() {
		e := store.Event{ID: eventID(k)}
		if e.Flags, e.JSON, err = unseal(v); err != nil {
			return &store.DamagedEvent{ID: e.ID}
		}
		if !visit(e) {
			return nil
		}
	}
	return nil
}

// seekLast moves a cursor to the last key that is not above high.
func seekLast(c *bolt.Cursor, high []byte) (key, value []byte) {
	key, value = c.Seek(high)
	switch {
	case key == nil:
		return c.Last()
	case string(key) != string(high):
		return c.Prev()
	}
	return key, value
}

func putEvent(tx *bolt.Tx, birth uint64, id int64, record []byte) error {
	events := tx.Bucket(eventsBucket)
	events.FillPercent = fillPercent
	key := eventKey(birth, id)
	return events.Put(key[:], record)
}

func eventKey(birth uint64, id int64) (key [16]byte) {
	binary.BigEndian.PutUint64(key[:], birth)
	binary.BigEndian.PutUint64(key[8:], uint64(id))
	return key
}

func eventID(key []byte) int64 {
	return int64(binary.BigEndian.Uint64(key[8:]))
}
