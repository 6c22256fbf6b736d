package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"github.com/openhands-local/openhands-local/api/refuse"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/store"
)

// events has the operations on the events of a conversation.
type events struct{ *deps }

// Headers of ours on Add Event. lenientHeader is in an answer that OpenHands
// 0.53.0 would have refused, and says what it would have done.
const (
	idempotencyHeader = "Idempotency-Key"
	eventIDHeader     = "X-Event-Id"
	lenientHeader     = "X-Local-Lenient"
)

// damagedHeader lists the ids of what an answer had to leave out, since it is
// damaged on the disk. A trajectory that is long has it as a trailer.
const damagedHeader = "X-Local-Damaged"

// Limits of one page of events.
const (
	defaultEvents = 20
	maxEvents     = 100
)

var errInvalidLimit = refuse.Text(http.StatusBadRequest, "Invalid limit")

// AddEvent stores an event and answers {"success":true}, its id in the header
// X-Event-Id. What 0.53.0 would have refused is said in X-Local-Lenient and
// one record.
func (o *events) AddEvent(c echo.Context, id string) error {
	return o.add(c, id, body(c).Raw)
}

// AddMessage stores a message of the user, as AddEvent does. It is of 0.59.0.
func (o *events) AddMessage(c echo.Context, id string) error {
	var q gen.AddMessageRequest
	if err := json.Unmarshal(body(c).JSON, &q); err != nil {
		return err
	}
	event, err := marshal(map[string]any{"action": "message", "args": map[string]any{"content": q.Message}})
	if err != nil {
		return err
	}
	return o.add(c, id, event)
}

// add stores an event and answers.
func (o *events) add(c echo.Context, id string, event []byte) error {
	r := c.Request()
	x := exchange.From(r.Context())
	added, err := o.Conversations.Add(r.Context(), id, event, r.Header.Get(idempotencyHeader))
	if err != nil {
		return err
	}
	if added.Dropped {
		o.Log.Warn("message dropped, as OpenHands does: the settings' model is not known to see images",
			"request", x.ID, "operation", x.Operation, "path", x.Path)
	} else {
		x.EventID = added.ID
		c.Response().Header().Set(eventIDHeader, strconv.FormatInt(added.ID, 10))
	}
	lenient(c, added.Lenient...)
	return writeBytes(c, http.StatusOK, []byte(`{"success":true}`))
}

// lenient says, in the answer too, that 0.53.0 would have refused, and why;
// nothing for no reason.
func lenient(c echo.Context, why ...string) {
	if len(why) == 0 {
		return
	}
	x := exchange.From(c.Request().Context())
	x.Lenient = append(x.Lenient, why...)
	c.Response().Header().Set(lenientHeader, headerSafe(strings.Join(x.Lenient, "; ")))
}

// tellDamaged says, in the answer and in one record, which events or
// conversations are left out since they are damaged; nothing for none.
func tellDamaged[ID any](d *deps, c echo.Context, what, header string, ids []ID) {
	if len(ids) == 0 {
		return
	}
	const most = 20
	list := make([]string, 0, most)
	for _, id := range ids[:min(len(ids), most)] {
		list = append(list, fmt.Sprint(id))
	}
	if len(ids) > most {
		list = append(list, fmt.Sprintf("and %d more", len(ids)-most))
	}
	c.Response().Header().Set(header, strings.Join(list, ", "))
	x := exchange.From(c.Request().Context())
	d.Log.Error("stored data is damaged: left out of the answer", "request", x.ID, "path", x.Path, what, strings.Join(list, ", "))
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
// JSON body of the GET; query parameters of its names are ignored. A page that
// is long is sent as it is read.
func (o *events) SearchEvents(c echo.Context, id string, q gen.SearchEventsParams) error {
	w := conversation.Window{
		Start: int64(orDefault(q.StartID, 0)), End: int64(orDefault(q.EndID, int(^uint(0)>>1))),
		Reverse: orDefault(q.Reverse, false), Limit: orDefault(q.Limit, defaultEvents),
	}
	if w.Limit < 0 || w.Limit > maxEvents {
		return errInvalidLimit
	}
	var f event.Filter
	if b := body(c); len(b.JSON) > 0 {
		if err := json.Unmarshal(b.JSON, &f); err != nil {
			return err
		}
	}
	buffer := pageBuffers.Get().(*[]byte)
	answer := longAnswer{deps: o.deps, c: c, piece: pagePiece, text: append((*buffer)[:0], `{"events":[`...)}
	page, err := o.Conversations.Search(c.Request().Context(), id, w, f, func(e store.Event) {
		answer.next()
		answer.text = event.AppendServed(answer.text, e.ID, e.JSON, event.Flags(e.Flags))
	}, answer.send)
	if err != nil {
		return answer.fail(err)
	}
	answer.text = append(answer.text, `],"has_more":`...)
	answer.text = strconv.AppendBool(answer.text, page.More)
	answer.text = append(answer.text, '}')
	err = answer.end(page.Damaged)
	if *buffer = answer.text; cap(*buffer) <= maxPageBuffer {
		pageBuffers.Put(buffer)
	}
	return err
}

// pageBuffers are for the text of a page: 100 events of a kilobyte in new
// memory each time would keep the garbage collector busy.
var pageBuffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPageBuffer is the most that is kept of one page.
const maxPageBuffer = 1 << 20

// pagePiece is how much of a page is held before it is sent, and besides what
// Search gives between two pauses. Upstream sends the length of a page of 2 MB
// (recorded add_event_huge_1mb).
const pagePiece = 4 << 20

// trajectoryBuffer is how much of a trajectory is held before it is sent. A client
// that does not read holds up so much, and a page of the store's.
const trajectoryBuffer = 32 << 10

// GetTrajectory answers all events that are not hidden, in their trajectory
// form, but damaged ones. A short one is sent whole, with its length; a long
// one as it is read.
func (o *events) GetTrajectory(c echo.Context, id string) error {
	answer := longAnswer{deps: o.deps, c: c, piece: trajectoryBuffer, text: append(make([]byte, 0, 4<<10), `{"trajectory":[`...)}
	var left []int64
	for e, err := range o.Conversations.Trajectory(c.Request().Context(), id) {
		var damaged *store.DamagedEvent
		if errors.As(err, &damaged) {
			left = append(left, damaged.ID)
			continue
		}
		if err != nil {
			return answer.fail(err)
		}
		answer.next()
		answer.text = event.AppendTrajectory(answer.text, e.ID, e.JSON, event.Flags(e.Flags))
		if err := answer.send(); err != nil {
			return err
		}
	}
	answer.text = append(answer.text, "]}"...)
	return answer.end(left)
}
