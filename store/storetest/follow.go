package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/store"
)

func testScan(t *testing.T, s store.Store) {
	const n = 2*store.PageEvents + 10
	events := make([]store.Event, n)
	for i := range events {
		events[i].ID = int64(i)
	}
	fill(t, s, "c", events...)
	for _, test := range []struct {
		r           store.Range
		first, last int64
		n           int
	}{
		{store.All, 0, n - 1, n},
		{store.Range{To: math.MaxInt64, Reverse: true}, n - 1, 0, n},
		{store.Range{From: math.MinInt64, To: math.MaxInt64, Reverse: true}, n - 1, 0, n},
		{store.Range{From: 5, To: n - 5}, 5, n - 5, n - 9},
		{store.Range{From: 5, To: n - 5, Reverse: true}, n - 5, 5, n - 9},
		{store.Range{From: 7, To: 7}, 7, 7, 1},
		{store.Range{From: 7, To: 6}, 0, 0, 0},
		{store.Range{From: -9, To: -7, Reverse: true}, 0, 0, 0},
		{store.Range{From: n, To: math.MaxInt64}, 0, 0, 0},
	} {
		var got []store.Event
		for e, err := range store.Scan(t.Context(), s, "c", test.r) {
			if err != nil {
				t.Fatalf("Scan(%+v) = %v", test.r, err)
			}
			if len(got) > 0 && (e.ID > got[len(got)-1].ID) == test.r.Reverse {
				t.Fatalf("Scan(%+v): %d after %d", test.r, e.ID, got[len(got)-1].ID)
			}
			got = append(got, e)
		}
		if len(got) != test.n || len(got) > 0 && (got[0].ID != test.first || got[len(got)-1].ID != test.last) {
			t.Errorf("Scan(%+v) = %d events, want %d from %d to %d", test.r, len(got), test.n, test.first, test.last)
		}
	}
	for range store.Scan(t.Context(), s, "c", store.All) {
		break // must be possible
	}
	for _, r := range []store.Range{store.All, {To: -1}} {
		var last error
		for _, err := range store.Scan(t.Context(), s, "x", r) {
			last = err
		}
		wantError(t, fmt.Sprintf("Scan(x, %+v)", r), last, store.ErrNotFound)
	}
}

// testScanEndsWithConversation deletes a conversation while it is scanned.
func testScanEndsWithConversation(t *testing.T, s store.Store) {
	events := make([]store.Event, store.PageEvents+1)
	for i := range events {
		events[i].ID = int64(i)
	}
	for _, again := range []bool{false, true} {
		fill(t, s, "c", events...)
		var n int
		var last error
		for e, err := range store.Scan(t.Context(), s, "c", store.All) {
			if last = err; err != nil {
				break
			}
			n++
			if e.ID != 0 {
				continue
			}
			if err := s.Delete(t.Context(), "c"); err != nil {
				t.Fatalf("Delete = %v", err)
			}
			if again {
				fill(t, s, "c", events...)
			}
		}
		wantError(t, fmt.Sprintf("Scan (created again %v)", again), last, store.ErrNotFound)
		if n != store.PageEvents {
			t.Errorf("Scan = %d events before the error, want the page that was read: %d", n, store.PageEvents)
		}
	}
}

// watch returns a channel that has a value after a change.
func watch(s store.Store, conversation string) (changed chan struct{}, stop func()) {
	changed = make(chan struct{}, 1)
	return changed, s.Watch(conversation, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
}

// followed yields the events of a conversation after an id, first those that are
// stored, then each new one, as whoever follows one with Watch and Range.Birth
// does.
func followed(ctx context.Context, s store.Store, conversation string, after int64) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		changed, stop := watch(s, conversation)
		defer stop()
		c, err := s.Conversation(ctx, conversation)
		if err != nil {
			yield(store.Event{}, err)
			return
		}
		r := store.Range{From: min(after, store.MaxID) + 1, To: store.All.To, Birth: c.Birth}
		for {
			page, err := store.Events(ctx, s, conversation, r, store.PageEvents)
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				r.From = e.ID + 1
			}
			if err != nil {
				yield(store.Event{}, err)
				return
			}
			if len(page) > 0 {
				continue
			}
			select {
			case <-ctx.Done():
				yield(store.Event{}, ctx.Err())
				return
			case <-changed:
			}
		}
	}
}

// A following is one in its own goroutine.
type following struct {
	events chan store.Event
	err    chan error
}

