// Package memstore keeps conversations, events and records in memory.
//
// It is the reference that package storetest compares every other store with,
// and what the server keeps its data in when nothing is to be kept on disk. One
// mutex guards all of it, so each method is atomic.
package memstore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"iter"
	"slices"
	"sync"

	"github.com/openhands-local/openhands-local/store"
)

// A Store is a [store.Store] in memory. What it holds is gone when the process
// ends. Make one with [New].
type Store struct {
	watchers store.Watchers

	mu            sync.Mutex
	closed        bool
	births        uint64 // the last that was given
	conversations map[string]*conversation
	records       map[string][]byte
}

type conversation struct {
	store.Conversation
	events []store.Event // ids ascend
	keys   map[string]use
}

// A use is what an idempotency key was used for.
type use struct {
	id     int64
	digest [sha256.Size]byte
}

// next returns the id of the next event.
func (c *conversation) next() int64 {
	if len(c.events) == 0 {
		return 0
	}
	return c.events[len(c.events)-1].ID + 1
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{
		conversations: make(map[string]*conversation),
		records:       make(map[string][]byte),
	}
}

// begin locks the store for one operation. Unless it returns an error, the
// caller unlocks.
func (s *Store) begin(ctx context.Context, op, id string) error {
	s.mu.Lock()
	err := ctx.Err()
	if err == nil && s.closed {
		err = &store.Error{Op: op, ID: id, Err: store.ErrClosed}
	}
	if err != nil {
		s.mu.Unlock()
	}
	return err
}

// find is begin, and the conversation that the operation is about.
func (s *Store) find(ctx context.Context, op, id string) (*conversation, error) {
	if err := s.begin(ctx, op, id); err != nil {
		return nil, err
	}
	c := s.conversations[id]
	if c == nil {
		s.mu.Unlock()
		return nil, &store.Error{Op: op, ID: id, Err: store.ErrNotFound}
	}
	return c, nil
}

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, c store.Conversation) (store.Conversation, error) {
	if err := s.begin(ctx, "create", c.ID); err != nil {
		return store.Conversation{}, err
	}
	defer s.mu.Unlock()
	if s.conversations[c.ID] != nil {
		return store.Conversation{}, &store.Error{Op: "create", ID: c.ID, Err: store.ErrConflict}
	}
	s.births++
	c.Birth = s.births
	c = c.InUTC()
	s.conversations[c.ID] = &conversation{Conversation: c, keys: make(map[string]use)}
	return c, nil
}

// Conversation implements [store.Store].
func (s *Store) Conversation(ctx context.Context, id string) (store.Conversation, error) {
	c, err := s.find(ctx, "conversation", id)
	if err != nil {
		return store.Conversation{}, err
	}
	defer s.mu.Unlock()
	return c.Conversation, nil
}

// Conversations implements [store.Store].
func (s *Store) Conversations(ctx context.Context, offset, limit int) (page []store.Conversation, total int, err error) {
	return s.LineConversations(ctx, "", offset, limit)
}

// LineConversations implements [store.Store].
func (s *Store) LineConversations(ctx context.Context, line string, offset, limit int) (page []store.Conversation, total int, err error) {
	if err := s.begin(ctx, "conversations", ""); err != nil {
		return nil, 0, err
	}
	defer s.mu.Unlock()
	for _, c := range s.conversations {
		if store.LineOf(c.ID) == line {
			page = append(page, c.Conversation)
		}
	}
	slices.SortFunc(page, func(a, b store.Conversation) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.Birth, a.Birth))
	})
	total = len(page)
	page = page[min(max(offset, 0), total):]
	page = page[:min(max(limit, 0), len(page))]
	return page, total, nil
}

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, id string, change func(*store.Conversation) error) (store.Conversation, error) {
	c, err := s.find(ctx, "update", id)
	if err != nil {
		return store.Conversation{}, err
	}
	defer s.mu.Unlock()
	changed := c.Conversation
	if err := change(&changed); err != nil {
		return store.Conversation{}, err
	}
	changed.ID, changed.Birth, changed.CreatedAt = c.ID, c.Birth, c.CreatedAt
	c.Conversation = changed.InUTC()
	return c.Conversation, nil
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	if _, err := s.find(ctx, "delete", id); err != nil {
		return err
	}
	defer s.mu.Unlock()
	delete(s.conversations, id)
	s.watchers.Wake(id)
	return nil
}

