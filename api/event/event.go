// Package event is the event model of OpenHands 0.53.0: what a posted JSON
// body becomes, how it is served, exported, sent and searched.
//
// [Normalise] makes the event of a body, or says what is wrong with it and
// where. Its JSON is what is stored, nearly always what is served, too: a
// reader puts the id in front ([AppendServed]). What a reader must know
// without parsing it is in [Flags].
//
// The kinds are tables (kinds.go): a field's name, whether it is required,
// its default, the message. A later version's kind is one more line.
//
// Everything here is pure: time and secrets are handed in.
package event

import (
	"strconv"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// Options say how a body is taken.
type Options struct {
	// Timestamp of the event; its local time is written.
	Timestamp time.Time
	// Source is what the event's source is whatever the body says: user,
	// agent or environment.
	Source string
	// Strict refuses the kinds that 0.53.0 does not know.
	Strict bool
	// Secrets are replaced wherever they occur, in order.
	Secrets []Secret
}

// Flags tell of an event what a reader must know without parsing it.
type Flags uint16

// The flags.
const (
	IsHidden       Flags = 1 << iota // left out of trajectories and where exclude_hidden is asked
	ServedDiffers                    // has keys that begin with _sa, which are served to nobody
	ExportDiffers                    // has keys that trajectories leave out
	IsNull                           // a null action or observation: never sent
	IsRecallAction                   // sent live, not replayed
	IsStateChange                    // agent_state_changed: of a replay only the last is sent, at the end
	IsEnvironment                    // of source environment
	IsLiveEnv                        // … and sent live all the same, as if of the agent
	IsAction                         // an action, not an observation
)

// An Event is a normalised event.
type Event struct {
	// JSON is the event as one compact object, without its id.
	JSON  []byte
	Flags Flags
	// Kind is the name of its action or observation.
	Kind string
	// Lenient says why 0.53.0 would have refused it; empty when it would not.
	Lenient string

	state string
}

// AgentState is the state that a change_agent_state action asks for.
func (e Event) AgentState() (state string, ok bool) {
	return e.state, e.Kind == "change_agent_state" && e.Flags&IsAction != 0 && e.state != ""
}

// timeLayout is Python's isoformat of a naive local time; a fraction of 0 is
// left out.
const timeLayout = "2006-01-02T15:04:05.000000"

func formatTime(t time.Time) string {
	return strings.TrimSuffix(t.Local().Truncate(time.Microsecond).Format(timeLayout), ".000000")
}

// Time is the timestamp of a stored event, in a zone.
func Time(stored []byte, zone *time.Location) (time.Time, bool) {
	const prefix = `{"timestamp":"`
	text, ok := strings.CutPrefix(string(stored[:min(len(stored), 64)]), prefix)
	if !ok {
		return time.Time{}, false
	}
	text, _, _ = strings.Cut(text, `"`)
	t, err := time.ParseInLocation("2006-01-02T15:04:05", text, zone)
	return t, err == nil
}

// AppendServed appends a stored event as GET /events serves it.
func AppendServed(b []byte, id int64, stored []byte, f Flags) []byte {
	if f&ServedDiffers != 0 {
		if v, err := pyjson.Decode(stored); err == nil {
			stored = withoutKeys(v, func(key string) bool { return strings.HasPrefix(key, "_sa") }).Append(nil)
		}
	}
	return appendWithID(b, id, stored)
}

func appendWithID(b []byte, id int64, stored []byte) []byte {
	b = append(b, `{"id":`...)
	b = strconv.AppendInt(b, id, 10)
	b = append(b, ',')
	return append(b, stored[1:]...)
}

// unexported are the keys that a trajectory leaves out of an observation's
// extras, at any depth.
var unexported = map[string]bool{
	"dom_object": true, "axtree_object": true, "active_page_index": true, "last_browser_action": true,
	"last_browser_action_error": true, "focused_element_bid": true, "extra_element_properties": true,
	"screenshot": true, "set_of_marks": true,
}

// AppendTrajectory appends a stored event as a trajectory has it.
func AppendTrajectory(b []byte, id int64, stored []byte, f Flags) []byte {
	if f&ExportDiffers != 0 {
		if v, err := pyjson.Decode(stored); err == nil {
			stored = mapMembers(v, func(m pyjson.Member) pyjson.Member {
				if m.Key == "extras" {
					m.Value = withoutKeys(m.Value, func(key string) bool { return unexported[key] })
				}
				return m
			}).Append(nil)
		}
	}
	return appendWithID(b, id, stored)
}

func mapMembers(v pyjson.Value, change func(pyjson.Member) pyjson.Member) pyjson.Value {
	members := make([]pyjson.Member, len(v.Members()))
	for i, m := range v.Members() {
		members[i] = change(m)
	}
	return pyjson.ObjectOf(members...)
}

// withoutKeys leaves the keys out at any depth.
func withoutKeys(v pyjson.Value, drop func(string) bool) pyjson.Value {
	switch v.Kind() {
	case pyjson.Object:
		kept := make([]pyjson.Member, 0, len(v.Members()))
		for _, m := range v.Members() {
			if !drop(m.Key) {
				kept = append(kept, pyjson.Member{Key: m.Key, Value: withoutKeys(m.Value, drop)})
			}
		}
		return pyjson.ObjectOf(kept...)
	case pyjson.Array:
		items := make([]pyjson.Value, len(v.Items()))
		for i, x := range v.Items() {
			items[i] = withoutKeys(x, drop)
		}
		return pyjson.ArrayOf(items...)
	}
	return v
}

// hasKey tells whether a key is anywhere in a value.
func hasKey(v pyjson.Value, is func(string) bool) bool {
	for _, m := range v.Members() {
		if is(m.Key) || hasKey(m.Value, is) {
			return true
		}
	}
	for _, x := range v.Items() {
		if hasKey(x, is) {
			return true
		}
	}
	return false
}

// Message returns the body of a user's message.
func Message(content string, images []string) ([]byte, error) {
	urls := make([]pyjson.Value, len(images))
	for i, u := range images {
		urls[i] = pyjson.StringOf(u)
	}
	args := pyjson.ObjectOf(
		pyjson.Member{Key: "content", Value: pyjson.StringOf(content)},
		pyjson.Member{Key: "image_urls", Value: pyjson.ArrayOf(urls...)})
	return pyjson.ObjectOf(
		pyjson.Member{Key: "action", Value: pyjson.StringOf("message")},
		pyjson.Member{Key: "args", Value: args}).Append(nil), nil
}
