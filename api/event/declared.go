package event

import "github.com/openhands-local/openhands-local/api/pyjson"

// What the tables say of the kinds, for the contract that is served: nothing of
// it is checked when an event is posted, but for the names.

// A Kind is an action or an observation that 0.53.0 knows.
type Kind struct {
	Name   string
	Action bool    // an action, whose fields are args; else an observation with extras
	Fields []Field // in the order in which they are written
}

// A Field is one of a kind or a model.
type Field struct {
	Name string
	// Type is upstream's, in its words: str, int, float, bool, Any, list[T],
	// dict[str, T], the name of a [Model], and either of these with " | None".
	Type string
	// Required: a posted event is refused without it.
	Required bool
	// Default is the JSON of what it is when it is left out; "" when it then
	// stays away.
	Default string
	// Always: a stored event has it wherever it is served, sent or exported.
	Always bool
}

// Kinds returns the known kinds, actions first.
func Kinds() (all []Kind) {
	for _, k := range actionKinds {
		all = append(all, k.declared(true))
	}
	for _, k := range observationKinds {
		all = append(all, k.declared(false))
	}
	return all
}

func (k kind) declared(action bool) Kind {
	d := Kind{Name: k.name, Action: action}
	for _, f := range k.fields {
		field := Field{Name: f.name, Type: f.typ, Required: f.required, Always: !f.omitNull && (action || !unexported[f.name])}
		if !f.required && !f.omitNull {
			field.Default = string(f.def.Append(nil))
		}
		d.Fields = append(d.Fields, field)
	}
	return d
}

// A Model is what a field of that type is made of. Every field is always there.
type Model struct {
	Name   string
	Fields []Field
}

// Models returns the models of the kinds' fields, and of the members
// tool_call_metadata and llm_metrics of every known kind (ToolCallMetadata,
// Metrics).
func Models() []Model {
	var microagent []Field
	for _, name := range knowledge {
		microagent = append(microagent, Field{Name: name, Type: "str", Always: true})
	}
	return []Model{
		{"CmdOutputMetadata", declared(commandMetadata)},
		{"MicroagentKnowledge", microagent},
		{"ToolCallMetadata", declared(toolCall)},
		{"TokenUsage", declared(tokenUsage)},
		{"Cost", declared(callCost)},
		{"ResponseLatency", declared(responseLatency)},
		{"Metrics", []Field{ // see llmMetrics
			{Name: "accumulated_cost", Type: "float", Always: true},
			{Name: "max_budget_per_task", Type: "float | None", Always: true},
			{Name: "accumulated_token_usage", Type: "TokenUsage", Always: true},
			{Name: "costs", Type: "list[Cost]", Always: true},
			{Name: "response_latencies", Type: "list[ResponseLatency]", Always: true},
			{Name: "token_usages", Type: "list[TokenUsage]", Always: true},
		}},
	}
}

func declared(fields []modelField) (all []Field) {
	for _, f := range fields {
		all = append(all, Field{Name: f.name, Type: f.typ(), Always: true})
	}
	return all
}

// typ is the type of a field as its reader shows it: by what it takes.
func (f modelField) typ() string {
	takes := func(v pyjson.Value) bool {
		d := &decoding{}
		f.read(d, v, nil)
		return len(d.errs) == 0
	}
	typ := "dict[str, Any]"
	switch {
	case takes(pyjson.StringOf("text")):
		typ = "str"
	case takes(pyjson.FloatOf(1.5)):
		typ = "float"
	case takes(zero):
		typ = "int"
	}
	if takes(null) {
		typ += " | None"
	}
	return typ
}
