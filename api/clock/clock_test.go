package clock_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func frozen() *clock.Clock { return clock.New(clock.Options{Start: start, Frozen: true}) }

func wantNow(t *testing.T, c *clock.Clock, want time.Duration) {
	t.Helper()
	if got := c.Now(); !got.Equal(start.Add(want)) {
		t.Errorf("Now = %v after the start, want %v", got.Sub(start), want)
	}
}

func advance(t *testing.T, c *clock.Clock, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Advance(ctx, d); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen within 30 s: %s", what)
		}
	}
}

// TestHands: what freezing, moving and setting do to Now and Elapsed.
func TestHands(t *testing.T) {
	c := frozen()
	begin := c.Mark()
	want := func(now, elapsed time.Duration) {
		t.Helper()
		wantNow(t, c, now)
		if got := c.Since(begin); got != elapsed {
			t.Errorf("Since = %v, want %v", got, elapsed)
		}
	}
	want(0, 0)
	advance(t, c, time.Hour)
	want(time.Hour, time.Hour)
	if err := c.Set(t.Context(), start.Add(3*time.Hour)); err != nil {
		t.Error(err)
	}
	want(3*time.Hour, 3*time.Hour)
	if err := c.Set(t.Context(), start.Add(-time.Hour)); err != nil {
		t.Error(err)
	}
	want(-time.Hour, 3*time.Hour)
	advance(t, c, 0)
	want(-time.Hour, 3*time.Hour)
	c.Reset()
	want(0, 3*time.Hour)

	c.Resume()
	until(t, "the clock goes on", func() bool { return c.Now().After(start) && c.Since(begin) > 3*time.Hour })
	c.Freeze()
	now, elapsed := c.Now(), c.Mark()
	if err := clock.New(clock.Options{}).Sleep(t.Context(), "another clock", time.Millisecond); err != nil {
		t.Error(err)
	}
	if !c.Now().Equal(now) || c.Mark() != elapsed || !c.State().Frozen {
		t.Errorf("frozen: Now = %v, Mark = %v, want %v, %v still", c.Now(), c.Mark(), now, elapsed)
	}
}

// TestMachineTime: the zero Options tell it, and so does a Reset.
func TestMachineTime(t *testing.T) {
	c := clock.New(clock.Options{})
	close := func() {
		t.Helper()
		before := time.Now()
		now := c.Now()
		if after := time.Now(); now.Before(before) || now.After(after) || now.Location() != time.Local {
			t.Errorf("Now = %v, want a time from %v to %v", now, before, after)
		}
	}
	close()
	mark := c.Mark()
	advance(t, c, time.Hour)
	if ahead := time.Until(c.Now()); ahead < 30*time.Minute || ahead > time.Hour {
		t.Errorf("%v ahead after an hour's Advance", ahead)
	}
	c.Reset()
	close()
	if passed := c.Since(mark); passed < time.Hour {
		t.Errorf("Since = %v went back", passed)
	}
	if n := testing.AllocsPerRun(100, func() { c.Now() }); n != 0 {
		t.Errorf("Now makes %v allocations", n)
	}
}

// TestStep: no two times are one, and real time is not seen in them.
func TestStep(t *testing.T) {
	c := clock.New(clock.Options{Start: start, Step: time.Millisecond})
	wantNow(t, c, 0)
	wantNow(t, c, time.Millisecond)
	if now := c.State().Now; !now.Equal(start.Add(2 * time.Millisecond)) {
		t.Errorf("State has %v", now)
	}
	advance(t, c, time.Hour)
	wantNow(t, c, time.Hour+2*time.Millisecond)
	if err := c.Set(t.Context(), start.Add(-time.Hour)); err != nil {
		t.Error(err)
	}
	wantNow(t, c, -time.Hour)
	c.Reset()
	wantNow(t, c, 0)
	if err := c.Sleep(t.Context(), "real", time.Millisecond); err != nil {
		t.Error(err)
	}
	wantNow(t, c, time.Millisecond)
}

