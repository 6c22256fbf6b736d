package servertest

import (
	"context"
	"time"

	"github.com/openhands-local/openhands-local/server/journal"
)

// journalSize is how many requests are kept unless Config.Journal says another
// number.
const journalSize = 1000

// waitTime is how long [Requests.Wait] waits.
const waitTime = 10 * time.Second

// Requests are those that a server was asked since it was started, and messages
// of sockets, both ways: see package journal. A restart begins anew. A benchmark's
// server has none unless Config.Journal is set.
type Requests struct{ of }

// All returns the entries that a query means, in their order. A request is there
// once it is answered: of one that may still be under way use Wait.
func (r *Requests) All(q journal.Query) []*journal.Entry {
	r.t.Helper()
	return r.journal().Page(q).Entries
}

// Wait returns the first n entries that a query means, once there are so many;
// those that are there already count. It ends the test when they do not come
// within ten seconds, with the entries that came nearest.
func (r *Requests) Wait(q journal.Query, n int) []*journal.Entry {
	r.t.Helper()
	entries, err := r.wait(q, n, waitTime)
	if err != nil {
		r.t.Fatalf("servertest: %v", err)
	}
	return entries
}

func (r *Requests) wait(q journal.Query, n int, within time.Duration) ([]*journal.Entry, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), within)
	defer cancel()
	return r.journal().Wait(ctx, q, n)
}

// Clear forgets all entries.
func (r *Requests) Clear() { r.journal().Clear() }

// journal is the server's: one that is started again has another.
func (r *Requests) journal() *journal.Journal {
	r.t.Helper()
	j := r.world().Journal()
	if j == nil {
		r.t.Fatal("servertest: there is no journal: set Config.Journal")
	}
	return j
}
