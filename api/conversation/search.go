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

// A Page is what [Service.Search] finds.
type Page struct {
	Events []store.Event
	More   bool // events match beyond the last
	// Damaged are the ids of stored events that cannot be read. Nobody can say
	// whether they match: each takes the place of one that does.
	Damaged []int64
}

// Search returns the events of a window that match a filter. It reads little
// further than the event after the last. An unknown conversation is
// ErrNotFound. When all it finds is damaged, it is an error: [store.ErrCorrupt].
func (s *Service) Search(ctx context.Context, id string, w Window, f event.Filter) (page Page, err error) {
	r := store.Range{From: w.Start, To: w.End, Reverse: w.Reverse}
	matches := f.Matcher()
	full := func() bool { return len(page.Events)+len(page.Damaged) == w.Limit }
	var damage error
	found := func(more bool) (Page, error) {
		page.More = more
		if len(page.Events) > 0 {
			return page, nil
		}
		return page, damage
	}
	for size := w.Limit + 1; ; size = min(2*size, store.PageEvents) {
		read, err := s.c.Store.Events(ctx, id, r, size)
		var damaged *store.DamagedEvent
		if err != nil && !errors.As(err, &damaged) {
			return Page{}, err
		}
		for _, e := range read {
			if !matches(e.ID, e.JSON, event.Flags(e.Flags)) {
				continue
			}
			if full() {
				return found(true)
			}
			page.Events = append(page.Events, e)
		}
		var last int64
		switch {
		case damaged != nil && full():
			return found(true)
		case damaged != nil:
			page.Damaged = append(page.Damaged, damaged.ID)
			damage = cmp.Or(damage, err)
			last = damaged.ID
		case len(read) == 0:
			return found(false)
		default:
			last = read[len(read)-1].ID
		}
		if r.Reverse {
			r.To = last - 1
		} else {
			r.From = last + 1
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

// Mask replaces the values that no event may show in a text.
func (s *Service) Mask(ctx context.Context, text string) string {
	secrets, err := s.secrets(ctx)
	if err != nil {
		return event.Hidden
	}
	return event.Mask(text, secrets)
}
