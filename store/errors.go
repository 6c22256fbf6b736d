package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// What an [Error] carries.
var (
	ErrNotFound  = errors.New("not found")
	ErrConflict  = errors.New("exists already")
	ErrKeyReused = errors.New("idempotency key was used for another event")
	ErrCorrupt   = errors.New("stored data is damaged")
	ErrFull      = errors.New("no space left for the data")
	ErrReadOnly  = errors.New("the data cannot be written now")
	ErrFailed    = errors.New("nothing more is written until the store is opened again")
	ErrClosed    = errors.New("store is closed")
	ErrInUse     = errors.New("is in use by another process")
)

// Refused returns what it means that the system did not write a file: [ErrFull] or
// [ErrReadOnly], which the error is then too. Other errors come back as they are.
func Refused(err error) error {
	for is, given := range refusedErrors {
		if slices.ContainsFunc(given, func(e error) bool { return errors.Is(err, e) }) {
			return fmt.Errorf("%w: %w", is, err)
		}
	}
	return err
}

// An Error says which operation on what failed, and why.
type Error struct {
	Op  string // "append", "events", …
	ID  string // of the conversation, or the record's name; may be empty
	Err error
}

func (e *Error) Error() string {
	if e.ID == "" {
		return "store: " + e.Op + ": " + e.Err.Error()
	}
	return "store: " + e.Op + " " + e.ID + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// A DamagedEvent is the [ErrCorrupt] of one event: those before and after it can
// be read.
type DamagedEvent struct{ ID int64 }

func (e *DamagedEvent) Error() string { return fmt.Sprintf("event %d: %v", e.ID, ErrCorrupt) }

// Unwrap makes the error an ErrCorrupt.
func (e *DamagedEvent) Unwrap() error { return ErrCorrupt }

// DamagedConversations is the [ErrCorrupt] of some conversations: the others can
// be read.
type DamagedConversations struct{ IDs []string }

func (e *DamagedConversations) Error() string {
	return fmt.Sprintf("conversations %s: %v", strings.Join(e.IDs, ", "), ErrCorrupt)
}

// Unwrap makes the error an ErrCorrupt.
func (e *DamagedConversations) Unwrap() error { return ErrCorrupt }