// Append implements [store.Store].
func (s *Store) Append(ctx context.Context, conversation string, e store.NewEvent) (id int64, repeated bool, err error) {
	c, err := s.find(ctx, "append", conversation)
	if err != nil {
		return 0, false, err
	}
	defer s.mu.Unlock()
	if used, ok := c.keys[e.Key]; ok {
		if used.digest != e.Digest {
			return 0, false, &store.Error{Op: "append", ID: conversation, Err: store.ErrKeyReused}
		}
		return used.id, true, nil
	}
	id = c.next()
	if id > store.MaxID {
		return 0, false, &store.Error{Op: "append", ID: conversation, Err: store.ErrFull}
	}
	c.events = append(c.events, store.Event{ID: id, Flags: e.Flags, JSON: bytes.Clone(e.JSON)})
	if e.Key != "" {
		c.keys[e.Key] = use{id: id, digest: e.Digest}
	}
	s.watchers.Wake(conversation)
	return id, false, nil
}

// Import implements [store.Store].
func (s *Store) Import(ctx context.Context, c store.Conversation, replace bool, events iter.Seq2[store.Event, error]) (store.Conversation, error) {
	taken := func() error {
		if s.conversations[c.ID] != nil && !replace {
			return &store.Error{Op: "import", ID: c.ID, Err: store.ErrConflict}
		}
		return nil
	}
	if err := s.begin(ctx, "import", c.ID); err != nil {
		return store.Conversation{}, err
	}
	err := taken()
	if err == nil {
		s.births++
		c.Birth = s.births
	}
	s.mu.Unlock()
	if err != nil {
		return store.Conversation{}, err
	}
	new := &conversation{Conversation: c.InUTC(), keys: make(map[string]use)}
	for e, err := range events {
		if err != nil {
			return store.Conversation{}, err
		}
		if e.ID < new.next() || e.ID > store.MaxID {
			return store.Conversation{}, &store.Error{Op: "import", ID: c.ID, Err: store.ErrConflict}
		}
		e.JSON = bytes.Clone(e.JSON)
		new.events = append(new.events, e)
	}
	if err := s.begin(ctx, "import", c.ID); err != nil {
		return store.Conversation{}, err
	}
	defer s.mu.Unlock()
	if err := taken(); err != nil {
		return store.Conversation{}, err
	}
	s.conversations[c.ID] = new
	s.watchers.Wake(c.ID)
	return new.Conversation, nil
}

// Visit implements [store.Store].
func (s *Store) Visit(ctx context.Context, conversation string, r store.Range, visit func(store.Event) bool) error {
	c, err := s.find(ctx, "events", conversation)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	if r.Birth != 0 && r.Birth != c.Birth {
		return &store.Error{Op: "events", ID: conversation, Err: store.ErrNotFound}
	}
	byID := func(e store.Event, id int64) int { return cmp.Compare(e.ID, id) }
	first, _ := slices.BinarySearchFunc(c.events, r.From, byID)
	end, found := slices.BinarySearchFunc(c.events, r.To, byID)
	if found {
		end++
	}
	for n := range end - first {
		e := c.events[first+n]
		if r.Reverse {
			e = c.events[end-1-n]
		}
		if !visit(e) {
			break
		}
	}
	return nil
}

// Watch implements [store.Store].
func (s *Store) Watch(conversation string, wake func()) (stop func()) {
	return s.watchers.Watch(conversation, wake)
}

// Record implements [store.Store].
func (s *Store) Record(ctx context.Context, name string) ([]byte, error) {
	if err := s.begin(ctx, "record", name); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return bytes.Clone(s.records[name]), nil
}

// UpdateRecord implements [store.Store].
func (s *Store) UpdateRecord(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error {
	if err := s.begin(ctx, "update record", name); err != nil {
		return err
	}
	defer s.mu.Unlock()
	changed, err := change(bytes.Clone(s.records[name]))
	if err != nil {
		return err
	}
	if changed == nil {
		delete(s.records, name)
	} else {
		s.records[name] = bytes.Clone(changed)
	}
	return nil
}

// Reset implements [store.Store].
func (s *Store) Reset(ctx context.Context) error {
	if err := s.begin(ctx, "reset", ""); err != nil {
		return err
	}
	defer s.mu.Unlock()
	clear(s.conversations)
	clear(s.records)
	s.watchers.WakeAll()
	return nil
}

// Close implements [store.Store].
func (s *Store) Close() error {
	if err := s.begin(context.Background(), "close", ""); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.closed = true
	s.watchers.WakeAll()
	return nil
}
