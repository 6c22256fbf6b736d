package servertest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/server"
)

// TestWorld: a world is of one test, and gone when that ends.
func TestWorld(t *testing.T) {
	t.Parallel()
	needs(t)
	s := NewServer(t, server.Config{Agent: "none", Data: t.TempDir(), MaxWorlds: 2})
	var gone *World
	t.Run("A (sub)test, of ünusual name!", func(t *testing.T) {
		a, b := s.World(t), s.World(t)
		gone = a
		if want := "testworld-a--sub-test--of--nusual-name"; !strings.HasPrefix(a.Name, want) || a.Name == b.Name || !strings.HasPrefix(a.URL, s.URL+"/") {
			t.Errorf("names = %q, %q, want two that begin with %q; URL = %s", a.Name, b.Name, want, a.URL)
		}
		(&Server{URL: a.URL}).post(t, greeting)
		if page := (&Server{URL: b.URL}).get(t); !strings.Contains(page, "not found") {
			t.Errorf("the other world has %s", page)
		}
		defer func() {
			if got, want := fmt.Sprint(recover()), "servertest: There are 2 worlds, and no more are allowed."; !strings.HasPrefix(got, want) {
				t.Errorf("a third ends with %q, want %q", got, want)
			}
		}()
		s.World(&failing{TB: t})
	})
	if worlds, err := s.server.Worlds(context.Background()); err != nil || len(worlds) != 0 {
		t.Errorf("worlds = %v, %v, want none", worlds, err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if n := len(gone.Faults.List()); n != 0 { // of another world of this name
		t.Errorf("%d faults", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if got, want := fmt.Sprint(recover()), "servertest: The server is stopping."; got != want {
			t.Errorf("after the end: %q, want %q", got, want)
		}
	}()
	s.World(&failing{TB: t})
}
