package page

import (
	"errors"
	"net/http"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A hand is what the page shows of the clock.
type hand struct {
	Now     string
	Frozen  bool
	Waiters int
	Waiting []clock.Waiter // the first of them
}

func (p *Page) hand() hand {
	s := p.Clock.State()
	return hand{s.Now.Format(time.RFC3339), s.Frozen, len(s.Waiting), s.Waiting[:min(maxRows, len(s.Waiting))]}
}

func (p *Page) clock(w http.ResponseWriter, r *http.Request) error {
	return p.showClock(w, http.StatusOK, "", nil)
}

// showClock shows the clock, and what is wrong with a time that somebody wrote.
func (p *Page) showClock(w http.ResponseWriter, status int, written string, wrong []string) error {
	return p.show(w, status, "clock", view{Title: "Clock", Section: "clock", Content: struct {
		Hand    hand
		Steps   []string
		Written string
		Wrong   []string
	}{p.hand(), []string{"1s", "1m", "10m", "1h", "24h"}, written, wrong}})
}

// moveClock moves it as /_local/clock does.
func (p *Page) moveClock(w http.ResponseWriter, r *http.Request) error {
	do, err := known(r, "do", "freeze", "resume", "advance", "set", "reset")
	if err != nil {
		return err
	}
	by, to := r.PostFormValue("by"), pyjson.BoolOf(true)
	if do == "advance" || do == "set" {
		to = pyjson.StringOf(by)
	}
	if do == "reset" {
		p.Clock.Reset()
	} else {
		err = p.Move(r.Context(), pyjson.ObjectOf(pyjson.Member{Key: do, Value: to}))
	}
	busy := (*clock.BusyError)(nil)
	switch invalid := (*fastapi.Invalid)(nil); {
	case errors.As(err, &busy):
		return p.showClock(w, http.StatusConflict, by, []string{busy.Error()})
	case errors.As(err, &invalid):
		return p.showClock(w, http.StatusUnprocessableEntity, by, reasons(invalid))
	case err != nil:
		return err
	}
	return seeOther(w, r, Prefix+"clock")
}

// liveClock looks once a second: what waits tells nobody that it does.
func (p *Page) liveClock(w http.ResponseWriter, r *http.Request) error {
	shown := ""
	return p.live(w, r, every(time.Second), func(s *stream) error {
		h := p.hand()
		if now := compact(h); now != shown {
			shown = now
			return s.put("hand", h)
		}
		return nil
	})
}
