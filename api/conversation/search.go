package conversation

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/store"
)

// A Window is the part of a conversation that is searched: ids from Start to
// End, both inclusive, from the later to the earlier when Reverse. At most
// Limit events are returned; 0 only asks whether there is one.
type Window struct {
	Start, End int64
	Reverse    bool
	Limit      int
}

// A Page tells what [Service.Search] found beside the events that it gave.
type Page struct {
	More bool // events match beyond the last
	// Damaged are the ids of stored events that cannot be read. Nobody can say
	// whether they match: each takes the place of one that does.
	Damaged []int64
}

// searchBytes is about how much JSON is read in one go: what is deleted
// meanwhile stays in the store's file.
const searchBytes = 1 << 20

// Search gives the events of a window that match a filter, one by one. Their
// JSON is lent, as [store.Store.Visit] does, and give must not call the Service. It
// reads little further than the event after the last. About once a megabyte of
// what it reads, with the store let go of, it calls pause, whose error ends the
// search: what was given can be sent on there, however long that takes. An
// unknown conversation is ErrNotFound. When all it finds is damaged, it is an
// error: [store.ErrCorrupt].
func (s *Service) Search(ctx context.Context, id string, w Window, f event.Filter, give func(store.Event), pause func() error) (page Page, err error) {
	r := store.Range{From: w.Start, To: w.End, Reverse: w.Reverse}
	matches := f.Matcher()
	given := 0
	full := func() bool { return given+len(page.Damaged) == w.Limit }
	var damage error
	for {
		read, size := 0, 0
		last, goOn := int64(0), false
		err := s.c.Store.Visit(ctx, id, r, func(e store.Event) bool {
			if matches(e.ID, e.JSON, event.Flags(e.Flags)) {
				if page.More = full(); page.More {
					return false
				}
				give(e)
				given++
			}
			read++
			size += len(e.JSON)
			last, goOn = e.ID, read == store.PageEvents || size >= searchBytes
			return !goOn
		})
		var damaged *store.DamagedEvent
		switch {
		case err != nil && !errors.As(err, &damaged):
			return Page{}, err
		case damaged != nil && full():
			page.More = true
		case damaged != nil:
			page.Damaged = append(page.Damaged, damaged.ID)
			damage = cmp.Or(damage, err)
			last, goOn = damaged.ID, true
		}
		if goOn {
			if err := pause(); err != nil {
				return Page{}, err
			}
		}
		switch {
		case goOn && r.Reverse:
			r.To = last - 1
		case goOn:
			r.From = last + 1
		case given > 0:
			return page, nil
		default:
			return page, damage
		}
	}
}

// Trajectory yields all events that are not hidden; of an unknown conversation
// ErrNotFound. As [store.Scan] does, it goes on after a damaged one.
func (s *Service) Trajectory(ctx context.Context, id string) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		for e, err := range store.Scan(ctx, s.c.Store, id, store.All) {
			if err == nil && event.Flags(e.Flags)&event.IsHidden != 0 {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Last is the id of the last event of a conversation, -1 when it has none.
func (s *Service) Last(ctx context.Context, id string) (int64, error) {
	return s.feed.Last(ctx, id)
}

// Replay yields what a socket that connects is sent of the stored events after
// an id (see [event.Replay]), and returns the id of the last one that is stored,
// -1 for none: whoever follows from there on misses nothing. It goes on after a
// damaged event, as [store.Scan] does.
func (s *Service) Replay(ctx context.Context, id string, after int64) (events iter.Seq2[store.Event, error], last int64, err error) {
	last, err = s.Last(ctx, id)
	if err != nil {
		return nil, last, err
	}
	scan := store.Scan(ctx, s.c.Store, id, store.Range{From: after + 1, To: last})
	return event.Replay(scan, func(e store.Event) event.Flags { return event.Flags(e.Flags) }), last, nil
}

// Secrets are the values that no event may show.
func (s *Service) Secrets(ctx context.Context) ([]string, error) {
	secrets, err := s.secrets(ctx)
	values := make([]string, len(secrets))
	for i, secret := range secrets {
		values[i] = secret.Value
	}
	return values, err
}

// Mask replaces the values that no event may show in a text.
func (s *Service) Mask(ctx context.Context, text string) string {
	secrets, err := s.secrets(ctx)
	if err != nil {
		return event.Hidden
	}
	return event.Mask(text, secrets)
}
