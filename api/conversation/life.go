package conversation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/runs"
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
	s.gate.RLock() // a reset has its first settings when it is over
	defer s.gate.RUnlock()
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
	defer s.busy.Lock(d.ID)()
	now := s.c.Clock.Now()
	c, err := s.c.Store.Create(ctx, store.Conversation{
		ID: d.ID, CreatedAt: now, UpdatedAt: now, Agent: true,
		Repository: d.Repository, Branch: d.Branch, GitProvider: d.GitProvider, Trigger: d.Trigger,
	})
	if errors.Is(err, store.ErrConflict) {
		if c, err = s.c.Store.Conversation(ctx, d.ID); err != nil {
			return Info{}, err
		}
		_, err = s.start(ctx, c, nil)
		return Info{Conversation: c, Status: Starting}, err
	}
	if err != nil {
		return Info{}, err
	}
	b := d.beginning()
	if _, err := s.start(ctx, c, &b); err != nil {
		return Info{}, err
	}
	return Info{Conversation: c, Status: Starting}, nil
}

// ErrBadID: no conversation can have this id.
var ErrBadID = errors.New("conversation id must be 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.' or '-'")

// Start runs a conversation and returns its status as the API tells it: that of
// its run, STARTING when it was stopped.
func (s *Service) Start(ctx context.Context, id string) (Status, error) {
	defer s.lock(id)()
	c, err := s.get(ctx, id)
	if err != nil {
		return "", err
	}
	if before := s.status(id); before != Stopped {
		return before, nil
	}
	_, err = s.start(ctx, c, nil)
	return Starting, err
}

// start runs a conversation that does not run, and one that runs if its agent
// is fresh: then it has a beginning. The id is locked, and c is what the store
// has.
func (s *Service) start(ctx context.Context, c store.Conversation, fresh *beginning) (*Run, error) {
	before := s.runs.Of(c.ID)
	if before != nil && fresh == nil {
		return before, nil
	}
	if before == nil {
		if err := s.reserve(ctx, c.ID); err != nil {
			return nil, err
		}
	}
	ctx = context.WithoutCancel(ctx) // a beginning is not left half written
	running, cancel := context.WithCancel(context.Background())
	r := &Run{Run: runs.New(c.ID, cancel), service: s, began: s.c.Clock.Mark()}
	agent := s.c.Agent
	if c.Agent {
		var err error
		if r.First, err = s.writeStart(ctx, c.ID, fresh); err != nil {
			s.runs.Change(c.ID, before)
			return nil, err
		}
	} else {
		agent = nil
	}
	if fresh != nil {
		r.failure, r.Replay = fresh.failed, fresh.replay
		if fresh.noAgent {
			agent = nil
		}
	}
	s.runs.Change(c.ID, r)
	if before != nil {
		before.End() // what it wrote is stored, what it writes goes to r
	}
	s.feed.Tell(ctx, c.ID, feed.Notice{Kind: feed.Began})
	if agent != nil {
		r.Work = s.c.Clock.Begin("agent of " + c.ID)
		s.agents.Go(func() {
			defer r.Work.End()
			agent(running, r)
		})
	}
	return r, nil
}

// Stop ends a conversation's run and returns the status that it had. An
// unknown conversation was stopped already, as upstream has it (recorded
// stop_unknown).
func (s *Service) Stop(ctx context.Context, id string) (before Status, err error) {
	defer s.lock(id)()
	return s.stop(ctx, id)
}

// stop is Stop with the id locked.
func (s *Service) stop(ctx context.Context, id string) (before Status, err error) {
	if before = s.status(id); before == Stopped {
		return Stopped, nil
	}
	c, err := s.c.Store.Conversation(ctx, id)
	if err != nil {
		return "", err
	}
	ctx = context.WithoutCancel(ctx)
	s.endRun(ctx, id)
	if c.Agent {
		_, err = s.writeState(ctx, id, "stopped")
	}
	return before, err
}

// endRun ends the run of a conversation, if it runs, and tells so. The state
// that follows is for no socket.
func (s *Service) endRun(ctx context.Context, id string) {
	r := s.runs.Of(id)
	if r == nil {
		return
	}
	r.End()
	s.runs.Change(id, nil)
	s.feed.Tell(ctx, id, feed.Notice{Kind: feed.Ended})
}

// Delete removes a conversation and all that belongs to it.
func (s *Service) Delete(ctx context.Context, id string) error {
	if !ValidID(id) {
		return Unknown(id)
	}
	defer s.lock(id)()
	s.endRun(ctx, id)
	if err := s.c.Store.Delete(ctx, id); err != nil {
		return err
	}
	s.deleted.Store(true)
	if s.c.Removed == nil {
		return nil
	}
	return s.c.Removed(id)
}

// Reset ends every run and removes all conversations, events and records. Then
// it calls begin, before anything else can happen in a conversation.
func (s *Service) Reset(ctx context.Context, begin func(context.Context) error) error {
	s.gate.Lock()
	defer s.gate.Unlock()
	for _, r := range s.runs.All() {
		s.endRun(ctx, r.Conversation)
	}
	err := s.c.Store.Reset(ctx)
	s.changes.Add(1)
	if err != nil {
		return err
	}
	s.deleted.Store(false)
	return begin(ctx)
}

// writeStart writes what the real server writes when a run begins (recorded
// create_empty, normal_run, replay/*; start_stop_cycle has no second system
// message). It returns the id of the first event.
func (s *Service) writeStart(ctx context.Context, id string, fresh *beginning) (first int64, err error) {
	if first, err = s.writeState(ctx, id, "loading"); err != nil {
		return 0, err
	}
	for _, status := range s.runtimeStatuses() {
		s.TellStatus(ctx, id, StatusUpdate{Type: "info", ID: status})
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
var systemMessage = []byte(`{"action":"system","args":{"content":"You are a simulated agent of openhands-local: no language model is asked, and every answer is made on this machine.","tools":[],"openhands_version":"` + event.Version + `","agent_class":"CodeActAgent"}}`)

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
