package store

import (
	"context"
	"errors"
	"iter"
)

// Events returns one page of a range: at most limit, PageEvents and about
// PageBytes, but at least one if there is any and limit is above 0. A shorter
// page than asked for does not mean that it was the last. An unknown
// conversation is ErrNotFound. A stored event that does not read back as it was
// written is a [DamagedEvent], with the events before it.
func Events(ctx context.Context, s Store, conversation string, r Range, limit int) (page []Event, err error) {
	if limit = min(limit, PageEvents); limit <= 0 {
		r = Range{To: -1}
	}
	size := 0
	var room []byte // that the page's events are copied to
	grown := 2 << 10
	err = s.Visit(ctx, conversation, r, func(e Event) bool {
		if len(e.JSON) > cap(room)-len(room) { // of that many more; little for who follows and gets one at a time
			grown *= 2
			room = make([]byte, 0, max(len(e.JSON), min((limit-len(page))*len(e.JSON), PageBytes-size, grown)))
		}
		start := len(room)
		room = append(room, e.JSON...)
		e.JSON = room[start:len(room):len(room)]
		page = append(page, e)
		size += len(e.JSON)
		return len(page) < limit && size < PageBytes
	})
	return page, err
}

// Scan yields the events of a range one by one, read a page at a time. It
// holds no more than a page in memory and nothing open in the store between
// pages. An error is yielded last: ErrNotFound too when the conversation is
// deleted on the way, also when another was born under its id. Only after a
// [DamagedEvent] the scan goes on, with the events after it, if the loop does.
func Scan(ctx context.Context, s Store, conversation string, r Range) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		c, err := s.Conversation(ctx, conversation)
		if err != nil {
			yield(Event{}, err)
			return
		}
		r.Birth = c.Birth
		for r.From <= r.To && r.To >= 0 {
			page, err := Events(ctx, s, conversation, r, PageEvents)
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			last, more := lastOf(page, err, func(err error) bool { return yield(Event{}, err) })
			if !more {
				return
			}
			if r.Reverse {
				r.To = last - 1
			} else {
				r.From = last + 1
			}
		}
	}
}

// lastOf returns the id after which reading goes on once a page has been
// yielded and its error told; more is false when that was all.
func lastOf(page []Event, err error, tell func(error) bool) (last int64, more bool) {
	var damaged *DamagedEvent
	switch {
	case errors.As(err, &damaged):
		return damaged.ID, tell(err)
	case err != nil:
		tell(err)
		return 0, false
	case len(page) == 0:
		return 0, false
	}
	return page[len(page)-1].ID, true
}
