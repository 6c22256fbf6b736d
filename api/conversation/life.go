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

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/store"
)

// A Draft says what a new conversation is to be. Everything may be empty.
type Draft struct {
	ID          string // generated when empty
	Repository  *string
	Branch      *string
	GitProvider string
	Trigger     string
	// InitialMessage is the user's first message, stored after the
	// initial state events. Images are data or http URLs.
	InitialMessage string
	Images         []string
	// Replay, when not nil, takes the place of a first message. See SetReplay.
	Replay *Replay
}

// A beginning is what a fresh agent begins with. The zero value is nothing:
// it awaits the user's input.
type beginning struct {
	message []byte  // the user's first
	replay  *Replay // for the agent to play
	failed  string  // the exception that ended it; it stays in the state loading
	noAgent bool    // … before there was an agent
}

func (d Draft) beginning() beginning {
	r := d.Replay
	if r == nil {
		if d.hasMessage() {
			return beginning{message: event.Message(d.InitialMessage, d.Images)}
		}
		return beginning{}
	}
	b := beginning{replay: r, failed: r.Class, noAgent: r.noAgent}
	if r.Err == nil {
		b.message = body(r.First)
	} else if len(r.Rest) == 0 {
		b.replay = nil // nothing to play later
	}
	return b
}

func (d Draft) hasMessage() bool { return d.InitialMessage != "" || len(d.Images) > 0 }

// Create makes a conversation with an agent, runs it and writes its initial
// events. A Draft.ID that exists joins that conversation, as upstream. Without
// settings it is ErrNoSettings, without a key for the model ErrNoLLMKey.
func (s *Service) Create(ctx context.Context, d Draft) (Info, error) {
	if err := s.checkSettings(ctx); err != nil {
		return Info{}, err
	}
	for generated := d.ID == ""; generated; {
		d.ID = s.c.NewID()
		switch _, err := s.c.Store.Conversation(ctx, d.ID); {
		case errors.Is(err, store.ErrNotFound):
			generated = false
		case err != nil:
			return Info{}, err
		}
	}
	if !ValidID(d.ID) {
		return Info{}, fmt.Errorf("%w: %q", ErrBadID, d.ID)
	}
	defer s.busy.lock(d.ID)()
	now := s.c.Now()
	c, err := s.c.Store.Create(ctx, store.Conversation{
		ID: d.ID, CreatedAt: now, UpdatedAt: now, Agent: true,
		Repository: d.Repository, Branch: d.Branch, GitProvider: d.GitProvider, Trigger: d.Trigger,
	})
	if errors.Is(err, store.ErrConflict) {
		if c, err = s.c.Store.Conversation(ctx, d.ID); err != nil {
			return Info{}, err
		}
		return Info{Conversation: c, Status: Starting}, s.start(ctx, c, nil)
	}
	if err != nil {
		return Info{}, err
	}
	b := d.beginning()
	if err := s.start(ctx, c, &b); err != nil {
		return Info{}, err
	}
	return Info{Conversation: c, Status: Starting}, nil
}

// ErrBadID: no conversation can have this id.
var ErrBadID = errors.New("conversation id must be 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.' or '-'")

// Start runs a conversation and returns its status as the API tells it:
// STARTING when it was stopped, RUNNING when it ran already.
func (s *Service) Start(ctx context.Context, id string) (Status, error) {
	c, err := s.get(ctx, id)
	if err != nil {
		return "", err
	}
	defer s.busy.lock(id)()
	if s.isRunning(id) {
		return Running, nil
	}
	return Starting, s.start(ctx, c, nil)
}

// start runs a conversation that does not run, and one that runs if its agent
// is fresh: then it has a beginning. The id is locked.
func (s *Service) start(ctx context.Context, c store.Conversation, fresh *beginning) error {
	if s.isRunning(c.ID) && fresh == nil {
		return nil
	}
	if err := s.makeRoom(ctx, c.ID); err != nil {
		return err
	}
	if !c.Agent {
		s.setRunning(c.ID, true)
		return nil
	}
	first, err := s.writeStart(ctx, c.ID, fresh)
	if err != nil {
		return err
	}
	s.setRunning(c.ID, true)
	n := Notice{Conversation: c.ID, Kind: Began, After: first}
	if fresh != nil {
		if fresh.failed != "" {
			s.fail(c.ID, fresh.failed)
		}
		if fresh.noAgent {
			return nil
		}
		n.Replay = fresh.replay
	}
	s.notify(n)
	return nil
}

