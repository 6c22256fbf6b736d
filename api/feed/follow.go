package feed

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/openhands-local/openhands-local/store"
)

// A Follower reads the feed of one conversation, or of all. One goroutine at a
// time may call its methods, but Close.
type Follower struct {
	feed    *Feed
	changed chan struct{} // has room for one value
	closed  sync.Once

	one *cursor // of a follower of one conversation
	// cursors of a follower of all are those of the conversations in which
	// something happened, under feed.mu; nil for a follower of one.
	cursors map[string]*cursor

	mu    sync.Mutex
	ready []*cursor // of a follower of all: that may have something to tell
}

// A cursor is how far a follower is in a conversation.
type cursor struct {
	feed         *Feed
	follower     *Follower
	hub          *hub
	stop         func() // the store's wake-ups
	conversation string
	birth        uint64
	changed      atomic.Bool // there may be more in the store than was read
	queued       atomic.Bool // in follower.ready

	at     int64         // the last event that was told
	page   []store.Event // read, and not told yet
	failed error         // after the page

	notices []placed // under hub.mu
}

// A placed notice comes after the event at.
type placed struct {
	Notice
	at int64
	// before are the last events before an Ended, all of them after the id
	// beyond: a conversation that is deleted next has no others to read.
	before []store.Event
	beyond int64
}

// Follow follows a conversation from after an id on: first what is stored, then
// what happens, as it happens. An unknown conversation is
// [store.ErrNotFound]. The follower needs a Close.
func (f *Feed) Follow(ctx context.Context, conversation string, after int64) (*Follower, error) {
	a := &Follower{feed: f, changed: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.store.Conversation(ctx, conversation)
	if err != nil {
		return nil, err
	}
	a.one = f.attach(a, c, min(after, store.MaxID))
	f.followers.Add(1)
	return a, nil
}

// FollowAll follows all conversations: what happens in them from now on, in
// each in its order. The follower needs a Close.
func (f *Feed) FollowAll() *Follower {
	a := &Follower{feed: f, changed: make(chan struct{}, 1), cursors: map[string]*cursor{}}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[a] = true
	f.wide.Add(1)
	f.followers.Add(1)
	return a
}

// Close ends it.
func (a *Follower) Close() {
	a.closed.Do(func() {
		f := a.feed
		f.mu.Lock()
		defer f.mu.Unlock()
		if a.one != nil {
			f.detach(a.one)
		} else {
			delete(f.all, a)
			f.wide.Add(-1)
			for _, c := range a.cursors {
				f.detach(c)
			}
		}
		f.followers.Add(-1)
	})
}

// Changed has a value when there may be something to tell again. Values are
// hints, as the store's.
func (a *Follower) Changed() <-chan struct{} { return a.changed }

// wake tells that a cursor may have something to tell.
func (c *cursor) wake() {
	a := c.follower
	if a.cursors != nil && !c.queued.Swap(true) {
		a.mu.Lock()
		a.ready = append(a.ready, c)
		a.mu.Unlock()
	}
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// wakeToRead is wake for what is in the store.
func (c *cursor) wakeToRead() {
	c.changed.Store(true)
	c.wake()
}

// Pending tells a follower of one conversation whether there may be something to
// tell. It has been true since before whoever stored or told it had an answer.
func (a *Follower) Pending() bool { return len(a.one.page) > 0 || a.one.pending() }

// Next returns what comes next, without waiting; ok is false when there is
// nothing yet. After a [store.DamagedEvent] it goes on with what comes after
// it. Any other error is the end: the context's, [store.ErrClosed],
// [ErrBehind], or [store.ErrNotFound] once the conversation is gone, also when
// another was created under its id. To those who follow all, it is gone without
// an error, and the other is a new one.
func (a *Follower) Next(ctx context.Context) (item Item, ok bool, err error) {
	if a.one != nil {
		return a.one.next(ctx)
	}
	for {
		a.mu.Lock()
		if len(a.ready) == 0 {
			a.mu.Unlock()
			return Item{}, false, ctx.Err()
		}
		c := a.ready[0]
		a.mu.Unlock()
		item, ok, err = c.next(ctx)
		gone := errors.Is(err, store.ErrNotFound)
		switch damaged := new(store.DamagedEvent); {
		case ok || errors.As(err, &damaged):
			return item, ok, err
		case gone:
			err = a.again(ctx, c)
		}
		if err != nil {
			return Item{}, false, err
		}
		a.mu.Lock()
		a.ready = slices.DeleteFunc(a.ready, func(of *cursor) bool { return of == c })
		a.mu.Unlock()
		c.queued.Store(false)
		if !gone && c.pending() { // told between the look and the mark
			c.wake()
		}
	}
}

// again takes the cursor of a conversation that is gone away, and begins with
// the one that was created under its id, if there is one.
func (a *Follower) again(ctx context.Context, gone *cursor) error {
	f := a.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.cursors[gone.conversation] != gone || !f.all[a] {
		return nil
	}
	f.detach(gone)
	delete(a.cursors, gone.conversation)
	now, err := f.store.Conversation(ctx, gone.conversation)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		c := f.attach(a, now, -1)
		a.cursors[now.ID] = c
		c.wake()
	}
	return err
}

// All yields items as they come until its context ends, with an error last, as
// Next has it; after a [store.DamagedEvent] it goes on if the loop does.
func (a *Follower) All(ctx context.Context) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for {
			item, ok, err := a.Next(ctx)
			if damaged := new(store.DamagedEvent); err != nil && !errors.As(err, &damaged) {
				yield(Item{}, err)
				return
			}
			if ok || err != nil {
				if !yield(item, err) {
					return
				}
				continue
			}
			select {
			case <-ctx.Done():
			case <-a.changed:
			}
		}
	}
}

