package conversation

import (
	"errors"
	"fmt"
	"time"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Replay is a list of events that a new conversation plays again, or why it
// cannot (recorded replay/*).
type Replay struct {
	// First is the user's first message; the zero Value when there is none.
	First pyjson.Value
	// Rest are the events after the first, without those of the environment.
	Rest []pyjson.Value
	// Err says why the list is not played, Class which exception upstream
	// names. When it is the first event's fault, the agent is there all the
	// same and plays Rest after a first message that the user sends.
	Err   error
	Class string
	// Lenient says in which ways 0.53.0 would have refused.
	Lenient []string

	noAgent bool
}

// fail is a replay that does not begin.
func (r *Replay) fail(class string, err error) *Replay {
	r.Class, r.Err = class, err
	return r
}

// SetReplay has the conversation play a JSON list of events, such as a
// trajectory from the user's first message on. A draft with a first message
// cannot play one. strict refuses the kinds that 0.53.0 does not know.
func (d *Draft) SetReplay(list string, strict bool) {
	if d.hasMessage() {
		d.Replay = (&Replay{noAgent: true}).fail("AssertionError", errors.New("the conversation has a first message of its own"))
		return
	}
	d.Replay = readReplay(list, strict)
}

func readReplay(list string, strict bool) *Replay {
	v, err := pyjson.Decode([]byte(list))
	if err == nil && v.Kind() != pyjson.Array {
		err = errors.New("want a list of events")
	}
	if err != nil {
		return (&Replay{noAgent: true}).fail("ValueError", err)
	}
	r := &Replay{}
	var events []pyjson.Value
	for i, item := range v.Items() {
		e, err := event.Normalise(body(item), event.Options{Timestamp: time.Unix(0, 0), Strict: strict})
		if err != nil {
			class := "ValueError"
			if _, isAction := item.Get("action"); isAction {
				class = "LLMMalformedActionError"
			}
			return (&Replay{noAgent: true}).fail(class, fmt.Errorf("event %d of the list: %w", i, err))
		}
		if e.Lenient != "" {
			r.Lenient = append(r.Lenient, e.Lenient)
		}
		if source, _ := item.Get("source"); source.Text() != "environment" {
			events = append(events, item)
		}
	}
	if len(events) == 0 {
		return r.fail("IndexError", errors.New("the list has no event of the user or the agent"))
	}
	r.Rest = events[1:]
	if action, _ := events[0].Get("action"); action.Text() != "message" {
		return r.fail("AssertionError", errors.New("the first event of the user or the agent is no message"))
	}
	r.First = events[0]
	return r
}

// body is what Normalise takes of a listed event, which gets another id.
func body(listed pyjson.Value) []byte {
	if listed.Kind() == pyjson.Object {
		listed = listed.Without("id")
	}
	return listed.Append(nil)
}
