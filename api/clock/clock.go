// Package clock has the time of a server: what its events tell, and what its
// agents, delays and pings wait for. It can be stopped, moved on and set while it
// runs, and wakes whoever waits then.
//
//	c := clock.New(clock.Options{})   // the machine's time
//	c.Freeze()                        // nothing comes due any more
//	err := c.Advance(ctx, time.Hour)  // as if an hour had passed
//	c.Resume()                        // goes on from there
//	c.Reset()                         // as it was made
//
// A Clock has two hands. [Clock.Mark] and [Clock.Since] measure how much time has
// passed: waits go by them, and they never go back. [Clock.Now] is the time that is
// told. Moving the clock moves both; setting it back moves Now alone, as on a machine
// whose clock is set back, so that nobody waits longer for it.
//
// An Advance goes from one time that somebody waits for to the next. It wakes
// that one, and does not go on before all [Work] has come to rest: what an agent
// does at its time is done at that time, and its next wait begins there. So an
// hour in which one thing leads to another takes no longer than the things do,
// each has its time, and all is done when Advance returns. Work begins before
// whoever asks for it has its answer, and what it has to read (pending, of
// [Work.Wait]) keeps it from being at rest: an Advance after a request sees all
// that follows from it.
//
// The zero [Options] tell the machine's time: Now costs one look at a flag more
// than [time.Now], and a wait a place in a heap. A Clock belongs to whoever made
// it: there is none of the package.
package clock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how a clock begins, and what [Clock.Reset] goes back to.
type Options struct {
	// Start is the first Now, in the zone that all are told in; if zero, it is
	// the machine's time.
	Start time.Time
	// Step, when set, makes Now repeat: it stands still but for a Step each time
	// it is asked, so that no two have one time, and moves when the clock is
	// moved. Waits take their time all the same.
	Step time.Duration
	// Frozen has nothing come due until the clock is moved or resumed.
	Frozen bool
}

// A Clock tells the time and wakes who waits for one. Make it with [New]. Its
// methods may be called from any goroutine, but for what a [Work] says.
type Clock struct {
	options Options
	touched atomic.Bool // Now may be another than the machine's

	moving sync.Mutex // locked by who moves the clock

	mu       sync.Mutex
	standing bool      // frozen, or being moved
	frozen   bool      // … when it is not being moved
	at       time.Time // how far it has gone, while standing; else at since
	told     time.Time // Now, while standing; else at since, but for a Step
	since    time.Time // when it was released, of the machine
	timers   timers
	made     uint64      // timers that were set, for their order
	alarm    *time.Timer // for the first of them, while not standing
	works    map[*Work]bool
	rested   *sync.Cond // some work has come to rest
}

// New makes a clock.
func New(o Options) *Clock {
	c := &Clock{options: o, standing: true, works: map[*Work]bool{}}
	c.rested = sync.NewCond(&c.mu)
	c.alarm = time.AfterFunc(time.Hour, c.ring)
	c.alarm.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin()
	c.release()
	return c
}

// begin has a clock that stands tell what it is to begin with. c.mu is locked, as for
// all that is not exported.
func (c *Clock) begin() {
	if c.told = c.options.Start; c.told.IsZero() {
		c.told = time.Now()
	}
	c.frozen = c.options.Frozen
	c.touched.Store(c.options != Options{})
}

// Now is the time of this moment.
func (c *Clock) Now() time.Time {
	if !c.touched.Load() {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.now()
	if c.options.Step > 0 {
		c.told = t.Add(c.options.Step)
	}
	return t
}

// now is Now without its step.
func (c *Clock) now() time.Time {
	switch {
	case !c.touched.Load():
		return time.Now()
	case c.standing || c.options.Step > 0:
		return c.told
	}
	return c.told.Add(time.Since(c.since))
}

// Location is the zone that Now tells times in.
func (c *Clock) Location() *time.Location {
	if c.options.Start.IsZero() {
		return time.Local
	}
	return c.options.Start.Location()
}

// Mark is a moment to measure from, by Since alone: it is no time of day.
func (c *Clock) Mark() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mark()
}

// Since is how much time has passed since a Mark.
func (c *Clock) Since(mark time.Time) time.Duration { return c.Mark().Sub(mark) }

func (c *Clock) mark() time.Time {
	if c.standing {
		return c.at
	}
	return c.at.Add(time.Since(c.since))
}

// stop has both hands stand still.
func (c *Clock) stop() {
	c.at, c.told, c.standing = c.mark(), c.now(), true
	c.alarm.Stop()
}

