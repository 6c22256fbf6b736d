package servertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/server"
)

// A World is a server of its own inside a [Server], as the zero Config of its
// Data gives: tests that each have one can share the Server and run side by side.
type World struct {
	// Name is what X-Local-World says of it.
	Name string
	// URL is the base of all paths, without a slash at the end. It names the world:
	// any client can use it.
	URL string
	// Clock tells its times, as that of a Server, and is of this world alone.
	Clock Clock
	// Faults let things go wrong on purpose, in this world alone.
	Faults Faults
	// Requests is what this world was asked, and what it answered.
	Requests Requests
}

// World makes a world for a test, which is deleted when the test ends. The test
// ends at once if there can be none.
func (s *Server) World(t testing.TB) *World {
	t.Helper()
	w := &World{Name: fmt.Sprintf("%s-%d", label(t.Name()), s.worlds.Add(1))}
	w.URL = s.worldOf(t, w.Name).Info().URL
	mine := of{t, func() server.World { return s.worldOf(t, w.Name) }}
	w.Clock, w.Faults, w.Requests = Clock{mine}, Faults{mine}, Requests{mine}
	t.Cleanup(func() {
		if err := s.server.DeleteWorld(w.Name); err != nil {
			t.Errorf("servertest: world %s: %v", w.Name, err)
		}
	})
	return w
}

// of is whose a part of a Server is, and the test that it speaks to.
type of struct {
	t     testing.TB
	world func() server.World // a server that is started again has another
}

func (s *Server) worldOf(t testing.TB, name string) server.World {
	t.Helper()
	w, err := s.server.World(name)
	if err != nil {
		t.Fatalf("servertest: %v", err)
	}
	return w
}

// label is a test's name as a world's, with room for a number.
func label(name string) string {
	name = strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(name))
	return strings.Trim(name[:min(len(name), 48)], "-")
}
