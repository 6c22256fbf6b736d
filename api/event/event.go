// Package event is the event model of OpenHands 0.53.0: what a posted JSON
// body becomes, how it is served, exported, sent and searched.
//
// [Normalise] makes the event of a body, or says what is wrong with it and
// where. Its JSON is what is stored and, with the id put in front, nearly
// always what is served ([AppendServed]), exported ([AppendTrajectory]) and
// sent ([AppendLive], [Replay]). What these must know without parsing it is in
// [Flags]; [FlagsOf] tells the same of an event that was stored elsewhere. A
// [Filter] selects events.
//
// The kinds are tables (kinds.go): a field's name, its type, whether it is
// required, its default, the message. A later version's kind is one more line.
// [Kinds] and [Models] tell of them, for the schemas of the contract.
//
// Everything here is pure: time and secrets are handed in.
package event

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// Version is that of OpenHands whose events these are, and whose recorded
// answers this program gives.
const Version = "0.53.0"

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
	ServedDiffers                    // may have keys that begin with _sa, which GET /events leaves out
	ExportDiffers                    // may have keys that trajectories leave out
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
	// HasImages: it is a message with images, which 0.53.0 asks a model with
	// vision for.
	HasImages bool

	state string // that a change_agent_state action asks for
}

// AgentState is the state that a change_agent_state action asks for.
func (e Event) AgentState() (state string, ok bool) {
	return e.state, e.state != ""
}

// timeLayout is Python's isoformat of a naive local time; a fraction of 0 is
// left out.
const timeLayout = "2006-01-02T15:04:05.000000"

// appendTime appends a time as upstream writes it.
func appendTime(b []byte, t time.Time) []byte {
	return bytes.TrimSuffix(t.Local().AppendFormat(b, timeLayout), []byte(".000000"))
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

// appendWithID appends a stored event with its id as the first member.
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
			var exported pyjson.Builder
			for _, m := range v.Members() {
				if m.Key == "extras" {
					m.Value = withoutKeys(m.Value, func(key string) bool { return unexported[key] })
				}
				exported.Set(m.Key, m.Value)
			}
			stored = exported.Object().Append(nil)
		}
	}
	return appendWithID(b, id, stored)
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

// FlagsOf returns the flags of a stored event, such as one that was not made
// here; of what is no event it returns none. The event is written as
// [pyjson.Value.Append] does.
func FlagsOf(stored []byte) Flags {
	v, err := pyjson.Decode(stored)
	if err != nil {
		return 0
	}
	return flagsIn(stored, v)
}

// flagsIn is FlagsOf of an event that is decoded.
func flagsIn(stored []byte, v pyjson.Value) Flags {
	s := observationSide
	name, ok := v.Get("action")
	if ok {
		s = actionSide
	} else if name, ok = v.Get("observation"); !ok {
		return 0
	}
	source, _ := v.Get("source")
	fields, _ := v.Get(s.fields)
	hidden, _ := fields.Get("hidden")
	return flagsOf(stored, source.Text(), s.member, name.Text(), hidden)
}

// flagsOf makes the flags of an event. Whether it has a key that is served or
// exported differently is told by its text: where that is mistaken, the event
// is read once more for nothing.
func flagsOf(stored []byte, source, member, name string, hidden pyjson.Value) (f Flags) {
	if bytes.Contains(stored, []byte(`"_sa`)) {
		f |= ServedDiffers
	}
	if name == "null" {
		f |= IsNull
	}
	if name == "run" && hidden.Truthy() {
		f |= IsHidden
	}
	if source == "environment" {
		f |= IsEnvironment
	}
	if member == "action" {
		if name == "recall" {
			f |= IsRecallAction
		}
		return f | IsAction
	}
	for key := range unexported {
		if bytes.Contains(stored, []byte(`"`+key+`":`)) {
			f |= ExportDiffers
		}
	}
	if name == "agent_state_changed" {
		f |= IsStateChange
	}
	if source == "environment" && slices.Contains([]string{"run", "agent_state_changed", "recall", "error"}, name) {
		f |= IsLiveEnv
	}
	return f
}

// Message returns the body of a message with the URLs of its images.
func Message(content string, images []string) []byte {
	urls := make([]pyjson.Value, len(images))
	for i, u := range images {
		urls[i] = pyjson.StringOf(u)
	}
	args := pyjson.ObjectOf(
		pyjson.Member{Key: "content", Value: pyjson.StringOf(content)},
		pyjson.Member{Key: "image_urls", Value: pyjson.ArrayOf(urls...)})
	return pyjson.ObjectOf(
		pyjson.Member{Key: "action", Value: pyjson.StringOf("message")},
		pyjson.Member{Key: "args", Value: args}).Append(nil)
}
