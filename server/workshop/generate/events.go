package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/contract/document/node"
	"github.com/openhands-local/openhands-local/api/event"
)

// The overlay has one schema of all events that are served and one of all that
// are posted, each marked by x-events. Here they become unions of one schema a
// kind, made of the tables of package event, and one of what those do not
// cover. This is what is served:
//
//	Event = NullAction | RunAction | … | OtherAction | NullObservation | … | OtherObservation
//
//	EventBase                          what every event has
//	  ActionBase                       and every action; its discriminator
//	    RunAction, with KnownAction    a kind; args: RunActionArgs
//	    OtherAction                    another kind, or fields of other types
//	  ObservationBase …                likewise
//
// It has this form for what generators make of it (.ci/interop/typed.py). A kind
// is a const, so that a program can switch on it. The discriminator is the
// base's: one in the union would leave Python's OtherAction no kind but known
// ones, and without any TypeScript would take OtherAction for possible in each
// case. The fields of a kind have a schema for the sake of its name.
//
// Only what holds for all of them is loaded at run time (package contract).
const eventsMark = "x-events"

// unionOfEvents tells a schema that becomes a union.
func unionOfEvents(schema *yaml.Node) bool { return node.Field(schema, eventsMark) != nil }

// A side is what tells actions and observations apart.
type side struct {
	action          bool
	member, fields  string   // those of the kind, and of its fields
	word, fieldWord string   // for them in the names of schemas
	own             []string // further members that the other side does not have
	always          []string // members of every known kind
}

var sides = []side{
	{true, "action", "args", "Action", "Args", []string{"timeout"}, []string{"message"}},
	{false, "observation", "extras", "Observation", "Extras", []string{"content", "success"}, []string{"message", "content"}},
}

// memberTypes are the types of members of the known kinds.
var memberTypes = []event.Field{
	{Name: "message", Type: "str"}, {Name: "cause", Type: "int"}, {Name: "tool_call_metadata", Type: "ToolCallMetadata"}, {Name: "llm_metrics", Type: "Metrics"},
	{Name: "timeout", Type: "float"}, {Name: "content", Type: "str"}, {Name: "success", Type: "bool"},
}

// shared are the members that both sides have, beside what every event has.
var shared = []string{"message", "cause", "tool_call_metadata", "llm_metrics"}

// A writer adds schemas to a document.
type writer struct {
	schemas *yaml.Node
	taken   map[string]bool // names that the document had before
	err     error
}

// writeEvents makes the unions of events.
func writeEvents(doc *document.Document) error {
	w := &writer{schemas: node.At(doc.Root(), "components", "schemas"), taken: map[string]bool{}}
	before := node.Clone(w.schemas)
	for name := range node.Pairs(before) {
		w.taken[name] = true
	}
	for name, schema := range node.Pairs(before) {
		switch mark := node.Text(node.Field(schema, eventsMark)); {
		case !unionOfEvents(schema):
		case mark == "served":
			w.served(name, schema)
		case mark == "posted":
			w.posted(name, schema)
		default:
			return fmt.Errorf("%s: %s is %q, want served or posted", name, eventsMark, mark)
		}
	}
	return w.err
}

// member is one of a JSON object that keeps its order.
type member struct {
	key   string
	value any
}

type members []member

func (m members) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, one := range m {
		text, err := json.Marshal(one.value)
		if err != nil {
			return nil, err
		}
		b = append(b, ","[:min(i, 1)]...)
		b = fmt.Appendf(b, "%q:%s", one.key, text)
	}
	return append(b, '}'), nil
}

// named is the name that a schema has here: its own, unless the document has
// another of that name.
func (w *writer) named(name string) string {
	if !w.taken[name] {
		return name
	}
	return document.Numbered(name, func(one string) bool { return w.taken[one] })
}

// add adds a schema.
func (w *writer) add(name string, schema members) { w.set(w.named(name), schema) }

