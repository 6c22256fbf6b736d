// Package agent has simulated agents: they answer the messages of a
// conversation as an agent would, so that a client can be built without a
// language model.
//
// An agent plays steps. A [Script] says which ones answer which message:
// [Echo] repeats it, [Load] reads a script from a file (its format is told
// there; scripts/ has examples). A conversation that was made to replay a list
// of events plays that first, whatever the script, and without one too. A
// [Runner] plays in every conversation that runs and has an agent: it follows
// the conversation's feed and writes through its [conversation.Run].
//
// An answer is (recorded normal_run, replay/*):
//
//	recall                                   what the agent looks up for the message, of source user
//	agent_state_changed running              unless it is
//	recall, or null                          found for the first message of a conversation; nothing later
//	…                                        the rest of the replay, or the steps of the first rule that matches
//	agent_state_changed awaiting_user_input  or finished, rejected, error
//
// A replay that ends otherwise than by a finish, a reject or a message which
// waits goes on with the rule that matches its last message of the user, as
// upstream asks the model then.
//
// The user's change_agent_state is respected: paused halts an answer before
// its next step until running is asked for, stopped gives it up. A message to
// an agent that is paused or stopped wakes it (recorded
// action_change_state_paused, action_change_state_stopped); a replay then goes
// on where it was. A finish or reject of the user's gives up the answer too.
//
// Only messages that come after a run's first event are answered, and a replay
// is not kept. So after a restart nothing is answered or played twice, and
// what was under way is given up: the agent awaits the user's input, as
// upstream's (recorded resume_not_running).
//
// differences.txt lists which events of the recorded replays are others, and
// why.
package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/store"
)

// A Runner plays in every run that it is handed: [Runner.Play] is the Agent of a
// [conversation.Config].
type Runner struct {
	// Script says what is answered; nil answers nothing: only replays are
	// played.
	Script *Script
	Log    *slog.Logger

	runs atomic.Int64
}

// Runs returns how many conversations have an agent at work.
func (r *Runner) Runs() int { return int(r.runs.Load()) }

// Play plays in a run until ctx ends.
func (r *Runner) Play(ctx context.Context, of *conversation.Run) {
	if r.Script == nil && of.Replay == nil {
		return
	}
	r.runs.Add(1)
	defer r.runs.Add(-1)
	events, err := of.Follow(ctx, of.First)
	if err == nil {
		defer events.Close()
		a := &run{Runner: r, Run: of, ctx: ctx, events: events, own: map[int64]bool{}}
		if of.Replay != nil {
			a.replay = replaySteps(of.Replay.Rest)
		}
		err = a.serve()
	}
	if ctx.Err() == nil && err != nil && !errors.Is(err, conversation.ErrStopped) && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrClosed) {
		r.Log.Error("agent: ended", "conversation", of.Conversation, "error", err.Error())
	}
}

// A run is an agent at work in one conversation. Its fields are its
// goroutine's.
type run struct {
	*Runner
	*conversation.Run
	ctx    context.Context
	events *feed.Follower

	own      map[int64]bool // events of its own that are not read yet
	messages []message      // of the user, to be answered
	spoken   bool           // the user has said something that was answered
	last     string         // the user's last message that was taken up
	date     string         // of the last that was read
	replay   []Step         // what is still to be played again
	state    string         // the last that was read since the answer began
	paused   bool
}

// A message is what the user says.
type message struct {
	id   int64
	text string
}

// errGivenUp: the user does not want the rest of the answer.
var errGivenUp = errors.New("answer given up")

// serve answers messages until the run ends, with an error, or, without a
// script, until the replay has.
func (a *run) serve() error {
	if err := a.catchUp(); err != nil && !errors.Is(err, errGivenUp) {
		return err
	}
	for {
		for len(a.messages) == 0 || a.paused {
			if a.state == "running" { // and there is nothing to do
				a.state = ""
				if err := a.tell("awaiting_user_input", ""); err != nil {
					return err
				}
			}
			if err := a.wait(nil); err != nil && !errors.Is(err, errGivenUp) {
				return err
			}
		}
		m := a.messages[0]
		a.messages = a.messages[1:]
		if err := a.answer(m); err != nil && !errors.Is(err, errGivenUp) {
			return err
		}
		a.state = ""
		if a.Script == nil && len(a.replay) == 0 {
			return nil
		}
	}
}

