package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/server/journal"
	"github.com/openhands-local/openhands-local/server/page"
)

// requestsPath is where the journal is; what is asked there, and of the page, is
// not in it.
//
//	GET    /_local/requests          entries that match, as JSON, HAR or commands; waits for them
//	DELETE /_local/requests          empties it
//	GET    /_local/requests/stream   each entry as a server-sent event, from now on
const requestsPath = "/_local/requests"

func (d *world) newJournal() *journal.Journal {
	if d.s.c.Journal == 0 {
		return nil
	}
	return journal.New(journal.Options{Limit: d.s.c.Journal, Explain: explain, Secrets: func() ([]string, error) {
		values, err := d.conversations.Secrets(context.Background())
		if d.s.c.Key != "" {
			values = append(values, d.s.c.Key)
		}
		return values, err
	}})
}

// Journal is what was asked and answered last, nil without Config.Journal. It can
// be read after Run has returned, too.
func (s *Server) Journal() *journal.Journal { return s.world.journal }

// WriteHAR writes the journals of all worlds as an HTTP Archive, in the order in
// which requests came.
func (s *Server) WriteHAR(w io.Writer) error {
	return journal.WriteHAR(w, s.entries(), s.world.info.URL, s.c.Version)
}

// entry begins what the journal keeps of a request, nil for nothing.
func (d *world) entry(r *http.Request) *journal.Entry {
	path := r.URL.Path
	if d.journal == nil || path == requestsPath || strings.HasPrefix(path, requestsPath+"/") || page.Is(path) {
		return nil
	}
	return &journal.Entry{Query: r.URL.RawQuery, Request: journal.Message{Header: r.Header}}
}

// keep hands the journal an answered request, once.
func (d *world) keep(w *answerWriter) {
	if w.entry == nil {
		return
	}
	w.entry.Response.Header = w.Header()
	d.journal.Add(w.x, w.entry)
	w.entry = nil
}

// received ends the exchange of a socket's message.
func (d *world) received(x *exchange.Exchange) {
	x.World = d.name
	d.s.done(x)
	if d.journal != nil {
		e := new(journal.Entry)
		_, _ = e.Request.Write(x.Body)
		d.journal.Add(x, e)
	}
}

// sent takes the messages that sockets are sent, nil when nobody wants them.
func (d *world) sent() func(*exchange.Exchange, []byte) {
	if d.journal == nil {
		return nil
	}
	return func(x *exchange.Exchange, text []byte) {
		x.World = d.name
		e := new(journal.Entry)
		_, _ = e.Response.Write(text)
		d.journal.Add(x, e)
	}
}

// requests are the handlers below requestsPath. Without a journal they say how to
// get one.
func (d *world) requests() map[string]api.Handler {
	with := func(h api.Handler) api.Handler {
		if d.journal != nil {
			return h
		}
		return func(w http.ResponseWriter, r *http.Request) error {
			refuse(w, r, http.StatusConflict, "The journal is off. Start openhands-local with --journal 1000 to keep that many requests.")
			return nil
		}
	}
	return map[string]api.Handler{
		"GET /requests":        with(d.listRequests),
		"GET /requests/stream": with(d.streamRequests),
		"DELETE /requests": with(func(w http.ResponseWriter, r *http.Request) error {
			d.journal.Clear()
			w.WriteHeader(http.StatusNoContent)
			return nil
		}),
	}
}

// A requestsQuery is what may be asked of the journal.
type requestsQuery struct {
	journal.Query
	wait   time.Duration // 0 answers at once
	min    int
	format string // one of formats
}

// maxWait is the longest wait.
const maxWait = 10 * time.Minute

var formats = []string{"json", "har", "curl"}

