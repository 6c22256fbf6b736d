package boltstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/store"
)

// An appending is an Append on its way. The fields of its outcome are set
// before done is closed.
type appending struct {
	ctx          context.Context
	conversation string
	record       []byte
	key          []byte // SHA-256; nil for none
	digest       [sha256.Size]byte

	done     chan struct{}
	id       int64
	repeated bool
	err      error
}

// lock waits until nobody else writes. Unless it returns an error, the caller
// has to unlock. Those who wait get their turn in the order they came.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.writing <- struct{}{}:
		return nil
	case <-s.closing:
		return store.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) unlock() { <-s.writing }

// write runs fn in a write transaction of its own.
func (s *Store) write(ctx context.Context, op, id string, fn func(tx *bolt.Tx) error) error {
	if err := s.lock(ctx); err != nil {
		return wrap(op, id, err)
	}
	defer s.unlock()
	return wrap(op, id, s.update(fn))
}

// submit queues an append and waits for its outcome.
//
// There is one writer at a time, and it commits whatever is queued; but it is
// no goroutine of its own. A caller who finds nobody writing becomes the
// writer, so that a lone caller pays for no switch between goroutines; the
// others find their append committed, or the writer's place free.
func (s *Store) submit(a *appending) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return store.ErrClosed
	}
	s.queue = append(s.queue, a)
	s.mu.Unlock()
	select {
	case s.writing <- struct{}{}:
		s.commitQueue()
		s.unlock()
	case <-a.done:
	case <-a.ctx.Done():
		if s.withdraw(a) {
			return a.ctx.Err()
		}
	}
	<-a.done
	return a.err
}

// withdraw takes an append out of the queue; false says that a writer has it.
func (s *Store) withdraw(a *appending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.queue, a)
	if i < 0 {
		return false
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	return true
}

// errUnchanged ends a write transaction that has nothing to commit.
var errUnchanged = errors.New("unchanged")

// commitQueue commits all that is queued, and hands out the outcome.
func (s *Store) commitQueue() {
	// Let those run whom the last commit woke: they may have more to append.
	runtime.Gosched()
	s.mu.Lock()
	batch := s.queue
	s.queue = nil
	s.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	err := s.update(func(tx *bolt.Tx) error {
		changed := errUnchanged
		for _, a := range batch {
			if a.err = a.ctx.Err(); a.err == nil {
				a.id, a.repeated, a.err = s.append(tx, a)
			}
			if a.err == nil && !a.repeated {
				changed = nil
			}
		}
		return changed
	})
	for _, a := range batch {
		if a.err == nil && err != errUnchanged {
			a.err = err
		}
		if a.err == nil && !a.repeated {
			s.watchers.Wake(a.conversation)
		}
		close(a.done)
	}
}

// update runs fn in a write transaction and commits it. An error of fn's rolls
// it back and is returned. The caller has the lock.
func (s *Store) update(fn func(tx *bolt.Tx) error) error {
	if s.failed != nil {
		return s.failed
	}
	s.adding = 0
	committing := false
	var began time.Time // of the commit
	err, damage := s.tryUpdate(func(tx *bolt.Tx) error {
		err := fn(tx)
		committing, began = err == nil, time.Now()
		return err
	})
	if damage != nil {
		s.failed = damage
		return damage
	}
	if !committing {
		return err
	}
	s.clean = !s.db.NoFreelistSync
	if err == nil {
		s.committed(s.adding, time.Since(began))
		return nil
	}
	clear(s.tails)
	if refused := refusedCommit(err); refused != nil {
		return refused
	}
	// Of a commit that could not be synced nobody can say how much of it is
	// on the disk: it may even be whole. A later one would build on it.
	s.failed = fmt.Errorf("%w: %w", store.ErrFailed, err)
	return s.failed
}

// tryUpdate is bolt's Update; damage is what it panicked with. After that the
// transaction is left as it is: to roll it back bbolt would look for the free
// pages once more, and die of the damage in a goroutine of its own.
func (s *Store) tryUpdate(fn func(tx *bolt.Tx) error) (err, damage error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(&damage)
	tx, err := s.db.Begin(true)
	if err != nil {
		return err, nil
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback() // fails only after a commit
		return err, nil
	}
	return tx.Commit(), nil
}

// refusedCommit returns the error of a commit that the system did not write, as
// [store.Refused] has it, and nil for another: after the first bbolt is as it
// was before, and can be used on. What a sync answers is never one.
func refusedCommit(err error) error {
	var written *fs.PathError
	if errors.As(err, &written) {
		err = written
	} else if text, ok := strings.CutPrefix(err.Error(), "file resize error: "); ok {
		// bbolt does not wrap what it gets when it makes the file longer.
		for n := range syscall.Errno(256) {
			if strings.HasSuffix(text, n.Error()) {
				err = fmt.Errorf("%s%w", strings.TrimSuffix(text, n.Error()), n)
			}
		}
	} else {
		return nil
	}
	if refused := store.Refused(err); refused != err {
		return refused
	}
	return nil
}
