package server

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/server/journal"
)

// bounds are the times that a connection may take, of the machine's: clients have no
// other. There is none for an answer as a whole: it may be long, and a stream has no
// end.
type bounds struct {
	header time.Duration // for a request's line and headers
	body   time.Duration // for a request's body
	answer time.Duration // for answerPart bytes of an answer
	idle   time.Duration // between two requests
	settle time.Duration // for the work that keeps the clock from being moved
}

var defaultBounds = bounds{header: 10 * time.Second, body: time.Minute, answer: 30 * time.Second, idle: 2 * time.Minute, settle: 10 * time.Second}

// maxHeader is the most bytes of a request's line and headers.
const maxHeader = 1 << 20

// answerPart is how much of an answer is written at a time: a client that reads
// less than that in bounds.answer holds up what the server keeps for it.
const answerPart = 64 << 10

// unread is how much of a body that nobody wanted is read, so that the connection
// can be used again. Where there may be more, net/http closes it.
const unread = 256 << 10

// timed cuts a client off that does not send the body that it has begun, or does
// not read what it is answered.
func (d *world) timed(w http.ResponseWriter, r *http.Request, x *exchange.Exchange) *answerWriter {
	answer := &answerWriter{ResponseWriter: w, world: d, r: r, x: x, control: *http.NewResponseController(w)}
	if r.Body != nil && r.Body != http.NoBody {
		_ = answer.control.SetReadDeadline(time.Now().Add(d.s.c.bounds.body))
		answer.rest = r.Body
		answer.body = timedBody{ReadCloser: http.MaxBytesReader(w, r.Body, d.s.c.MaxBody), answer: answer}
		r.Body = &answer.body
	}
	return answer
}

// A timedBody takes the deadline back at its end, and only there: net/http reads
// on in a body that a handler has given up.
type timedBody struct {
	io.ReadCloser
	answer *answerWriter
	begun  bool // to be read
}

func (b *timedBody) Read(p []byte) (int, error) {
	b.begun = true
	n, err := b.ReadCloser.Read(p)
	if b.answer.entry != nil {
		_, _ = b.answer.entry.Request.Write(p[:n])
	}
	if err == io.EOF {
		_ = b.answer.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// An answerWriter notes what is answered, and writes it in parts, each within a
// time.
type answerWriter struct {
	http.ResponseWriter
	world   *world
	r       *http.Request
	x       *exchange.Exchange
	control http.ResponseController
	body    timedBody
	rest    io.Reader // the body as net/http made it, nil for none
	early   bool      // the answer does not wait for the rest
	fault   *spoiler  // what goes wrong on purpose; nil for nothing

	work *clock.Work // from a wait of the request to its answer; nil for none

	entry *journal.Entry // what the journal keeps of both bodies, nil for nothing
}

// begin has an answer sent at once that was made without a look at the body: left
// alone, net/http reads the body first, whenever it comes. Of one that is
// withheld (Expect: 100-continue) it knows better. An answer of unknown length
// would end after the rest of the body, so that the connection is its end.
func (w *answerWriter) begin(status int) {
	switch {
	case w.x.Status != 0 || w.rest == nil || w.body.begun || w.r.Header.Get("Expect") != "":
	case w.r.ContentLength < 0, w.Header().Get("Content-Length") == "" && status != http.StatusNoContent:
		w.Header().Set("Connection", "close")
	case w.r.ContentLength < unread:
		w.early = w.control.EnableFullDuplex() == nil
	}
}

// end reads the rest of a body that an answer did not wait for. net/http must not
// be left to do that after EnableFullDuplex (golang/go#68560).
func (w *answerWriter) end() {
	if !w.early {
		return
	}
	_ = w.control.Flush()
	if _, err := io.Copy(io.Discard, w.rest); err != nil {
		panic(http.ErrAbortHandler) // what comes next would be taken for a request
	}
}

func (w *answerWriter) WriteHeader(status int) {
	if status >= http.StatusOK && w.x.Status == 0 && w.fault == nil {
		if f := w.world.faults.Answer(w.x, w.r.Header, status); f != nil {
			w.spoil(f)
		}
	}
	if w.fault == nil || status < http.StatusOK || w.fault.begin(status) {
		w.head(status)
	}
}

// head sends status and headers.
func (w *answerWriter) head(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		w.begin(status)
		w.x.Status = status
		w.settle()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(b []byte) (int, error) {
	if w.x.Status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.fault != nil {
		return w.fault.write(b)
	}
	return w.write(b)
}

func (w *answerWriter) write(b []byte) (written int, err error) {
	for err == nil && len(b) > 0 {
		_ = w.control.SetWriteDeadline(time.Now().Add(w.world.s.c.bounds.answer)) // net/http takes it back after the request
		part := b[:min(len(b), answerPart)]
		if w.ends(part) {
			_, _ = w.entry.Response.Write(part)
			w.x.Done()
			w.world.keep(w)
		}
		var n int
		n, err = w.ResponseWriter.Write(part)
		if w.entry != nil {
			_, _ = w.entry.Response.Write(part[:n])
		}
		w.x.Bytes += int64(n)
		written, b = written+n, b[n:]
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.world.s.write(w.x, slog.LevelWarn, "cut off: the client does not read the answer", slog.Duration("within", w.world.s.c.bounds.answer))
	}
	return written, err
}

// heldBack is how much of an answer net/http keeps until the handler returns,
// unless it is told to send it.
const heldBack = 2 << 10

// ends tells that a client has the whole answer once it has part: the journal must
// have it before.
func (w *answerWriter) ends(part []byte) bool {
	whole := w.x.Bytes + int64(len(part))
	return w.entry != nil && whole > heldBack && w.Header().Get("Content-Length") == strconv.FormatInt(whole, 10)
}

// FlushError sends what was written, unless a fault has it.
func (w *answerWriter) FlushError() error {
	if w.fault != nil && (w.fault.silent || w.fault.ended || w.fault.status != 0) {
		return nil
	}
	return w.control.Flush()
}

// Unwrap lets http.ResponseController through.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
