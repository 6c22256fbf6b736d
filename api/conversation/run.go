package conversation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/runs"
	"github.com/openhands-local/openhands-local/store"
)

// A Run is one run of a conversation: from its start to its stop, its deletion
// or a reset. Its agent writes through it, so that nothing of a run comes after
// its end.
type Run struct {
	*runs.Run
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
}

// Inject is [Service.Inject] while the run lasts; ErrStopped after.
func (r *Run) Inject(ctx context.Context, source string, body []byte) (id int64, err error) {
	err = r.Within(func() error {
		id, err = r.service.Inject(ctx, r.Conversation, source, body)
		return err
	})
	return id, err
}

// InjectState stores that the agent's state is now another, and why, while the
// run lasts.
func (r *Run) InjectState(ctx context.Context, state, reason string) error {
	return r.Within(func() error {
		_, err := r.service.InjectState(ctx, r.Conversation, state, reason)
		return err
	})
}

// SetTitle gives a conversation that nobody has named a title, as upstream does
// after the first answer (recorded conversation_title_after_message).
func (r *Run) SetTitle(ctx context.Context, title string) error {
	return r.Within(func() error { return r.service.setTitle(ctx, r.Conversation, title) })
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

// status is what the API says of a conversation.
func (s *Service) status(id string) Status {
	switch r, begins := s.runs.State(id); {
	case begins, r != nil && s.c.Starting > 0 && s.c.Clock.Since(r.began) < s.c.Starting:
		return Starting
	case r != nil:
		return Running
	}
	return Stopped
}

// Running is how many conversations run.
func (s *Service) Running() int { return len(s.runs.All()) }

// reserve takes a place for a conversation. When none is left it stops those
// that run, beginning with the one that was written to longest ago, until there
// is one (recorded too_many_conversations).
//
// The id is locked. Waiting for the lock of a conversation that runs cannot end
// in a circle: whoever has that lock either waits for nobody, or has taken it
// after it was seen to run.
func (s *Service) reserve(ctx context.Context, id string) error {
	for {
		running, changed, ok := s.runs.Reserve(id)
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
	defer s.busy.Lock(id)()
	if s.runs.Of(id) == nil {
		return nil
	}
	s.TellStatus(ctx, id, StatusUpdate{Type: "error", ID: "AGENT_ERROR$TOO_MANY_CONVERSATIONS",
		Message: fmt.Sprintf("More than %d conversations would run: this one, not written to for longest, is stopped. Start it again to go on.", s.c.MaxRunning)})
	_, err := s.stop(ctx, id)
	return err
}
