package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/store"
)

func TestError(t *testing.T) {
	for _, test := range []struct {
		err  store.Error
		want string
	}{
		{store.Error{Op: "append", ID: "abc", Err: store.ErrNotFound}, "store: append abc: not found"},
		{store.Error{Op: "reset", Err: store.ErrClosed}, "store: reset: store is closed"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("Error() = %q, want %q", got, test.want)
		}
		if !errors.Is(&test.err, test.err.Err) {
			t.Errorf("%v is not %v", &test.err, test.err.Err)
		}
	}
}

func TestInUTC(t *testing.T) {
	now := time.Now()
	c := store.Conversation{ID: "c", CreatedAt: now, UpdatedAt: now.In(time.FixedZone("", 3600))}
	got := c.InUTC()
	if want := time.Unix(0, now.UnixNano()).UTC(); got.CreatedAt != want || got.UpdatedAt != want || got.ID != "c" {
		t.Errorf("InUTC(%+v) = %+v, want both times %v", c, got, want)
	}
}

// TestWatchers wakes a conversation's watchers, and no others.
func TestWatchers(t *testing.T) {
	var w store.Watchers
	w.Wake("c")
	w.WakeAll()
	var a, b, d int
	count := func(n *int) func() { return func() { *n++ } }
	stopA, stopB := w.Watch("c", count(&a)), w.Watch("c", count(&b))
	defer w.Watch("d", count(&d))()
	w.Wake("c")
	stopB()
	stopB()
	w.Wake("c")
	if a != 2 || b != 1 || d != 0 {
		t.Errorf("calls after two Wake(c) = %d, %d, %d, want 2, 1, 0", a, b, d)
	}
	w.WakeAll()
	if a != 3 || b != 1 || d != 1 {
		t.Errorf("calls after WakeAll = %d, %d, %d, want 3, 1, 1", a, b, d)
	}
	stopA()
}
