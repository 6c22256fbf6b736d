// Package boltstore keeps conversations, events and records in one bbolt file.
//
// What a method has stored when it returns nil survives the death of the
// process and of the machine: every commit is synced. Appends that arrive while
// another commit is being synced share the next one; see [Store.Append].
//
// # File
//
// Schema 1. All numbers are big-endian, so that keys sort as numbers do.
//
//	meta/schema                          => schema version, 4 bytes
//	     (bucket sequence)                = the last birth that was given
//	conversations/<id>                   => record of birth 8, JSON of store.Conversation
//	     (bucket sequence)                = how many of them are of a line that has a name
//	newest/<^created 12><^birth 8>       => id; created is seconds and nanoseconds
//	     (bucket sequence)                = how many conversations there are
//	events/<birth 8><event id 8>         => record of the event's JSON
//	keys/<birth 8><SHA-256 of the key>   => record of event id 8, digest 32
//	deleted/<first birth 8>              => last birth 8; their events and keys are to be removed,
//	                                        unless an import is at them
//	records/<name>                       => record of the value
//
// A record is
//
//	format 1 (always 1), flags 2, CRC-32C 4 of all the rest, content
//
// and its checksum is tested on every read. Only events have flags.
//
// Events and keys lie under the birth of their conversation, not under its id:
// that is shorter, and a conversation that was created again cannot see what is
// left of the deleted one. Deleting removes the conversation and its entry in
// newest and leaves a mark in deleted, in one transaction. A million events
// removed in one transaction would stop every other write for seconds, so what
// the marks name is removed a batch at a time between other commits, after
// [Open] too.
//
// The list of free pages is written by [Store.Close] alone: half the time of a
// commit would go into it. After a crash Open finds the free pages by reading
// the file.
//
// # Damage
//
// bbolt trusts its pages, and ends the process for some that are damaged. What
// has to cope with damage reads the file without it (package boltfile): Open after a
// crash, before bbolt does; [Check], which reports all that is wrong; [Salvage],
// which copies what can be read; and [Compact], which copies all or nothing.
package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/openhands-local/openhands-local/store"
)

const (
	schema = 1 // of the package comment

	// lockTimeout is how long Open waits for another process to let go.
	lockTimeout = 500 * time.Millisecond

	// mmapSize is address space, not memory. Growing beyond it makes a writer
	// wait for every reader.
	mmapSize = 1 << 30

	// fillPercent suits keys that are appended: pages are left nearly full.
	fillPercent = 0.9
)

var (
	metaBucket          = []byte("meta")
	conversationsBucket = []byte("conversations")
	newestBucket        = []byte("newest")
	eventsBucket        = []byte("events")
	keysBucket          = []byte("keys")
	deletedBucket       = []byte("deleted")
	recordsBucket       = []byte("records")

	allBuckets = [][]byte{metaBucket, conversationsBucket, newestBucket, eventsBucket, keysBucket, deletedBucket, recordsBucket}

	schemaKey = []byte("schema")
)

// Options are the settings of a store; the zero value is right.
type Options struct {
	// Logger gets a record when opening took a reading of the whole file, and
	// when tidying up met an error. Nil discards.
	Logger *slog.Logger
	// Committed, when set, is called after every commit with how many events it
	// stored and how long it took to write and to sync. Other writes wait until
	// it returns.
	Committed func(events int, took time.Duration)
}

// A Store is a [store.Store] in one file, which no other process can open
// meanwhile. Make one with [Open].
type Store struct {
	db        *bolt.DB
	log       *slog.Logger
	committed func(events int, took time.Duration) // Options.Committed
	watchers  store.Watchers

	writing chan struct{} // holds a value while somebody writes: see lock
	closing chan struct{} // closed by Close
	deleted chan struct{} // wakes the sweeper; capacity 1
	sweeper sync.WaitGroup

	mu        sync.Mutex
	queue     []*appending    // in the order they came
	closed    bool            // queue takes no more
	importing map[uint64]bool // births that Import is at: not to be swept

	// Of whoever writes.
	tails  map[string]tail
	adding int   // events that the transaction under way stores
	clean  bool  // the file has its list of free pages
	failed error // why nothing more can be written
}

var _ store.Store = (*Store)(nil)

// Open opens the store in the file at path, which it makes (mode 0600) when
// there is none; the folder must exist. The error is a [*store.Error] whose ID
// is the path. Open refuses, and leaves as it is, a file that another process
// has open (ErrInUse), that has been cut short or, after a crash, has damaged
// pages (ErrCorrupt), that has another schema, or that is no store. Other
// damage inside the file is an ErrCorrupt of whatever reads it; [Check] finds
// all of it.
func Open(path string, o Options) (*Store, error) {
	s, err := open(path, o)
	return s, wrap("open", path, advise(err))
}

// advise adds to the error of a file that cannot be opened what can be done.
func advise(err error) error {
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w (openhands-local check tells all of it and how to save the rest; or restore a backup, or move the file away to begin anew)", err)
	}
	return err
}