func TestRefusals(t *testing.T) {
	c := frozen()
	if err := c.Advance(t.Context(), -1); !errors.Is(err, clock.ErrBack) {
		t.Errorf("Advance(-1) = %v", err)
	}
	for _, at := range []time.Time{start.AddDate(8000, 0, 0), time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC)} {
		if err := c.Set(t.Context(), at); !errors.Is(err, clock.ErrFar) {
			t.Errorf("Set to the year %d = %v", at.Year(), err)
		}
	}
	wantNow(t, c, 0)
	far := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	if err := c.Set(t.Context(), far); err != nil || !c.Now().Equal(far) {
		t.Errorf("Set = %v, Now = %v, want %v", err, c.Now(), far)
	}
	if err := c.Advance(t.Context(), 24*time.Hour); !errors.Is(err, clock.ErrFar) {
		t.Errorf("Advance to the year 10000 = %v", err)
	}
}

// TestChain: each step of a work is at its time, though an Advance passes all of
// them, and all is done when that returns.
func TestChain(t *testing.T) {
	for _, o := range []clock.Options{{Start: start, Frozen: true}, {Start: start, Step: time.Nanosecond, Frozen: true}} {
		c := clock.New(o)
		var steps []time.Duration
		w := c.Begin("a chain")
		go func() {
			defer w.End()
			for range 6 {
				if err := w.Sleep(t.Context(), 10*time.Minute, nil); err != nil {
					t.Error(err)
				}
				steps = append(steps, c.Now().Sub(start).Truncate(time.Second))
				runtime.Gosched()
			}
		}()
		advance(t, c, 35*time.Minute)
		if got := fmt.Sprint(steps); got != "[10m0s 20m0s 30m0s]" {
			t.Errorf("steps at %s", got)
		}
		s := c.State()
		if len(s.Waiting) != 1 || s.Waiting[0].What != "a chain" || !s.Waiting[0].Due.Truncate(time.Second).Equal(start.Add(40*time.Minute)) {
			t.Errorf("waiting %v, want the chain until 40m", s.Waiting)
		}
		advance(t, c, time.Hour)
		if got := fmt.Sprint(steps[3:]); got != "[40m0s 50m0s 1h0m0s]" {
			t.Errorf("further steps at %s", got)
		}
		if got := c.Now().Sub(start).Truncate(time.Second); got != 95*time.Minute {
			t.Errorf("Now = %v", got)
		}
	}
}

// TestPending: a work that is about to be woken is not at rest.
func TestPending(t *testing.T) {
	c := frozen()
	var mu sync.Mutex
	todo, done := 0, []time.Duration(nil)
	woken := make(chan struct{}, 1)
	w := c.Begin("a reader")
	go func() {
		defer w.End()
		for {
			if _, err := w.Wait(t.Context(), nil, woken, func() bool { mu.Lock(); defer mu.Unlock(); return todo > 0 }); err != nil {
				return
			}
			mu.Lock()
			n := todo
			todo = 0
			mu.Unlock()
			for range n {
				if err := w.Sleep(t.Context(), time.Second, nil); err != nil {
					return
				}
				done = append(done, c.Now().Sub(start))
			}
		}
	}()
	for i := range 200 {
		mu.Lock()
		todo++
		mu.Unlock()
		woken <- struct{}{}
		advance(t, c, time.Minute)
		if want := time.Duration(i)*time.Minute + time.Second; len(done) != i+1 || done[i] != want {
			t.Fatalf("done at %v, want %d times, last at %v", done, i+1, want)
		}
	}
}

