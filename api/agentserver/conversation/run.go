package conversation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/runs"
)

// A Content is a part of a message.
type Content struct {
	CachePrompt bool     `json:"cache_prompt"`
	Type        string   `json:"type"`
	Text        string   `json:"text"`
	ImageURLs   []string `json:"image_urls"`
}

// MarshalJSON writes the members that a part of its type has.
func (c Content) MarshalJSON() ([]byte, error) {
	if c.Type == "image" {
		return json.Marshal(struct {
			CachePrompt bool     `json:"cache_prompt"`
			Type        string   `json:"type"`
			ImageURLs   []string `json:"image_urls"`
		}{c.CachePrompt, c.Type, c.ImageURLs})
	}
	return json.Marshal(struct {
		CachePrompt bool   `json:"cache_prompt"`
		Type        string `json:"type"`
		Text        string `json:"text"`
	}{c.CachePrompt, "text", c.Text})
}

// Text is a message of one text.
func Text(text string) []Content { return []Content{{Type: "text", Text: text}} }

// textOf is all that is text in a message.
func textOf(parts []Content) string {
	var texts []string
	for _, p := range parts {
		if p.Type != "image" {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, " ")
}

// A message is what a MessageEvent has.
type message struct {
	LLMMessage struct {
		Role     string    `json:"role"`
		Content  []Content `json:"content"`
		Thinking []string  `json:"thinking_blocks"`
	} `json:"llm_message"`
	ResponseID string   `json:"llm_response_id,omitempty"`
	Skills     []string `json:"activated_skills"`
	Extended   []string `json:"extended_content"`
}

func messageOf(role string, content []Content, response string) message {
	m := message{ResponseID: response, Skills: []string{}, Extended: []string{}}
	m.LLMMessage.Role, m.LLMMessage.Content, m.LLMMessage.Thinking = role, content, []string{}
	if content == nil {
		m.LLMMessage.Content = []Content{}
	}
	return m
}

// Send stores a message of the user, and runs the conversation if run is set;
// when it runs already, once more after that (recorded run_second_message,
// message_while_running).
func (s *Service) Send(ctx context.Context, id, role string, content []Content, run bool) error {
	if role != "user" {
		return ErrNotUser
	}
	return s.change(ctx, id, func(o *opened) error {
		if err := o.begin(ctx); err != nil {
			return err
		}
		if o.Status == Finished {
			if err := o.setStatus(ctx, Idle); err != nil {
				return err
			}
		}
		if err := o.write(ctx, "user", "MessageEvent", messageOf(role, content, "")); err != nil {
			return err
		}
		o.LastUserMessageID = o.LeafEventID
		if err := o.tell(ctx, "last_user_message_id", o.LastUserMessageID); err != nil || !run {
			return err
		}
		if r := s.runs.Of(id); r != nil {
			r.again = true
			return nil
		}
		return o.run(ctx)
	})
}

// begin writes the system prompt, once.
func (o *opened) begin(ctx context.Context) error {
	if o.Begun {
		return nil
	}
	o.Begun, o.Stats = true, beginStats(o.State.Agent)
	return o.write(ctx, "agent", "SystemPromptEvent", systemPrompt(o.State.Agent))
}

// Run begins a run: ErrRunning when there is one. One of a conversation that is
// finished is over at once.
func (s *Service) Run(ctx context.Context, id string) error {
	return s.change(ctx, id, func(o *opened) error { return o.run(ctx) })
}

// run begins a run.
func (o *opened) run(ctx context.Context) error {
	if o.runs.Of(o.id) != nil {
		return ErrRunning
	}
	if o.Status == Finished { // nobody has said anything since (recorded run_second_message)
		o.tellAll(ctx)
		return nil
	}
	if err := o.begin(ctx); err != nil {
		return err
	}
	if _, _, ok := o.runs.Reserve(o.id); !ok {
		return ErrFull
	}
	if err := o.setStatus(ctx, Running); err != nil {
		o.runs.Change(o.id, nil)
		return err
	}
	running, cancel := context.WithCancel(context.Background())
	r := &Run{Run: runs.New(o.id, cancel), Work: o.c.Clock.Begin("agent of " + o.id), service: o.Service}
	o.runs.Change(o.id, r)
	o.agents.Go(func() {
		defer r.Work.End()
		r.play(running)
	})
	return nil
}

// A Run is the agent at work, from a run's begin to its end.
type Run struct {
	*runs.Run
	// Work is what the clock knows of the agent: it waits by it alone.
	Work    *clock.Work
	service *Service
	again   bool   // there is a message since; under the id's lock
	answer  string // the id of the model's answer that the agent acts on
}

// play has the agent play until nothing is left to answer.
func (r *Run) play(ctx context.Context) {
	for goOn := true; goOn; {
		least := time.NewTimer(r.service.c.Least)
		end := Finished
		if r.service.c.Agent != nil {
			end = r.service.c.Agent(ctx, r)
		}
		select {
		case <-least.C:
		case <-ctx.Done():
			least.Stop()
		}
		goOn = r.finish(ctx, end)
	}
}

// finish ends the run with a status, unless it was ended by somebody else; goOn
// says that there is more to answer.
func (r *Run) finish(ctx context.Context, status Status) (goOn bool) {
	err := r.change(ctx, func(o *opened) error {
		if err := o.setStatus(ctx, status); err != nil {
			return err
		}
		o.tellAll(ctx)
		if goOn = r.again && status == Finished; goOn {
			r.again = false
			return o.setStatus(ctx, Running)
		}
		r.End()
		o.runs.Change(o.id, nil)
		return nil
	})
	return err == nil && goOn
}

// change is that of the service, as long as the run is not over: then it is
// [runs.ErrStopped].
func (r *Run) change(ctx context.Context, do func(*opened) error) error {
	return r.service.change(context.WithoutCancel(ctx), r.Conversation, func(o *opened) error {
		if o.runs.Of(o.id) != r {
			return fmt.Errorf("%w: %s", runs.ErrStopped, o.id)
		}
		return do(o)
	})
}

// A Call is a tool call of the agent.
type Call struct {
	ID      string // "" for a new one
	Tool    string
	Thought string          // "" for none
	Action  json.RawMessage // with its kind; nil for a tool that does not exist
	Args    json.RawMessage // as the model would have written them
}

// An Action is a call that was written.
type Action struct {
	ID, CallID, Tool string
	Waits            bool // for the user's answer: the run is to end as Waiting
}

// Act writes that the agent calls a tool.
func (r *Run) Act(ctx context.Context, c Call) (a Action, err error) {
	err = r.change(ctx, func(o *opened) error {
		a = Action{CallID: cmp.Or(c.ID, "call_"+o.c.NewID()[:24]), Tool: c.Tool}
		type toolCall struct {
			ID        string `json:"id"`
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
			Origin    string `json:"origin"`
		}
		thought := []Content{}
		if c.Thought != "" {
			thought = Text(c.Thought)
		}
		err := o.write(ctx, "agent", "ActionEvent", struct {
			Thought    []Content       `json:"thought"`
			Thinking   []string        `json:"thinking_blocks"`
			Action     json.RawMessage `json:"action,omitempty"`
			Tool       string          `json:"tool_name"`
			CallID     string          `json:"tool_call_id"`
			Call       toolCall        `json:"tool_call"`
			ResponseID string          `json:"llm_response_id"`
			Risk       string          `json:"security_risk"`
			Summary    string          `json:"summary"`
		}{thought, []string{}, c.Action, c.Tool, a.CallID, toolCall{a.CallID, c.Tool, string(c.Args), "completion"}, r.answer, "UNKNOWN", c.Tool + ": " + string(c.Args)})
		if err != nil {
			return err
		}
		a.ID, a.Waits = *o.LeafEventID, o.confirms(c.Tool)
		return nil
	})
	return a, err
}

// Asked says what the model has answered that the agent acts on from now on, and
// tells what it took. An agent that asks none says so by the zero Usage.
func (r *Run) Asked(ctx context.Context, u Usage) error {
	return r.change(ctx, func(o *opened) error {
		u.ResponseID = cmp.Or(u.ResponseID, "chatcmpl-"+o.c.NewID())
		r.answer = u.ResponseID
		spend(o.Stats, u)
		return o.tell(ctx, "stats", stats(o.Stats, true))
	})
}

// confirms tells whether the policy has a tool call wait (recorded
// confirm_accept); the end of the work never does.
func (o *opened) confirms(tool string) bool {
	var policy struct {
		Kind           string `json:"kind"`
		ConfirmUnknown *bool  `json:"confirm_unknown"`
	}
	_ = json.Unmarshal(o.ConfirmationPolicy, &policy) // it was validated
	if tool == "finish" || tool == "think" {
		return false
	}
	return policy.Kind == "AlwaysConfirm" || policy.Kind == "ConfirmRisky" && (policy.ConfirmUnknown == nil || *policy.ConfirmUnknown)
}

// Observe writes what a tool call led to.
func (r *Run) Observe(ctx context.Context, of Action, observation json.RawMessage) error {
	return r.change(ctx, func(o *opened) error {
		return o.write(ctx, "environment", "ObservationEvent", struct {
			Tool        string          `json:"tool_name"`
			CallID      string          `json:"tool_call_id"`
			Observation json.RawMessage `json:"observation"`
			ActionID    string          `json:"action_id"`
			Extended    []string        `json:"extended_content"`
		}{of.Tool, of.CallID, observation, of.ID, []string{}})
	})
}

// Say writes a message of the agent.
func (r *Run) Say(ctx context.Context, text string) error {
	return r.change(ctx, func(o *opened) error {
		return o.write(ctx, "agent", "MessageEvent", messageOf("assistant", Text(text), r.answer))
	})
}

// Fail writes why the run ends in error.
func (r *Run) Fail(ctx context.Context, code, detail string) error {
	return r.change(ctx, func(o *opened) error {
		if err := o.setStatus(ctx, Error); err != nil {
			return err
		}
		type class struct {
			Kind      string `json:"kind"`
			Retryable bool   `json:"retryable"`
			Action    string `json:"user_action"`
		}
		return o.write(ctx, "environment", "ConversationErrorEvent", struct {
			Code   string `json:"code"`
			Detail string `json:"detail"`
			Class  class  `json:"classification"`
		}{code, detail, class{"unknown", false, "none"}})
	})
}

// Write writes an event of a script as it is given, as the leaf.
func (r *Run) Write(ctx context.Context, source, kind string, fields json.RawMessage) error {
	return r.change(ctx, func(o *opened) error { return o.write(ctx, source, kind, fields) })
}

// SetTitle gives a conversation that nobody has named a title, if it wants one.
func (r *Run) SetTitle(ctx context.Context, title string) error {
	return r.change(ctx, func(o *opened) error {
		if o.Autotitle && o.stored.Title == "" {
			o.stored.Title = title
		}
		return nil
	})
}

// A Said is what the branch ends with, for an agent to go on from.
type Said struct {
	Text string // of the user's last message; "" when there is none
	ID   string // its event's
	// Pending are the calls since it that were neither answered nor rejected, the
	// first first; Rejected says that the last one that ended was rejected.
	Pending  []Action
	Rejected bool
	// Calls is how many calls there were since the message.
	Calls int
}

// Said reads the branch from its end to the user's last message.
func (r *Run) Said(ctx context.Context) (said Said, err error) {
	o, unlock, err := r.service.open(ctx, r.Conversation) // what begins a run is stored by then
	if err != nil {
		return said, err
	}
	defer unlock()
	return o.said(ctx)
}

func (o *opened) said(ctx context.Context) (said Said, err error) {
	done := map[string]bool{}
	ended := false
	err = o.branch(ctx, func(h head) bool {
		switch h.Kind {
		case "MessageEvent":
			if h.Source == "user" {
				said.Text, said.ID = textOf(h.LLMMessage.Content), h.ID
				return false
			}
		case "ObservationEvent", "UserRejectObservation", "AgentErrorEvent":
			if !ended {
				ended, said.Rejected = true, h.Kind == "UserRejectObservation"
			}
			done[h.ActionID] = true
		case "ActionEvent":
			said.Calls++
			if !done[h.ID] {
				said.Pending = append([]Action{{ID: h.ID, CallID: h.CallID, Tool: h.Tool}}, said.Pending...)
			}
		}
		return true
	})
	return said, err
}

// Keep keeps what the agent goes on with in the conversation's next run, as long
// as the process lives; nil is nothing. A run that is over keeps nothing.
func (r *Run) Keep(v any) {
	_ = r.Within(func() error {
		r.service.keep(r.Conversation, v)
		return nil
	})
}

// Kept is what the last run kept.
func (r *Run) Kept() any {
	s := r.service
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[r.Conversation]
}

func (s *Service) keep(id string, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept[id] = v; v == nil {
		delete(s.kept, id)
	}
}

// pause ends the run, if there is one, and tells so (recorded pause_idle,
// pause_mid_run, interrupt_mid_run).
func (o *opened) pause(ctx context.Context, kind string) error {
	if r := o.runs.Of(o.id); r != nil {
		r.End()
		o.runs.Change(o.id, nil)
	}
	if err := o.setStatus(ctx, Paused); err != nil {
		return err
	}
	return o.write(ctx, "user", kind, nil)
}

// Pause pauses a conversation that is idle or runs.
func (s *Service) Pause(ctx context.Context, id string) error {
	return s.change(ctx, id, func(o *opened) error {
		if o.Status == Idle || o.Status == Running {
			if err := o.pause(ctx, "PauseEvent"); err != nil {
				return err
			}
		}
		o.tellAll(ctx)
		return nil
	})
}

// Interrupt pauses a conversation that runs.
func (s *Service) Interrupt(ctx context.Context, id string) error {
	return s.change(ctx, id, func(o *opened) error {
		kind := "InterruptEvent"
		switch o.Status {
		case Idle:
			kind = "PauseEvent"
		case Running: // once for the end of the run
			defer o.tellAll(ctx)
		}
		if o.Status == Idle || o.Status == Running {
			if err := o.pause(ctx, kind); err != nil {
				return err
			}
		}
		o.tellAll(ctx)
		return nil
	})
}

// Respond answers what waits: yes runs the conversation, no rejects the calls
// (recorded confirm_*).
func (s *Service) Respond(ctx context.Context, id string, accept bool, reason string) error {
	if accept {
		if err := s.Run(ctx, id); !errors.Is(err, ErrRunning) {
			return err
		}
		return nil
	}
	return s.change(ctx, id, func(o *opened) error {
		if o.Status != Waiting {
			return nil
		}
		said, err := o.said(ctx)
		if err != nil {
			return err
		}
		if err := o.setStatus(ctx, Idle); err != nil {
			return err
		}
		for _, a := range said.Pending {
			err := o.write(ctx, "environment", "UserRejectObservation", struct {
				Tool     string `json:"tool_name"`
				CallID   string `json:"tool_call_id"`
				Reason   string `json:"rejection_reason"`
				Source   string `json:"rejection_source"`
				ActionID string `json:"action_id"`
			}{a.Tool, a.CallID, reason, "user", a.ID})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
