package conversation

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// defaults are what the fields of an agent are that nobody has sent (recorded
// create_agent, create_agent_settings): "llm" of a model, "agent" of an agent
// that is sent as one, "settings" of one that is made of settings.
//
//go:embed defaults.json
var defaultsJSON []byte

var defaults = func() pyjson.Value {
	v, err := pyjson.Decode(defaultsJSON)
	if err != nil {
		panic(err) // it is embedded
	}
	return v
}()

// merge is an object with the members that were sent in the place of the
// default ones. What it does not have is left out.
func merge(base, sent pyjson.Value) pyjson.Value {
	members := make([]pyjson.Member, len(base.Members()))
	for i, m := range base.Members() {
		if v, ok := sent.Get(m.Key); ok {
			m.Value = v
		}
		members[i] = m
	}
	return pyjson.ObjectOf(members...)
}

// set is an object with another value of a member that it has.
func set(o pyjson.Value, key string, v pyjson.Value) pyjson.Value {
	return merge(o, pyjson.ObjectOf(pyjson.Member{Key: key, Value: v}))
}

// part is a member of the defaults.
func part(name string) pyjson.Value {
	v, _ := defaults.Get(name)
	return v
}

// llm is a model with its defaults. Its keys are not kept.
func llm(sent pyjson.Value) pyjson.Value {
	v := merge(part("llm"), sent)
	for _, key := range []string{"api_key", "aws_access_key_id", "aws_secret_access_key", "aws_session_token"} {
		if said, _ := v.Get(key); said.Text() != "" {
			v = set(v, key, pyjson.StringOf(shown))
		}
	}
	return v
}

// Policy is a confirmation policy with its defaults; none is NeverConfirm.
func Policy(sent json.RawMessage) json.RawMessage {
	v, err := pyjson.Decode(sent)
	kind, _ := v.Get("kind")
	switch {
	case err != nil || kind.Text() == "":
		return json.RawMessage(`{"kind":"NeverConfirm"}`)
	case kind.Text() != "ConfirmRisky":
		return pyjson.ObjectOf(pyjson.Member{Key: "kind", Value: kind}).Append(nil)
	}
	return merge(part("risky"), v).Append(nil)
}

// Sources are the secrets of a new conversation, without their values.
func Sources(request pyjson.Value) json.RawMessage {
	secrets, _ := request.Get("secrets")
	var b pyjson.Builder
	for _, m := range secrets.Members() {
		source := merge(part("secret"), m.Value)
		b.Set(m.Key, set(source, "value", pyjson.Value{}))
	}
	return b.Object().Append(nil)
}

// Hooks is a configuration of hooks, null when it has none.
func Hooks(sent json.RawMessage) json.RawMessage {
	v, err := pyjson.Decode(sent)
	if err == nil {
		for _, m := range v.Members() {
			if len(m.Value.Items()) > 0 {
				return sent
			}
		}
	}
	return json.RawMessage("null")
}

// ToolModules are the modules of an agent's tools: those that were sent, and of
// the tools that come with OpenHands.
func ToolModules(sent, agent json.RawMessage) json.RawMessage {
	var b pyjson.Builder
	if v, err := pyjson.Decode(sent); err == nil {
		for _, m := range v.Members() {
			b.Set(m.Key, m.Value)
		}
	}
	known := part("modules")
	v, _ := pyjson.Decode(agent) // it was made here
	tools, _ := v.Get("tools")
	for _, t := range tools.Items() {
		name, _ := t.Get("name")
		if module, ok := known.Get(name.Text()); ok {
			b.Set(name.Text(), module)
		}
	}
	return b.Object().Append(nil)
}

// Agent is the agent of a request, from what it sends of one.
func Agent(sent pyjson.Value, now time.Time) json.RawMessage {
	if kind, _ := sent.Get("kind"); kind.Text() != "" && kind.Text() != "Agent" {
		return sent.Append(nil)
	}
	v := merge(part("agent"), sent)
	model, _ := sent.Get("llm")
	v = set(v, "llm", llm(model))
	full := part("settings")
	if condenser, _ := v.Get("condenser"); condenser.Kind() == pyjson.Object {
		if model, ok := condenser.Get("llm"); ok {
			known, _ := full.Get("condenser")
			v = set(v, "condenser", set(merge(known, condenser), "llm", llm(model)))
		}
	}
	if sent, _ := v.Get("agent_context"); sent.Kind() == pyjson.Object {
		known, _ := full.Get("agent_context")
		known = merge(known, sent)
		if at, _ := known.Get("current_datetime"); at.IsNull() {
			known = set(known, "current_datetime", pyjson.StringOf(now.UTC().Format(utc)))
		}
		v = set(v, "agent_context", known)
	}
	return withParams(v).Append(nil)
}

