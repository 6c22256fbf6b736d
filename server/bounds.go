package server

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"
)

// bounds are the times that a connection may take. There is none for an answer
// as a whole: it may be long, and a stream has no end.
type bounds struct {
	header time.Duration // for a request's line and headers
	body   time.Duration // for a request's body
	answer time.Duration // for answerPart bytes of an answer
	idle   time.Duration // between two requests
}

var defaultBounds = bounds{header: 10 * time.Second, body: time.Minute, answer: 30 * time.Second, idle: 2 * time.Minute}

// maxHeader is the most bytes of a request's line and headers.
const maxHeader = 1 << 20

// answerPart is how much of an answer is written at a time: a client that reads
// less than that in bounds.answer holds up what the server keeps for it.
const answerPart = 64 << 10

// bound cuts off clients that do not send what they have begun, or do not read
// what they are answered.
func (s *Server) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bounded := &boundedWriter{w, http.NewResponseController(w), r, s.c.bounds.answer, s.c.Log}
		if r.Body != nil && r.Body != http.NoBody {
			_ = bounded.control.SetReadDeadline(time.Now().Add(s.c.bounds.body))
			r.Body = &timedBody{http.MaxBytesReader(w, r.Body, s.c.MaxBody), bounded.control}
		}
		next.ServeHTTP(bounded, r)
	})
}

// A timedBody takes the deadline back at its end, and only there: net/http reads
// on in a body that a handler has given up.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// A boundedWriter writes an answer in parts, each within a time.
type boundedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	r       *http.Request
	most    time.Duration
	log     *slog.Logger
}

func (w *boundedWriter) Write(b []byte) (written int, err error) {
	for err == nil && len(b) > 0 {
		_ = w.control.SetWriteDeadline(time.Now().Add(w.most)) // net/http takes it back after the request
		var n int
		n, err = w.ResponseWriter.Write(b[:min(len(b), answerPart)])
		written, b = written+n, b[n:]
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.log.Warn("cut off: the client does not read the answer", "method", w.r.Method, "path", w.r.URL.Path, "within", w.most)
	}
	return written, err
}

// Unwrap lets http.ResponseController through.
func (w *boundedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
