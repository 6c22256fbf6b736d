package pgstore

import (
	"context"
	"crypto/sha256"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/openhands-local/openhands-local/store"
)

// An appending is an Append on its way. The fields of its outcome are set
// before done is closed.
type appending struct {
	ctx    context.Context
	flags  uint16
	json   []byte
	key    []byte // SHA-256; nil for none
	digest [sha256.Size]byte

	done     chan struct{}
	id       int64
	repeated bool
	err      error
}

// Bounds of what one transaction stores: no event is added to so many, or to so
// many bytes of JSON.
const (
	writeEvents = 4 * store.PageEvents
	writeBytes  = 4 << 20
)

// Append implements [store.Store]. One caller alone pays for one transaction;
// many of one conversation share one: whatever has arrived when one ends goes
// into the next, and nothing is waited for.
func (s *Store) Append(ctx context.Context, conversation string, e store.NewEvent) (id int64, repeated bool, err error) {
	if err := s.begin(ctx, "append", conversation); err != nil {
		return 0, false, err
	}
	defer s.running.Done()
	a := &appending{ctx: ctx, flags: e.Flags, json: notNil(e.JSON), digest: e.Digest, done: make(chan struct{})}
	if e.Key != "" {
		key := sha256.Sum256([]byte(e.Key))
		a.key = key[:]
	}
	s.mu.Lock()
	queue, busy := s.queues[conversation]
	s.queues[conversation] = append(queue, a)
	s.mu.Unlock()
	if !busy {
		go s.appendQueue(conversation)
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		if s.withdraw(conversation, a) {
			return 0, false, ctx.Err()
		}
		<-a.done
	}
	return a.id, a.repeated, a.err
}

// withdraw takes an append out of the queue; false says that it is being
// written.
func (s *Store) withdraw(conversation string, a *appending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := s.queues[conversation]
	i := slices.Index(queue, a)
	if i < 0 {
		return false
	}
	s.queues[conversation] = slices.Delete(queue, i, i+1)
	return true
}

// appendQueue writes what is queued for a conversation until nothing is. The
// queue is in the map for as long as somebody does.
func (s *Store) appendQueue(conversation string) {
	for {
		s.mu.Lock()
		batch := s.queues[conversation]
		if len(batch) == 0 {
			delete(s.queues, conversation)
			s.mu.Unlock()
			return
		}
		n, size := 0, 0
		for ; n < len(batch) && n < writeEvents && size < writeBytes; n++ {
			size += len(batch[n].json)
		}
		s.queues[conversation] = slices.Clone(batch[n:])
		s.mu.Unlock()
		s.appendBatch(conversation, batch[:n])
	}
}

// appendBatch stores events in one transaction, and hands out the outcome.
func (s *Store) appendBatch(conversation string, batch []*appending) {
	began := time.Now()
	stored := 0
	// The callers' contexts have no say any more, and Close waits for them.
	err := s.transaction(context.Background(), "append", conversation, func(ctx context.Context, tx pgx.Tx) (err error) {
		stored, err = appendTo(ctx, tx, conversation, batch)
		return err
	})
	if err == nil && stored > 0 {
		s.committed(stored, time.Since(began))
		s.watchers.Wake(conversation)
	}
	for _, a := range batch {
		if a.err = wrap("append", conversation, a.err); err != nil {
			a.id, a.repeated, a.err = 0, false, err
		}
		close(a.done)
	}
}

// appendTo stores events of one conversation, and returns how many were new.
func appendTo(ctx context.Context, tx pgx.Tx, conversation string, batch []*appending) (stored int, err error) {
	var birth uint64
	var next int64
	err = tx.QueryRow(ctx, `SELECT birth, next FROM conversations WHERE conversation = $1 FOR UPDATE`, conversation).Scan(&birth, &next)
	if err != nil {
		return 0, err
	}
	used, err := usedKeys(ctx, tx, conversation, birth, batch)
	if err != nil {
		return 0, err
	}
	var ids, keyIDs []int64
	var flags []int32
	var texts, keys, digests [][]byte
	for _, a := range batch {
		if u, ok := used[string(a.key)]; ok {
			if u.digest != a.digest {
				a.err = store.ErrKeyReused
			} else {
				a.id, a.repeated = u.id, true
			}
			continue
		}
		if next > store.MaxID {
			a.err = store.ErrFull
			continue
		}
		a.id = next
		next++
		ids, flags, texts = append(ids, a.id), append(flags, int32(a.flags)), append(texts, a.json)
		if a.key != nil {
			used[string(a.key)] = use{a.id, a.digest}
			keyIDs, keys, digests = append(keyIDs, a.id), append(keys, a.key), append(digests, a.digest[:])
		}
	}
	if len(ids) == 0 {
		return 0, nil
	}
	var all pgx.Batch
	all.Queue(`INSERT INTO events SELECT $1, $2, * FROM unnest($3::bigint[], $4::integer[], $5::bytea[])`, conversation, birth, ids, flags, texts)
	if len(keys) > 0 {
		all.Queue(`INSERT INTO keys SELECT $1, $2, * FROM unnest($3::bytea[], $4::bigint[], $5::bytea[])`, conversation, birth, keys, keyIDs, digests)
	}
	all.Queue(`UPDATE conversations SET next = $2 WHERE conversation = $1`, conversation, next)
	return len(ids), tx.SendBatch(ctx, &all).Close()
}

