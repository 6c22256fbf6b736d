package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/live"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/gen"
	v1 "github.com/openhands-local/openhands-local/gen/agentserver"
	"github.com/openhands-local/openhands-local/server/faults"
)

// faultHeader is in an answer with which something goes wrong on purpose, and
// names the rule.
const faultHeader = "X-Local-Fault"

// newFaults returns the faults of the start.
func (c Config) newFaults() (*faults.Set, error) {
	operations := make([]string, len(gen.Operations))
	for i, op := range gen.Operations {
		operations[i] = op.Name
	}
	for _, op := range v1.Operations {
		if !slices.Contains(operations, op.Name) {
			operations = append(operations, op.Name)
		}
	}
	set := faults.New(operations)
	if c.Faults == "" {
		return set, nil
	}
	return set, set.AddFile(c.Faults)
}

// Faults are what goes wrong on purpose.
func (s *Server) Faults() *faults.Set { return s.world.faults }

// faultPages are:
//
//	GET    /_local/faults           all rules, with how often each was offered and used
//	POST   /_local/faults           add a rule, or a list of them, all or none
//	DELETE /_local/faults           take all out
//	DELETE /_local/faults/{name}    take one out
//	GET    /_local/faults/presets   rules by name
func (d *world) faultPages() map[string]api.Handler {
	return map[string]api.Handler{
		"GET /faults": func(w http.ResponseWriter, _ *http.Request) error {
			return writeJSON(w, http.StatusOK, map[string]any{"faults": d.faults.List()})
		},
		"GET /faults/presets": func(w http.ResponseWriter, _ *http.Request) error {
			return writeJSON(w, http.StatusOK, map[string]any{"presets": faults.Presets})
		},
		"POST /faults": func(w http.ResponseWriter, r *http.Request) error {
			text, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			v, err := faults.DecodeJSON(text)
			if err != nil {
				return err
			}
			added, err := d.faults.AddJSON(v)
			if err != nil {
				return err
			}
			return writeJSON(w, http.StatusOK, map[string]any{"faults": added})
		},
		"DELETE /faults": func(w http.ResponseWriter, _ *http.Request) error {
			d.faults.Clear()
			w.WriteHeader(http.StatusNoContent)
			return nil
		},
		"DELETE /faults/:name": func(w http.ResponseWriter, r *http.Request) error {
			name := strings.TrimPrefix(r.URL.Path, "/_local/faults/")
			if !d.faults.Delete(name) {
				return fastapi.ValueError("there is no rule of this name").Refuse(pyjson.StringOf(name), "path", "name")
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		},
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(text.Len()))
	w.WriteHeader(status)
	_, err := w.Write(text.Bytes())
	return err
}

// before lets a fault come before the handler of a request. It tells whether
// that has answered it.
func (d *world) before(w http.ResponseWriter, r *http.Request) (answered bool) {
	f := d.faults.Request(exchange.From(r.Context()), r.Header)
	if f == nil {
		return false
	}
	a := answerOf(w)
	a.spoil(f)
	if f.At == faults.After {
		return false
	}
	if !a.fault.wait() {
		return true
	}
	switch {
	case f.Status != 0:
		a.fault.replace()
		return true
	case f.Connection != "" && f.Cut == nil:
		a.fault.end()
		return true
	}
	return false
}

// message lets go wrong what a socket's client has sent or is sent.
func (d *world) message(m live.Message) *live.Fault {
	f := d.faults.Message(m)
	if f != nil && f.Action == faults.Restart {
		d.conversations.Close()
		d.live.Cut()
		f.Action = live.Cut
	}
	return f
}

// answerOf is the answerWriter below others.
func answerOf(w http.ResponseWriter) *answerWriter {
	for {
		if a, ok := w.(*answerWriter); ok {
			return a
		}
		w = w.(interface{ Unwrap() http.ResponseWriter }).Unwrap()
	}
}

// A spoiler is what a fault does to an answer.
type spoiler struct {
	*faults.Fault
	w *answerWriter

	begun  bool   // by the handler
	silent bool   // what the handler writes is thrown away
	ended  bool   // the connection is to be ended, or is
	left   int    // bytes until the cut, -1 for no cut
	held   []byte // the body that Set changes
	status int    // that was held with it; 0 for none
}

// errSpoiled is what a handler is told that goes on writing.
var errSpoiled = errors.New("the connection was ended by a fault")

// spoil lets a fault have the answer.
func (w *answerWriter) spoil(f *faults.Fault) {
	w.fault = &spoiler{Fault: f, w: w, left: -1}
	if f.Cut != nil {
		w.fault.left = *f.Cut
	}
	w.x.Fault = f.Name
	w.Header().Set(faultHeader, f.Name)
}

// wait waits for the fault's delay. It tells whether anybody still wants the
// answer.
func (f *spoiler) wait() bool { return f.Wait == 0 || f.sleep(f.Wait) }

func (f *spoiler) sleep(d time.Duration) bool {
	f.w.x.Waits = exchange.WaitsForFault
	return f.w.sleep("request with the fault "+f.Name, d)
}

// begin is asked when a handler begins its answer, and tells whether that goes
// out now.
func (f *spoiler) begin(status int) bool {
	if f.begun || f.ended || f.silent {
		return false
	}
	f.begun = true
	if f.At == faults.After {
		if !f.wait() {
			return true // to nobody
		}
		if f.Status != 0 {
			f.replace()
			return false
		}
		if f.Connection != "" && f.Cut == nil {
			f.end()
			return false
		}
	}
	if f.Set != nil && strings.HasPrefix(f.w.Header().Get("Content-Type"), "application/json") {
		f.status = status
		return false
	}
	return true
}

// replace answers in the place of the handler.
func (f *spoiler) replace() {
	h := f.w.Header()
	for _, name := range []string{"Content-Length", "Content-Type", "X-Event-Id", "X-Local-Hint", "X-Local-Lenient", "X-Local-Damaged", "Allow", "Location"} {
		h.Del(name)
	}
	text := f.Text()
	if _, isText := f.Body.(string); isText {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	} else if text != nil {
		h.Set("Content-Type", "application/json")
	}
	for name, value := range f.Headers {
		h.Set(name, value)
	}
	if f.Status != http.StatusNoContent && f.Status != http.StatusNotModified {
		h.Set("Content-Length", fmt.Sprint(len(text)))
	}
	f.w.head(f.Status)
	if f.w.r.Method != http.MethodHead {
		_, _ = f.send(text)
	}
	f.silent = true
}

// write takes what a handler writes.
func (f *spoiler) write(b []byte) (int, error) {
	switch {
	case f.ended:
		return 0, errSpoiled
	case f.silent:
		return len(b), nil
	case f.status != 0:
		f.held = append(f.held, b...)
		return len(b), nil
	}
	return f.send(b)
}

// paceTime is how often a piece of an answer is sent that is slow.
const paceTime = 50 * time.Millisecond

// send sends a part of the body, as slow and as far as the fault says.
func (f *spoiler) send(b []byte) (sent int, err error) {
	defer f.w.settle()
	for len(b) > 0 && err == nil && f.left != 0 {
		n, pause := len(b), time.Duration(0)
		if rate := f.BytesPerSecond; rate > 0 {
			n = min(n, max(1, rate*int(paceTime/time.Millisecond)/1000))
			pause = time.Duration(n) * time.Second / time.Duration(rate)
		}
		if pause > 0 && !f.sleep(pause) {
			return sent, context.Cause(f.w.r.Context())
		}
		if f.left > 0 {
			n = min(n, f.left)
			f.left -= n
		}
		n, err = f.w.write(b[:n])
		sent, b = sent+n, b[n:]
		if pause > 0 {
			_ = f.w.control.Flush()
		}
	}
	if f.left == 0 {
		_ = f.w.control.Flush()
		f.end()
		return sent, errSpoiled
	}
	return sent, err
}

// end ends the connection: a reset at once, else when the handler has returned.
func (f *spoiler) end() {
	if f.ended {
		return
	}
	f.ended = true
	if f.Connection != faults.Reset {
		return
	}
	conn, _, err := f.w.control.Hijack()
	if err != nil {
		return // closed at the end
	}
	if plain, ok := conn.(*plainConn); ok {
		_ = plain.SetLinger(0) // RST in the place of FIN
	}
	_ = conn.Close()
}

// finish sends what was held, and ends the connection if it shall be.
func (f *spoiler) finish() {
	if f == nil {
		return
	}
	if f.status != 0 && !f.ended {
		text := f.held
		if len(text) > 0 { // HEAD has none, and the length of what there was
			text = f.Rewrite(text)
			f.w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		}
		f.w.head(f.status)
		f.status = 0
		if f.w.r.Method != http.MethodHead {
			_, _ = f.send(text)
		}
	}
	if f.ended {
		panic(http.ErrAbortHandler)
	}
}
