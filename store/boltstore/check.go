package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore/boltfile"
)

// A Report says what a file has.
type Report struct {
	Conversations, Events, Records int

	Size int64 // of the file, in bytes
	Free int64 // of it, what pages take that are not in use
}

// A Watcher follows long work on a file. Its fields may be nil.
type Watcher struct {
	// Progress says how much is done, in bytes of total. It is called often.
	Progress func(done, total int64)
	// Problem gets each thing that is wrong with the file, as a sentence.
	Problem func(problem error)
}

func (w Watcher) progress(done, total int64) {
	if w.Progress != nil {
		w.Progress(done, total)
	}
}

func (w Watcher) problem(err error) {
	if w.Problem != nil {
		w.Problem(err)
	}
}

// Check reads the whole file of a store and reports to watch what is wrong with it:
// bbolt's pages and their list of free ones, every record's checksum, and that
// conversations, their order, events and keys belong together. The file is
// never changed, and locked meanwhile: one that a store has open is ErrInUse.
// Damage is no error.
func Check(ctx context.Context, path string, watch Watcher) (Report, error) {
	db, file, found, err := openReadOnly(path)
	if err != nil {
		switch {
		case err == errEmpty:
			err = nil
		case errors.Is(err, store.ErrCorrupt):
			watch.problem(err)
			err = nil
		}
		return Report{Size: found.Size}, wrap("check", path, err)
	}
	defer db.Close()
	c := newChecker(ctx, file, found, watch)
	c.otherMeta()
	if err := c.All(); err != nil {
		return Report{}, wrap("check", path, err)
	}
	c.leftOver()
	c.together()
	return c.Report, nil
}

// A checker walks a file and looks at what it finds.
type checker struct {
	boltfile.Walk
	Report
	watch Watcher
	// keep, when set, gets the events, keys and records that are in order and
	// not deleted.
	keep func(bucket, key, value []byte) error

	conversations map[uint64]store.Conversation // by birth
	named         map[uint64]store.Conversation // what newest says of those that cannot be read
	deleted       [][2]uint64                   // births, both inclusive
	sequences     map[string]uint64             // of the buckets
	newest        int
	lines         uint64 // conversations of a line that has a name
	lastBirth     uint64
	orphans       map[uint64]bool // births of events that have no conversation
}

func newChecker(ctx context.Context, file *os.File, found boltfile.State, watch Watcher) *checker {
	c := &checker{
		watch:         watch,
		conversations: make(map[uint64]store.Conversation),
		named:         make(map[uint64]store.Conversation),
		sequences:     make(map[string]uint64),
		orphans:       make(map[uint64]bool),
	}
	c.Size = found.Size
	done, size := int64(0), int64(found.Meta.PageSize)
	c.Walk = boltfile.Walk{
		Reader:  boltfile.Reader{File: file, Meta: found.Meta},
		Problem: func(_ [][]byte, err error) { watch.problem(err) },
		Found:   c.look,
		Visited: func(span uint64) error {
			done += int64(span) * size
			watch.progress(done, found.Size)
			return ctx.Err()
		},
	}
	return c
}

// otherMeta looks at the meta page that is not in use.
func (c *checker) otherMeta() {
	for i := range int64(2) {
		if _, ok := boltfile.ReadMeta(c.File, i*int64(c.Meta.PageSize)); !ok {
			c.watch.problem(fmt.Errorf("the meta page %d is damaged: what was written last may be missing; the next write makes the page anew", i))
		}
	}
}

// leftOver looks at the pages that no tree has.
func (c *checker) leftOver() {
	lost := int64(0)
	for id := range c.Meta.Pages {
		if !c.Has(id) {
			lost++
		}
	}
	free := int64(c.Walk.Free) + lost
	if c.Meta.HasFreelist() && lost > 0 {
		c.watch.problem(fmt.Errorf("%d pages are neither in use nor free: compact gives them back", lost))
	}
	c.Report.Free = free*int64(c.Meta.PageSize) + max(0, c.Size-int64(c.Meta.Pages)*int64(c.Meta.PageSize))
}

// look looks at one boltfile.Element of a leaf.
func (c *checker) look(bucket [][]byte, e boltfile.Element) error {
	if len(bucket) == 0 {
		name := string(e.Key)
		if !e.Bucket || !slices.ContainsFunc(allBuckets, func(b []byte) bool { return string(b) == name }) {
			c.watch.problem(fmt.Errorf("%q is no part of a store", name))
			return nil
		}
		c.sequences[name] = e.Sequence()
		return nil
	}
	name := bucket[0]
	if len(bucket) > 1 || e.Bucket {
		c.watch.problem(fmt.Errorf("%s has a bucket %q, and should have none", name, e.Key))
		return nil
	}
	kept, err := c.lookIn(string(name), e.Key, e.Value)
	if err != nil {
		c.watch.problem(fmt.Errorf("%s: %w", name, err))
		return nil
	}
	if kept && c.keep != nil {
		return c.keep(name, e.Key, e.Value)
	}
	return nil
}

