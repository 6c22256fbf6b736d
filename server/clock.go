package server

import (
	"sync"
	"time"
)

// A Clock tells times that repeat: it stands still but for a millisecond each
// time it is asked, so that no two events have one time. Its methods may be
// called at once.
type Clock struct {
	mu   sync.Mutex
	next time.Time
}

const clockStep = time.Millisecond

// NewClock returns a clock whose first Now is t.
func NewClock(t time.Time) *Clock { return &Clock{next: t} }

// Now is the time of this moment, for [Config.Now].
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.next
	c.next = t.Add(clockStep)
	return t
}

// Set makes t the next Now. It may lie before the last one.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = t
}

// Advance makes the next Now later by d.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = c.next.Add(d)
}
