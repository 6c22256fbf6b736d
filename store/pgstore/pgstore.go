// Package pgstore keeps conversations, events and records in a PostgreSQL
// database, version 14 or later.
//
// What a method has stored when it returns nil has been committed with
// synchronous_commit on. Appends to one conversation that arrive while another
// is being committed share the next transaction; see [Store.Append].
//
// # One process
//
// A store is open in one process at a time: a session of its own holds an
// advisory lock that is named after the schema, and [Open] refuses while
// another has it. Who watches is told of what this process writes. When that
// session ends, because the database restarts or the network is cut, writes
// are ErrReadOnly until the lock is held again, which is tried each second.
//
// # Tables
//
// They lie in the schema openhands_local, or in the one that search_path in the
// URL names; the files in migrations make them, one for each version, and
// the table migrations tells which have run.
//
//	conversations  conversation                 birth, next event id, JSON of store.Conversation
//	events         conversation, birth, id      flags, JSON
//	keys           conversation, birth, SHA-256 of the key   event id, digest
//	imports        conversation, birth          whose events no conversation has yet
//	records        name                         value
//	births         (a sequence)
//
// The primary key of all that a conversation has begins with its id, and no
// transaction touches two conversations, so that the tables can be distributed
// by conversation. [Store.LineConversations] and [Store.Reset] alone are about
// all of them. Whoever changes a conversation locks its row first: event ids
// are consecutive however many append.
//
// The database answers for what it stores: there are no checksums, so no event
// is ever a [store.DamagedEvent].
package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/openhands-local/openhands-local/store"
)

const (
	minVersion = 140000 // server_version_num

	// lockTimeout is how long Open waits for another process to let go.
	lockTimeout = "500ms"

	// connectTimeout is that of one connection, unless the URL says connect_timeout.
	connectTimeout = 5 * time.Second

	// beat is how often the session that has the lock is asked whether it lives.
	beat = 5 * time.Second
	// again is how long to wait before the lock is tried again.
	again = time.Second
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options are the settings of a store; the zero value is right.
type Options struct {
	// Logger gets a record when the database does not keep what it has
	// confirmed, and when the lock is lost and found. Nil discards.
	Logger *slog.Logger
	// Committed, when set, is called after every commit of events with how many
	// it stored and how long the transaction took.
	Committed func(events int, took time.Duration)
}

// A Store is a [store.Store] in a PostgreSQL database. Make one with [Open].
type Store struct {
	pool      *pgxpool.Pool
	log       *slog.Logger
	committed func(events int, took time.Duration)
	watchers  store.Watchers

	lost    atomic.Bool // another process may write
	endHold context.CancelFunc
	holding sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // calls under way
	queues  map[string][]*appending
}

var _ store.Store = (*Store)(nil)

// Open opens the store in the database that a URL names (postgres://…, with
// what libpq knows), and makes its tables when there are none. Every error is
// one line that names the database and holds no password; it is ErrInUse while
// another process has the store open.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	s, err := open(ctx, url, o)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", Name(url), err)
	}
	return s, nil
}

func open(ctx context.Context, url string, o Options) (*Store, error) {
	if err := Check(url); err != nil {
		return nil, err
	}
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errURL
	}
	params := c.ConnConfig.RuntimeParams
	for name, value := range map[string]string{"application_name": "openhands-local", "search_path": "openhands_local", "synchronous_commit": "on"} {
		if params[name] == "" {
			params[name] = value
		}
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = connectTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Committed == nil {
		o.Committed = func(int, time.Duration) {}
	}
	s := &Store{log: o.Logger, committed: o.Committed, queues: make(map[string][]*appending)}
	holder, err := s.hold(ctx, c.ConnConfig)
	if err != nil {
		return nil, err
	}
	err = s.prepare(ctx, holder)
	if err == nil {
		s.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), c)
	}
	if err != nil {
		holder.Close(context.WithoutCancel(ctx))
		return nil, explain(err)
	}
	held, end := context.WithCancel(context.WithoutCancel(ctx))
	s.endHold = end
	s.holding.Go(func() { s.keepHold(held, holder, c.ConnConfig) })
	return s, nil
}

