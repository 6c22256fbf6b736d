// Package store is the memory of the server: conversations, their events, and
// a few named records such as settings and secrets.
//
// It holds the domain types, the [Store] interface, and the errors that every
// store answers with. It knows nothing of HTTP, of the JSON of the API, of
// clocks or of randomness: ids, times and documents are made by the caller and
// handed in, so that every store is deterministic.
//
// Package boltstore keeps everything in one bbolt file, package pgstore in a
// PostgreSQL database, package memstore in memory; package storetest is the
// suite that all must pass.
//
// The event ids of a conversation are 0, 1, 2, …: [Store.Append] gives the
// next one. Readers page through them with [Events], walk any number with
// [Scan], and learn of new ones by [Store.Watch].
package store

import (
	"context"
	"crypto/sha256"
	"iter"
	"strings"
	"time"
)

// A Conversation is what is known of a conversation beside its events. Its
// times lie in the years 1 to 9999, are kept to the nanosecond and come back
// in UTC.
type Conversation struct {
	ID    string `json:"id"`             // never empty; see LineOf
	Birth uint64 `json:"birth,omitzero"` // set by the store: 1, 2, … over its life, never given twice
	Title string `json:"title"`          // "" when nobody has named it

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"` // of this record; the last event may be later

	// Repository and Branch may be empty texts, which are not the same as none.
	Repository  *string `json:"repository,omitempty"`
	Branch      *string `json:"branch,omitempty"`
	GitProvider string  `json:"git_provider,omitempty"`
	Trigger     string  `json:"trigger,omitempty"` // "gui", "suggested_task", …
	Agent       bool    `json:"agent,omitempty"`   // an agent follows it (it was not born of a bare Add Event)
	State       string  `json:"state,omitempty"`   // what else its line keeps of it, opaque to the store
}

// LineOf is the line of contract that a conversation belongs to: what its id has
// before the first colon, "" when there is none.
func LineOf(id string) string {
	line, _, ok := strings.Cut(id, ":")
	if !ok {
		return ""
	}
	return line
}

// InUTC returns c as every store keeps it: its times in UTC and without a
// reading of the monotonic clock.
func (c Conversation) InUTC() Conversation {
	c.CreatedAt = c.CreatedAt.UTC().Round(0)
	c.UpdatedAt = c.UpdatedAt.UTC().Round(0)
	return c
}

// MaxID is the highest id an event can have: every reader of JSON holds it
// exactly.
const MaxID = 1<<53 - 1

// An Event is one stored event.
type Event struct {
	ID    int64  // 0 to MaxID
	Flags uint16 // the writer's, opaque to the store
	JSON  []byte // the event as one JSON object without its id
}

// A NewEvent is an event that has no id yet.
type NewEvent struct {
	Flags uint16
	JSON  []byte

	// Key, when not empty, makes the append idempotent: a second append with
	// the same Key to the same conversation answers with the first one's id
	// and stores nothing. Keys live as long as the conversation.
	Key string
	// Digest reports whether two appends with one Key meant the same event.
	Digest [sha256.Size]byte
}

// A Range selects events by id, both ends inclusive.
type Range struct {
	From, To int64 // From below 0 counts as 0; To below From selects nothing
	Reverse  bool  // from To down to From
	// Birth, when not 0, is that of the conversation which is meant: another of
	// its id is ErrNotFound.
	Birth uint64
}

// All selects every event.
var All = Range{To: 1<<63 - 1}

// Limits of one page.
const (
	PageEvents = 1000     // events
	PageBytes  = 64 << 10 // bytes of JSON: no event is added to a page that has reached this
)

