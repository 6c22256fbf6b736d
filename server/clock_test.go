package server_test

import (
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
)

func TestClock(t *testing.T) {
	c := server.NewClock(server.SeedStart)
	want := func(at time.Time) {
		t.Helper()
		if got := c.Now(); !got.Equal(at) {
			t.Errorf("Now() = %v, want %v", got, at)
		}
	}
	want(server.SeedStart)
	want(server.SeedStart.Add(time.Millisecond))
	c.Advance(time.Hour)
	want(server.SeedStart.Add(time.Hour + 2*time.Millisecond))
	c.Set(server.SeedStart)
	want(server.SeedStart)
}
