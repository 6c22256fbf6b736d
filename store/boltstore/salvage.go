package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore/boltfile"
)

// Salvage makes a new store at the path to, which must not exist, of all that
// can be read of the damaged one at path, and reports to watch what cannot. Events
// that have lost their conversation get one: of its id where the order of
// conversations still has that, of one that begins with "recovered-" otherwise.
// What only damaged pages lead to is looked for in all pages of the file:
// events of known conversations, which never change, and conversations, which
// may be ones that had been deleted. Idempotency keys and records (settings,
// secrets) that only damaged pages lead to are lost.
func Salvage(ctx context.Context, path, to string, watch Watcher) (Report, error) {
	r, err := salvage(ctx, path, to, watch)
	return r, wrap("salvage", path, err)
}

func salvage(ctx context.Context, path, to string, watch Watcher) (Report, error) {
	if db, _, _, err := openReadOnly(path); err == nil {
		defer db.Close() // it holds the lock
	} else if errors.Is(err, store.ErrInUse) {
		return Report{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return Report{}, err
	}
	defer file.Close()
	found, err := boltfile.Inspect(file)
	if err != nil {
		watch.problem(err)
	}
	if found.Meta.PageSize == 0 {
		watch.problem(errors.New("both meta pages are damaged"))
		size := uint32(os.Getpagesize())
		found.Meta = boltfile.Meta{PageSize: size, Pages: uint64(found.Size) / uint64(size)}
	}
	if _, err := os.Lstat(to); err == nil {
		return Report{}, fmt.Errorf("%s: %w", to, os.ErrExist)
	}
	s, err := Open(to, Options{})
	if err != nil {
		return Report{}, err
	}
	c := newChecker(ctx, file, found, watch)
	damaged := c.noteDamage()
	err = c.copyTo(ctx, s, func() error {
		if damaged[""] || damaged[string(conversationsBucket)] {
			if err := c.lostConversations(); err != nil {
				return err
			}
		}
		if damaged[""] || damaged[string(eventsBucket)] {
			return c.lostEvents()
		}
		return nil
	})
	if err = errors.Join(err, s.Close()); err == nil {
		err = cutTail(to)
	}
	if err != nil {
		return Report{}, errors.Join(err, os.Remove(to))
	}
	return c.Report, nil
}

// noteDamage returns in which buckets problems are met from now on; "" is any.
func (c *checker) noteDamage() map[string]bool {
	damaged := make(map[string]bool)
	c.Problem = func(bucket [][]byte, err error) {
		name := ""
		if len(bucket) > 0 {
			name = string(bucket[0])
		}
		damaged[name] = true
		c.watch.problem(err)
	}
	return damaged
}

// copyTo copies what the file has to an empty store: first what a walk finds,
// then what more finds.
func (c *checker) copyTo(ctx context.Context, s *Store, more func() error) error {
	write := func(fn func(tx *bolt.Tx) error) error { return s.write(ctx, "copy", "", fn) }
	var batch []func(*bolt.Tx) error
	size := 0
	flush := func() error {
		err := write(func(tx *bolt.Tx) error {
			for _, put := range batch {
				if err := put(tx); err != nil {
					return err
				}
			}
			return nil
		})
		batch, size = batch[:0], 0
		return err
	}
	c.keep = func(bucket, key, value []byte) error {
		batch = append(batch, func(tx *bolt.Tx) error {
			b := tx.Bucket(bucket)
			b.FillPercent = fillPercent
			return b.Put(key, value)
		})
		if size += len(value); size < importBytes && len(batch) < importEvents {
			return nil
		}
		return flush()
	}
	if err := c.All(); err != nil {
		return err
	}
	if err := more(); err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	return write(c.order)
}

// order gives lost events a conversation, and writes in which order the
// conversations are.
func (c *checker) order(tx *bolt.Tx) error {
	taken := make(map[string]bool)
	for _, conversation := range c.conversations {
		taken[conversation.ID] = true
	}
	for birth := range c.orphans {
		if _, ok := c.conversations[birth]; ok {
			continue
		}
		named, ok := c.named[birth]
		if !ok || taken[named.ID] {
			unknown := time.Unix(0, 0).UTC()
			named = store.Conversation{ID: fmt.Sprintf("recovered-%d", birth), Birth: birth, CreatedAt: unknown, UpdatedAt: unknown}
		}
		taken[named.ID] = true
		c.conversations[birth] = named
		c.Conversations++
	}
	for _, conversation := range c.conversations {
		if err := addConversation(tx, conversation); err != nil {
			return err
		}
	}
	c.Events = tx.Bucket(eventsBucket).Stats().KeyN
	return tx.Bucket(metaBucket).SetSequence(max(c.sequences[string(metaBucket)], c.lastBirth))
}

// leaves yields the elements of the leaves that no tree has led to.
func (c *checker) leaves(yield func(e boltfile.Element) error) error {
	for id := uint64(2); id < c.Meta.Pages; id++ {
		if c.Has(id) {
			continue
		}
		p, err := c.Read(id)
		if err != nil || !p.Leaf {
			continue
		}
		if err := c.Visited(p.Span); err != nil {
			return err
		}
		for _, e := range p.Elements {
			if e.Bucket {
				continue
			}
			if err := yield(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// lostConversations looks for conversations in all leaves. Of several of one
// id the last counts.
func (c *checker) lostConversations() error {
	known := make(map[string]bool)
	for _, conversation := range c.conversations {
		known[conversation.ID] = true
	}
	lost := make(map[string]store.Conversation)
	err := c.leaves(func(e boltfile.Element) error {
		conversation, err := readConversation(e.Key, e.Value)
		if err != nil || known[conversation.ID] {
			return nil
		}
		if other, ok := lost[conversation.ID]; !ok || conversation.Birth > other.Birth || conversation.Birth == other.Birth && conversation.UpdatedAt.After(other.UpdatedAt) {
			lost[conversation.ID] = conversation
		}
		return nil
	})
	for _, id := range slices.Sorted(maps.Keys(lost)) {
		conversation := lost[id]
		if _, ok := c.conversations[conversation.Birth]; ok {
			continue
		}
		c.watch.problem(fmt.Errorf("conversation %q was found on a page that nothing leads to: it may be one that had been deleted", id))
		c.conversations[conversation.Birth] = conversation
		c.lastBirth = max(c.lastBirth, conversation.Birth)
		c.Conversations++
	}
	return err
}

// lostEvents looks for events of known conversations in all leaves.
func (c *checker) lostEvents() error {
	return c.leaves(func(e boltfile.Element) error {
		if len(e.Key) != 16 {
			return nil
		}
		if _, ok := c.conversations[binary.BigEndian.Uint64(e.Key)]; !ok || eventID(e.Key) < 0 || eventID(e.Key) > store.MaxID {
			return nil
		}
		if _, content, err := unseal(e.Value); err != nil || !bytes.HasPrefix(content, []byte("{")) {
			return nil
		}
		return c.keep(eventsBucket, e.Key, e.Value)
	})
}

// Compact writes the store at path anew, without its free pages and what is
// left of deleted conversations, and puts that in its place: before the rename,
// which comes last, the old file is untouched. The old file is locked from the
// first to the last, so that no store is opened on it meanwhile. It returns
// what the file had and has. One that is damaged is ErrCorrupt, and stays as
// it is.
func Compact(ctx context.Context, path string, watch Watcher) (before, after Report, err error) {
	before, after, err = compact(ctx, path, watch)
	return before, after, wrap("compact", path, err)
}

// compactSuffix ends the name of the new file on its way. It is always the
// same: what an interrupted Compact leaves behind, the next one removes.
const compactSuffix = ".compact"

func compact(ctx context.Context, path string, watch Watcher) (before, after Report, err error) {
	if _, err := os.Stat(path); err != nil {
		return before, after, err
	}
	db, file, found, err := openFile(path)
	if err != nil {
		return before, after, advise(err)
	}
	open := true
	defer func() {
		if open {
			err = errors.Join(err, db.Close())
		}
	}()
	made := path + compactSuffix
	if err := os.RemoveAll(made); err != nil {
		return before, after, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(made))
		}
	}()
	s, err := Open(made, Options{})
	if err != nil {
		return before, after, err
	}
	problems := 0
	count := Watcher{Progress: watch.Progress, Problem: func(err error) { problems++; watch.problem(err) }}
	c := newChecker(ctx, file, found, count)
	err = c.copyTo(ctx, s, func() error {
		c.together()
		if problems > 0 {
			return fmt.Errorf("%w: nothing was changed", store.ErrCorrupt)
		}
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		return before, after, err
	}
	if err := cutTail(made); err != nil {
		return before, after, err
	}
	// What is put in place has been read back.
	after, err = Check(ctx, made, Watcher{Problem: count.Problem})
	if err != nil {
		return before, after, err
	}
	before = c.Report
	if problems > 0 || after.Conversations != before.Conversations || after.Events != before.Events || after.Records != before.Records {
		return before, after, fmt.Errorf("%w: the new file does not have what the old one has", store.ErrCorrupt)
	}
	if runtime.GOOS == "windows" { // a file that is open cannot be replaced, by us or by another
		open = false
		if err := db.Close(); err != nil {
			return before, after, err
		}
	}
	if err := os.Rename(made, path); err != nil {
		return before, after, err
	}
	return before, after, syncFolder(path)
}

// cutTail cuts a closed file to what it has: bbolt makes it longer than that,
// so as to do so less often.
func cutTail(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	found, err := boltfile.Inspect(f)
	if err == nil {
		err = errors.Join(f.Truncate(int64(found.Meta.Pages)*int64(found.Meta.PageSize)), f.Sync())
	}
	return errors.Join(err, f.Close())
}