// addForReaders adds a schema that is not loaded.
func (w *writer) addForReaders(name string, schema members) {
	w.add(name, append(slices.Clone(schema), member{"x-not-validated", true}))
}

func (w *writer) set(name string, schema members) {
	text, err := json.Marshal(schema)
	var n yaml.Node
	if err == nil {
		err = yaml.Unmarshal(text, &n)
	}
	if err != nil {
		w.err = cmp.Or(w.err, err)
		return
	}
	node.Remove(w.schemas, name)
	node.Insert(w.schemas, "", name, n.Content[0])
}

// said are the properties of those names as the overlay has them.
func said(schema *yaml.Node, names ...string) (properties members) {
	for name, n := range node.Pairs(node.Field(schema, "properties")) {
		if slices.Contains(names, name) {
			var v any
			if n.Decode(&v) == nil {
				properties = append(properties, member{name, v})
			}
		}
	}
	return properties
}

// described is a schema with the overlay's description of a property.
func described(schema *yaml.Node, name string, as members) member {
	if text := node.Text(node.At(schema, "properties", name, "description")); text != "" {
		as = append(slices.Clone(as), member{"description", text})
	}
	return member{name, as}
}

func description(schema *yaml.Node) member {
	return member{"description", node.Text(node.Field(schema, "description"))}
}

func (w *writer) pointer(name string) string { return "#/components/schemas/" + w.named(name) }

func (w *writer) ref(name string) members { return members{{"$ref", w.pointer(name)}} }

func (w *writer) refs(names ...string) (all []members) {
	for _, name := range names {
		all = append(all, w.ref(name))
	}
	return all
}

var (
	anything = members{}
	aText    = members{{"type", "string"}}
	anObject = members{{"type", "object"}, {"additionalProperties", true}}
)

func anObjectOf(properties members, required ...string) members {
	schema := members{{"type", "object"}}
	if len(required) > 0 {
		schema = append(schema, member{"required", required})
	}
	return append(schema, member{"properties", properties})
}

// typeSchema is the schema of a type of a field.
func (w *writer) typeSchema(typ string) members {
	if t, ok := strings.CutSuffix(typ, " | None"); ok {
		return members{{"anyOf", []members{w.typeSchema(t), {{"type", "null"}}}}}
	}
	if t, ok := strings.CutPrefix(typ, "list["); ok {
		return members{{"type", "array"}, {"items", w.typeSchema(strings.TrimSuffix(t, "]"))}}
	}
	if t, ok := strings.CutPrefix(typ, "dict[str, "); ok {
		if t = strings.TrimSuffix(t, "]"); t == "Any" {
			return anObject
		}
		return members{{"type", "object"}, {"additionalProperties", w.typeSchema(t)}}
	}
	switch typ {
	case "str":
		return aText
	case "int":
		return members{{"type", "integer"}}
	case "float":
		return members{{"type", "number"}}
	case "bool":
		return members{{"type", "boolean"}}
	case "Any":
		return anything
	}
	return w.ref(typ)
}

// stored are fields as they are served.
func (w *writer) stored(fields []event.Field) members {
	var properties members
	var always []string
	for _, f := range fields {
		properties = append(properties, member{f.Name, w.typeSchema(f.Type)})
		if f.Always {
			always = append(always, f.Name)
		}
	}
	return anObjectOf(properties, always...)
}

// sent are fields as they are posted.
func (w *writer) sent(fields []event.Field) members {
	var properties members
	var required []string
	for _, f := range fields {
		schema := w.typeSchema(f.Type)
		if f.Required {
			required = append(required, f.Name)
		} else if f.Default != "" {
			schema = append(slices.Clone(schema), member{"description", "By default " + f.Default + "."})
		}
		properties = append(properties, member{f.Name, schema})
	}
	return anObjectOf(properties, required...)
}

