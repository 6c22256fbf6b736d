package faults

import (
	"encoding/json"
	"slices"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Preset is a rule by name, for what OpenHands is known to do.
type Preset struct {
	Name string `json:"name"`
	What string `json:"what"` // in a sentence
	// Cites is the recorded case or the public report that has it.
	Cites string `json:"cites"`
	Rule  Rule   `json:"rule"`
}

// rule is the rule that the preset stands for.
func (p Preset) rule() Rule {
	r := p.Rule
	r.Preset = p.Name
	return r
}

func presetNames() (names []string) {
	for _, p := range Presets {
		names = append(names, p.Name)
	}
	return names
}

// presetNamed is the zero Preset when there is none.
func presetNamed(name string) Preset {
	i := slices.IndexFunc(Presets, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		return Preset{}
	}
	return Presets[i]
}

// mustValueOf is the value of a rule of ours.
func mustValueOf(r Rule) pyjson.Value {
	v, err := valueOf(r)
	if err != nil {
		panic(err)
	}
	return v
}

const plainText = "text/plain; charset=utf-8"

// Presets are all of them. One that has Times or Nth happens so often; a rule
// that names it may say another number, and match less.
var Presets = []Preset{
	{
		Name: "rate-limit", What: "a request comes too soon: 429 with Retry-After",
		Cites: "recorded ratelimit_429_shape",
		Rule:  Rule{Do: Do{Status: 429, Headers: map[string]string{"Retry-After": "1"}, Body: map[string]string{"message": "Too many requests"}}},
	},
	{
		Name: "bad-event", What: "an event that is none is answered 500 in the place of 422",
		Cites: "recorded add_event_bad_kinds",
		Rule: Rule{
			Match: Match{Operation: "AddEvent", Status: 422},
			Do:    Do{Status: 500, Headers: map[string]string{"Content-Type": plainText}, Body: "Internal Server Error"},
		},
	},
	{
		Name: "stays-starting", What: "the runtime of a conversation never comes up",
		Cites: "recorded get_while_starting; https://github.com/OpenHands/OpenHands/issues/8777",
		Rule: Rule{
			Match: Match{Operation: "GetConversation", Status: 200},
			Do:    Do{Set: map[string]any{"/status": "STARTING", "/runtime_status": nil}},
		},
	},
	{
		Name: "maintenance", What: "a page of HTML comes in the place of JSON",
		Cites: "https://github.com/OpenHands/OpenHands-Cloud/issues/140",
		Rule: Rule{Do: Do{
			Status: 500, Headers: map[string]string{"Content-Type": "text/html; charset=utf-8"},
			Body: "<!DOCTYPE html>\n<html><head><title>System Maintenance</title></head><body><h1>System Maintenance</h1></body></html>\n",
		}},
	},
	{
		Name: "broken-trajectory", What: "a trajectory that cannot be encoded is 500",
		Cites: "recorded add_event_poison_float; https://github.com/OpenHands/OpenHands-Cloud/issues/134",
		Rule: Rule{
			Match: Match{Operation: "GetTrajectory"},
			Do:    Do{Status: 500, Body: json.RawMessage(`{"trajectory":null,"error":"Error getting trajectory: Out of range float values are not JSON compliant: inf"}`)},
		},
	},
	{
		Name: "lost-in-replay", What: "the connection of a socket is lost at the second event",
		Cites: "https://github.com/OpenHands/OpenHands/pull/5789",
		Rule:  Rule{Match: Match{Method: "oh_event", Nth: 2}, Do: Do{Socket: Cut}},
	},
	{
		Name: "restart-mid-run", What: "the server begins anew while an agent runs: connections are lost, conversations are stopped",
		Cites: "recorded resume_not_running; https://github.com/OpenHands/OpenHands/pull/6829",
		Rule: Rule{
			Match: Match{Method: "oh_event", Body: map[string]any{"/extras/agent_state": "running"}},
			Do:    Do{Socket: Restart},
			Times: 1,
		},
	},
}
