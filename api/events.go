package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/gen"
)

// events has the operations on the events of a conversation.
type events struct{ *deps }

// Headers of ours on Add Event.
const (
	idempotencyHeader = "Idempotency-Key"
	eventIDHeader     = "X-Event-Id"
	lenientHeader     = "X-Local-Lenient"
)

// Limits of one page of events.
const (
	defaultEvents = 20
	maxEvents     = 100
)

var errInvalidLimit = &refusal{http.StatusBadRequest, detail{"Invalid limit"}}

// AddEvent stores an event and answers {"success":true}, its id in the header
// X-Event-Id. What 0.53.0 would have refused is said in X-Local-Lenient and
// one record.
func (o *events) AddEvent(c echo.Context, id string) error {
	r := c.Request()
	added, err := o.Conversations.Add(r.Context(), id, body(c).Raw, r.Header.Get(idempotencyHeader))
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set(eventIDHeader, strconv.FormatInt(added.ID, 10))
	if len(added.Lenient) > 0 {
		o.lenient(c, "AddEvent", strings.Join(added.Lenient, "; "))
	}
	return writeBytes(c, http.StatusOK, []byte(`{"success":true}`))
}

// lenient says, in the answer and in a record, that 0.53.0 would have refused.
func (d *deps) lenient(c echo.Context, operation, why string) {
	h := c.Response().Header()
	why = headerSafe(why)
	h.Set(lenientHeader, why)
	d.Log.Warn("more lenient than OpenHands", "request", h.Get(echo.HeaderXRequestID), "operation", operation, "path", c.Request().URL.Path, "why", why)
}

// headerSafe keeps a text to what a header can carry.
func headerSafe(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// SearchEvents answers a page of a conversation's events. The filter is the
// JSON body of the GET; query parameters of its names are ignored.
func (o *events) SearchEvents(c echo.Context, id string, q gen.SearchEventsParams) error {
	w := conversation.Window{
		Start: int64(orDefault(q.StartID, 0)), End: int64(orDefault(q.EndID, int(^uint(0)>>1))),
		Reverse: orDefault(q.Reverse, false), Limit: orDefault(q.Limit, defaultEvents),
	}
	if w.Limit < 0 || w.Limit > maxEvents {
		return errInvalidLimit
	}
	var f event.Filter
	if b := body(c); b != nil && len(b.JSON) > 0 {
		if err := json.Unmarshal(b.JSON, &f); err != nil {
			return err
		}
	}
	page, more, err := o.Conversations.Search(c.Request().Context(), id, w, f)
	if err != nil {
		return err
	}
	buffer := pageBuffers.Get().(*[]byte)
	text := append((*buffer)[:0], `{"events":[`...)
	for i, e := range page {
		if i > 0 {
			text = append(text, ',')
		}
		text = event.AppendServed(text, e.ID, e.JSON, event.Flags(e.Flags))
	}
	text = append(text, `],"has_more":`...)
	text = strconv.AppendBool(text, more)
	text = append(text, '}')
	err = writeBytes(c, http.StatusOK, text)
	if *buffer = text; cap(text) <= maxPageBuffer {
		pageBuffers.Put(buffer)
	}
	return err
}

// pageBuffers are for the text of a page: 100 events of a kilobyte in new
// memory each time keep the garbage collector busier than all else that a page
// takes.
var pageBuffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPageBuffer is the most that is kept of one page.
const maxPageBuffer = 1 << 20

// trajectoryBuffer is how much of a trajectory is held before it is sent.
const trajectoryBuffer = 256 << 10

// GetTrajectory answers all events that are not hidden, in their trajectory
// form. A short one is sent whole, with its length; a long one as it is read.
func (o *events) GetTrajectory(c echo.Context, id string) error {
	w := c.Response()
	text := append(make([]byte, 0, 4<<10), `{"trajectory":[`...)
	first := true
	for e, err := range o.Conversations.Trajectory(c.Request().Context(), id) {
		if err != nil {
			if w.Committed {
				panic(http.ErrAbortHandler) // a cut answer must not look whole
			}
			return err
		}
		if !first {
			text = append(text, ',')
		}
		first = false
		text = event.AppendTrajectory(text, e.ID, e.JSON, event.Flags(e.Flags))
		if len(text) >= trajectoryBuffer {
			if !w.Committed {
				w.Header().Set("Content-Type", "application/json")
			}
			if _, err := w.Write(text); err != nil {
				return err
			}
			text = text[:0]
		}
	}
	text = append(text, "]}"...)
	if w.Committed {
		_, err := w.Write(text)
		return err
	}
	return writeBytes(c, http.StatusOK, text)
}
