package exchange_test

import (
	"context"
	"testing"

	"github.com/openhands-local/openhands-local/api/exchange"
)

// TestContext: an exchange travels in a context and in those made of it; each
// has an id of its own; a context without one can be asked too.
func TestContext(t *testing.T) {
	x, other := exchange.New(exchange.HTTP, "GET", "/alive"), exchange.New(exchange.Socket, "oh_user_action", "/socket.io/")
	ctx, cancel := context.WithCancel(x.Context(t.Context()))
	defer cancel()
	exchange.From(ctx).Operation = "Alive"
	if x.Operation != "Alive" || len(x.ID) != 32 || x.ID == other.ID || x.EventID != -1 {
		t.Errorf("%+v, want operation Alive, no event, and another id than %s", x, other.ID)
	}
	if got := exchange.From(other.Context(ctx)); got != other {
		t.Errorf("From() = %+v, want the innermost", got)
	}
	if got := exchange.From(t.Context()); got == nil || got.EventID != -1 {
		t.Errorf("From() of a context without one = %+v", got)
	}
	if x.Done(); x.Duration <= 0 {
		t.Errorf("Duration = %v", x.Duration)
	}
}
