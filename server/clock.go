package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/server/faults"
)

// SeedStart is where seeded times begin: 2025-01-01T00:00:00 of this machine's
// zone, in which events tell their times.
var SeedStart = time.Date(2025, 1, 1, 0, 0, 0, 0, time.Local)

// SeedStep is how far apart seeded times are.
const SeedStep = time.Millisecond

// newClock is the one of the Config, or makes one, as for each world that has a name.
// Seeded times go on after those that are stored.
func (d *world) newClock(ctx context.Context) (*clock.Clock, error) {
	if d.s.c.Clock != nil && d.name == "" {
		return d.s.c.Clock, nil
	}
	var o clock.Options
	if d.s.c.Seed != nil {
		stored, err := conversation.Latest(ctx, d.store)
		if err != nil {
			return nil, err
		}
		o.Start, o.Step = SeedStart, SeedStep
		if !stored.Before(SeedStart) {
			o.Start = stored.Add(SeedStep)
		}
	}
	if !d.s.c.FrozenAt.IsZero() {
		o.Start, o.Frozen = d.s.c.FrozenAt.In(time.Local), true
	}
	return clock.New(o), nil
}

// clockPath is where the clock is. The rate limit leaves it out, and the page: who was
// held back by a clock that is frozen could not move it.
const clockPath = "/_local/clock"

// clockPages are:
//
//	GET    /_local/clock    its time, and what waits for which
//	POST   /_local/clock    freeze, resume, advance or set it; the answer is what GET answers then
//	DELETE /_local/clock    makes it what it was at the start
func (d *world) clockPages() map[string]api.Handler {
	return map[string]api.Handler{
		"GET /clock": func(w http.ResponseWriter, _ *http.Request) error { return d.writeClock(w) },
		"POST /clock": func(w http.ResponseWriter, r *http.Request) error {
			text, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			v, err := faults.DecodeJSON(text)
			if err != nil {
				return err
			}
			busy := (*clock.BusyError)(nil)
			switch err := d.moveClock(r.Context(), v); {
			case errors.As(err, &busy):
				refuse(w, r, http.StatusConflict, "The clock was moved as far as "+d.clock.State().Now.Format(time.RFC3339Nano)+": "+busy.Error()+".")
				return nil
			case err != nil:
				return err
			}
			return d.writeClock(w)
		},
		"DELETE /clock": func(w http.ResponseWriter, _ *http.Request) error {
			d.clock.Reset()
			w.WriteHeader(http.StatusNoContent)
			return nil
		},
	}
}

// moveClock moves the clock as a body says. Its error is a [*fastapi.Invalid], or a
// [*clock.BusyError].
func (d *world) moveClock(ctx context.Context, v pyjson.Value) error {
	m, err := readMove(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.s.c.bounds.settle)
	defer cancel()
	err = m.carryOut(ctx, d.clock)
	if busy := (*clock.BusyError)(nil); err == nil || errors.As(err, &busy) {
		return err
	}
	return fastapi.ValueError(err.Error()).Refuse(m.given, "body", m.name)
}

// sleep has a request wait for a time to pass on the clock, or for the stop of the
// server. It tells whether anybody still wants the answer, which the clock waits for
// then.
func (w *answerWriter) sleep(what string, d time.Duration) bool {
	if w.work == nil {
		w.work = w.world.clock.Begin(what)
	}
	return w.work.Sleep(w.r.Context(), d, w.world.stopping) == nil
}

// settle tells the clock that the answer has begun.
func (w *answerWriter) settle() {
	if w.work != nil {
		w.work.End()
		w.work = nil
	}
}

// maxWaiting is how many of those who wait are told.
const maxWaiting = 100

// A ClockState is what /_local/clock answers.
type ClockState struct {
	Now    time.Time `json:"now"`
	Frozen bool      `json:"frozen"`
	// Offset is how far it is ahead of the machine's: "1h0m0s".
	Offset  string    `json:"offset"`
	Waiters int       `json:"waiters"` // how many there are
	Waiting []Waiting `json:"waiting"` // the first hundred, in their order
}

// Waiting is something that waits for a time.
type Waiting struct {
	What string    `json:"what"`
	Due  time.Time `json:"due"`
}

func (d *world) writeClock(w http.ResponseWriter) error {
	state := d.clock.State()
	told := ClockState{Now: state.Now, Frozen: state.Frozen, Waiters: len(state.Waiting), Waiting: []Waiting{}}
	told.Offset = time.Until(state.Now).Round(time.Millisecond).String()
	for _, one := range state.Waiting[:min(maxWaiting, len(state.Waiting))] {
		told.Waiting = append(told.Waiting, Waiting(one))
	}
	return writeJSON(w, http.StatusOK, told)
}

// A move is what is done to a clock.
type move struct {
	name    string // freeze, resume, advance or set
	given   pyjson.Value
	advance time.Duration
	set     time.Time
}

// localTime is how events tell a time; with a zone it is one of RFC 3339.
const localTime = "2006-01-02T15:04:05"

// parseTime reads a time of RFC 3339, or without a zone one of this machine's.
func parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.ParseInLocation(localTime, text, time.Local)
}

// readMove reads {"freeze":true}, {"resume":true}, {"advance":"1h30m"} or
// {"set":"2026-01-01T00:00:00Z"}. What is wrong is a [*fastapi.Invalid].
func readMove(v pyjson.Value) (m move, err error) {
	r := new(fastapi.Reader)
	r.Push("body")
	if v.Kind() != pyjson.Object {
		r.Fail(fastapi.ModelType, v)
		return m, r.Err()
	}
	for _, member := range v.Members() {
		r.Push(member.Key)
		given := member.Value
		var err error
		switch member.Key {
		case "freeze", "resume":
			if !given.Bool() {
				r.Fail(fastapi.ValueError("want true"), given)
			}
		case "advance":
			if m.advance, err = time.ParseDuration(given.Text()); given.Kind() != pyjson.String || err != nil || m.advance < 0 {
				r.Fail(fastapi.ValueError("want a duration such as 90s or 1h30m"), given)
			}
		case "set":
			if m.set, err = parseTime(given.Text()); given.Kind() != pyjson.String || err != nil {
				r.Fail(fastapi.ValueError("want a time such as 2026-01-01T00:00:00Z, or 2026-01-01T00:00:00 of the server's zone"), given)
			}
		default:
			r.Fail(fastapi.ExtraForbidden, given)
		}
		m.name, m.given = member.Key, given
		r.Pop()
	}
	if len(r.Errors) == 0 && len(v.Members()) != 1 {
		r.Fail(fastapi.ValueError("want one of freeze, resume, advance, set"), v)
	}
	return m, r.Err()
}

func (m move) carryOut(ctx context.Context, c *clock.Clock) error {
	switch m.name {
	case "freeze":
		c.Freeze()
	case "resume":
		c.Resume()
	case "advance":
		return c.Advance(ctx, m.advance)
	case "set":
		return c.Set(ctx, m.set)
	}
	return nil
}
