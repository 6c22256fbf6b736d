package server

import (
	"net/http/httptest"
	"testing"

	"github.com/openhands-local/openhands-local/api/exchange"
)

// TestEnterCosts: a request that names no world costs no memory for those that
// might.
func TestEnterCosts(t *testing.T) {
	s, err := New(t.Context(), Config{Addr: "127.0.0.1:0", Data: Memory, MaxWorlds: DefaultMaxWorlds})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, host := range []string{"localhost:3000", "127.0.0.1:3000", "[::1]:3000", "openhands.example"} {
		r := httptest.NewRequest("POST", "/api/conversations/c/events", nil)
		r.Host = host
		x := exchange.New(exchange.HTTP, r.Method, r.URL.Path)
		n := testing.AllocsPerRun(100, func() {
			d, h := s.enter(x, r)
			if d != s.world || h != s.world {
				t.Fatal("another world")
			}
			d.leave()
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", host, n)
		}
	}
}
