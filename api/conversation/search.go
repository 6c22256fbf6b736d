package conversation

import (
	"context"
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

// Search returns the events of a window that match a filter, and whether
// there are more. It reads little further than the event after the last. An
// unknown conversation is ErrNotFound.
func (s *Service) Search(ctx context.Context, id string, w Window, f event.Filter) (page []store.Event, more bool, err error) {
	r := store.Range{From: w.Start, To: w.End, Reverse: w.Reverse}
	matches := f.Matcher()
	for size := w.Limit + 1; ; size = min(2*size, store.PageEvents) {
		read, err := s.c.Store.Events(ctx, id, r, size)
		if err != nil {
			return nil, false, err
		}
		for _, e := range read {
			if !matches(e.ID, e.JSON, event.Flags(e.Flags)) {
				continue
			}
			if len(page) == w.Limit {
				return page, true, nil
			}
			page = append(page, e)
		}
		if len(read) == 0 {
			return page, false, nil
		}
		if last := read[len(read)-1].ID; r.Reverse {
			r.To = last - 1
		} else {
			r.From = last + 1
		}
	}
}

// Trajectory yields all events that are not hidden; of an unknown
// conversation ErrNotFound.
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
