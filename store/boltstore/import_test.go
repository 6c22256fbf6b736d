package boltstore

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/openhands-local/openhands-local/store"
)

// TestImportInterrupted copies the file after each commit of an import: what a
// crash would leave has the old conversation, and nothing of the new one once
// it is tidied up.
func TestImportInterrupted(t *testing.T) {
	path := newPath(t)
	s := openStore(t, path)
	add(t, s, "c", "old")
	var copies []string
	events := func(yield func(store.Event, error) bool) {
		for i := range int64(3 * importEvents) {
			if i%importEvents == 0 {
				name := filepath.Join(t.TempDir(), "events.db")
				copyFile(t, path, name)
				copies = append(copies, name)
			}
			if !yield(store.Event{ID: i, JSON: []byte("new")}, nil) {
				return
			}
		}
	}
	if _, err := s.Import(t.Context(), store.Conversation{ID: "c"}, true, events); err != nil {
		t.Fatal(err)
	}
	waitForCounts(t, s, count{events: 3 * importEvents})
	if len(copies) != 3 {
		t.Fatalf("%d copies, want 3", len(copies))
	}
	for _, name := range copies {
		s := openStore(t, name)
		waitForCounts(t, s, count{events: 1})
		if got, err := texts(t, s, "c", store.All); got != "0=old" || err != nil {
			t.Errorf("Events = %s, %v, want 0=old", got, err)
		}
	}
}

// TestImportReset resets the store while a conversation is imported.
func TestImportReset(t *testing.T) {
	s := openStore(t, newPath(t))
	for at := range int64(3) {
		events := func(yield func(store.Event, error) bool) {
			for i := range int64(2*importEvents + 1) {
				if i == at*importEvents {
					if err := s.Reset(t.Context()); err != nil {
						t.Errorf("Reset = %v", err)
					}
				}
				if !yield(store.Event{ID: i}, nil) {
					return
				}
			}
		}
		if _, err := s.Import(t.Context(), store.Conversation{ID: "c"}, true, events); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Import that meets a Reset = %v, want %v", err, store.ErrNotFound)
		}
		waitForCounts(t, s, count{})
	}
}