// A use is what an idempotency key was used for.
type use struct {
	id     int64
	digest [sha256.Size]byte
}

// usedKeys returns those of a batch's keys that have been used.
func usedKeys(ctx context.Context, tx pgx.Tx, conversation string, birth uint64, batch []*appending) (map[string]use, error) {
	used := make(map[string]use)
	var keys [][]byte
	for _, a := range batch {
		if a.key != nil {
			keys = append(keys, a.key)
		}
	}
	if keys == nil {
		return used, nil
	}
	rows, err := tx.Query(ctx, `SELECT key, id, digest FROM keys WHERE conversation = $1 AND birth = $2 AND key = ANY($3)`, conversation, birth, keys)
	if err != nil {
		return nil, err
	}
	var key, digest []byte
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&key, &id, &digest}, func() error {
		if len(digest) != sha256.Size {
			return store.ErrCorrupt
		}
		used[string(key)] = use{id, [sha256.Size]byte(digest)}
		return nil
	})
	return used, err
}

// Bounds of what one statement reads of a conversation: the first reads the
// largest page that clients can ask for, each later one twice as many rows.
const (
	firstRows = 100
	readBytes = 1 << 20 // of JSON: no event is added that comes after these
)

// Visit implements [store.Store]. It reads a part at a time, and holds nothing
// in the database while visit is called: a conversation that is deleted on the
// way is ErrNotFound.
func (s *Store) Visit(ctx context.Context, conversation string, r store.Range, visit func(store.Event) bool) error {
	return s.read(ctx, "events", conversation, func(q *pgxpool.Pool) error {
		r.From, r.To = max(r.From, 0), min(r.To, store.MaxID)
		for rows := firstRows; ; rows = min(2*rows, store.PageEvents) {
			part, err := readPart(ctx, q, conversation, &r, rows)
			if err != nil {
				return err
			}
			for _, e := range part {
				if !visit(e) {
					return nil
				}
			}
			if len(part) == 0 {
				return nil
			}
			if last := part[len(part)-1].ID; r.Reverse {
				r.To = last - 1
			} else {
				r.From = last + 1
			}
			if r.To < r.From {
				return nil
			}
		}
	})
}

// parts are the statements that read a part, in either order.
var parts = map[bool]string{false: part("ASC"), true: part("DESC")}

func part(order string) string {
	return `SELECT c.birth, e.id, e.flags, e.json
		FROM conversations c LEFT JOIN LATERAL (
			SELECT * FROM (
				SELECT id, flags, json, sum(octet_length(json)) OVER (ORDER BY id ` + order + ` ROWS UNBOUNDED PRECEDING) - octet_length(json) AS before
				FROM events WHERE conversation = c.conversation AND birth = c.birth AND id BETWEEN $3 AND $4
				ORDER BY id ` + order + ` LIMIT $5
			) part WHERE before < $6
		) e ON true
		WHERE c.conversation = $1 AND ($2::bigint = 0 OR c.birth = $2)
		ORDER BY e.id ` + order
}

// readPart reads the first events of a range, and sets the range's birth.
func readPart(ctx context.Context, q *pgxpool.Pool, conversation string, r *store.Range, most int) (events []store.Event, err error) {
	rows, err := q.Query(ctx, parts[r.Reverse], conversation, r.Birth, r.From, r.To, most, readBytes)
	if err != nil {
		return nil, err
	}
	var birth uint64
	var id *int64
	var flags *int32
	var text []byte
	_, err = pgx.ForEachRow(rows, []any{&birth, &id, &flags, &text}, func() error {
		if id != nil {
			events = append(events, store.Event{ID: *id, Flags: uint16(*flags), JSON: text})
			text = nil // the event's
		}
		return nil
	})
	if err == nil && birth == 0 {
		err = store.ErrNotFound
	}
	r.Birth = birth
	return events, err
}

