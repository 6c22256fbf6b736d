package store

import "sync"

// Watchers is the part of a store that does [Store.Watch]. The zero value has
// none. Its methods may be called by any number of goroutines.
type Watchers struct {
	mu  sync.Mutex
	all map[string]map[*watcher]bool // by conversation
}

type watcher struct{ wake func() }

// Watch adds a watcher of a conversation; see [Store.Watch].
func (w *Watchers) Watch(conversation string, wake func()) (stop func()) {
	added := &watcher{wake}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[string]map[*watcher]bool)
	}
	if w.all[conversation] == nil {
		w.all[conversation] = make(map[*watcher]bool)
	}
	w.all[conversation][added] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all[conversation], added)
		if len(w.all[conversation]) == 0 {
			delete(w.all, conversation)
		}
	}
}

// Wake tells the watchers of one conversation of a change.
func (w *Watchers) Wake(conversation string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for watcher := range w.all[conversation] {
		watcher.wake()
	}
}

// WakeAll tells every watcher of a change.
func (w *Watchers) WakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, of := range w.all {
		for watcher := range of {
			watcher.wake()
		}
	}
}