// hold connects, tests what connections are promised, and takes the lock.
func (s *Store) hold(ctx context.Context, c *pgx.ConnConfig) (*pgx.Conn, error) {
	holder, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, explain(err)
	}
	if err := s.lock(ctx, holder); err != nil {
		holder.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return holder, nil
}

func (s *Store) lock(ctx context.Context, holder *pgx.Conn) error {
	var is settings
	var fsync string
	err := holder.QueryRow(ctx, `SELECT current_setting('server_version_num'), current_setting('server_encoding'), current_setting('search_path'), current_setting('synchronous_commit'), current_setting('fsync')`).
		Scan(&is.version, &is.encoding, &is.path, &is.synchronous, &fsync)
	if err != nil {
		return explain(err)
	}
	if err := is.check(); err != nil {
		return err
	}
	if fsync != "on" {
		s.log.Warn("PostgreSQL runs with fsync off: what it confirms does not survive the death of its machine")
	}
	err = pgx.BeginFunc(ctx, holder, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '`+lockTimeout+`'`)
		if err == nil { // the session's, not the transaction's
			_, err = tx.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended('openhands-local ' || current_setting('search_path'), 0))`)
		}
		return err
	})
	if code(err) == "55P03" {
		return fmt.Errorf("another openhands-local process has it open: stop that first (several processes on one database are not supported yet): %w", store.ErrInUse)
	}
	return explain(err)
}

// settings are those of a session.
type settings struct{ version, encoding, path, synchronous string }

// plainName is the one spelling of a schema's name that is taken: the lock is
// named after it.
var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// check tells whether a session will do.
func (s settings) check() error {
	switch n, err := strconv.Atoi(s.version); {
	case err != nil || n < minVersion:
		return fmt.Errorf("the server is PostgreSQL %d (server_version_num %s): version %d or later is needed", n/10000, s.version, minVersion/10000)
	case s.encoding != "UTF8":
		return fmt.Errorf("the encoding of the database is %s: make one with ENCODING 'UTF8'", s.encoding)
	case !plainName.MatchString(s.path):
		return fmt.Errorf("search_path is %q: want the name of one schema, of small letters, digits and _", s.path)
	case s.synchronous == "off" || s.synchronous == "local":
		return fmt.Errorf("synchronous_commit is %s: an event that was confirmed could be lost; leave it out of the URL", s.synchronous)
	}
	return nil
}

// keepHold watches over the session that has the lock until ctx ends, and takes
// the lock again when that session has ended.
func (s *Store) keepHold(ctx context.Context, holder *pgx.Conn, c *pgx.ConnConfig) {
	for ctx.Err() == nil {
		if err := alive(ctx, holder); err == nil {
			continue
		} else if ctx.Err() == nil {
			s.lost.Store(true)
			s.log.Warn("the lock on the database is lost: nothing is written until it is held again", "err", explain(err))
		}
		holder.Close(context.WithoutCancel(ctx))
		for s.lost.Load() && ctx.Err() == nil {
			next, err := s.hold(ctx, c)
			if err == nil {
				holder = next
				s.lost.Store(false)
				s.log.Info("the lock on the database is held again")
				break
			}
			select {
			case <-time.After(again):
			case <-ctx.Done():
			}
		}
	}
	holder.Close(context.WithoutCancel(ctx))
}

// alive waits a beat, and returns an error as soon as the session has ended.
func alive(ctx context.Context, holder *pgx.Conn) error {
	wait, end := context.WithTimeout(ctx, beat)
	defer end()
	if _, err := holder.WaitForNotification(wait); wait.Err() == nil {
		return err
	}
	ask, end := context.WithTimeout(ctx, beat)
	defer end()
	return holder.Ping(ask)
}

