// Package agent has simulated agents: they answer the messages of a
// conversation as an agent would, so that a client can be built without a
// language model.
//
// A [Script] says what is answered to what; [Echo] repeats the message, [Load]
// reads one from a file (its format is told there; scripts/ has examples). A
// [Runner] plays it in every conversation that has an agent and runs. It
// follows the conversation's events in the store and writes its own through
// package conversation, as everyone else does.
//
// An answer is (recorded action_good_message):
//
//	agent_state_changed running
//	…                                        the steps of the first rule that matches
//	agent_state_changed awaiting_user_input  or finished, rejected, error
//
// The user's change_agent_state is respected: paused halts an answer before
// its next step until running is asked for, stopped gives it up. A message to
// an agent that is paused or stopped wakes it (recorded
// action_change_state_paused, action_change_state_stopped). A finish or reject
// of the user's gives up the answer too.
//
// Only messages that come after a run's first event are answered, so nothing is
// answered twice after a restart.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/store"
)

// A Config says what a Runner works with. All fields are required.
type Config struct {
	Conversations *conversation.Service
	Store         store.Store // the one of Conversations
	Script        *Script
	Log           *slog.Logger
}

// A Runner plays a script in every conversation. Make one with [New].
type Runner struct {
	c      Config
	unhear func()

	mu     sync.Mutex
	closed bool
	runs   map[string]*run
}

// New returns a Runner that follows all conversations whose run begins from
// now on. It needs a Close.
func New(c Config) *Runner {
	r := &Runner{c: c, runs: map[string]*run{}}
	r.unhear = c.Conversations.Listen(r.hear)
	return r
}

// Close ends all work, and waits for it. It comes before the store is closed.
func (r *Runner) Close() {
	r.unhear()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, a := range r.runs {
		a.end()
	}
	clear(r.runs)
}

// hear begins and ends runs. What an agent writes, it writes before the end of
// its run is heard.
func (r *Runner) hear(n conversation.Notice) {
	if n.Kind != conversation.Began && n.Kind != conversation.Ended {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.runs[n.Conversation]; a != nil {
		a.end()
		delete(r.runs, n.Conversation)
	}
	if n.Kind == conversation.Began && !r.closed {
		r.runs[n.Conversation] = r.begin(n.Conversation, n.After)
	}
}

// A run is an agent at work in one conversation. Its fields are its
// goroutine's.
type run struct {
	*Runner
	id     string
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	changed  <-chan struct{} // of the store
	read     int64           // the last event that was read
	messages []string        // to be answered
	state    string          // the last that was read since the answer began
	paused   bool
}

func (r *Runner) begin(id string, after int64) *run {
	a := &run{Runner: r, id: id, read: after, done: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	var unwatch func()
	a.changed, unwatch = r.c.Store.Watch(id)
	go func() {
		defer close(a.done)
		defer unwatch()
		err := a.serve()
		if a.ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrClosed) {
			r.c.Log.Error("agent: ended", "conversation", id, "error", err.Error())
		}
	}()
	return a
}

func (a *run) end() {
	a.cancel()
	<-a.done
}

// errGivenUp: the user does not want the rest of the answer.
var errGivenUp = errors.New("answer given up")

// serve answers messages until the run ends; its error is never nil.
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
		message := a.messages[0]
		a.messages = a.messages[1:]
		if err := a.answer(message); err != nil && !errors.Is(err, errGivenUp) {
			return err
		}
		a.state = ""
	}
}

// answer answers a message, and names the conversation by it.
func (a *run) answer(message string) error {
	if a.state != "running" {
		if err := a.tell("running", ""); err != nil {
			return err
		}
	}
	a.state = ""
	state, err := a.play(a.c.Script.match(message))
	if err != nil {
		return err
	}
	if err := a.tell(state, ""); err != nil || state == "" {
		return err
	}
	if t := title(message); t != "" {
		return a.c.Conversations.SetTitle(a.ctx, a.id, t)
	}
	return nil
}

// play takes steps, and returns the state that the agent is in after them, ""
// when a step has told it already.
func (a *run) play(steps []Step) (state string, err error) {
	state = "awaiting_user_input"
	cause := int64(-1) // the last action
	for _, s := range steps {
		if err := a.sleep(s.Wait); err != nil {
			return "", err
		}
		switch {
		case s.Confirm != nil:
			confirmed, err := a.confirm()
			if err != nil {
				return "", err
			}
			if !confirmed {
				return a.play(s.Confirm.Rejected)
			}
		case s.Fail != "":
			a.c.Conversations.TellStatus(a.id, conversation.StatusUpdate{Type: "error", ID: "STATUS$ERROR", Message: s.Fail})
			return "", a.tell("error", s.Fail) // recorded llm_failure
		default:
			id, err := a.c.Conversations.Inject(a.ctx, a.id, s.source(), s.body(cause))
			if err != nil {
				return "", err
			}
			switch s.Event["action"] {
			case nil:
			case "finish":
				return "finished", nil
			case "reject":
				return "rejected", nil
			default:
				cause = id
			}
		}
	}
	return state, nil
}

// confirm asks the user, and tells whether the answer was yes.
func (a *run) confirm() (confirmed bool, err error) {
	a.state = ""
	if err := a.tell("awaiting_user_confirmation", ""); err != nil {
		return false, err
	}
	for a.state != "user_confirmed" && a.state != "user_rejected" {
		if err := a.wait(nil); err != nil {
			return false, err
		}
	}
	confirmed = a.state == "user_confirmed"
	if confirmed {
		err = a.tell("running", "")
	}
	return confirmed, err
}

// tell tells the agent's state; "" tells nothing.
func (a *run) tell(state, reason string) error {
	if state == "" {
		return nil
	}
	_, err := a.c.Conversations.InjectState(a.ctx, a.id, state, reason)
	return err
}

// sleep waits for a time to pass, and then as long as the agent is paused.
func (a *run) sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	over := d == 0
	for {
		if err := a.catchUp(); err != nil {
			return err
		}
		if over && !a.paused {
			break
		}
		if err := a.wait(timer.C); errors.Is(err, errTime) {
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
func (a *run) wait(over <-chan time.Time) error {
	select {
	case <-a.ctx.Done():
		return a.ctx.Err()
	case <-over:
		return errTime
	case <-a.changed:
		return a.catchUp()
	}
}

// catchUp takes what was stored meanwhile.
func (a *run) catchUp() (err error) {
	for e, scan := range store.Scan(a.ctx, a.c.Store, a.id, store.Range{From: a.read + 1, To: store.MaxID}) {
		if damaged := new(store.DamagedEvent); errors.As(scan, &damaged) {
			a.read = damaged.ID // whoever reads it for a client tells of it
			continue
		}
		if scan != nil {
			return scan
		}
		a.read = e.ID
		switch f := event.Flags(e.Flags); {
		case f&event.IsStateChange != 0:
			err = errors.Join(err, a.takeState(e.JSON))
		case f&(event.IsAction|event.IsEnvironment) == event.IsAction:
			err = errors.Join(err, a.takeAction(e.JSON))
		}
	}
	return err
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
func (a *run) takeAction(text []byte) error {
	var e struct {
		Source, Action string
		Args           struct{ Content string }
	}
	if json.Unmarshal(text, &e) != nil || e.Source != "user" {
		return nil
	}
	switch e.Action {
	case "message":
		a.messages = append(a.messages, e.Args.Content)
		a.paused = false
	case "finish":
		return errors.Join(a.tell("finished", ""), errGivenUp)
	case "reject":
		return errors.Join(a.tell("rejected", ""), errGivenUp)
	}
	return nil
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
