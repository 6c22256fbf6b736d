package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/store"
)

// What is ours alone lives under /_local/, behind the same checks.
const localPrefix = "/_local/"

// registerLocal serves:
//
//	GET  /_local/conversations/{id}/stream   events as server-sent events, first stored ones, then each new one
//	GET  /_local/stream                      what happens in all conversations from now on, in the same form
//	POST /_local/conversations/{id}/events   append an event as it is given: source, cause, metrics
//	POST /_local/reset                       everything gone, sockets closed
//	GET  /_local/info                        what serves this: Config.Info
//	GET  /_local/export                      conversations as NDJSON
//	GET  /_local/backup                      the store's file
//
// and Config.Local.
func (d *deps) registerLocal(e *echo.Echo) {
	g := e.Group(localPrefix[:len(localPrefix)-1], func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			x := exchange.From(c.Request().Context())
			x.Operation, x.Conversation = c.Path(), c.Param("id")
			if !d.hasKey(c.Request()) && !d.hasQueryKey(c) {
				return d.unauthorized()
			}
			return next(c)
		}
	})
	g.GET("/conversations/:id/stream", d.stream)
	g.GET("/stream", d.streamAll)
	g.POST("/conversations/:id/events", d.inject)
	g.POST("/reset", d.reset)
	g.GET("/export", d.export)
	g.GET("/backup", d.backup)
	g.GET("/info", func(c echo.Context) error { return writeJSON(c, http.StatusOK, d.Info) })
	for pattern, handler := range d.Local {
		method, path, _ := strings.Cut(pattern, " ")
		g.Add(method, path, func(c echo.Context) error { return handler(c.Response(), c.Request()) })
	}
}

// hasQueryKey lets a stream say its key in the query, as sockets do: a
// browser's EventSource has no headers.
func (d *deps) hasQueryKey(c echo.Context) bool {
	return c.Request().Method == http.MethodGet && d.Key.Is(c.QueryParam("session_api_key"))
}

// heartbeat is how often a silent stream says that it lives.
const heartbeat = 15 * time.Second

// stream follows a conversation. start_id is the first event that is wanted;
// a client that comes back says the last one it has in Last-Event-ID. With
// notices=true what is told beside the events comes between them.
func (d *deps) stream(c echo.Context) error {
	r := c.Request()
	id, after := c.Param("id"), int64(-1)
	for _, given := range []struct {
		text, place, name string
		less              int64
	}{{c.QueryParam("start_id"), "query", "start_id", 1}, {r.Header.Get("Last-Event-ID"), "header", "Last-Event-ID", 0}} {
		if given.text == "" {
			continue
		}
		n, err := strconv.ParseInt(given.text, 10, 64)
		if err != nil {
			return fastapi.IntParsing.Refuse(pyjson.StringOf(given.text), given.place, given.name)
		}
		after = max(n, given.less-1) - given.less
	}
	notices, err := boolQuery(c, "notices")
	if err != nil {
		return err
	}
	f, err := d.Conversations.Follow(r.Context(), id, after)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.send(c, f, false, notices)
}

// streamAll follows all conversations from now on. The data of each message has
// the conversation's id beside the event.
func (d *deps) streamAll(c echo.Context) error {
	notices, err := boolQuery(c, "notices")
	if err != nil {
		return err
	}
	f := d.Conversations.FollowAll()
	defer f.Close()
	return d.send(c, f, true, notices)
}

// send sends what a follower is told as server-sent events, until it or the
// client is gone: that is the only end of an answer under way.
func (d *deps) send(c echo.Context, f *feed.Follower, all, notices bool) error {
	r, w := c.Request(), c.Response()
	exchange.From(r.Context()).Waits = exchange.WaitsForEvents
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	w.Flush()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		item, ok, err := f.Next(r.Context())
		var text []byte
		switch damaged := new(store.DamagedEvent); {
		case errors.As(err, &damaged):
			d.Log.Error("stored data is damaged: left out of the stream", "path", r.URL.Path, "event", damaged.ID)
			continue
		case err != nil:
			return nil
		case ok && item.Notice != nil && !notices:
			continue
		case ok:
			text = serverSent(item, all)
		default:
			w.Flush()
			select {
			case <-f.Changed():
				continue
			case <-r.Context().Done():
				return nil
			case <-d.Stopping:
				return nil
			case <-beat.C:
				text = []byte(": still here\n\n")
			}
		}
		if _, err := w.Write(text); err != nil {
			return nil
		}
	}
}

// serverSent is an item as a server-sent event: an event of the conversation is of
// the default type and has its id, a notice is of the type notice.
func serverSent(i feed.Item, all bool) (text []byte) {
	data := func(field string, add func([]byte) []byte) {
		text = append(text, "data: "...)
		if all {
			text = fmt.Appendf(text, `{"conversation_id":%q,%q:`, i.Conversation, field)
		}
		if text = add(text); all {
			text = append(text, '}')
		}
		text = append(text, "\n\n"...)
	}
	if i.Notice != nil {
		text = []byte("event: notice\n")
		data("notice", func(b []byte) []byte {
			notice, _ := json.Marshal(i.Notice) // its Update is JSON
			return append(b, notice...)
		})
		return text
	}
	if !all {
		text = fmt.Appendf(nil, "id: %d\n", i.Event.ID)
	}
	data("event", func(b []byte) []byte {
		return event.AppendServed(b, i.Event.ID, i.Event.JSON, event.Flags(i.Event.Flags))
	})
	return text
}

// inject appends an event as an agent or a runtime would, and answers its id.
// The body's source is kept; agent is the default.
func (d *deps) inject(c echo.Context) error {
	raw, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err
	}
	var head struct {
		Source string `json:"source"`
	}
	// What is no JSON is told by the event model.
	if err := json.Unmarshal(raw, &head); err != nil || head.Source == "" {
		head.Source = "agent"
	}
	if err := d.Conversations.Exists(c.Request().Context(), c.Param("id")); err != nil {
		return err
	}
	n, err := d.Conversations.Inject(c.Request().Context(), c.Param("id"), head.Source, raw)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, struct {
		ID int64 `json:"id"`
	}{n})
}

// reset begins anew, as on an empty folder.
func (d *deps) reset(c echo.Context) error {
	if err := d.Reset(c.Request().Context()); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
