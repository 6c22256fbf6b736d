package store

import "sync"

// Watchers is the part of a store that does [Store.Watch]. The zero value has
// none. Its methods may be called by any number of goroutines, and none of them
// waits for a watcher.
type Watchers struct {
	mu       sync.Mutex
	channels map[string]map[chan struct{}]bool // by conversation
}

// Watch adds a watcher of a conversation; see [Store.Watch].
func (w *Watchers) Watch(conversation string) (changed <-chan struct{}, stop func()) {
	// One waiting value is enough: whoever takes it reads all there is.
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.channels == nil {
		w.channels = make(map[string]map[chan struct{}]bool)
	}
	if w.channels[conversation] == nil {
		w.channels[conversation] = make(map[chan struct{}]bool)
	}
	w.channels[conversation][c] = true
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.channels[conversation], c)
		if len(w.channels[conversation]) == 0 {
			delete(w.channels, conversation)
		}
	}
}

// Wake tells the watchers of one conversation of a change.
func (w *Watchers) Wake(conversation string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wake(w.channels[conversation])
}

// WakeAll tells every watcher of a change.
func (w *Watchers) WakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, channels := range w.channels {
		wake(channels)
	}
}

func wake(channels map[chan struct{}]bool) {
	for c := range channels {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
