package server

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/migration"
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
// misc_protocol), with a hint at the one that there is.
func noWebsocket(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			api.TellHint(w, r, cmp.Or(migration.Hint(r.Method, r.URL.Path, nil, nil), "events come by Socket.IO, at "+socketPath+"/"))
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// exchanges makes the exchange of each request to a line, whose id the answer carries,
// and tells of it when it is answered. The request that is handed on is a copy:
// whatever is put in the place of its body, net/http knows the one that it
// made, and whether a client still waits to be told to send it.
func (s *Server) exchanges(line string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchange.New(exchange.HTTP, r.Method, strings.ToValidUTF8(r.URL.Path, "\uFFFD"))
		x.Line = line
		w.Header().Set("X-Request-Id", x.ID)
		r = r.WithContext(x.Context(r.Context()))
		world, h := s.enter(x, r)
		defer world.leave()
		if world.name != "" {
			w.Header().Set(worldHeader, world.name)
		}
		answer := world.timed(w, r, x)
		answer.entry = world.entry(r)
		s.exchange(h, answer, r)
		answer.end()
	})
}

func (s *Server) exchange(h http.Handler, w *answerWriter, r *http.Request) {
	s.metrics.inFlight.Inc()
	defer func() { // also when the answer is cut off, by a panic
		s.metrics.inFlight.Dec()
		w.settle()
		if w.fault == nil || !w.fault.ended {
			w.x.Status = cmp.Or(w.x.Status, http.StatusOK)
		}
		s.done(w.x)
		w.world.keep(w)
	}()
	h.ServeHTTP(w, r)
	w.fault.finish()
}

// done ends an exchange, of a request or of a socket's message.
func (s *Server) done(x *exchange.Exchange) {
	x.Done()
	s.record(x)
	s.metrics.observe(x)
	if s.c.Observe != nil {
		s.c.Observe(x)
	}
}

// record writes what there is to tell of an exchange: that it was refused, that
// OpenHands would have refused it, that it was slow. --log-requests tells of
// every one.
func (s *Server) record(x *exchange.Exchange) {
	if why := x.Refusal; why != nil {
		level, message, fault := slog.LevelWarn, "refused", slog.Attr{}
		if why.Err != nil {
			level, fault = slog.LevelError, slog.Any("error", why.Err)
		}
		if why.Msg == "" {
			message = "unexpected error"
		}
		s.write(x, level, message, optional("loc", why.Loc), optional("msg", why.Msg), optional("body", why.Body), fault)
	}
	if len(x.Lenient) > 0 && !s.c.CountsLenient {
		s.write(x, slog.LevelWarn, "more lenient than OpenHands", slog.String("why", strings.Join(x.Lenient, "; ")))
	}
	level, message := slog.LevelInfo, "request"
	switch slow := s.c.LogSlow > 0 && x.Duration >= s.c.LogSlow && x.Waits == ""; {
	case slow:
		level, message = slog.LevelWarn, "slow request"
	case !s.c.LogRequests:
		return
	}
	s.write(x, level, message, slog.Int64("bytes", x.Bytes), slog.Duration("took", x.Duration))
}

// write writes a record of an exchange.
func (s *Server) write(x *exchange.Exchange, level slog.Level, message string, more ...slog.Attr) {
	attrs := []slog.Attr{slog.String("request", x.ID), slog.String("method", x.Method), slog.String("path", x.Path), optional("operation", x.Operation), optional("hint", x.Hint), optional("fault", x.Fault), optional("world", x.World)}
	if x.Transport == exchange.Socket {
		attrs = append(attrs, slog.String("conversation", x.Conversation))
	} else {
		attrs = append(attrs, slog.Int("status", x.Status))
	}
	s.c.Log.LogAttrs(context.Background(), level, message, append(attrs, more...)...)
}

// optional is an attribute; for no value an empty one, which no handler writes.
func optional(key, value string) slog.Attr {
	if value == "" {
		return slog.Attr{}
	}
	return slog.String(key, value)
}
