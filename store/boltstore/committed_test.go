package boltstore

import (
	"sync"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/store"
)

// TestCommitted: every event that is stored is told with one commit, and each
// commit says how long it took.
func TestCommitted(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	var mu sync.Mutex
	events, empty := 0, 0
	s, err := Open(path, Options{Committed: func(n int, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		events += n
		if n == 0 {
			empty++
		}
		if took <= 0 || took > time.Minute {
			t.Errorf("a commit of %d events took %v", n, took)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAndCheck(t, s, path) })
	if _, err := s.Create(t.Context(), store.Conversation{ID: "c", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if _, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte("{}")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	two := func(yield func(store.Event, error) bool) {
		_ = yield(store.Event{ID: 300}, nil) && yield(store.Event{ID: 400}, nil)
	}
	if _, err := s.Import(t.Context(), store.Conversation{ID: "d"}, false, two); err != nil {
		t.Fatal(err)
	}
	// One whose key is known stores nothing, nor does one that is refused.
	for range 2 {
		if _, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte("{}"), Key: "k"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Append(t.Context(), "nobody", store.NewEvent{JSON: []byte("{}")}); err == nil {
		t.Fatal("Append to nobody = nil")
	}
	mu.Lock()
	defer mu.Unlock()
	if events != 203 || empty < 2 { // at least the buckets and the conversation
		t.Errorf("told of %d events, %d commits without, want 203, 2 or more", events, empty)
	}
}

// TestSize: what is removed becomes free, and what is closed has no size.
func TestSize(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPath(t))
	add(t, s, "c")
	const stored = 1 << 20
	fill(t, s, "c", stored/int64(len(benchEvent)))
	if file, free := s.Size(); file < stored || free < 0 || free >= file-stored {
		t.Errorf("Size = %d, %d, want a file above %d with little free", file, free, stored)
	}
	if err := s.Delete(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		file, free := s.Size()
		if free >= stored && free < file {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("Size = %d, %d after all was deleted, want %d free", file, free, stored)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if file, free := s.Size(); file != 0 || free != 0 {
		t.Errorf("Size after Close = %d, %d, want 0, 0", file, free)
	}
}
