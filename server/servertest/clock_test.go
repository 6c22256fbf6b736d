package servertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
)

// TestClock: what a test can do to the clock, and what it is told when that fails.
func TestClock(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := NewServer(&failing{TB: ending{t, ctx}}, server.Config{})
	s.Clock.Freeze()
	start := s.Clock.Now()
	s.Clock.Advance(time.Hour)
	s.Clock.Set(start.Add(2 * time.Hour))
	if now := s.Clock.Now(); !now.Equal(start.Add(2 * time.Hour)) {
		t.Errorf("Now = %v, want two hours after %v", now, start)
	}
	if n := len(s.Clock.Waiting()); n != 0 {
		t.Errorf("%d wait", n)
	}

	work := s.config.Clock.Begin("agent of c")
	defer work.End()
	timer := s.config.Clock.Begin("agent of d").NewTimer(time.Minute)
	defer timer.Stop()
	cancel()
	fatal := func(do func()) (text string) {
		defer func() { text = fmt.Sprint(recover()) }()
		do()
		return
	}
	got := fatal(func() { s.Clock.Advance(time.Hour) })
	for _, want := range []string{"servertest: Advance(1h0m0s): agent of ", " has not come to rest: context canceled; the clock is at 2025-01-01T02:00:00", ", agent of d waits until 2025-01-01T02:01:00"} {
		if !strings.Contains(got, want) {
			t.Errorf("Advance ends with %q, want …%s…", got, want)
		}
	}
	if got := fatal(func() { s.Clock.Advance(-1) }); !strings.HasPrefix(got, "servertest: Advance(-1ns): the clock is not advanced by less than nothing") {
		t.Errorf("Advance(-1) ends with %q", got)
	}
	if got := fatal(func() { s.Clock.Set(start.AddDate(9000, 0, 0)) }); !strings.Contains(got, "the clock goes from the year 1 to the year 9999") {
		t.Errorf("Set ends with %q", got)
	}
	s.Clock.Reset()
	s.Clock.Freeze()
	s.Clock.Resume()
	if now := s.Clock.Now(); !now.Equal(server.SeedStart) {
		t.Errorf("Now after a Reset = %v, want %v", now, server.SeedStart)
	}
}

// ending is a test whose context is another.
type ending struct {
	testing.TB
	ctx context.Context
}

func (e ending) Context() context.Context { return e.ctx }
