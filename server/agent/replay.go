package agent

import (
	"slices"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// replaySteps are the steps that play a list of events again (recorded
// replay/*). Only its actions are played, with new ids and times and without
// what they cost; no message but the last event's waits for the user. No
// command is run here: what an action led to is what the list says.
func replaySteps(events []pyjson.Value) []Step {
	var steps []Step
	for i, e := range events {
		s := Step{Event: e}
		if s.action() == "" {
			continue // it follows its action
		}
		s.Event = again(e, "llm_metrics", freeOfCharge)
		if s.action() == "message" && i < len(events)-1 {
			args, _ := e.Get("args")
			s.Event = again(s.Event, "args", again(args, "wait_for_response", pyjson.BoolOf(false)))
		}
		steps = append(steps, Step{Event: s.Event.Without(given...)})
		if o, ok := observed(events, i); ok {
			steps = append(steps, Step{Event: o.Without(given...)})
		} else if slices.Contains(executed, s.action()) {
			steps = append(steps, Step{Event: notExecuted})
		}
	}
	return steps
}

// given are the members of an event that it gets when it is stored.
var given = []string{"id", "timestamp", "message", "cause"}

// again is an object with another value of a member.
func again(o pyjson.Value, key string, v pyjson.Value) pyjson.Value {
	var b pyjson.Builder
	for _, m := range o.Members() {
		b.Set(m.Key, m.Value)
	}
	b.Set(key, v)
	return b.Object()
}

// observed is the observation of an action: the one with its id as the cause;
// in a list without ids or causes, the one that is next.
func observed(events []pyjson.Value, action int) (pyjson.Value, bool) {
	id, hasID := events[action].Get("id")
	next := true // no other action came between
	for _, e := range events[action+1:] {
		if _, is := e.Get("action"); is {
			next = false
			continue
		}
		cause, hasCause := e.Get("cause")
		if hasID && hasCause && cause.Text() == id.Text() || (!hasID || !hasCause) && next {
			return e, true
		}
	}
	return pyjson.Value{}, false
}

// executed are the actions that upstream's runtime observes something of.
var executed = []string{"run", "run_ipython", "read", "write", "edit", "browse", "browse_interactive", "call_tool_mcp", "think"}

var notExecuted = object("observation", pyjson.StringOf("error"),
	"content", pyjson.StringOf("This server executes nothing, and the replayed list has no observation of this action."),
	"extras", object("error_id", pyjson.StringOf("")))

// freeOfCharge are the metrics of a replayed action: all of them 0.
var freeOfCharge = pyjson.ObjectOf()
