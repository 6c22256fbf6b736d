package pgstore

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/openhands-local/openhands-local/store"
)

// maxCount is more than there can be of anything.
const maxCount = 1 << 53

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, c store.Conversation) (store.Conversation, error) {
	c = c.InUTC()
	err := s.write(ctx, "create", c.ID, func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT nextval('births') WHERE NOT EXISTS (SELECT FROM conversations WHERE conversation = $1)`, c.ID).Scan(&c.Birth)
		if errors.Is(err, pgx.ErrNoRows) {
			return store.ErrConflict
		}
		if err != nil {
			return err
		}
		added, err := add(ctx, tx, c, 0)
		if err == nil && !added {
			err = store.ErrConflict
		}
		return err
	})
	if err != nil {
		return store.Conversation{}, err
	}
	return c, nil
}

// add adds a conversation that has its birth, unless there is one of its id.
func add(ctx context.Context, tx pgx.Tx, c store.Conversation, next int64) (added bool, err error) {
	record, err := json.Marshal(c)
	if err != nil {
		return false, err
	}
	done, err := tx.Exec(ctx, `INSERT INTO conversations VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		c.ID, c.Birth, store.LineOf(c.ID), c.CreatedAt.Unix(), c.CreatedAt.Nanosecond(), next, record)
	return done.RowsAffected() == 1, err
}

// Conversation implements [store.Store].
func (s *Store) Conversation(ctx context.Context, id string) (c store.Conversation, err error) {
	err = s.read(ctx, "conversation", id, func(q *pgxpool.Pool) error {
		var record []byte
		if err := q.QueryRow(ctx, `SELECT record FROM conversations WHERE conversation = $1`, id).Scan(&record); err != nil {
			return err
		}
		return parse(record, &c)
	})
	return c, err
}

// parse reads a record of conversations.
func parse(record []byte, c *store.Conversation) error {
	if json.Unmarshal(record, c) != nil {
		return store.ErrCorrupt
	}
	return nil
}

// Conversations implements [store.Store].
func (s *Store) Conversations(ctx context.Context, offset, limit int) (page []store.Conversation, total int, err error) {
	return s.LineConversations(ctx, "", offset, limit)
}

// LineConversations implements [store.Store].
func (s *Store) LineConversations(ctx context.Context, line string, offset, limit int) (page []store.Conversation, total int, err error) {
	var damaged store.DamagedConversations
	err = s.read(ctx, "conversations", "", func(q *pgxpool.Pool) error {
		if !isText(line) {
			return nil
		}
		rows, err := q.Query(ctx, `
			SELECT n, conversation, record
			FROM (SELECT count(*) AS n FROM conversations WHERE line = $1) counted LEFT JOIN (
				SELECT * FROM conversations WHERE line = $1
				ORDER BY seconds DESC, nanoseconds DESC, birth DESC OFFSET $2 LIMIT $3
			) page ON true
			ORDER BY seconds DESC, nanoseconds DESC, birth DESC`,
			line, min(max(offset, 0), maxCount), min(max(limit, 0), maxCount))
		if err != nil {
			return err
		}
		var id *string
		var record []byte
		_, err = pgx.ForEachRow(rows, []any{&total, &id, &record}, func() error {
			var c store.Conversation
			switch {
			case id == nil: // an empty page
			case parse(record, &c) != nil:
				damaged.IDs = append(damaged.IDs, *id)
			default:
				page = append(page, c)
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if damaged.IDs != nil {
		err = wrap("conversations", "", &damaged)
	}
	return page, total, err
}

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, id string, change func(*store.Conversation) error) (c store.Conversation, err error) {
	err = s.write(ctx, "update", id, func(ctx context.Context, tx pgx.Tx) error {
		var record []byte
		if err := tx.QueryRow(ctx, `SELECT record FROM conversations WHERE conversation = $1 FOR UPDATE`, id).Scan(&record); err != nil {
			return err
		}
		var stored store.Conversation
		if err := parse(record, &stored); err != nil {
			return err
		}
		c = stored
		if err := change(&c); err != nil {
			return &changeError{err}
		}
		c.ID, c.Birth, c.CreatedAt = stored.ID, stored.Birth, stored.CreatedAt
		c = c.InUTC()
		if record, err = json.Marshal(c); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE conversations SET record = $2 WHERE conversation = $1`, id, record)
		return err
	})
	if err != nil {
		return store.Conversation{}, err
	}
	return c, nil
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	err := s.write(ctx, "delete", id, func(ctx context.Context, tx pgx.Tx) error { return remove(ctx, tx, id) })
	if err == nil {
		s.watchers.Wake(id)
	}
	return err
}

// remove removes a conversation and all of it; pgx.ErrNoRows when there is none.
func remove(ctx context.Context, tx pgx.Tx, id string) error {
	b := birthOf{Conversation: id}
	if err := tx.QueryRow(ctx, `DELETE FROM conversations WHERE conversation = $1 RETURNING birth`, id).Scan(&b.Birth); err != nil {
		return err
	}
	return b.removeEvents(ctx, tx)
}

// A birthOf is one life of a conversation.
type birthOf struct {
	Conversation string
	Birth        uint64
}

// removeEvents removes events and keys. It is a statement of its own, after the
// conversation's row is locked, so that it sees what was appended until then.
func (b birthOf) removeEvents(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `DELETE FROM events WHERE conversation = $1 AND birth = $2`, b.Conversation, b.Birth); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM keys WHERE conversation = $1 AND birth = $2`, b.Conversation, b.Birth)
	return err
}

// Record implements [store.Store].
func (s *Store) Record(ctx context.Context, name string) (value []byte, err error) {
	err = s.read(ctx, "record", name, func(q *pgxpool.Pool) error {
		err := q.QueryRow(ctx, `SELECT value FROM records WHERE name = $1`, name).Scan(&value)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return value, err
}

// UpdateRecord implements [store.Store]. The row of a record stays when it is
// removed: it is what concurrent callers lock.
func (s *Store) UpdateRecord(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error {
	return s.write(ctx, "update record", name, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO records VALUES ($1, NULL) ON CONFLICT DO NOTHING`, name); err != nil {
			return err
		}
		var value []byte
		if err := tx.QueryRow(ctx, `SELECT value FROM records WHERE name = $1 FOR UPDATE`, name).Scan(&value); err != nil {
			return err
		}
		value, err := change(value)
		if err != nil {
			return &changeError{err}
		}
		_, err = tx.Exec(ctx, `UPDATE records SET value = $2 WHERE name = $1`, name, value)
		return err
	})
}