// release lets them go on from where they stand, unless the clock is frozen.
// What keeps clients goes on in any case.
func (c *Clock) release() {
	if !c.frozen {
		c.since, c.standing = time.Now(), false
		c.arm()
	}
	for _, t := range c.timers {
		t.keep()
	}
}

// Freeze stops the clock: Now stands still, and nothing comes due. What waits
// goes on waiting, but for [Clock.KeepAlive].
func (c *Clock) Freeze() { c.move(func() error { c.frozen = true; return nil }) }

// Resume lets a frozen clock go on from where it stands.
func (c *Clock) Resume() { c.move(func() error { c.frozen = false; return nil }) }

// Reset makes the clock what it was when it was made. What waits still has as
// long to wait.
func (c *Clock) Reset() { c.move(func() error { c.begin(); return nil }) }

// Errors of a clock that is moved.
var (
	// ErrBack is of an Advance by less than nothing.
	ErrBack = errors.New("the clock is not advanced by less than nothing: set it")
	// ErrFar is of a Now that no event could tell.
	ErrFar = errors.New("the clock goes from the year 1 to the year 9999")
)

// A BusyError is that some work did not come to rest until the context ended, or came
// due without an end. The clock stands where it got to.
type BusyError struct {
	Work string // what it is
	Err  error  // the context's
}

func (e *BusyError) Error() string { return fmt.Sprintf("%s has not come to rest: %v", e.Work, e.Err) }

// Unwrap returns the context's error.
func (e *BusyError) Unwrap() error { return e.Err }

// Advance moves the clock by d. Whoever waits for a time within it is woken at
// that time, one after the other. It returns when all [Work] is at rest, or with a
// [*BusyError] when ctx ends before.
func (c *Clock) Advance(ctx context.Context, d time.Duration) error {
	if d < 0 {
		return ErrBack
	}
	return c.move(func() error {
		if c.told.Add(d).Year() > 9999 {
			return ErrFar
		}
		return c.advance(ctx, d)
	})
}

// Set makes Now t. A later time is an Advance to it; an earlier one moves nothing
// else: what waits still has as long to wait.
func (c *Clock) Set(ctx context.Context, t time.Time) error {
	if t = t.In(c.Location()); t.Year() < 1 || t.Year() > 9999 {
		return ErrFar
	}
	return c.move(func() error {
		if d := t.Sub(c.told); d > 0 { // 292 years at most, which is enough for who waits
			if err := c.advance(ctx, d); err != nil || !t.After(c.told) {
				return err
			}
		}
		c.told = t
		return nil
	})
}

// move lets do move the clock, which stands while it does.
func (c *Clock) move(do func() error) error {
	c.moving.Lock()
	defer c.moving.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop()
	c.touched.Store(true)
	defer c.release()
	return do()
}

func (c *Clock) advance(ctx context.Context, d time.Duration) error {
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.rested.Broadcast()
	})()
	for end := c.at.Add(d); ; {
		w, due := c.busy(), len(c.timers) > 0 && !c.timers[0].due.After(end)
		switch {
		case w == nil && !due:
			c.goTo(end)
			return nil
		case ctx.Err() != nil && w != nil:
			return &BusyError{w.what, context.Cause(ctx)}
		case ctx.Err() != nil:
			return &BusyError{c.timers[0].what, context.Cause(ctx)}
		case w != nil:
			c.rested.Wait()
		default:
			c.goTo(c.timers[0].due)
			c.fire(c.timers[0])
		}
	}
}

// goTo moves the hands on to a mark.
func (c *Clock) goTo(at time.Time) {
	if d := at.Sub(c.at); d > 0 {
		c.at, c.told = at, c.told.Add(d)
	}
}

// A State is what there is to see of a clock.
type State struct {
	Now     time.Time // the next, with a Step
	Frozen  bool
	Waiting []Waiter // in the order in which they come due
}

// A Waiter is something that waits for a time.
type Waiter struct {
	What string
	Due  time.Time // of Now, if the clock is not set back
}

// State tells of this moment.
func (c *Clock) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Now: c.now(), Frozen: c.frozen}
	waiting, at := slices.Clone(c.timers), c.mark()
	slices.SortFunc(waiting, (*timer).compare)
	for _, t := range waiting {
		s.Waiting = append(s.Waiting, Waiter{t.what, s.Now.Add(t.due.Sub(at))})
	}
	return s
}