// makeRoom stops conversations, beginning with the one that was written to
// longest ago, until one more may run (recorded too_many_conversations). Each
// of them runs, so whoever has it locked waits for no other, and this waits for
// no one that waits for it.
func (s *Service) makeRoom(ctx context.Context, id string) error {
	if s.c.MaxRunning <= 0 || s.isRunning(id) {
		return nil
	}
	s.mu.RLock()
	running := slices.Collect(maps.Keys(s.running))
	s.mu.RUnlock()
	if len(running) < s.c.MaxRunning {
		return nil
	}
	var infos []Info
	for _, id := range running {
		i, err := s.Info(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted since
		}
		if err != nil {
			return err
		}
		infos = append(infos, i)
	}
	slices.SortFunc(infos, func(a, b Info) int {
		return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), strings.Compare(a.ID, b.ID))
	})
	for _, i := range infos[:max(0, len(infos)-s.c.MaxRunning+1)] {
		s.TellStatus(i.ID, StatusUpdate{Type: "error", ID: "AGENT_ERROR$TOO_MANY_CONVERSATIONS",
			Message: fmt.Sprintf("More than %d conversations would run: this one, not written to for longest, is stopped. Start it again to go on.", s.c.MaxRunning)})
		if _, err := s.Stop(ctx, i.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Stop ends a conversation's run and returns the status that it had. An
// unknown conversation was stopped already, as upstream has it (recorded
// stop_unknown).
func (s *Service) Stop(ctx context.Context, id string) (before Status, err error) {
	defer s.busy.lock(id)()
	if !s.isRunning(id) {
		return Stopped, nil
	}
	c, err := s.get(ctx, id)
	if err != nil {
		return "", err
	}
	s.setRunning(id, false)
	s.notify(Notice{Conversation: id, Kind: Ended})
	if c.Agent {
		_, err = s.writeState(ctx, id, "stopped")
	}
	return Running, err
}

// Delete removes a conversation and all that belongs to it.
func (s *Service) Delete(ctx context.Context, id string) error {
	if !ValidID(id) {
		return Unknown(id)
	}
	defer s.busy.lock(id)()
	s.setRunning(id, false)
	s.notify(Notice{Conversation: id, Kind: Ended})
	return s.c.Store.Delete(ctx, id)
}

// writeStart writes what the real server writes when a run begins (recorded
// create_empty, normal_run, replay/*; start_stop_cycle has no second system
// message). It returns the id of the first event.
func (s *Service) writeStart(ctx context.Context, id string, fresh *beginning) (first int64, err error) {
	if first, err = s.writeState(ctx, id, "loading"); err != nil {
		return 0, err
	}
	for _, status := range s.runtimeStatuses() {
		s.TellStatus(id, StatusUpdate{Type: "info", ID: status})
	}
	var b beginning
	if fresh != nil {
		b = *fresh
		if b.noAgent {
			return first, nil
		}
		if _, err := s.Inject(ctx, id, "agent", systemMessage); err != nil {
			return 0, err
		}
	}
	if b.failed != "" {
		return first, nil
	}
	if b.message != nil && (s.c.Answers || b.replay != nil) {
		if _, err := s.Inject(ctx, id, "user", b.message); err != nil {
			return 0, err
		}
		_, err = s.Inject(ctx, id, "environment", changeAgentState("running"))
		return first, err // whoever answers tells when it does
	}
	const awaiting = "awaiting_user_input"
	if _, err := s.Inject(ctx, id, "environment", changeAgentState(awaiting)); err != nil {
		return 0, err
	}
	if _, err = s.writeState(ctx, id, awaiting); err != nil {
		return 0, err
	}
	if b.message != nil {
		_, err = s.Inject(ctx, id, "user", b.message)
	}
	return first, err
}

// runtimeStatuses are told when a run begins; the last one stays. The recorded
// server's runtime never says READY, so that the web UI shows it as one that
// still starts; Docker's, which that UI is made for, does.
func (s *Service) runtimeStatuses() []string {
	statuses := []string{"STATUS$STARTING_RUNTIME", "STATUS$RUNTIME_STARTED"}
	if !s.c.Strict {
		statuses = append(statuses, "STATUS$READY")
	}
	return statuses
}

// systemMessage is the agent's first event. The text is our own.
var systemMessage = []byte(`{"action":"system","args":{"content":"You are a simulated agent of openhands-local: no language model is asked, and every answer is made on this machine.","tools":[],"openhands_version":"0.53.0","agent_class":"CodeActAgent"}}`)

func changeAgentState(state string) []byte {
	return fmt.Appendf(nil, `{"action":"change_agent_state","args":{"agent_state":%q}}`, state)
}

// writeState writes that the agent's state is now another.
func (s *Service) writeState(ctx context.Context, id, state string) (int64, error) {
	return s.InjectState(ctx, id, state, "")
}

// InjectState stores that the agent's state is now another, and why.
func (s *Service) InjectState(ctx context.Context, id, state, reason string) (int64, error) {
	body, err := json.Marshal(map[string]any{
		"observation": "agent_state_changed", "content": "",
		"extras": map[string]string{"agent_state": state, "reason": reason},
	})
	if err != nil {
		return 0, err
	}
	return s.Inject(ctx, id, "environment", body)
}
