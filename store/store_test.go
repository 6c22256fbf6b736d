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

// TestWatchers wakes a conversation's watchers without waiting for them.
func TestWatchers(t *testing.T) {
	var w store.Watchers
	w.Wake("c")
	w.WakeAll()
	a, stopA := w.Watch("c")
	b, stopB := w.Watch("c")
	d, stopD := w.Watch("d")
	defer stopD()
	for range 3 {
		w.Wake("c")
	}
	stopB()
	stopB()
	if len(a) != 1 || len(b) != 1 || len(d) != 0 {
		t.Errorf("values after Wake(c) = %d, %d, %d, want 1, 1, 0", len(a), len(b), len(d))
	}
	<-a
	<-b
	w.WakeAll()
	if len(a) != 1 || len(b) != 0 || len(d) != 1 {
		t.Errorf("values after WakeAll = %d, %d, %d, want 1, 0, 1", len(a), len(b), len(d))
	}
	stopA()
}