// Import implements [store.Store].
//
// The events come under a birth that no conversation has, and that is listed in
// imports from the first: readers cannot see them, and after a crash the next
// Open removes them. The last transaction takes it from that list and adds the
// conversation, in place of the old one where there is one. A Reset on the way
// empties the list, and the import is ErrNotFound.
func (s *Store) Import(ctx context.Context, c store.Conversation, replace bool, events iter.Seq2[store.Event, error]) (store.Conversation, error) {
	c = c.InUTC()
	write := func(fn func(ctx context.Context, tx pgx.Tx) error) error { return s.write(ctx, "import", c.ID, fn) }
	err := write(func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO imports SELECT $1, nextval('births') WHERE $2 OR NOT EXISTS (SELECT FROM conversations WHERE conversation = $1) RETURNING birth`,
			c.ID, replace).Scan(&c.Birth)
		if err == pgx.ErrNoRows {
			return store.ErrConflict
		}
		return err
	})
	if err != nil {
		return store.Conversation{}, err
	}
	b := birthOf{c.ID, c.Birth}
	next, err := b.importEvents(events, write)
	if err == nil {
		err = write(func(ctx context.Context, tx pgx.Tx) error { return b.adopt(ctx, tx, c, next, replace) })
	}
	if err != nil {
		// What this cannot do, the next Open does.
		_ = s.write(context.WithoutCancel(ctx), "import", c.ID, b.removeImport)
		return store.Conversation{}, err
	}
	s.watchers.Wake(c.ID)
	return c, nil
}

// importEvents stores events, and returns the id of the next one.
func (b birthOf) importEvents(events iter.Seq2[store.Event, error], write func(func(ctx context.Context, tx pgx.Tx) error) error) (next int64, err error) {
	var rows [][]any
	size := 0
	flush := func() error {
		return write(func(ctx context.Context, tx pgx.Tx) error {
			var one int
			if err := tx.QueryRow(ctx, `SELECT 1 FROM imports WHERE conversation = $1 AND birth = $2 FOR UPDATE`, b.Conversation, b.Birth).Scan(&one); err != nil {
				return err
			}
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"events"}, []string{"conversation", "birth", "id", "flags", "json"}, pgx.CopyFromRows(rows))
			return err
		})
	}
	for e, err := range events {
		if err != nil {
			return 0, err
		}
		if e.ID < next || e.ID > store.MaxID {
			return 0, wrap("import", b.Conversation, store.ErrConflict)
		}
		next = e.ID + 1
		rows = append(rows, []any{b.Conversation, b.Birth, e.ID, int32(e.Flags), notNil(e.JSON)})
		if size += len(e.JSON); size < writeBytes && len(rows) < writeEvents {
			continue
		}
		if err := flush(); err != nil {
			return 0, err
		}
		rows, size = rows[:0], 0
	}
	return next, flush()
}

// adopt makes of a birth that was imported the conversation c.
func (b birthOf) adopt(ctx context.Context, tx pgx.Tx, c store.Conversation, next int64, replace bool) error {
	done, err := tx.Exec(ctx, `DELETE FROM imports WHERE conversation = $1 AND birth = $2`, b.Conversation, b.Birth)
	if err == nil && done.RowsAffected() == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return err
	}
	for {
		if replace {
			if err := remove(ctx, tx, c.ID); err != nil && err != pgx.ErrNoRows {
				return err
			}
		}
		added, err := add(ctx, tx, c, next)
		if added || err != nil {
			return err
		}
		if !replace {
			return store.ErrConflict
		}
	}
}

// removeImport removes what an import stored that did not end.
func (b birthOf) removeImport(ctx context.Context, tx pgx.Tx) error {
	done, err := tx.Exec(ctx, `DELETE FROM imports WHERE conversation = $1 AND birth = $2`, b.Conversation, b.Birth)
	if err != nil || done.RowsAffected() == 0 {
		return err // adopted, or reset
	}
	return b.removeEvents(ctx, tx)
}

// notNil is b; nil would be NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