// TestBusy: an Advance does not wait longer than its context for work that does
// not rest, and names it.
func TestBusy(t *testing.T) {
	c := frozen()
	w := c.Begin("what never rests")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := c.Advance(ctx, time.Hour)
	if busy := (*clock.BusyError)(nil); !errors.As(err, &busy) || busy.Work != "what never rests" || !errors.Is(err, context.Canceled) {
		t.Errorf("Advance = %v", err)
	}
	wantNow(t, c, 0)
	w.End()
	w.End()
	advance(t, c, time.Hour)
	wantNow(t, c, time.Hour)

	var a *clock.Alarm
	ctx, cancel = context.WithCancel(t.Context())
	a = c.KeepAlive("what comes due without an end", time.Minute, func() {
		if c.Now().After(start.Add(2 * time.Hour)) {
			cancel()
		}
		a.Reset(time.Minute)
	})
	defer a.Stop()
	err = c.Advance(ctx, 200*365*24*time.Hour)
	if busy := (*clock.BusyError)(nil); !errors.As(err, &busy) || busy.Work != "what comes due without an end" {
		t.Errorf("Advance = %v", err)
	}
}

// TestWait: each of what ends a wait, also of a work that has a timer which came
// due unseen.
func TestWait(t *testing.T) {
	c := frozen()
	w := c.Begin("w")
	defer w.End()
	woken := make(chan struct{}, 1)
	woken <- struct{}{}
	timer := w.NewTimer(time.Second)
	if over, err := w.Wait(t.Context(), timer, woken, nil); over || err != nil {
		t.Errorf("Wait = %v, %v, want woken", over, err)
	}
	moved := make(chan struct{})
	go func() { defer close(moved); advance(t, c, time.Minute) }()
	if over, err := w.Wait(t.Context(), timer, woken, nil); !over || err != nil {
		t.Errorf("Wait = %v, %v, want the timer", over, err)
	}
	wantNow(t, c, time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if over, err := w.Wait(ctx, nil, nil, nil); over || !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, %v, want the context's end", over, err)
	}
	w.End()
	<-moved
	wantNow(t, c, time.Minute)
	if n := len(c.State().Waiting); n != 0 {
		t.Errorf("%d wait still", n)
	}
}

// TestRunning: a clock that goes on wakes who waits, in real time, also what was
// begun while it was frozen.
func TestRunning(t *testing.T) {
	c := frozen()
	woken := make(chan error, 3)
	for i := range 3 {
		w := c.Begin(fmt.Sprint(i))
		go func() {
			defer w.End()
			woken <- w.Sleep(t.Context(), time.Duration(i)*time.Millisecond, nil)
		}()
	}
	until(t, "two wait", func() bool { return len(c.State().Waiting) >= 2 })
	c.Resume()
	for range 3 {
		if err := <-woken; err != nil {
			t.Error(err)
		}
	}
	if err := c.Sleep(t.Context(), "later", time.Millisecond); err != nil {
		t.Error(err)
	}
}

// TestKeepAlive: what keeps clients comes due by the clock and in real time,
// whichever is first, and once.
func TestKeepAlive(t *testing.T) {
	c := frozen()
	calls := make(chan time.Time, 100)
	a := c.KeepAlive("ping", time.Hour, func() { calls <- c.Mark() })
	begin := c.Mark()
	advance(t, c, 59*time.Minute)
	if len(calls) != 0 {
		t.Error("called too early")
	}
	advance(t, c, time.Hour)
	if len(calls) != 1 {
		t.Fatalf("called %d times, want once", len(calls))
	}
	if at := (<-calls).Sub(begin); at != time.Hour {
		t.Errorf("called at %v, want an hour", at)
	}
	for _, frozenBefore := range []bool{true, false} {
		if frozenBefore {
			c.Freeze()
		} else {
			c.Resume()
		}
		a.Reset(20 * time.Millisecond)
		c.Freeze()
		<-calls
	}
	a.Reset(time.Hour)
	a.Reset(2 * time.Hour)
	a.Stop()
	advance(t, c, 10*time.Hour)
	c.Resume()
	c.Freeze()
	if len(calls) != 0 {
		t.Errorf("called %d times after Stop", len(calls))
	}

	// One that is set again when it is called comes due again within an Advance.
	n := 0
	a = c.KeepAlive("beat", time.Minute, func() { n++; a.Reset(time.Minute) })
	advance(t, c, time.Hour)
	if n != 60 {
		t.Errorf("called %d times in an hour, want 60", n)
	}
	a.Stop()
}