// answer answers a message, and names the conversation by it.
func (a *run) answer(m message) error {
	if err := a.takeUp(m, a.state == "running"); err != nil {
		return err
	}
	a.state = ""
	end, err := a.play(&a.replay)
	if err == nil && end == (ending{}) {
		steps := a.Script.match(a.last, Step.isTurn)
		end, err = a.play(&steps)
	}
	if err != nil {
		return err
	}
	if err := a.tell(cmp.Or(end.state, "awaiting_user_input"), end.reason); err != nil {
		return err
	}
	if t := title(m.text); t != "" {
		return a.SetTitle(a.ctx, t)
	}
	return nil
}

// takeUp writes what comes before every answer: that the agent looks up what
// it knows for the message, that it runs, and what it found.
func (a *run) takeUp(m message, runs bool) error {
	a.last = m.text
	first, err := a.isFirst(m.id)
	if err != nil {
		return err
	}
	kind := "knowledge"
	if first {
		kind = "workspace_context"
	}
	id, err := a.store("user", object("action", pyjson.StringOf("recall"),
		"args", object("recall_type", pyjson.StringOf(kind), "query", pyjson.StringOf(m.text))).Append(nil))
	if err != nil {
		return err
	}
	if !runs {
		if err := a.tell("running", ""); err != nil {
			return err
		}
	}
	return a.recalled(id, kind)
}

// isFirst tells whether a message is the user's first in the conversation.
func (a *run) isFirst(id int64) (bool, error) {
	if a.spoken {
		return false, nil
	}
	a.spoken = true
	for e, err := range a.Events(a.ctx, store.Range{To: id - 1}) {
		if damaged := new(store.DamagedEvent); errors.As(err, &damaged) {
			continue
		}
		if err != nil {
			return false, err
		}
		if v, ok := userAction(e); ok && v.Action == "message" {
			return false, nil
		}
	}
	return true, nil
}

// recalled stores what a recall found.
func (a *run) recalled(cause int64, kind string) error {
	found := object("observation", pyjson.StringOf("null"), "content", pyjson.StringOf(""))
	if kind == "workspace_context" {
		found = object("observation", pyjson.StringOf("recall"), "content", pyjson.StringOf("Added workspace context"),
			"extras", object("recall_type", pyjson.StringOf(kind), "date", pyjson.StringOf(a.date), "working_dir", pyjson.StringOf("/workspace")))
	}
	_, err := a.store("environment", Step{Event: found}.body(cause))
	return err
}

// store stores an event of the agent's doing.
func (a *run) store(source string, body []byte) (int64, error) {
	id, err := a.Inject(a.ctx, source, body)
	if err == nil {
		a.own[id] = true
	}
	return id, err
}

// An ending is a state that steps have led to, and why.
type ending struct{ state, reason string }

// play takes steps off a list, up to one that ends the answer; no ending when
// none does.
func (a *run) play(steps *[]Step) (end ending, err error) {
	cause := int64(-1) // the last action
	asked := false     // the user, about it
	for len(*steps) > 0 {
		s := (*steps)[0]
		if err := a.sleep(s.Wait); err != nil {
			return end, err
		}
		*steps = (*steps)[1:]
		end = ending{}
		switch {
		case s.Confirm != nil:
			if !asked {
				if err := a.ask(); err != nil {
					return end, err
				}
			}
			asked = false
			confirmed, err := a.confirmed()
			if err != nil {
				return end, err
			}
			if !confirmed {
				rest := s.Confirm.Rejected
				return a.play(&rest)
			}
		case s.Fail != "":
			a.TellStatus(a.ctx, conversation.StatusUpdate{Type: "error", ID: "STATUS$ERROR", Message: s.Fail})
			return ending{"error", s.Fail}, nil // recorded llm_failure
		default:
			// The state comes before the action that it is about, as
			// upstream: the web UI shows its buttons when the action comes.
			if asked = len(*steps) > 0 && (*steps)[0].Confirm != nil; asked {
				if err := a.ask(); err != nil {
					return end, err
				}
			}
			id, err := a.store(s.source(), s.body(cause))
			if err != nil {
				return end, err
			}
			if s.action() == "" {
				continue
			}
			cause = id
			if end, err = a.follow(s, id); err != nil || end.state == "finished" || end.state == "rejected" {
				return end, err
			}
		}
	}
	return end, nil
}

// follow does what an action leads to, whoever's it is.
func (a *run) follow(s Step, id int64) (ending, error) {
	switch s.action() {
	case "finish":
		return ending{state: "finished"}, nil
	case "reject":
		return ending{state: "rejected"}, nil
	case "recall":
		return ending{}, a.recalled(id, s.arg("recall_type").Text())
	case "change_agent_state":
		return ending{}, a.tell(s.arg("agent_state").Text(), "")
	case "message":
		if s.source() == "user" {
			return ending{}, a.takeUp(message{id, s.arg("content").Text()}, true)
		}
		if s.arg("wait_for_response").Truthy() {
			return ending{state: "awaiting_user_input"}, nil
		}
	}
	return ending{}, nil
}

