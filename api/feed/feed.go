// Package feed tells whoever follows a conversation what happens in it, in one
// order that everybody sees: its events and, between them, notices of what is
// no event.
//
//	f, err := feed.Follow(ctx, id, after)
//	…
//	defer f.Close()
//	for item, err := range f.All(ctx) { … }
//
// An event is always read from the store, after the last one that a follower
// has: a wake-up carries no data, so nothing is lost between what was stored
// and what comes, and a slow follower holds nobody up. A notice lives in memory
// and is told once, to those who follow when it comes. [Feed.Tell] gives it its
// place, after the last event that was stored by then, and every follower sees
// it there.
//
// The package knows neither what events are nor who follows: sockets, agents,
// streams.
package feed

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/openhands-local/openhands-local/store"
)

// An Item is one thing that followers are told: an event, or a notice.
type Item struct {
	Conversation string
	Birth        uint64 // of the conversation
	Event        store.Event
	Notice       *Notice // nil for an event
}

// A Notice is what followers of a conversation are told beside its events.
type Notice struct {
	Kind NoticeKind `json:"kind"`
	// Update, of an Update, is a JSON object for the clients of the
	// conversation.
	Update json.RawMessage `json:"update,omitempty"`
}

// A NoticeKind says what happened.
type NoticeKind string

// What happens to a conversation.
const (
	Began  NoticeKind = "began"  // its run
	Ended  NoticeKind = "ended"  // its run; nothing of the run comes after
	Update NoticeKind = "update" // there is something to tell its clients
)

// ErrBehind ends a follower that does not take what it is told.
var ErrBehind = errors.New("follower is too far behind")

// maxNotices is how many notices wait for a follower.
const maxNotices = 1024

// A Feed is that of all conversations of a store. Make one with [New]. Its
// methods may be called by any number of goroutines.
type Feed struct {
	store     store.Store
	followers atomic.Int64
	wide      atomic.Int64 // those of all conversations

	mu   sync.Mutex
	hubs map[string]*hub    // by conversation; those that somebody follows
	all  map[*Follower]bool // of all conversations
}

// A hub is a conversation that somebody follows.
type hub struct {
	mu      sync.Mutex // under Feed.mu, or alone
	cursors map[*cursor]bool
}

// New returns the feed of a store.
func New(s store.Store) *Feed {
	return &Feed{store: s, hubs: map[string]*hub{}, all: map[*Follower]bool{}}
}

// Followers is how many there are.
func (f *Feed) Followers() int { return int(f.followers.Load()) }

// Append stores an event, as [store.Store.Append] does. All events have to come
// this way for those who follow all conversations.
func (f *Feed) Append(ctx context.Context, conversation string, e store.NewEvent) (id int64, repeated bool, err error) {
	f.touch(ctx, conversation)
	return f.store.Append(ctx, conversation, e)
}

// Tell tells the followers of a conversation a notice, after the events that
// are stored.
func (f *Feed) Tell(ctx context.Context, conversation string, n Notice) {
	f.touch(ctx, conversation)
	f.mu.Lock()
	h := f.hubs[conversation]
	f.mu.Unlock()
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx = context.WithoutCancel(ctx)                  // what has happened is told
	now, _ := f.store.Conversation(ctx, conversation) // one that is gone is nobody's but its followers'
	told := placed{Notice: n}
	told.at, _ = f.Last(ctx, conversation)
	if n.Kind == Ended {
		told.before, told.beyond = f.tail(ctx, conversation)
	}
	for c := range h.cursors {
		if now.Birth != 0 && now.Birth != c.birth {
			continue
		}
		c.notices = append(c.notices, told)
		c.wake()
	}
}

// tail is the last page of a conversation, with the id beyond which it is whole.
func (f *Feed) tail(ctx context.Context, conversation string) (page []store.Event, beyond int64) {
	page, err := store.Events(ctx, f.store, conversation, store.Range{To: store.MaxID, Reverse: true}, store.PageEvents)
	if err != nil {
		return nil, store.MaxID
	}
	slices.Reverse(page)
	if !full(page) {
		return page, -1
	}
	return page, page[0].ID - 1
}

// Last is the id of the last event of a conversation, -1 when it has none.
func (f *Feed) Last(ctx context.Context, conversation string) (id int64, err error) {
	id = -1
	err = f.store.Visit(ctx, conversation, store.Range{To: store.MaxID, Reverse: true}, func(e store.Event) bool {
		id = e.ID
		return false
	})
	if damaged := new(store.DamagedEvent); errors.As(err, &damaged) {
		return damaged.ID, nil
	}
	return id, err
}

// touch begins to follow a conversation for those who follow all: before the
// first thing that happens in it since.
func (f *Feed) touch(ctx context.Context, conversation string) {
	if f.wide.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for a := range f.all {
		if a.cursors[conversation] != nil {
			continue
		}
		c, err := f.store.Conversation(ctx, conversation)
		if err != nil {
			return // nothing can happen in it
		}
		last, err := f.Last(ctx, conversation)
		if err != nil {
			return
		}
		a.cursors[conversation] = f.attach(a, c, last)
	}
}

// attach adds a cursor of a follower to a conversation. f.mu is locked.
func (f *Feed) attach(a *Follower, c store.Conversation, after int64) *cursor {
	h := f.hubs[c.ID]
	if h == nil {
		h = &hub{cursors: map[*cursor]bool{}}
		f.hubs[c.ID] = h
	}
	added := &cursor{feed: f, follower: a, hub: h, conversation: c.ID, birth: c.Birth, at: after}
	added.changed.Store(true)
	h.mu.Lock()
	h.cursors[added] = true
	h.mu.Unlock()
	added.stop = f.store.Watch(c.ID, added.wakeToRead)
	return added
}

// detach takes a cursor away. f.mu is locked.
func (f *Feed) detach(c *cursor) {
	c.stop()
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	delete(c.hub.cursors, c)
	if len(c.hub.cursors) == 0 && f.hubs[c.conversation] == c.hub {
		delete(f.hubs, c.conversation)
	}
}
