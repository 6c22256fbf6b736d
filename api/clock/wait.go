package clock

import (
	"cmp"
	"container/heap"
	"context"
	"time"
)

// A timer is one wait. Its fields are under clock.mu.
type timer struct {
	clock *Clock
	what  string
	due   time.Time // a mark
	nth   uint64    // among all that were set
	place int       // in clock.timers, -1 when it is not

	c    chan struct{} // has a value when it has come due; nil with do
	work *Work         // that is busy from then on, nil for none
	do   func()        // called then

	alive *time.Timer // calls do in real time while the clock stands
}

func (t *timer) compare(u *timer) int {
	return cmp.Or(t.due.Compare(u.due), cmp.Compare(t.nth, u.nth))
}

// set has t come due after a time.
func (t *timer) set(d time.Duration) {
	c := t.clock
	t.unset()
	c.made++
	t.due, t.nth = c.mark().Add(max(0, d)), c.made
	heap.Push(&c.timers, t)
	t.keep()
	if t.place == 0 {
		c.arm()
	}
}

// unset has it come due no more.
func (t *timer) unset() {
	if t.place >= 0 {
		heap.Remove(&t.clock.timers, t.place)
	}
	if t.alive != nil {
		t.alive.Stop()
		t.alive = nil
	}
}

// keep has a timer of KeepAlive come due in real time while the clock is frozen,
// and only then.
func (t *timer) keep() {
	c := t.clock
	switch {
	case t.do == nil:
	case !c.frozen && t.alive != nil:
		t.alive.Stop()
		t.alive = nil
	case c.frozen && t.alive == nil:
		nth := t.nth
		t.alive = time.AfterFunc(t.due.Sub(c.at), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if t.place >= 0 && t.nth == nth && t.alive != nil {
				c.fire(t)
			}
		})
	}
}

// fire wakes who waits. It unlocks c.mu for a while when that is a function.
func (c *Clock) fire(t *timer) {
	t.unset()
	if t.work != nil {
		t.work.busy = true
	}
	if t.do == nil {
		t.c <- struct{}{}
		return
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	t.do()
}

// arm sets the alarm for the first timer, unless the clock stands.
func (c *Clock) arm() {
	if !c.standing && len(c.timers) > 0 {
		c.alarm.Reset(c.timers[0].due.Sub(c.mark()))
	}
}

// ring wakes those whose time has come.
func (c *Clock) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.standing && len(c.timers) > 0 && !c.timers[0].due.After(c.mark()) {
		c.fire(c.timers[0])
	}
	c.arm()
}

// An Alarm calls a function, see [Clock.KeepAlive].
type Alarm struct{ timer }

// KeepAlive makes an alarm that calls do when a time has passed on the clock, or
// for those who look at it from outside: it is for what clients wait for, who know
// nothing of this clock and would give up one that is frozen. do must not wait.
func (c *Clock) KeepAlive(what string, d time.Duration, do func()) *Alarm {
	a := &Alarm{timer{clock: c, what: what, do: do, place: -1}}
	a.Reset(d)
	return a
}

// Reset has it call after d from now, and not for what was set before.
func (a *Alarm) Reset(d time.Duration) {
	a.clock.mu.Lock()
	defer a.clock.mu.Unlock()
	a.set(d)
}

// Stop has it call no more. A call that has begun goes on.
func (a *Alarm) Stop() {
	a.clock.mu.Lock()
	defer a.clock.mu.Unlock()
	a.unset()
}

// A Work is something that goes on from one wait to the next: while it is not at
// rest, the clock is not moved. One goroutine at a time may have it.
type Work struct {
	clock   *Clock
	what    string
	busy    bool
	pending func() bool // tells of more to do while at rest; nil for never
}

// Begin begins a work, which is busy until it waits. It needs an End.
func (c *Clock) Begin(what string) *Work {
	w := &Work{clock: c, what: what, busy: true}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.works[w] = true
	return w
}

// End ends it. A second one does nothing.
func (w *Work) End() {
	c := w.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.works, w)
	c.rested.Broadcast()
}

// A Timer is a time that a work waits for.
type Timer struct{ timer }

// NewTimer makes one that comes due when a time has passed on the clock. It needs
// a Stop.
func (w *Work) NewTimer(d time.Duration) *Timer {
	t := &Timer{timer{clock: w.clock, what: w.what, work: w, c: make(chan struct{}, 1), place: -1}}
	w.clock.mu.Lock()
	defer w.clock.mu.Unlock()
	t.set(d)
	return t
}

// Stop has it come due no more.
func (t *Timer) Stop() {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.unset()
}

// Wait has a work at rest until its timer comes due, which over tells, or woken
// has a value or is closed, or ctx ends, whose error it returns. The timer may be
// nil, and woken too.
//
// Between what wakes the work and its waking it is at rest, though there is work:
// pending, when it is not nil, tells that there is. It is called with the clock
// locked, so it must not call it.
func (w *Work) Wait(ctx context.Context, t *Timer, woken <-chan struct{}, pending func() bool) (over bool, err error) {
	var due <-chan struct{}
	if t != nil {
		due = t.c
	}
	c := w.clock
	c.mu.Lock()
	if w.busy, w.pending = len(due) > 0, pending; !w.busy {
		c.rested.Broadcast()
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		w.busy = true
		c.mu.Unlock()
	}()
	select {
	case <-due:
		return true, nil
	case <-woken:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// Sleep has a work at rest for a time. See [Work.Wait].
func (w *Work) Sleep(ctx context.Context, d time.Duration, woken <-chan struct{}) error {
	t := w.NewTimer(d)
	defer t.Stop()
	_, err := w.Wait(ctx, t, woken, nil)
	return err
}

// Sleep waits for a time to pass on the clock. What comes after it is no work that
// the clock waits for.
func (c *Clock) Sleep(ctx context.Context, what string, d time.Duration) error {
	w := c.Begin(what)
	defer w.End()
	return w.Sleep(ctx, d, nil)
}

// busy is a work that is not at rest, nil when all are.
func (c *Clock) busy() *Work {
	for w := range c.works {
		if w.busy || w.pending != nil && w.pending() {
			return w
		}
	}
	return nil
}

// timers is a heap of them, the first to come due on top.
type timers []*timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].compare(h[j]) < 0 }

func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *timers) Push(t any) {
	t.(*timer).place = len(*h)
	*h = append(*h, t.(*timer))
}

func (h *timers) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.place = -1
	return t
}
