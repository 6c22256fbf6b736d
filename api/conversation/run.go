package conversation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/store"
)

// A Run is one run of a conversation: from its start to its stop, its deletion
// or a reset. Its agent writes through it, so that nothing of a run comes after
// its end.
type Run struct {
	// Conversation is the id of the one that runs.
	Conversation string
	// First is the id of the run's first event. What an agent answers comes
	// after it.
	First int64
	// Replay is what the agent plays before it answers; nil is nothing.
	Replay *Replay
	// Work is what the clock knows of the agent: it waits by it alone. nil
	// without an agent.
	Work *clock.Work

	service *Service
	began   time.Time // a mark of the clock
	failure string    // the exception that upstream names, when there is no session
	cancel  context.CancelFunc

	mu   sync.RWMutex // read-locked while something is written in the run
	over bool
}

// enter keeps the run from ending until leave is called; false when it is over.
func (r *Run) enter() bool {
	r.mu.RLock()
	if r.over {
		r.mu.RUnlock()
		return false
	}
	return true
}

func (r *Run) leave() { r.mu.RUnlock() }

// end ends the run, after what is being written in it.
func (r *Run) end() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.cancel()
}

// within calls do unless the run is over, which is ErrStopped.
func (r *Run) within(do func() error) error {
	if !r.enter() {
		return fmt.Errorf("%w: %s", ErrStopped, r.Conversation)
	}
	defer r.leave()
	return do()
}

// Inject is [Service.Inject] while the run lasts; ErrStopped after.
func (r *Run) Inject(ctx context.Context, source string, body []byte) (id int64, err error) {
	err = r.within(func() error {
		id, err = r.service.Inject(ctx, r.Conversation, source, body)
		return err
	})
	return id, err
}

// InjectState stores that the agent's state is now another, and why, while the
// run lasts.
func (r *Run) InjectState(ctx context.Context, state, reason string) error {
	return r.within(func() error {
		_, err := r.service.InjectState(ctx, r.Conversation, state, reason)
		return err
	})
}

// SetTitle gives a conversation that nobody has named a title, as upstream does
// after the first answer (recorded conversation_title_after_message).
func (r *Run) SetTitle(ctx context.Context, title string) error {
	return r.within(func() error { return r.service.setTitle(ctx, r.Conversation, title) })
}

// TellStatus is [Service.TellStatus].
func (r *Run) TellStatus(ctx context.Context, u StatusUpdate) {
	r.service.TellStatus(ctx, r.Conversation, u)
}

// Follow follows the conversation after an event, see [feed.Feed.Follow].
func (r *Run) Follow(ctx context.Context, after int64) (*feed.Follower, error) {
	return r.service.feed.Follow(ctx, r.Conversation, after)
}

// Events yields the events of a range, see [store.Scan].
func (r *Run) Events(ctx context.Context, span store.Range) func(yield func(store.Event, error) bool) {
	return store.Scan(ctx, r.service.c.Store, r.Conversation, span)
}

// failed is what a socket is told when the run has no session (recorded
// replay_empty_list), nil otherwise.
func (r *Run) failed() json.RawMessage {
	if r.failure == "" {
		return nil
	}
	return fmt.Appendf(nil, `{"error":true,"message":"Failed to create agent session: %s"}`, r.failure)
}

// runs knows which conversations run. Who changes what it says of one has its
// id locked; the number of those that run or begin never passes most.
type runs struct {
	most     int           // 0 is no limit
	starting time.Duration // how long a run is told as Starting
	clock    *clock.Clock

	mu        sync.RWMutex
	running   map[string]*Run
	beginning map[string]bool // have a place, and do not run yet
	changed   chan struct{}   // closed when the above change
}

func newRuns(c Config) *runs {
	return &runs{most: c.MaxRunning, starting: c.Starting, clock: c.Clock, running: map[string]*Run{}, beginning: map[string]bool{}, changed: make(chan struct{})}
}

// of is the run of a conversation, nil when it does not run.
func (rs *runs) of(id string) *Run {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	return rs.running[id]
}

// status is what the API says of a conversation.
func (rs *runs) status(id string) Status {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	switch r := rs.running[id]; {
	case rs.beginning[id], r != nil && rs.starting > 0 && rs.clock.Since(r.began) < rs.starting:
		return Starting
	case r != nil:
		return Running
	}
	return Stopped
}

// reserve takes a place for a conversation that is to run, or says which
// conversations run instead; with none of them, it says what to wait for.
func (rs *runs) reserve(id string) (instead []string, wait <-chan struct{}, ok bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.most > 0 && len(rs.running)+len(rs.beginning) >= rs.most {
		return slices.Collect(maps.Keys(rs.running)), rs.changed, false
	}
	rs.beginning[id] = true
	return nil, nil, true
}

// change makes a run the one of a conversation; nil gives its place back.
func (rs *runs) change(id string, r *Run) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.beginning, id)
	if rs.running[id] = r; r == nil {
		delete(rs.running, id)
	}
	close(rs.changed)
	rs.changed = make(chan struct{})
}

// all are the runs.
func (rs *runs) all() []*Run {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	return slices.Collect(maps.Values(rs.running))
}

// reserve takes a place for a conversation. When none is left it stops those
// that run, beginning with the one that was written to longest ago, until there
// is one (recorded too_many_conversations).
//
// The id is locked. Waiting for the lock of a conversation that runs cannot end
// in a circle: whoever has that lock either waits for nobody, or has taken it
// after it was seen to run.
func (s *Service) reserve(ctx context.Context, id string) error {
	for {
		running, changed, ok := s.runs.reserve(id)
		if ok {
			return nil
		}
		if len(running) == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changed:
			}
			continue
		}
		oldest, err := s.oldest(ctx, running)
		if err != nil {
			return err
		}
		if err := s.stopForAnother(ctx, oldest); err != nil {
			return err
		}
	}
}

// oldest is the conversation that was written to longest ago, "" when all of
// them are gone.
func (s *Service) oldest(ctx context.Context, ids []string) (string, error) {
	var infos []Info
	for _, id := range ids {
		i, err := s.Info(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", err
		}
		infos = append(infos, i)
	}
	if len(infos) == 0 {
		return "", nil
	}
	return slices.MinFunc(infos, func(a, b Info) int {
		return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), strings.Compare(a.ID, b.ID))
	}).ID, nil
}

// stopForAnother stops a conversation if it runs, and tells its sockets why.
func (s *Service) stopForAnother(ctx context.Context, id string) error {
	defer s.busy.lock(id)()
	if s.runs.of(id) == nil {
		return nil
	}
	s.TellStatus(ctx, id, StatusUpdate{Type: "error", ID: "AGENT_ERROR$TOO_MANY_CONVERSATIONS",
		Message: fmt.Sprintf("More than %d conversations would run: this one, not written to for longest, is stopped. Start it again to go on.", s.c.MaxRunning)})
	_, err := s.stop(ctx, id)
	return err
}
