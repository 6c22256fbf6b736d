package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// testRandom does the same random operations to s and to a memstore, and wants
// the same answers.
func testRandom(t *testing.T, s store.Store) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	reference := memstore.New()
	for step := range 600 {
		op := randomOp(r)
		want, got := op(t, reference), op(t, s)
		if got != want {
			t.Fatalf("seed %d, step %d:\n got %.500s\nwant %.500s", seed, step, got, want)
		}
	}
}

// randomOp chooses an operation, which tells its call and its answer.
func randomOp(r *rand.Rand) func(t *testing.T, s store.Store) string {
	id := string(rune('a' + r.IntN(4)))
	switch n := r.IntN(100); {
	case n < 8:
		c := store.Conversation{ID: id, Title: fmt.Sprint(n), CreatedAt: time.Unix(r.Int64N(5)-2, r.Int64N(3)), Agent: n%2 == 0}
		return func(t *testing.T, s store.Store) string {
			got, err := s.Create(t.Context(), c)
			return answer(fmt.Sprintf("Create(%+v)", c), err, got)
		}
	case n < 11:
		return func(t *testing.T, s store.Store) string {
			return answer("Delete "+id, s.Delete(t.Context(), id))
		}
	case n < 12:
		return func(t *testing.T, s store.Store) string {
			return answer("Reset", s.Reset(t.Context()))
		}
	case n < 17:
		title := fmt.Sprint(r.IntN(1000))
		return func(t *testing.T, s store.Store) string {
			c, err := s.Update(t.Context(), id, func(c *store.Conversation) error { c.Title = title; return nil })
			return answer("Update "+id, err, c)
		}
	case n < 25:
		offset, limit := randomInt(r), randomInt(r)
		return func(t *testing.T, s store.Store) string {
			page, total, err := s.Conversations(t.Context(), offset, limit)
			return answer(fmt.Sprintf("Conversations(%d, %d)", offset, limit), err, page, total)
		}
	case n < 60:
		e := store.NewEvent{Flags: uint16(r.Uint32()), JSON: randomBytes(r)}
		if r.IntN(3) == 0 {
			e.Key = fmt.Sprint(r.IntN(5))
			e.Digest[0] = byte(r.IntN(2))
		}
		return func(t *testing.T, s store.Store) string {
			n, repeated, err := s.Append(t.Context(), id, e)
			return answer(fmt.Sprintf("Append(%s, %d bytes, key %s)", id, len(e.JSON), e.Key), err, n, repeated)
		}
	case n < 65:
		events := make([]store.Event, r.IntN(6))
		next := int64(r.IntN(40))
		for i := range events {
			events[i] = store.Event{ID: next, Flags: uint16(r.Uint32()), JSON: randomBytes(r)}
			next += r.Int64N(8)
		}
		replace := r.IntN(2) == 0
		at := time.Unix(r.Int64N(100), 0)
		return func(t *testing.T, s store.Store) string {
			c, err := s.Import(t.Context(), store.Conversation{ID: id, CreatedAt: at}, replace, sequence(nil, events...))
			return answer(fmt.Sprintf("Import(%s, %v, %s)", id, replace, ids(events)), err, c)
		}
	case n < 90:
		span := store.Range{From: int64(randomInt(r)), To: int64(randomInt(r)), Reverse: r.IntN(2) == 0}
		limit := randomInt(r)
		return func(t *testing.T, s store.Store) string {
			page, err := store.Events(t.Context(), s, id, span, limit)
			for i := range page {
				page[i].JSON = page[i].JSON[:min(len(page[i].JSON), 20)]
			}
			return answer(fmt.Sprintf("Events(%s, %+v, %d)", id, span, limit), err, page)
		}
	case n < 95:
		value := randomBytes(r)
		if r.IntN(3) == 0 {
			value = nil
		}
		return func(t *testing.T, s store.Store) string {
			var old []byte
			err := s.UpdateRecord(t.Context(), id, func(o []byte) ([]byte, error) { old = o; return value, nil })
			return answer("UpdateRecord "+id, err, len(old), old == nil)
		}
	default:
		return func(t *testing.T, s store.Store) string {
			c, err := s.Conversation(t.Context(), id)
			record, err2 := s.Record(t.Context(), id)
			return answer("Conversation and Record "+id, errors.Join(err, err2), c, len(record), record == nil)
		}
	}
}

// answer renders a call and its results; an error by what it is.
func answer(call string, err error, results ...any) string {
	for _, known := range []error{store.ErrNotFound, store.ErrConflict, store.ErrKeyReused, store.ErrFull} {
		if errors.Is(err, known) {
			err = known
		}
	}
	return fmt.Sprintf("%s = %+v %v", call, results, err)
}

// randomInt is small, or about as far away as can be.
func randomInt(r *rand.Rand) int {
	switch r.IntN(12) {
	case 0:
		return math.MaxInt
	case 1:
		return math.MinInt
	}
	return r.IntN(60) - 3
}

// randomBytes are a few, or so many that a page has room for no more than some.
func randomBytes(r *rand.Rand) []byte {
	n := r.IntN(100)
	if r.IntN(40) == 0 {
		n = r.IntN(store.PageBytes)
	}
	return bytes.Repeat([]byte{byte(r.IntN(256))}, n)
}
