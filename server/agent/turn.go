package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/runs"
	"github.com/openhands-local/openhands-local/store"
)

// Turns plays a script in the runs of the agent server's line: [Turns.Play] is
// the Agent of its conversations. A run answers the last message of the user by
// the steps of the first rule that matches (recorded run_text_full,
// run_terminal_echo):
//
//	a message of the agent                      say; the run is finished
//	ActionEvent, ObservationEvent               a tool that is said to have been called
//	ConversationErrorEvent, error               fail
//	waiting_for_confirmation                    confirm, or a call that the policy has wait
//
// The run that follows a yes, or a pause, goes on with the next step; one that
// follows a no with those of the question's rejected, else with the next step that
// is no observation.
type Turns struct {
	// Script says what is answered; nil answers nothing.
	Script *Script
	Log    *slog.Logger
}

// kind is that of an event of the agent server's line, "" for another.
func (s Step) kind() string {
	kind, _ := s.Event.Get("kind")
	return kind.Text()
}

// isTurn tells a step that only the agent server's line has.
func (s Step) isTurn() bool { return s.kind() != "" }

// isNoTurn tells a step that only the other line has: what is said is for both.
func (s Step) isNoTurn() bool {
	return !s.Event.IsNull() && s.kind() == "" && s.action() != "message"
}

// checkTurn tells what is wrong with an event of the agent server's line.
func (s Step) checkTurn() error {
	if !slices.Contains([]string{"agent", "environment", "user"}, s.source()) {
		return fmt.Errorf("source %q: want agent, environment or user", s.source())
	}
	for kind, member := range map[string]string{"ActionEvent": "action", "ObservationEvent": "observation"} {
		if part, _ := s.Event.Get(member); s.kind() == kind {
			if of, _ := part.Get("kind"); of.Text() == "" {
				return fmt.Errorf("%s: want %s with a kind", kind, member)
			}
		}
	}
	if tool, _ := s.Event.Get("tool_name"); s.kind() == "ActionEvent" && tool.Text() == "" {
		return errors.New("ActionEvent: want a tool_name")
	}
	return nil
}

// A turn is an answer under way.
type turn struct {
	*conversation.Run
	rest
}

// A rest is what of an answer is still to come.
type rest struct {
	message  string // the id of the event that is answered
	steps    []Step
	rejected []Step              // what follows a no; nil is the next step
	last     conversation.Action // the last that was called
}

// Play plays in a run and returns the status that it ends with.
func (t *Turns) Play(ctx context.Context, r *conversation.Run) conversation.Status {
	status, err := t.play(ctx, r)
	if err != nil && ctx.Err() == nil && !errors.Is(err, runs.ErrStopped) && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrClosed) {
		t.Log.Error("agent: ended", "conversation", r.Conversation, "error", err.Error())
		return conversation.Error
	}
	return status
}

func (t *Turns) play(ctx context.Context, r *conversation.Run) (conversation.Status, error) {
	said, err := r.Said(ctx)
	if err != nil {
		return conversation.Error, err
	}
	kept, _ := r.Kept().(rest)
	now := turn{r, kept}
	if now.message != said.ID || kept.message == "" {
		now.rest = rest{message: said.ID, steps: t.Script.match(said.Text, Step.isNoTurn)}
	} else if said.Rejected {
		if now.rejected != nil {
			now.steps = now.rejected
		}
		for len(now.steps) > 0 && now.steps[0].kind() == "ObservationEvent" {
			now.steps = now.steps[1:]
		}
	}
	now.rejected = nil
	if t.Script != nil {
		if err := r.Asked(ctx, conversation.Usage{}); err != nil { // of no model: it took nothing
			return conversation.Error, err
		}
	}
	status, err := now.play(ctx)
	if err != nil || status != conversation.Finished {
		return status, err
	}
	r.Keep(nil)
	if name := title(said.Text); name != "" {
		err = r.SetTitle(ctx, name)
	}
	return status, err
}

// play takes steps up to one that ends the run.
func (t *turn) play(ctx context.Context) (conversation.Status, error) {
	for len(t.steps) > 0 {
		s := t.steps[0]
		if err := t.Work.Sleep(ctx, s.Wait, nil); err != nil {
			return conversation.Paused, err
		}
		rest := t.steps[1:]
		switch {
		case s.Confirm != nil:
			t.steps, t.rejected = rest, s.Confirm.Rejected
			t.Keep(t.rest)
			return conversation.Waiting, nil
		case s.Fail != "":
			return conversation.Error, t.Fail(ctx, "Simulated", s.Fail)
		case s.action() == "message":
			return conversation.Finished, t.Say(ctx, s.arg("content").Text())
		}
		ends, waits, err := t.do(ctx, s)
		if err != nil {
			return conversation.Error, err
		}
		if waits && len(rest) > 0 && rest[0].Confirm != nil { // it is asked once
			t.rejected, rest = rest[0].Confirm.Rejected, rest[1:]
		}
		t.steps = rest
		t.Keep(t.rest)
		switch {
		case ends:
			return conversation.Finished, nil
		case waits:
			return conversation.Waiting, nil
		}
	}
	return conversation.Finished, nil
}

// do writes an event; ends says that it ends the work, waits that the user has to
// agree first.
func (t *turn) do(ctx context.Context, s Step) (ends, waits bool, err error) {
	switch s.kind() {
	case "ActionEvent":
		action, _ := s.Event.Get("action")
		tool, _ := s.Event.Get("tool_name")
		thought, _ := s.Event.Get("thought")
		t.last, err = t.Act(ctx, conversation.Call{
			Tool: tool.Text(), Thought: thought.Text(), Action: action.Append(nil), Args: action.Without("kind").AppendASCII(nil),
		})
		if kind, _ := action.Get("kind"); err == nil && kind.Text() == "FinishAction" {
			message, _ := action.Get("message")
			return true, false, t.Observe(ctx, t.last, observation(object("kind", pyjson.StringOf("FinishObservation"), "content", message)))
		}
		return false, t.last.Waits, err
	case "ObservationEvent":
		o, _ := s.Event.Get("observation")
		return false, false, t.Observe(ctx, t.last, observation(o))
	}
	return false, false, t.Write(ctx, s.source(), s.kind(), s.Event.Without("kind", "source", "id", "timestamp", "parent_id").Append(nil))
}

// observation is an observation as the contract has it: its content is a list, and
// whether it is an error is said; its kind comes last.
func observation(o pyjson.Value) json.RawMessage {
	var b pyjson.Builder
	content, _ := o.Get("content")
	if content.Kind() == pyjson.String {
		content = pyjson.ArrayOf(object("cache_prompt", pyjson.BoolOf(false), "type", pyjson.StringOf("text"), "text", content))
	}
	if content.Kind() != pyjson.Array {
		content = pyjson.ArrayOf()
	}
	b.Set("content", content)
	b.Set("is_error", pyjson.BoolOf(false))
	for _, m := range o.Without("content", "kind").Members() {
		b.Set(m.Key, m.Value)
	}
	kind, _ := o.Get("kind")
	b.Set("kind", kind)
	return b.Object().Append(nil)
}