// AgentOfSettings is the agent that settings make.
func AgentOfSettings(sent pyjson.Value, now time.Time) json.RawMessage {
	v := part("settings")
	model, _ := sent.Get("llm")
	model = llm(model)
	v = set(v, "llm", model)
	condenser, _ := v.Get("condenser")
	v = set(v, "condenser", set(condenser, "llm", set(model, "usage_id", pyjson.StringOf("condenser"))))
	known, _ := v.Get("agent_context")
	if said, _ := sent.Get("agent_context"); said.Kind() == pyjson.Object {
		known = merge(known, said)
	}
	v = set(v, "agent_context", set(known, "current_datetime", pyjson.StringOf(now.UTC().Format(utc))))
	if tools, _ := sent.Get("tools"); tools.Kind() == pyjson.Array {
		v = set(v, "tools", tools)
	}
	return withParams(v).Append(nil)
}

// withParams gives each tool of an agent its parameters.
func withParams(agent pyjson.Value) pyjson.Value {
	tools, _ := agent.Get("tools")
	all := make([]pyjson.Value, len(tools.Items()))
	for i, t := range tools.Items() {
		all[i] = merge(part("tool"), t)
	}
	return set(agent, "tools", pyjson.ArrayOf(all...))
}

// A tool is what the system prompt says of one.
type tool struct {
	Description string          `json:"description"`
	Action      string          `json:"action_type"`
	Observation string          `json:"observation_type"`
	Annotations json.RawMessage `json:"annotations"`
	Kind        string          `json:"kind"`
	Title       string          `json:"title"`
}

// toolNames are the tools that a script may call, by the name that an agent has
// them under: class, and hints whether it reads only, destroys, is idempotent,
// reaches out (recorded run_text_full).
var toolNames = map[string]struct {
	title, class string
	titled       bool // in the annotations too
	hints        [4]bool
}{
	"terminal":      {"terminal", "Terminal", true, [4]bool{false, true, false, true}},
	"file_editor":   {"file_editor", "FileEditor", true, [4]bool{false, true, false, false}},
	"task_tracker":  {"task_tracker", "TaskTracker", false, [4]bool{false, false, true, false}},
	"FinishTool":    {"finish", "Finish", true, [4]bool{true, false, true, false}},
	"ThinkTool":     {"think", "Think", false, [4]bool{true, false, true, false}},
	"SwitchLLMTool": {"switch_llm", "SwitchLLM", false, [4]bool{false, false, false, false}},
}

// systemPrompt is what an agent is told first. The texts are our own.
func systemPrompt(agent json.RawMessage) any {
	var has struct {
		Tools   []struct{ Name string }
		Default []string `json:"include_default_tools"`
	}
	_ = json.Unmarshal(agent, &has) // it was validated
	names := make([]string, 0, len(has.Tools)+len(has.Default))
	for _, t := range has.Tools {
		names = append(names, t.Name)
	}
	tools := []tool{}
	for _, name := range append(names, has.Default...) {
		t, ok := toolNames[name]
		if !ok {
			continue
		}
		hints := fmt.Sprintf(`"readOnlyHint":%t,"destructiveHint":%t,"idempotentHint":%t,"openWorldHint":%t}`, t.hints[0], t.hints[1], t.hints[2], t.hints[3])
		if t.titled {
			hints = fmt.Sprintf(`"title":%q,`, t.title) + hints
		}
		tools = append(tools, tool{
			Description: "The tool " + t.title + ": a script may say that it was called, and nothing is done.",
			Action:      t.class + "Action", Observation: t.class + "Observation", Annotations: json.RawMessage("{" + hints), Kind: t.class + "Tool", Title: t.title,
		})
	}
	return struct {
		SystemPrompt Content `json:"system_prompt"`
		Tools        []tool  `json:"tools"`
		Dynamic      Content `json:"dynamic_context"`
	}{Text("You are a simulated agent of openhands-local: no language model is asked, no tool does anything, and every answer is made on this machine.")[0], tools, Text("There is nothing to know of this machine.")[0]}
}