func open(path string, o Options) (s *Store, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Committed == nil {
		o.Committed = func(int, time.Duration) {}
	}
	began := time.Now()
	db, _, found, err := openFile(path)
	if err != nil {
		return nil, err
	}
	s = &Store{
		db:        db,
		log:       o.Logger,
		committed: o.Committed,
		writing:   make(chan struct{}, 1),
		closing:   make(chan struct{}),
		deleted:   make(chan struct{}, 1),
		importing: make(map[uint64]bool),
		tails:     make(map[string]tail),
		clean:     found.Meta.HasFreelist(),
	}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if found.Size > 0 && !found.Meta.HasFreelist() {
		s.log.Info("the store was not closed: its free pages were found by reading it",
			"path", path, "bytes", found.Size, "took", time.Since(began))
	}
	s.deleted <- struct{}{}
	s.sweeper.Go(s.sweep)
	return s, nil
}

// prepare tests the schema, and makes the buckets in a file that has none.
func (s *Store) prepare() error {
	empty := false
	err := s.tryView(func(tx *bolt.Tx) error {
		first, _ := tx.Cursor().First()
		if empty = first == nil; empty {
			return nil
		}
		meta := tx.Bucket(metaBucket)
		if meta == nil || len(meta.Get(schemaKey)) != 4 {
			return errors.New("a bbolt file, but not a store of this program: move it away, or choose another data folder")
		}
		if v := binary.BigEndian.Uint32(meta.Get(schemaKey)); v != schema {
			return fmt.Errorf("has schema %d, and this version of the program knows only schema %d: use the version that wrote it", v, schema)
		}
		return nil
	})
	if err != nil || !empty {
		return err
	}
	err = s.update(func(tx *bolt.Tx) error {
		for _, name := range allBuckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(schemaKey, binary.BigEndian.AppendUint32(nil, schema))
	})
	if err != nil {
		return err
	}
	return syncFolder(s.db.Path())
}

// Close implements [store.Store]. It waits for queued appends and for running
// reads, and stops the removing of deleted events, which the next Open resumes.
func (s *Store) Close() error {
	if err := s.lock(context.Background()); err != nil {
		return wrap("close", "", err)
	}
	// The lock is never given back: who waits for it gets closing.
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.commitQueue()
	close(s.closing)
	s.sweeper.Wait()
	defer s.watchers.WakeAll()
	if errors.Is(s.failed, store.ErrCorrupt) {
		// bbolt gave up in the middle of a transaction and would wait for
		// its end. The end of the process frees the file.
		return wrap("close", "", s.failed)
	}
	if !s.clean {
		s.db.NoFreelistSync = false
		if err := s.update(func(*bolt.Tx) error { return nil }); err != nil {
			s.log.Warn("the list of free pages could not be written: the next start reads the whole store", "err", err)
		}
	}
	return wrap("close", "", s.db.Close())
}

// Size returns the bytes of the file, and how many of them are in pages that
// are free for what is written next; zeros once the store is closed.
func (s *Store) Size() (file, free int64) {
	err := s.db.View(func(tx *bolt.Tx) error {
		file = tx.Size()
		return nil
	})
	if err != nil {
		return 0, 0
	}
	stats := s.db.Stats()
	return file, int64(stats.FreePageN+stats.PendingPageN) * int64(s.db.Info().PageSize)
}

// Watch implements [store.Store].
func (s *Store) Watch(conversation string, wake func()) (stop func()) {
	return s.watchers.Watch(conversation, wake)
}

// Reset implements [store.Store]. Like Delete it leaves the events and keys to
// be removed later.
func (s *Store) Reset(ctx context.Context) error {
	err := s.write(ctx, "reset", "", func(tx *bolt.Tx) error {
		for _, name := range [][]byte{conversationsBucket, newestBucket, deletedBucket, recordsBucket} {
			if err := tx.DeleteBucket(name); err != nil {
				return err
			}
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		clear(s.tails)
		return markDeleted(tx, 0, tx.Bucket(metaBucket).Sequence())
	})
	if err == nil {
		s.wakeSweeper()
		s.watchers.WakeAll()
	}
	return err
}

// view runs fn in a read transaction. What fn takes from it must be copied, and
// it must not wait for anything: old pages are kept for as long as it runs.
func (s *Store) view(ctx context.Context, op, id string, fn func(tx *bolt.Tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	err = s.tryView(fn)
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		err = store.ErrClosed
	}
	return wrap(op, id, err)
}

// tryView is bolt's View; damaged pages are ErrCorrupt.
func (s *Store) tryView(fn func(tx *bolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(&err)
	return s.db.View(fn)
}

// wrap makes err a store.Error, unless it is nil or a context's.
func wrap(op, id string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &store.Error{Op: op, ID: id, Err: err}
}

// recoverDamage makes an ErrCorrupt of the panic with which bbolt answers a
// page that is not what it should be: one of its own, or one of the runtime's
// where it followed what the page says. Where that leads out of the file is a
// fault, which is a panic only after debug.SetPanicOnFault.
func recoverDamage(err *error) {
	switch p := recover().(type) {
	case nil:
	case string:
		*err = fmt.Errorf("%w: %s", store.ErrCorrupt, p)
	case runtime.Error:
		*err = fmt.Errorf("%w: %w", store.ErrCorrupt, p)
	default:
		panic(p)
	}
}

// initialMmapSize is mmapSize where mapping does not make the file that big.
func initialMmapSize() int {
	if runtime.GOOS == "windows" {
		return 0
	}
	return mmapSize
}

// between reports whether a cursor is at a key from low to high.
func between(low, key, high []byte) bool {
	return key != nil && bytes.Compare(low, key) <= 0 && bytes.Compare(key, high) <= 0
}
