package server

import (
	"testing"

	"github.com/openhands-local/openhands-local/api/exchange"
)

// TestLenientCount counts exchanges, however many reasons each has.
func TestLenientCount(t *testing.T) {
	var l LenientCount
	for _, tt := range []struct {
		lenient []string
		want    string
	}{
		{nil, "0 answers were more lenient than 0.53.0's"},
		{[]string{"one"}, "1 answer was more lenient than 0.53.0's"},
		{[]string{"one", "another"}, "2 answers were more lenient than 0.53.0's"},
	} {
		if l.Observe(&exchange.Exchange{Lenient: tt.lenient}); l.String() != tt.want {
			t.Errorf("after %q: %q, want %q", tt.lenient, l.String(), tt.want)
		}
	}
}