// ask tells that the user is asked.
func (a *run) ask() error {
	a.state = ""
	return a.tell("awaiting_user_confirmation", "")
}

// confirmed waits for the user's answer, and tells whether it was yes.
func (a *run) confirmed() (yes bool, err error) {
	for a.state != "user_confirmed" && a.state != "user_rejected" {
		if err := a.wait(nil); err != nil {
			return false, err
		}
	}
	yes = a.state == "user_confirmed"
	if yes {
		err = a.tell("running", "")
	}
	return yes, err
}

// tell tells the agent's state; "" tells nothing.
func (a *run) tell(state, reason string) error {
	if state == "" {
		return nil
	}
	return a.InjectState(a.ctx, state, reason)
}

// sleep waits for a time to pass, and then as long as the agent is paused.
func (a *run) sleep(d time.Duration) error {
	var timer *clock.Timer
	over := d == 0
	if !over {
		timer = a.Work.NewTimer(d)
		defer timer.Stop()
	}
	for {
		if err := a.catchUp(); err != nil {
			return err
		}
		if over && !a.paused {
			break
		}
		if err := a.wait(timer); errors.Is(err, errTime) {
			over = true
		} else if err != nil {
			return err
		}
	}
	if a.state == "paused" { // a message woke it: nobody has told that it runs
		a.state = ""
		return a.tell("running", "")
	}
	return nil
}

var errTime = errors.New("time is over")

// wait waits for events and takes them, or for a time to come.
func (a *run) wait(timer *clock.Timer) error {
	over, err := a.Work.Wait(a.ctx, timer, a.events.Changed(), a.events.Pending)
	switch {
	case err != nil:
		return err
	case over:
		return errTime
	}
	return a.catchUp()
}

// catchUp takes what was stored meanwhile.
func (a *run) catchUp() (err error) {
	for {
		item, ok, failed := a.events.Next(a.ctx)
		switch damaged := new(store.DamagedEvent); {
		case errors.As(failed, &damaged): // whoever reads it for a client tells of it
		case failed != nil:
			return failed
		case !ok:
			return err
		case item.Notice != nil:
		case a.own[item.Event.ID]:
			delete(a.own, item.Event.ID)
		case event.Flags(item.Event.Flags)&event.IsStateChange != 0:
			err = errors.Join(err, a.takeState(item.Event.JSON))
		default:
			err = errors.Join(err, a.takeAction(item.Event))
		}
	}
}

// takeState takes a state: one that the user asked for by change_agent_state,
// which package conversation tells, or one of the agent's own. The last counts.
func (a *run) takeState(text []byte) error {
	var e struct {
		Extras struct {
			AgentState string `json:"agent_state"`
		}
	}
	_ = json.Unmarshal(text, &e) // what is no text asks for nothing
	a.state = e.Extras.AgentState
	switch a.state {
	case "paused":
		a.paused = true
	case "running":
		a.paused = false
	case "stopped":
		a.messages = nil
		return errGivenUp
	}
	return nil
}

// takeAction takes an action of the user's.
func (a *run) takeAction(e store.Event) error {
	v, ok := userAction(e)
	if !ok {
		return nil
	}
	switch v.Action {
	case "message":
		a.messages = append(a.messages, message{e.ID, v.Args.Content})
		a.date, _, _ = strings.Cut(v.Timestamp, "T")
		a.paused = false
	case "finish":
		return errors.Join(a.tell("finished", ""), errGivenUp)
	case "reject":
		return errors.Join(a.tell("rejected", ""), errGivenUp)
	}
	return nil
}

// A said is an action of the user's, as far as an agent looks at it.
type said struct {
	Timestamp, Source, Action string
	Args                      struct{ Content string }
}

// userAction reads an event, and tells whether it is an action of the user's.
func userAction(e store.Event) (v said, ok bool) {
	if event.Flags(e.Flags)&(event.IsAction|event.IsEnvironment) != event.IsAction {
		return v, false
	}
	ok = json.Unmarshal(e.JSON, &v) == nil && v.Source == "user"
	return v, ok
}

// title is made of the first words of a message.
func title(message string) string {
	const most = 50 // letters
	var t []rune
	for word := range strings.FieldsSeq(message) {
		if len(t)+len([]rune(word)) >= most && len(t) > 0 {
			return string(t) + "…"
		}
		if len(t) > 0 {
			t = append(t, ' ')
		}
		t = append(t, []rune(word)...)
	}
	if len(t) > most {
		return string(t[:most]) + "…"
	}
	return string(t)
}