// prepare makes the tables, and removes what imports left that did not end. The
// caller has the lock.
func (s *Store) prepare(ctx context.Context, holder *pgx.Conn) error {
	var schema string
	var exists bool
	err := holder.QueryRow(ctx, `SELECT current_setting('search_path'), current_schema() IS NOT NULL`).Scan(&schema, &exists)
	if err == nil && !exists {
		_, err = holder.Exec(ctx, `CREATE SCHEMA `+pgx.Identifier{schema}.Sanitize())
	}
	if err != nil {
		return err
	}
	if err := migrate(ctx, holder); err != nil {
		return err
	}
	rows, err := holder.Query(ctx, `SELECT conversation, birth FROM imports`)
	if err != nil {
		return err
	}
	left, err := pgx.CollectRows(rows, pgx.RowToStructByPos[birthOf])
	if err != nil {
		return err
	}
	for _, b := range left {
		if err := pgx.BeginFunc(ctx, holder, func(tx pgx.Tx) error { return b.removeImport(ctx, tx) }); err != nil {
			return err
		}
	}
	return nil
}

// migrate runs the migrations that have not run, each in a transaction.
func migrate(ctx context.Context, holder *pgx.Conn) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	var exists bool
	if err := holder.QueryRow(ctx, `SELECT to_regclass('migrations') IS NOT NULL`).Scan(&exists); err != nil {
		return err
	}
	if !exists {
		if _, err := holder.Exec(ctx, `CREATE TABLE migrations (version integer PRIMARY KEY)`); err != nil {
			return err
		}
	}
	var version int
	if err := holder.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM migrations`).Scan(&version); err != nil {
		return err
	}
	if version > len(files) {
		return fmt.Errorf("the tables have version %d, and this version of the program knows only version %d: use the version that wrote them", version, len(files))
	}
	for version++; version <= len(files); version++ {
		text, err := migrations.ReadFile(fmt.Sprintf("migrations/%d.sql", version))
		if err != nil {
			return err
		}
		err = pgx.BeginFunc(ctx, holder, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, string(text))
			if err == nil {
				_, err = tx.Exec(ctx, `INSERT INTO migrations VALUES ($1)`, version)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("migration %d: %w", version, err)
		}
	}
	return nil
}

// Close implements [store.Store].
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return wrap("close", "", store.ErrClosed)
	}
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
	s.pool.Close()
	s.endHold()
	s.holding.Wait()
	s.watchers.WakeAll()
	return nil
}

// Watch implements [store.Store].
func (s *Store) Watch(conversation string, wake func()) (stop func()) {
	return s.watchers.Watch(conversation, wake)
}

// Reset implements [store.Store].
func (s *Store) Reset(ctx context.Context) error {
	err := s.write(ctx, "reset", "", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `TRUNCATE imports, conversations, events, keys, records`)
		return err
	})
	if err == nil {
		s.watchers.WakeAll()
	}
	return err
}

// begin begins a call, which ends with s.running.Done unless it returns an
// error.
func (s *Store) begin(ctx context.Context, op, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed {
		return wrap(op, id, store.ErrClosed)
	}
	s.running.Add(1)
	return nil
}

// read runs fn on a connection.
func (s *Store) read(ctx context.Context, op, id string, fn func(q *pgxpool.Pool) error) error {
	if err := s.begin(ctx, op, id); err != nil {
		return err
	}
	defer s.running.Done()
	if !isText(id) {
		return wrap(op, id, errNoText)
	}
	err := fn(s.pool)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return wrap(op, id, err)
}

// write runs fn in a transaction.
func (s *Store) write(ctx context.Context, op, id string, fn func(ctx context.Context, tx pgx.Tx) error) error {
	if err := s.begin(ctx, op, id); err != nil {
		return err
	}
	defer s.running.Done()
	return s.transaction(ctx, op, id, fn)
}

// transaction runs fn in a transaction. Once it has begun it goes on to its
// end, also when ctx ends: of a commit that was given up nobody knows the
// outcome.
func (s *Store) transaction(ctx context.Context, op, id string, fn func(ctx context.Context, tx pgx.Tx) error) error {
	switch {
	case s.lost.Load():
		return wrap(op, id, fmt.Errorf("%w: the lock on the database is lost", store.ErrReadOnly))
	case !isText(id):
		return wrap(op, id, errNoText)
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return wrap(op, id, err)
	}
	defer conn.Release()
	ctx = context.WithoutCancel(ctx)
	return wrap(op, id, pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return fn(ctx, tx) }))
}

// code is the SQLSTATE of an error, "" when it has none.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
