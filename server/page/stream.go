package page

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/openhands-local/openhands-local/api/exchange"
)

// pace is how often a stream tells what is new: what comes at once goes at once.
const pace = 100 * time.Millisecond

// beat is how often a silent stream says that it lives.
const beat = 15 * time.Second

// A stream sends a browser rows and other parts of a page, as server-sent events:
//
//	data: <tr id="r12">…</tr>       takes the place of what has its id, or comes first
//	event: gone, data: r12          takes it away
type stream struct {
	w    http.ResponseWriter
	rows bytes.Buffer // since the last flush
	id   string       // Last-Event-ID of the next message, "" for none
}

// put sends a part of a page: a template of rows.html.
func (s *stream) put(part string, v any) error {
	html, err := render("rows", part, v)
	s.rows.Write(html)
	return err
}

// gone takes away what has an id.
func (s *stream) gone(id string) error {
	if err := s.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.w, "event: gone\ndata: %s\n\n", id)
	return err
}

// flush sends what was put, in one message.
func (s *stream) flush() error {
	if s.rows.Len() == 0 {
		return nil
	}
	var b bytes.Buffer
	if s.id != "" {
		fmt.Fprintf(&b, "id: %s\n", s.id)
	}
	for line := range bytes.Lines(s.rows.Bytes()) {
		b.WriteString("data: ")
		b.Write(bytes.TrimRight(line, "\r\n"))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	s.rows.Reset()
	_, err := s.w.Write(b.Bytes())
	return err
}

// every wakes after a time.
func every(d time.Duration) func() <-chan struct{} {
	return func() <-chan struct{} {
		c := make(chan struct{})
		time.AfterFunc(d, func() { close(c) })
		return c
	}
}

// live sends what look puts, each time that there may be something new, until the
// browser goes or the server stops. changed is asked before the look.
func (p *Page) live(w http.ResponseWriter, r *http.Request, changed func() <-chan struct{}, look func(*stream) error) error {
	exchange.From(r.Context()).Waits = exchange.WaitsForEvents
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	s := &stream{w: w}
	alive := time.NewTicker(beat)
	defer alive.Stop()
	for {
		wake := changed()
		if look(s) != nil || s.flush() != nil {
			return nil // the answer has begun: its end is all that can be told
		}
		_ = flush()
		for waiting := true; waiting; {
			select {
			case <-wake:
				waiting = false
			case <-r.Context().Done():
				return nil
			case <-p.Stopping:
				return nil
			case <-alive.C:
				if _, err := io.WriteString(w, ": still here\n\n"); err != nil {
					return nil
				}
				_ = flush()
			}
		}
		time.Sleep(pace)
	}
}
