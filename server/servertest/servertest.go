// Package servertest gives Go tests a real server: package server with all
// its checks, on a free port of this machine, with a store of its own.
package servertest

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/server"
)

// A Server serves until its test ends.
type Server struct {
	// URL is the base of all paths, without a slash at the end.
	URL string
	// Clock tells the times of events and conversations, and is waited for by
	// agents, faults and pings. Unless the Config has a clock, times begin at
	// server.SeedStart and step a millisecond each, until the test sets the clock
	// or advances it.
	Clock Clock
	// Lenient counts the answers that OpenHands 0.53.0 would have refused.
	Lenient server.LenientCount
	// Faults let things go wrong on purpose.
	Faults Faults
	// Requests is what the server was asked, and what it answered.
	Requests Requests

	t      testing.TB
	worlds atomic.Int64 // that World has named
	config server.Config
	server *server.Server
	cancel context.CancelFunc
	done   chan error
}

// NewServer starts a server. The zero Config gives a free port, a store in
// memory, and generated ids and times that repeat; whatever is set is kept.
// Any number may run side by side.
//
// The test fails for an answer that the contract does not have (CheckAnswer; a
// benchmark's answers are not looked at, nor those above 4 MiB), and if the
// server does not end cleanly. If it ends having been more lenient than OpenHands, the test's log
// tells how often; Config.Strict refuses instead, and Config.Log has a record
// of each.
func NewServer(t testing.TB, c server.Config) *Server {
	t.Helper()
	s := &Server{t: t}
	mine := of{t, func() server.World { return s.worldOf(t, "") }}
	s.Clock, s.Faults, s.Requests = Clock{mine}, Faults{mine}, Requests{mine}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Data == "" {
		c.Data = server.Memory
	}
	if c.Seed == nil {
		c.Seed = new(int64)
	}
	if c.Clock == nil { // one that outlives a Restart
		c.Clock = clock.New(clock.Options{Start: server.SeedStart, Step: server.SeedStep})
	}
	observe := c.Observe
	c.Observe = func(x *exchange.Exchange) {
		s.Lenient.Observe(x)
		if observe != nil {
			observe(x)
		}
	}
	if c.MaxWorlds == 0 {
		c.MaxWorlds = server.DefaultMaxWorlds
	}
	if _, benchmark := t.(*testing.B); !benchmark {
		if c.Journal == 0 {
			c.Journal = journalSize
		}
		wrap := c.Wrap
		c.Wrap = func(h http.Handler) http.Handler {
			if wrap != nil {
				h = wrap(h)
			}
			return checked(t, h)
		}
	}
	s.config = c
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s.Lenient.Answers() > 0 {
			t.Logf("%v: server.Config.Strict refuses, its Log tells which", &s.Lenient)
		}
	})
	return s
}

func (s *Server) start() error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	srv, err := server.New(ctx, s.config)
	if err != nil {
		cancel()
		return fmt.Errorf("servertest: %w", err)
	}
	s.server = srv
	s.URL, s.cancel, s.done = srv.Info().URL, cancel, make(chan error, 1)
	go func() { s.done <- srv.Run(ctx) }()
	return nil
}

// Restart stops the server and starts it again on the same data, unless that
// is in memory. The clock goes on. URL changes if the port was not fixed.
func (s *Server) Restart() error {
	if err := s.Close(); err != nil {
		return err
	}
	return s.start()
}

// Close stops the server. A second call does nothing.
func (s *Server) Close() error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.cancel = nil
	return <-s.done
}
