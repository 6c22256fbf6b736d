// Package runs has what every line's rules need to decide about runs: a lock
// for each conversation ([Locks]), a run that whoever writes in it keeps from
// ending ([Run]), and which conversations run, never more than a limit ([Set]).
//
// It knows neither what runs nor what events are. A decision about a run is taken
// with its conversation's id locked, by what the store says then.
package runs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// ErrStopped: the conversation does not run, or does no longer.
var ErrStopped = errors.New("conversation is stopped")

// A Run is one run of a conversation. Make one with [New].
type Run struct {
	// Conversation is the id of the one that runs.
	Conversation string

	cancel context.CancelFunc
	mu     sync.RWMutex // read-locked while something is written in the run
	over   bool
}

// New begins a run. cancel is called when it ends.
func New(conversation string, cancel context.CancelFunc) *Run {
	return &Run{Conversation: conversation, cancel: cancel}
}

// Enter keeps the run from ending until Leave is called; false when it is over.
func (r *Run) Enter() bool {
	r.mu.RLock()
	if r.over {
		r.mu.RUnlock()
		return false
	}
	return true
}

// Leave ends what Enter has begun.
func (r *Run) Leave() { r.mu.RUnlock() }

// End ends the run, after what is being written in it.
func (r *Run) End() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.cancel()
}

// Within calls do unless the run is over, which is [ErrStopped].
func (r *Run) Within(do func() error) error {
	if !r.Enter() {
		return fmt.Errorf("%w: %s", ErrStopped, r.Conversation)
	}
	defer r.Leave()
	return do()
}

// A Set knows which conversations run. Who changes what it says of one has its
// id locked; the number of those that run or begin never passes the limit. R is
// a line's run.
type Set[R any] struct {
	most int // 0 is no limit

	mu        sync.RWMutex
	running   map[string]*R
	beginning map[string]bool // have a place, and do not run yet
	changed   chan struct{}   // closed when the above change
}

// NewSet returns a Set of at most so many runs, 0 for any number.
func NewSet[R any](most int) *Set[R] {
	return &Set[R]{most: most, running: map[string]*R{}, beginning: map[string]bool{}, changed: make(chan struct{})}
}

// Of is the run of a conversation, nil when it does not run.
func (s *Set[R]) Of(id string) *R {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.running[id]
}

// State is Of, and whether the conversation begins to run.
func (s *Set[R]) State(id string) (r *R, begins bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.running[id], s.beginning[id]
}

// Reserve takes a place for a conversation that is to run, or says which
// conversations run instead; with none of them, it says what to wait for.
func (s *Set[R]) Reserve(id string) (instead []string, wait <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most > 0 && len(s.running)+len(s.beginning) >= s.most {
		return slices.Collect(maps.Keys(s.running)), s.changed, false
	}
	s.beginning[id] = true
	return nil, nil, true
}

// Change makes a run the one of a conversation; nil gives its place back.
func (s *Set[R]) Change(id string, r *R) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.beginning, id)
	if s.running[id] = r; r == nil {
		delete(s.running, id)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// All are the runs.
func (s *Set[R]) All() []*R {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.running))
}

// Locks has a mutex for each key in use. The zero value is ready.
type Locks struct {
	mu    sync.Mutex
	locks map[string]*lock
}

type lock struct {
	sync.Mutex
	users int
}

// Lock locks a key and returns what unlocks it.
func (k *Locks) Lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*lock{}
	}
	l := k.locks[key]
	if l == nil {
		l = &lock{}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
	}
}
