package server

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api"
)

// cacheHeaders sets upstream's (recorded misc_cache_headers).
func cacheHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if strings.HasPrefix(r.URL.Path, assetPrefix) {
			h.Set("Cache-Control", "public, max-age=2592000, immutable")
		} else {
			h.Set("Cache-Control", "no-cache, no-store, must-revalidate, max-age=0")
			h.Set("Pragma", "no-cache")
			h.Set("Expires", "0")
		}
		next.ServeHTTP(w, r)
	})
}

// noWebsocket refuses an upgrade where there is no socket (recorded
// misc_protocol).
func noWebsocket(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limitBody bounds the size of a body and the time that it takes to come.
func limitBody(next http.Handler, most int64, within time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			control := http.NewResponseController(w)
			_ = control.SetReadDeadline(time.Now().Add(within))
			r.Body = &timedBody{http.MaxBytesReader(w, r.Body, most), control}
		}
		next.ServeHTTP(w, r)
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

// requestID returns 32 hexadecimal digits. They tell requests apart, and need
// not be hard to guess.
func requestID() string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	return hex.EncodeToString(id[:])
}

// observe gives every request an id, which answer and records carry, counts
// it, and writes a record of it if it was slow or if that was asked for.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := requestID()
		w.Header().Set("X-Request-Id", id)
		start, seen := time.Now(), &statusWriter{ResponseWriter: w, status: http.StatusOK}
		s.metrics.inFlight.Inc()
		defer func() { // also when the answer is cut off, by a panic
			took, waits := time.Since(start), waits(r, w)
			s.metrics.inFlight.Dec()
			s.metrics.request(r, w.Header(), seen.status, took, waits)
			level, message := slog.LevelInfo, "request"
			switch slow := s.c.LogSlow > 0 && took >= s.c.LogSlow && !waits; {
			case slow:
				level, message = slog.LevelWarn, "slow request"
			case !s.c.LogRequests:
				return
			}
			attrs := []slog.Attr{slog.String("request", id), slog.String("method", r.Method), slog.String("path", r.URL.Path)}
			if operation := api.Operation(r); operation != "" {
				attrs = append(attrs, slog.String("operation", operation))
			}
			s.c.Log.LogAttrs(r.Context(), level, message, append(attrs,
				slog.Int("status", seen.status), slog.Int64("bytes", seen.bytes), slog.Duration("took", took))...)
		}()
		next.ServeHTTP(seen, r)
	})
}

// waits tells of a request whose answer takes as long as there is something to
// wait for: a socket, a stream, a profile.
func waits(r *http.Request, w http.ResponseWriter) bool {
	return isSocket(r) || w.Header().Get("Content-Type") == "text/event-stream" || strings.HasPrefix(r.URL.Path, profilesPath)
}

// logRefused writes the record of a refusal that is not the API's.
func (s *Server) logRefused(r *http.Request, status int, why string) {
	s.c.Log.LogAttrs(r.Context(), slog.LevelWarn, "refused", slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", status), slog.String("msg", why))
}

// statusWriter remembers what was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController through.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