// lookIn looks at one key and value of a bucket; kept reports whether keep wants
// it.
func (c *checker) lookIn(bucket string, key, value []byte) (kept bool, err error) {
	switch bucket {
	case string(conversationsBucket):
		conversation, err := readConversation(key, value)
		if err != nil {
			return false, fmt.Errorf("conversation %q: %w", key, err)
		}
		if other, ok := c.conversations[conversation.Birth]; ok {
			return false, fmt.Errorf("conversations %q and %q share the birth %d", other.ID, key, conversation.Birth)
		}
		c.conversations[conversation.Birth] = conversation
		c.lastBirth = max(c.lastBirth, conversation.Birth)
		c.Conversations++
		if store.LineOf(conversation.ID) != "" {
			c.lines++
		}
		return false, nil
	case string(deletedBucket):
		if len(key) != 8 || len(value) != 8 || bytes.Compare(key, value) > 0 {
			return false, fmt.Errorf("the mark %x to %x is none", key, value)
		}
		c.deleted = append(c.deleted, [2]uint64{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(value)})
		return false, nil
	case string(eventsBucket):
		if len(key) != 16 || eventID(key) < 0 || eventID(key) > store.MaxID {
			return false, fmt.Errorf("%x is no key of an event", key)
		}
		name, live := c.owner(bucket, key)
		if !live {
			return false, nil
		}
		if _, _, err := unseal(value); err != nil {
			return false, fmt.Errorf("%s, event %d: %w", name, eventID(key), err)
		}
		c.Events++
		return true, nil
	case string(keysBucket):
		if len(key) != 8+32 {
			return false, fmt.Errorf("%x is none", key)
		}
		name, live := c.owner(bucket, key)
		if !live {
			return false, nil
		}
		if _, content, err := unseal(value); err != nil || len(content) != 8+32 {
			return false, fmt.Errorf("%s, key %x: %w", name, key[8:], store.ErrCorrupt)
		}
		return true, nil
	case string(newestBucket):
		c.newest++
		if len(key) != 20 {
			return false, fmt.Errorf("%x is no place in the order", key)
		}
		named := fromNewest(key, value)
		conversation, ok := c.conversations[named.Birth]
		if !ok {
			c.named[named.Birth] = named
		}
		if !ok || conversation.ID != string(value) || !bytes.Equal(newestKey(conversation), key) {
			return false, fmt.Errorf("the entry of %q is none of a conversation", value)
		}
		return false, nil
	case string(recordsBucket):
		if _, _, err := unseal(value); err != nil {
			return false, fmt.Errorf("%s: %w", key, err)
		}
		c.Records++
		return true, nil
	}
	if v := string(key); v != string(schemaKey) || len(value) != 4 || binary.BigEndian.Uint32(value) != schema {
		return false, fmt.Errorf("%q is not %d", key, schema)
	}
	return false, nil
}

// owner returns whose an event or key is, and whether that is not deleted.
func (c *checker) owner(bucket string, key []byte) (name string, live bool) {
	birth := binary.BigEndian.Uint64(key)
	if conversation, ok := c.conversations[birth]; ok {
		return fmt.Sprintf("conversation %q", conversation.ID), true
	}
	if slices.ContainsFunc(c.deleted, func(d [2]uint64) bool { return d[0] <= birth && birth <= d[1] }) {
		return "", false
	}
	if !c.orphans[birth] {
		c.watch.problem(fmt.Errorf("%s: those of birth %d have no conversation", bucket, birth))
	}
	c.orphans[birth] = true
	c.lastBirth = max(c.lastBirth, birth)
	return fmt.Sprintf("birth %d", birth), true
}

// together looks whether the buckets go together.
func (c *checker) together() {
	if len(c.sequences) == 0 {
		return // bbolt has made the file, and Open was killed before it stored anything
	}
	for _, name := range allBuckets {
		if _, ok := c.sequences[string(name)]; !ok {
			c.watch.problem(fmt.Errorf("%s is missing", name))
		}
	}
	if n := c.sequences[string(newestBucket)]; n != uint64(c.Conversations) || c.newest != c.Conversations {
		c.watch.problem(fmt.Errorf("newest: it says that there are %d conversations and has %d, and there are %d", n, c.newest, c.Conversations))
	}
	if n := c.sequences[string(conversationsBucket)]; n != c.lines {
		c.watch.problem(fmt.Errorf("conversations: it says that there are %d of other lines, and there are %d", n, c.lines))
	}
	if last := c.sequences[string(metaBucket)]; last < c.lastBirth {
		c.watch.problem(fmt.Errorf("meta: the last birth is %d, and there is %d", last, c.lastBirth))
	}
}

// readConversation reads a conversation as Create has stored it.
func readConversation(key, value []byte) (c store.Conversation, err error) {
	_, content, err := unseal(value)
	if err != nil {
		return c, err
	}
	if len(content) < 8 {
		return c, store.ErrCorrupt
	}
	if err := json.Unmarshal(content[8:], &c); err != nil {
		return c, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	if c.ID != string(key) || c.Birth != binary.BigEndian.Uint64(content) {
		return c, fmt.Errorf("%w: it is another's", store.ErrCorrupt)
	}
	return c, nil
}