// readRequestsQuery reads the parameters of a query that a handler knows. What is
// wrong with them is a [*fastapi.Invalid].
func (d *world) readRequestsQuery(query string, known ...string) (q requestsQuery, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, fastapi.ValueError(err.Error()).Refuse(pyjson.StringOf(query), "query")
	}
	var r fastapi.Reader
	r.Push("query")
	wrong := func(format string, a ...any) *fastapi.Fault { return fastapi.ValueError(fmt.Sprintf(format, a...)) }
	q.min, q.format = 1, formats[0]
	number := func(v pyjson.Value, least, most int64) int64 {
		n, err := strconv.ParseInt(r.Read(fastapi.Int, v).Text(), 10, 64)
		if len(r.Errors) == 0 && (err != nil || n < least || n > most) {
			r.Fail(wrong("want a number from %d to %d", least, most), v)
		}
		return n
	}
	known = append(known, "operation", "conversation", "status", "method", "path", "after", "session_api_key")
	for _, name := range slices.Sorted(maps.Keys(values)) {
		r.Push(name)
		text := values.Get(name)
		v := pyjson.StringOf(text)
		switch {
		case !slices.Contains(known, name):
			r.Fail(fastapi.ExtraForbidden, v)
		case len(values[name]) > 1 && name != "session_api_key":
			r.Fail(wrong("want it once"), v)
		case name == "operation":
			q.Operation = text
		case name == "conversation":
			q.Conversation = text
		case name == "method":
			q.Method = text
		case name == "path":
			q.Path = text
		case name == "status":
			if q.Status = text; !journal.IsStatus(text) {
				r.Fail(wrong("want a status such as 422, or 4xx for all of its class"), v)
			}
		case name == "after":
			var err error
			if q.After, err = d.journal.ParseCursor(text); err != nil {
				q.After = number(v, 0, 1<<62)
			}
		case name == "limit":
			q.Limit = int(number(v, 1, 1<<31-1))
		case name == "min":
			q.min = int(number(v, 1, int64(d.s.c.Journal)))
		case name == "wait":
			var err error
			if q.wait, err = time.ParseDuration(text); err != nil || q.wait < 0 || q.wait > maxWait {
				r.Fail(wrong("want a duration such as 10s, %v at most", maxWait), v)
			}
		case name == "format":
			if q.format = text; !slices.Contains(formats, text) {
				r.Fail(wrong("want one of %s", strings.Join(formats, ", ")), v)
			}
		}
		r.Pop()
	}
	return q, r.Err()
}

// listRequests answers the entries that match: the latest, or after an entry the
// first ones. With wait it answers once there are min of them, or when the time is
// over 404 with what came instead.
func (d *world) listRequests(w http.ResponseWriter, r *http.Request) error {
	q, err := d.readRequestsQuery(r.URL.RawQuery, "limit", "wait", "min", "format")
	if err != nil {
		return err
	}
	if q.wait > 0 {
		exchange.From(r.Context()).Waits = exchange.WaitsForEvents
		ctx, cancel := context.WithTimeout(r.Context(), q.wait)
		defer cancel()
		go func() {
			select {
			case <-d.stopping:
				cancel()
			case <-ctx.Done():
			}
		}()
		var short *journal.Shortfall
		if _, err := d.journal.Wait(ctx, q.Query, q.min); errors.As(err, &short) {
			return writeJSON(w, http.StatusNotFound, short)
		}
	}
	page := d.journal.Page(q.Query)
	switch q.format {
	case "har":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Disposition", `attachment; filename="openhands-local.har"`)
		return journal.WriteHAR(w, page.Entries, d.s.world.info.URL, d.info.Version)
	case "curl":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for _, e := range page.Entries {
			if _, err := fmt.Fprintln(w, e.Curl(d.s.world.info.URL)); err != nil {
				return err
			}
		}
		return nil
	}
	return writeJSON(w, http.StatusOK, page)
}

// streamRequests sends each entry that matches as a server-sent event, from now on,
// or after Last-Event-ID or after:
//
//	id: 1f03a2c4-17
//	data: {"seq":17,…}
//
// An id alone says how far the stream is. One of another journal, as of a server
// that was started again, is before the first entry. When entries gave way before they were sent, matching or
// not, that is told:
//
//	event: missed
//	data: {"missed":3}
func (d *world) streamRequests(w http.ResponseWriter, r *http.Request) error {
	q, err := d.readRequestsQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if q.After, err = d.journal.ParseCursor(last); err != nil {
			return fastapi.IntParsing.Refuse(pyjson.StringOf(last), "header", "Last-Event-ID")
		}
	} else if !r.URL.Query().Has("after") {
		q.After = d.journal.Last()
	}
	exchange.From(r.Context()).Waits = exchange.WaitsForEvents
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	if _, err := fmt.Fprintf(w, "id: %s\n\n", d.journal.Cursor(q.After)); err != nil {
		return nil
	}
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	for {
		changed := d.journal.Changed()
		page := d.journal.Page(q.Query)
		q.After = page.Last
		if page.Missed > 0 {
			if _, err := fmt.Fprintf(w, "event: missed\ndata: {\"missed\":%d}\n\n", page.Missed); err != nil {
				return nil
			}
		}
		for _, e := range page.Entries {
			text, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "id: %s\ndata: %s\n\n", d.journal.Cursor(e.Seq), text); err != nil {
				return nil
			}
		}
		_ = flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return nil
		case <-d.stopping:
			return nil
		case <-beat.C:
			if _, err := fmt.Fprintf(w, "id: %s\n\n", d.journal.Cursor(q.After)); err != nil {
				return nil
			}
		}
	}
}

// streamBeat is how often a silent stream says that it lives.
const streamBeat = 15 * time.Second
