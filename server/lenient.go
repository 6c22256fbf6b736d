package server

import (
	"fmt"
	"sync/atomic"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/exchange"
)

// A LenientCount counts the answers which are more lenient than upstream's, for
// programs that end by telling how many there were.
type LenientCount struct{ n atomic.Int64 }

// Observe is a Config.Observe.
func (l *LenientCount) Observe(x *exchange.Exchange) {
	if len(x.Lenient) > 0 {
		l.n.Add(1)
	}
}

// Answers is how many there were.
func (l *LenientCount) Answers() int64 { return l.n.Load() }

// String says how many there were, as the beginning of a sentence.
func (l *LenientCount) String() string {
	n, was := l.Answers(), "answers were"
	if n == 1 {
		was = "answer was"
	}
	return fmt.Sprintf("%d %s more lenient than %s's", n, was, api.Recorded)
}
