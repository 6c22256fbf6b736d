package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/store"
)

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, c store.Conversation) (store.Conversation, error) {
	c = c.InUTC()
	err := s.write(ctx, "create", c.ID, func(tx *bolt.Tx) error {
		if tx.Bucket(conversationsBucket).Get([]byte(c.ID)) != nil {
			return store.ErrConflict
		}
		var err error
		if c.Birth, err = tx.Bucket(metaBucket).NextSequence(); err != nil {
			return err
		}
		return addConversation(tx, c)
	})
	if err != nil {
		return store.Conversation{}, err
	}
	return c, nil
}

// Conversation implements [store.Store].
func (s *Store) Conversation(ctx context.Context, id string) (c store.Conversation, err error) {
	err = s.view(ctx, "conversation", id, func(tx *bolt.Tx) error {
		c, err = conversation(tx, []byte(id))
		return err
	})
	return c, err
}

// Conversations implements [store.Store].
func (s *Store) Conversations(ctx context.Context, offset, limit int) (page []store.Conversation, total int, err error) {
	return s.LineConversations(ctx, "", offset, limit)
}

// LineConversations implements [store.Store].
func (s *Store) LineConversations(ctx context.Context, line string, offset, limit int) (page []store.Conversation, total int, err error) {
	var damaged store.DamagedConversations
	err = s.view(ctx, "conversations", "", func(tx *bolt.Tx) error {
		newest := tx.Bucket(newestBucket)
		total = int(newest.Sequence() - tx.Bucket(conversationsBucket).Sequence())
		counts := line != "" // total has to be counted
		if !counts && offset >= total {
			return nil
		}
		seen := 0
		cursor := newest.Cursor()
		for _, id := cursor.First(); id != nil; _, id = cursor.Next() {
			full := len(page)+len(damaged.IDs) >= limit
			if full && !counts {
				break
			}
			if store.LineOf(string(id)) != line {
				continue
			}
			if seen++; full || seen <= offset {
				continue
			}
			c, err := conversation(tx, id)
			if err != nil {
				damaged.IDs = append(damaged.IDs, string(id))
				continue
			}
			page = append(page, c)
		}
		if counts {
			total = seen
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	if damaged.IDs != nil {
		err = wrap("conversations", "", &damaged)
	}
	return page, total, err
}

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, id string, change func(*store.Conversation) error) (store.Conversation, error) {
	const op = "update"
	if err := s.lock(ctx); err != nil {
		return store.Conversation{}, wrap(op, id, err)
	}
	defer s.unlock()
	// change runs in no transaction, so that it can take its time and panic.
	// Nobody else writes meanwhile.
	var stored store.Conversation
	err := s.view(ctx, op, id, func(tx *bolt.Tx) (err error) {
		stored, err = conversation(tx, []byte(id))
		return err
	})
	if err != nil {
		return store.Conversation{}, err
	}
	c := stored
	if err := change(&c); err != nil {
		return store.Conversation{}, err
	}
	c.ID, c.Birth, c.CreatedAt = stored.ID, stored.Birth, stored.CreatedAt
	c = c.InUTC()
	err = s.update(func(tx *bolt.Tx) error { return putConversation(tx, c) })
	if err != nil {
		return store.Conversation{}, wrap(op, id, err)
	}
	return c, nil
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	err := s.write(ctx, "delete", id, func(tx *bolt.Tx) error {
		delete(s.tails, id)
		return remove(tx, id)
	})
	if err == nil {
		s.wakeSweeper()
		s.watchers.Wake(id)
	}
	return err
}

// addConversation stores a conversation that has its birth.
func addConversation(tx *bolt.Tx, c store.Conversation) error {
	newest := tx.Bucket(newestBucket)
	if err := newest.Put(newestKey(c), []byte(c.ID)); err != nil {
		return err
	}
	if _, err := newest.NextSequence(); err != nil {
		return err
	}
	if store.LineOf(c.ID) != "" {
		if _, err := tx.Bucket(conversationsBucket).NextSequence(); err != nil {
			return err
		}
	}
	return putConversation(tx, c)
}

// remove removes a conversation and marks its birth as deleted.
func remove(tx *bolt.Tx, id string) error {
	newest := tx.Bucket(newestBucket)
	c, err := conversation(tx, []byte(id))
	key := newestKey(c)
	if errors.Is(err, store.ErrCorrupt) {
		key, err = findNewest(newest, id)
	}
	if err != nil {
		return err
	}
	conversations := tx.Bucket(conversationsBucket)
	if err := conversations.Delete([]byte(id)); err != nil {
		return err
	}
	if store.LineOf(id) != "" {
		if err := conversations.SetSequence(conversations.Sequence() - 1); err != nil {
			return err
		}
	}
	if err := newest.Delete(key); err != nil {
		return err
	}
	if err := newest.SetSequence(newest.Sequence() - 1); err != nil {
		return err
	}
	birth := ^binary.BigEndian.Uint64(key[len(key)-8:])
	return markDeleted(tx, birth, birth)
}

// findNewest looks for the key in newest of a conversation whose record is
// damaged.
func findNewest(newest *bolt.Bucket, id string) (key []byte, err error) {
	c := newest.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if string(v) == id {
			return bytes.Clone(k), nil
		}
	}
	return nil, store.ErrCorrupt
}

// conversation reads one conversation.
func conversation(tx *bolt.Tx, id []byte) (c store.Conversation, err error) {
	content, err := conversationRecord(tx, id)
	if err != nil {
		return store.Conversation{}, err
	}
	err = json.Unmarshal(content[8:], &c)
	return c, err
}

// birthOf reads a conversation's birth, which is quicker than all of it.
func birthOf(tx *bolt.Tx, id string) (uint64, error) {
	content, err := conversationRecord(tx, []byte(id))
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(content), nil
}

func conversationRecord(tx *bolt.Tx, id []byte) (content []byte, err error) {
	record := tx.Bucket(conversationsBucket).Get(id)
	if record == nil {
		return nil, store.ErrNotFound
	}
	_, content, err = unseal(record)
	return content, err
}

func putConversation(tx *bolt.Tx, c store.Conversation) error {
	content, err := json.Marshal(c)
	if err != nil {
		return err
	}
	record := seal(0, binary.BigEndian.AppendUint64(nil, c.Birth), content)
	return tx.Bucket(conversationsBucket).Put([]byte(c.ID), record)
}

// sign is turned over in newest's keys: seconds before 1970 sort before those
// after it.
const sign = 1 << 63

// newestKey returns the key of a conversation in newest. Its bits are inverted,
// so that the newest comes first.
func newestKey(c store.Conversation) []byte {
	k := binary.BigEndian.AppendUint64(nil, ^(uint64(c.CreatedAt.Unix()) ^ sign))
	k = binary.BigEndian.AppendUint32(k, ^uint32(c.CreatedAt.Nanosecond()))
	return binary.BigEndian.AppendUint64(k, ^c.Birth)
}

// fromNewest returns what a key and value of newest say of a conversation.
func fromNewest(key, value []byte) store.Conversation {
	seconds, nanoseconds := ^binary.BigEndian.Uint64(key)^sign, ^binary.BigEndian.Uint32(key[8:])
	at := time.Unix(int64(seconds), int64(nanoseconds)).UTC()
	return store.Conversation{ID: string(value), Birth: ^binary.BigEndian.Uint64(key[12:]), CreatedAt: at, UpdatedAt: at}
}