// A Store keeps conversations, events and records.
//
// Its methods may be called by any number of goroutines. A method that is
// given a context which has ended returns its error and changes nothing. Every
// error is nil, the context's, what a change function returned, or an [*Error]
// (test with errors.Is against [ErrNotFound] and its like). A write for which
// there is no room is ErrFull, one that the system does not allow ErrReadOnly:
// neither changes anything, reads go on, and writes do once the reason is gone.
// After a write of which nobody can say whether it is on the disk every other
// one is ErrFailed, until the store is opened again. Slices that are handed in may be changed once the
// method has returned, and slices that are returned belong to the caller.
type Store interface {
	// Create adds a conversation and returns it with its Birth set. An id that
	// exists is ErrConflict. Its events begin at id 0, also when a
	// conversation of the same id was deleted before. A Birth that is handed in
	// is ignored.
	Create(ctx context.Context, c Conversation) (Conversation, error)

	// Conversation returns one conversation, or ErrNotFound.
	Conversation(ctx context.Context, id string) (Conversation, error)

	// Conversations is LineConversations of the line "".
	Conversations(ctx context.Context, offset, limit int) (page []Conversation, total int, err error)

	// LineConversations returns up to limit conversations of a line, newest CreatedAt first
	// (the later Birth first among equals), after leaving out the first offset
	// of them, and how many of the line there are in all. An offset below 0 counts as 0, a
	// limit below 0 too. Its work is bounded by what is stored, whatever the
	// numbers. Conversations of the page that do not read back as they were
	// written are left out, and named by a [DamagedConversations].
	LineConversations(ctx context.Context, line string, offset, limit int) (page []Conversation, total int, err error)

	// Update changes one conversation atomically: change is called with what
	// is stored and what it leaves is stored. Its error is returned and stores
	// nothing. ID, Birth and CreatedAt cannot be changed. change must not call
	// the store.
	Update(ctx context.Context, id string, change func(*Conversation) error) (Conversation, error)

	// Delete removes a conversation, its events and its keys, or is
	// ErrNotFound. Readers see all of it or nothing. One that is damaged can be
	// deleted.
	Delete(ctx context.Context, id string) error

	// Append stores an event and returns its id: the conversation's highest
	// id plus one, 0 for the first. Concurrent callers get distinct,
	// consecutive ids. When Append returns nil, the event survives the death
	// of the process and of the machine (as far as the store promises any
	// durability: memstore does not). repeated reports that Key had been used
	// for the same Digest, so that nothing was stored; for another Digest the
	// error is ErrKeyReused. An unknown conversation is ErrNotFound, one whose
	// highest id is MaxID is ErrFull.
	//
	// A context that ends before the event is taken for writing stores
	// nothing; once it is taken Append waits for the outcome and returns it.
	Append(ctx context.Context, conversation string, e NewEvent) (id int64, repeated bool, err error)

	// Import stores a whole conversation: c, and events with the ids they
	// have, which must ascend and be 0 to MaxID (ErrConflict otherwise); gaps
	// are allowed, and Append goes on after the last. It returns c with its
	// Birth set, as Create does. An id that exists is ErrConflict unless replace
	// is set: then the old conversation is deleted. An error that events yields
	// is returned. Readers see all of it or nothing, and after a crash the store
	// has all of it or nothing (a conversation that was to be replaced, then).
	// However many the events are, Import lets other writers take their turn
	// and, as far as the store keeps things elsewhere, holds few of them in
	// memory; what events yields must stay as it is until Import returns. A
	// Reset on the way may make it ErrNotFound.
	Import(ctx context.Context, c Conversation, replace bool, events iter.Seq2[Event, error]) (Conversation, error)

	// Visit calls visit with the events of a range, one by one, until it
	// returns false. The JSON of an event is lent: visit must neither change it
	// nor keep it. While Visit lasts the store may have to keep what others
	// delete, so whoever reads much does it in several calls; visit must not
	// call the store. An unknown conversation is ErrNotFound. A stored event
	// that does not read back as it was written is a [DamagedEvent], after the
	// events before it. [Events] and [Scan] return events that can be kept.
	Visit(ctx context.Context, conversation string, r Range, visit func(Event) bool) error

	// Watch has wake called after each change of the conversation's events,
	// after its deletion, and when the store is closed. A call is a hint: any
	// number of changes may share one, and it may come without a change. wake
	// must neither wait nor call the store. The conversation need not exist.
	// stop ends it, and must be called.
	Watch(conversation string, wake func()) (stop func())

	// Record returns a named record, nil when there is none. The name is not
	// empty.
	Record(ctx context.Context, name string) ([]byte, error)

	// UpdateRecord changes a named record atomically: change is called with
	// what is stored (nil for none) and what it returns is stored (nil
	// removes). Its error is returned and stores nothing. change must not
	// call the store.
	UpdateRecord(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error

	// Reset removes everything: conversations, events and records. Births are
	// not given again.
	Reset(ctx context.Context) error

	// Close waits for what is being written and releases the store. Calls
	// that come after it are ErrClosed, a second Close too.
	Close() error
}