// served makes the union of the events that are served.
func (w *writer) served(name string, schema *yaml.Node) {
	w.add("EventBase", anObjectOf(said(schema, "id", "timestamp", "source"), "id", "timestamp", "source"))
	for _, m := range event.Models() {
		w.addForReaders(m.Name, w.stored(m.Fields))
	}
	var all []string
	var loaded []members
	for _, s := range sides {
		var known members
		for _, f := range memberTypes {
			if slices.Contains(shared, f.Name) || slices.Contains(s.own, f.Name) {
				known = append(known, described(schema, f.Name, w.typeSchema(f.Type)))
			}
		}
		w.addForReaders("Known"+s.word, anObjectOf(known, s.always...))
		all = append(all, w.kinds(s, "", w.stored, "Known"+s.word)...)
		w.add(s.word+"Base", w.base(s, "", "EventBase", nil))
		other := "Other" + s.word
		w.add(other, append(members{
			{"description", "Of another kind, or a known kind with fields of other types: what is posted is not held to them."},
			{"allOf", w.refs(s.word + "Base")},
		}, anObjectOf(append(said(schema, append(s.own, shared...)...), described(schema, s.fields, anObject)))...))
		all, loaded = append(all, other), append(loaded, w.ref(other))
	}
	w.set(name, members{description(schema), {eventsMark, "served"}, {"x-validated-as", members{{"anyOf", loaded}}}, {"anyOf", w.refs(all...)}})
}

// posted makes the union of the events that can be posted.
func (w *writer) posted(name string, schema *yaml.Node) {
	w.addForReaders("AddEventBase", anObjectOf(said(schema, "source", "cause", "tool_call_metadata", "llm_metrics", "id", "timestamp")))
	var all []string
	for _, s := range sides {
		all = append(all, w.kinds(s, "Add", w.sent)...)
		base, other := "Add"+s.word+"Base", "AddOther"+s.word
		w.addForReaders(base, w.base(s, "Add", "AddEventBase", said(schema, s.own...)))
		w.addForReaders(other, append(members{{"allOf", w.refs(base)}}, anObjectOf(members{described(schema, s.fields, anObject)})...))
		all = append(all, other)
	}
	w.set(name, members{description(schema), {eventsMark, "posted"}, {"anyOf", w.refs(all...)}, {"x-not-validated", true}})
}

// schemaOf is the name of a kind's schema.
func schemaOf(prefix string, k event.Kind, s side) string {
	var words strings.Builder
	for word := range strings.SplitSeq(k.Name, "_") {
		words.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return prefix + words.String() + s.word
}

// base is the schema of what all kinds of a side have.
func (w *writer) base(s side, prefix, root string, more members) members {
	var mapping members
	for _, k := range event.Kinds() {
		if k.Action == s.action {
			mapping = append(mapping, member{k.Name, w.pointer(schemaOf(prefix, k, s))})
		}
	}
	return append(append(members{{"allOf", w.refs(root)}}, anObjectOf(append(members{{s.member, aText}}, more...), s.member)...),
		member{"discriminator", members{{"propertyName", s.member}, {"mapping", mapping}}})
}

// kinds adds the schemas of the kinds of a side, and returns their names. What
// each has of others are its base and more.
func (w *writer) kinds(s side, prefix string, fields func([]event.Field) members, more ...string) (names []string) {
	for _, k := range event.Kinds() {
		if k.Action != s.action {
			continue
		}
		name, of, required := schemaOf(prefix, k, s), members{{"type", "object"}}, []string{s.member}
		if len(k.Fields) > 0 {
			w.addForReaders(name+s.fieldWord, fields(k.Fields))
			of = w.ref(name + s.fieldWord)
		}
		if prefix == "" || slices.ContainsFunc(k.Fields, func(f event.Field) bool { return f.Required }) {
			required = append(required, s.fields)
		}
		w.addForReaders(name, append(members{{"allOf", w.refs(append([]string{prefix + s.word + "Base"}, more...)...)}}, anObjectOf(members{
			{s.member, members{{"type", "string"}, {"const", k.Name}}},
			{s.fields, of},
		}, required...)...))
		names = append(names, name)
	}
	return names
}