// pending tells whether there may be something to tell.
func (c *cursor) pending() bool {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	return c.changed.Load() || len(c.notices) > 0
}

// next is [Follower.Next] for one conversation.
//
// What was read comes before any notice that is placed after it. A notice that
// is told after the look at the notices is placed after what was read before
// it: that is stored by then.
func (c *cursor) next(ctx context.Context) (Item, bool, error) {
	for again := false; ; again = true {
		if len(c.page) == 0 && c.failed == nil {
			c.read(ctx, again)
		}
		n, due, wait, err := c.notice(again)
		switch {
		case err != nil:
			return Item{}, false, err
		case due:
			return Item{Conversation: c.conversation, Birth: c.birth, Notice: &n}, true, nil
		case wait: // for what is stored before it
		case len(c.page) > 0:
			e := c.page[0]
			c.page, c.at = c.page[1:], e.ID
			if len(c.page) == 0 {
				c.page = nil // who waits holds no page
			}
			return Item{Conversation: c.conversation, Birth: c.birth, Event: e}, true, nil
		default:
			err := c.failed
			if damaged := new(store.DamagedEvent); errors.As(err, &damaged) {
				c.failed, c.at = nil, damaged.ID
			}
			return Item{}, false, err
		}
	}
}

// read reads a page, if there may be one.
func (c *cursor) read(ctx context.Context, force bool) {
	if !c.changed.Swap(false) && !force {
		c.failed = ctx.Err()
		return
	}
	c.page, c.failed = store.Events(ctx, c.feed.store, c.conversation, store.Range{From: c.at + 1, To: store.MaxID, Birth: c.birth}, store.PageEvents)
	if full(c.page) || c.failed != nil {
		c.changed.Store(true)
	}
}

// full tells whether there may be more than a page that was read.
func full(page []store.Event) bool {
	size := 0
	for _, e := range page {
		size += len(e.JSON)
	}
	return len(page) == store.PageEvents || size >= store.PageBytes
}

// notice takes the first notice if it comes next. wait says that something
// stored comes before it which was not read yet.
func (c *cursor) notice(again bool) (n Notice, due, wait bool, err error) {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	if len(c.notices) == 0 {
		return Notice{}, false, false, nil
	}
	if len(c.notices) > maxNotices {
		return Notice{}, false, false, ErrBehind
	}
	first := &c.notices[0]
	damaged := new(store.DamagedEvent)
	if errors.Is(c.failed, store.ErrNotFound) && c.at >= first.beyond {
		for i, e := range first.before {
			if e.ID > c.at {
				c.page = first.before[i:]
				break
			}
		}
	}
	switch {
	case len(c.page) > 0:
		due = c.page[0].ID > first.at
	case errors.As(c.failed, &damaged):
		due = damaged.ID > first.at
	case errors.Is(c.failed, store.ErrNotFound):
		due = true
	case c.failed == nil:
		due = first.at <= c.at || again
		wait = !due
	}
	n = first.Notice
	if due {
		c.notices = c.notices[1:]
	}
	return n, due, wait, nil
}
