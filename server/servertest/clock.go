package servertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
)

// Clock moves the time of a server. What an agent does within an Advance has the same
// times in every run if the clock was frozen when it began.
type Clock struct{ of }

// Now is the time of the next event.
func (c Clock) Now() time.Time { return c.clock().State().Now }

// Freeze stops the clock: agents, delays and pings wait until the test moves it.
// Clients of sockets are pinged all the same.
func (c Clock) Freeze() { c.clock().Freeze() }

// Resume lets it go on from where it stands.
func (c Clock) Resume() { c.clock().Resume() }

// Reset makes it what it was at the start.
func (c Clock) Reset() { c.clock().Reset() }

// Advance moves it by d. All that comes due in that time has happened when it
// returns, each thing at its time: what an agent says is stored. The test ends if that
// takes longer than ten seconds.
func (c Clock) Advance(d time.Duration) {
	c.t.Helper()
	c.move(fmt.Sprintf("Advance(%v)", d), func(ctx context.Context) error { return c.clock().Advance(ctx, d) })
}

// Set makes t the time of the next event. A later one is an Advance to it; if it is
// earlier, whoever waits has as long to wait as before.
func (c Clock) Set(t time.Time) {
	c.t.Helper()
	c.move(fmt.Sprintf("Set(%s)", t.Format(time.RFC3339Nano)), func(ctx context.Context) error { return c.clock().Set(ctx, t) })
}

// Waiting is what waits for which time, the first to come due first.
func (c Clock) Waiting() []clock.Waiter { return c.clock().State().Waiting }

func (c Clock) clock() *clock.Clock { return c.world().Clock() }

// move ends the test if the clock cannot be moved, and tells where it stands and who
// waits.
func (c Clock) move(what string, do func(context.Context) error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeoutCause(c.t.Context(), waitTime, errors.New("not within "+waitTime.String()))
	defer cancel()
	if err := do(ctx); err != nil {
		s := c.clock().State()
		c.t.Fatalf("servertest: %s: %v; the clock is at %s, %s", what, err, s.Now.Format(time.RFC3339Nano), inTimes(s.Waiting))
	}
}

// inTimes are waiters in words: `agent of c waits until 2025-01-01T00:10:00Z`.
func inTimes(all []clock.Waiter) string {
	if len(all) == 0 {
		return "nothing waits"
	}
	texts := make([]string, len(all))
	for i, w := range all {
		texts[i] = fmt.Sprintf("%s waits until %s", w.What, w.Due.Format(time.RFC3339Nano))
	}
	return strings.Join(texts, ", ")
}