// TestModel: sleepers of random lengths are woken in the order of their times, at
// their times, whatever the clock is moved by.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	c := frozen()
	type waking struct {
		sleeper, nth int
		at           time.Duration
	}
	var (
		mu        sync.Mutex
		got, want []waking
		all       sync.WaitGroup
	)
	const sleepers, naps = 20, 30
	for i := range sleepers {
		lengths := make([]time.Duration, naps)
		at := time.Duration(0)
		for n := range lengths {
			lengths[n] = time.Duration(r.IntN(50)) * time.Second // some at once, many together
			at += lengths[n]
			want = append(want, waking{i, n, at})
		}
		w := c.Begin(fmt.Sprint(i))
		all.Go(func() {
			defer w.End()
			for n, d := range lengths {
				if err := w.Sleep(t.Context(), d, nil); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got = append(got, waking{i, n, c.Now().Sub(start)})
				mu.Unlock()
			}
		})
	}
	for passed := time.Duration(0); passed < 50*naps*time.Second; {
		d := time.Duration(r.IntN(200_000)) * time.Millisecond
		passed += d
		switch r.IntN(4) {
		case 0:
			if err := c.Set(t.Context(), c.Now().Add(d)); err != nil {
				t.Fatal(err)
			}
		case 1: // two at once
			var both sync.WaitGroup
			both.Go(func() { advance(t, c, d/2) })
			both.Go(func() { advance(t, c, d-d/2) })
			both.Wait()
		default:
			advance(t, c, d)
		}
		mu.Lock()
		done := len(got)
		mu.Unlock()
		due := 0
		for _, w := range want {
			if w.at <= passed {
				due++
			}
		}
		if done != due {
			t.Fatalf("%d have woken by %v, want %d", done, passed, due)
		}
	}
	all.Wait()
	if !slices.IsSortedFunc(got, func(a, b waking) int { return int(a.at - b.at) }) {
		t.Error("not woken in the order of their times")
	}
	byWho := func(a, b waking) int { return (a.sleeper-b.sleeper)*naps + a.nth - b.nth }
	slices.SortFunc(got, byWho)
	slices.SortFunc(want, byWho)
	if !slices.Equal(got, want) {
		t.Errorf("woken\n%v, want\n%v", got, want)
	}
}

// TestRace: everything at once, under -race; all that sleep wake.
func TestRace(t *testing.T) {
	c := clock.New(clock.Options{})
	var sleepers, movers sync.WaitGroup
	for i := range 20 {
		w := c.Begin(fmt.Sprint(i))
		sleepers.Go(func() {
			defer w.End()
			a := c.KeepAlive("ping", time.Minute, func() { c.Now() })
			defer a.Stop()
			for range 50 {
				if err := w.Sleep(t.Context(), time.Duration(rand.IntN(1000))*time.Second, nil); err != nil {
					t.Error(err)
				}
				a.Reset(time.Duration(rand.IntN(100)) * time.Second)
			}
		})
	}
	done := make(chan struct{})
	for range 3 {
		movers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				switch rand.IntN(6) {
				case 0:
					c.Freeze()
				case 1:
					c.Resume()
				case 2:
					c.Reset()
				case 3:
					c.State()
				default:
					advance(t, c, time.Hour)
				}
			}
		})
	}
	sleepers.Wait()
	close(done)
	movers.Wait()
}

func BenchmarkNow(b *testing.B) {
	c := clock.New(clock.Options{})
	b.Run("clock", func(b *testing.B) {
		for b.Loop() {
			c.Now()
		}
	})
	b.Run("time", func(b *testing.B) {
		for b.Loop() {
			time.Now()
		}
	})
}