func follow(ctx context.Context, s store.Store, conversation string, after int64) following {
	f := following{make(chan store.Event, 10_000), make(chan error, 1)}
	go func() {
		for e, err := range followed(ctx, s, conversation, after) {
			if err != nil {
				f.err <- err
				return
			}
			f.events <- e
		}
	}()
	return f
}

// want wants the next event to have an id.
func (f following) want(t *testing.T, id int64) {
	t.Helper()
	select {
	case e := <-f.events:
		if e.ID != id {
			t.Fatalf("Follow yields event %d, want %d", e.ID, id)
		}
	case err := <-f.err:
		t.Fatalf("Follow ends with %v, want event %d", err, id)
	case <-time.After(10 * time.Second):
		t.Fatalf("Follow yields nothing, want event %d", id)
	}
}

// wantEnd wants no event any more, and an error.
func (f following) wantEnd(t *testing.T, want error) {
	t.Helper()
	select {
	case err := <-f.err:
		if !errors.Is(err, want) {
			t.Errorf("Follow ends with %v, want %v", err, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("Follow does not end, want %v", want)
	}
	if len(f.events) > 0 {
		t.Errorf("Follow yields event %d, want only its end", (<-f.events).ID)
	}
}

func testFollow(t *testing.T, s store.Store) {
	fill(t, s, "c", []store.Event{{ID: 0}, {ID: 1}, {ID: 10}, {ID: 12}}...)
	create(t, s, "d")
	ctx, cancel := context.WithCancel(t.Context())
	f := follow(ctx, s, "c", -1)
	for _, id := range []int64{0, 1, 10, 12} {
		f.want(t, id)
	}
	add(t, s, "d", "{}", 0)
	add(t, s, "c", "{}", 13)
	f.want(t, 13)
	cancel()
	f.wantEnd(t, context.Canceled)
	for range followed(t.Context(), s, "c", -1) {
		break // must be possible
	}
}

// testFollowWhileAppending wants every follower to see every event once and in
// order, whenever it begins.
func testFollowWhileAppending(t *testing.T, s store.Store) {
	const callers, each, followers = 8, 25, 8
	create(t, s, "c")
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range each {
				if _, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte("{}")}); err != nil {
					t.Errorf("Append = %v", err)
				}
			}
		})
	}
	for after := range int64(followers) {
		group.Go(func() {
			want := after
			for e, err := range followed(t.Context(), s, "c", after-1) {
				if err != nil || e.ID != want {
					t.Errorf("Follow yields %d, %v, want %d", e.ID, err, want)
					return
				}
				if want++; want == callers*each {
					return
				}
			}
		})
	}
	group.Wait()
}

func testFollowFrom(t *testing.T, s store.Store) {
	create(t, s, "c")
	addMany(t, s, "c", 0, 3)
	for _, test := range []struct{ after, want int64 }{
		{math.MinInt64, 0}, {-2, 0}, {-1, 0}, {0, 1}, {1, 2}, {2, 3}, {3, 4},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		f := follow(ctx, s, "c", test.after)
		switch test.want {
		case 3:
			add(t, s, "c", "{}", 3)
		case 4:
			add(t, s, "c", "{}", 4)
		}
		f.want(t, test.want)
		cancel()
		<-f.err
	}
	for _, after := range []int64{store.MaxID, math.MaxInt64} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		follow(ctx, s, "c", after).wantEnd(t, context.DeadlineExceeded)
		cancel()
	}
}

func testFollowEnds(t *testing.T, s store.Store) {
	follow(t.Context(), s, "c", -1).wantEnd(t, store.ErrNotFound)
	for _, test := range []struct {
		name string
		end  func() error
		want error
	}{
		{"delete", func() error { return s.Delete(t.Context(), "c") }, store.ErrNotFound},
		{"create again", func() error {
			err := s.Delete(t.Context(), "c")
			create(t, s, "c")
			addMany(t, s, "c", 0, 3)
			return err
		}, store.ErrNotFound},
		{"reset", func() error { return s.Reset(t.Context()) }, store.ErrNotFound},
		{"close", s.Close, store.ErrClosed},
	} {
		t.Log(test.name)
		if err := s.Delete(t.Context(), "c"); err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("Delete = %v", err)
		}
		create(t, s, "c")
		add(t, s, "c", "{}", 0)
		f := follow(t.Context(), s, "c", -1)
		f.want(t, 0)
		if err := test.end(); err != nil {
			t.Fatalf("%s = %v", test.name, err)
		}
		f.wantEnd(t, test.want)
	}
}
