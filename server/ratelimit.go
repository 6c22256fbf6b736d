package server

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/server/page"
)

// Upstream's rate limit (recorded ratelimit_*): within a sliding second a
// client's first 10 requests are served at once, the next 10 a second later,
// and the rest refused.
const (
	rateWindow  = time.Second
	rateAtOnce  = 10
	rateHeld    = 10
	assetPrefix = "/assets"
)

type rateLimiter struct {
	clock *clock.Clock

	mu   sync.Mutex
	seen map[string][]time.Time // marks of the last second, per client address
}

func (l *rateLimiter) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchange.From(r.Context())
		if strings.HasPrefix(x.Path, assetPrefix) || x.Path == clockPath || page.Is(x.Path) {
			next.ServeHTTP(w, r)
			return
		}
		switch n := l.count(r.RemoteAddr, l.clock.Mark()); {
		case n > rateAtOnce+rateHeld:
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"message":"Too many requests"}`))
			return
		case n > rateAtOnce:
			x.Waits = exchange.WaitsForLimit
			if !answerOf(w).sleep("request above the rate limit", rateWindow) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// count adds one request of a client and returns how many it made within the
// window.
func (l *rateLimiter) count(addr string, now time.Time) int {
	client, _, err := net.SplitHostPort(addr)
	if err != nil {
		client = addr
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string][]time.Time{}
	}
	recent := append(l.seen[client], now)
	for now.Sub(recent[0]) > rateWindow {
		recent = recent[1:]
	}
	// What is refused counts no further than the refusal needs.
	if max := rateAtOnce + rateHeld + 1; len(recent) > max {
		recent = recent[len(recent)-max:]
	}
	l.seen[client] = recent
	return len(recent)
}
