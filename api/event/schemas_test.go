package event_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/gen"
)

// The schemas of events in the served contract. Another contract may have
// schemas of their names by itself, so they are found by what they say.
type schemas struct {
	components     pyjson.Value
	served, posted string // the unions' names
	compiler       *jsonschema.Compiler
}

func servedSchemas(t *testing.T) *schemas {
	t.Helper()
	served, err := pyjson.Decode(gen.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(gen.OpenAPI))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("file:///openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	s := &schemas{components: get(served, "components", "schemas"), compiler: c}
	for _, m := range s.components.Members() {
		switch get(m.Value, "x-events").Text() {
		case "served":
			s.served = m.Key
		case "posted":
			s.posted = m.Key
		}
	}
	return s
}

const schemaPrefix = "#/components/schemas/"

// union returns the names of the schemas in a union.
func (s *schemas) union(name string) []string { return names(get(s.components, name, "anyOf")) }

// names are those of the schemas that a list refers to.
func names(refs pyjson.Value) (all []string) {
	for _, ref := range refs.Items() {
		all = append(all, strings.TrimPrefix(get(ref, "$ref").Text(), schemaPrefix))
	}
	return all
}

// kindOf is the kind of a schema, "" when it is not of one of the side.
func (s *schemas) kindOf(schema, member string) string {
	return get(s.components, schema, "properties", member, "const").Text()
}

func (s *schemas) compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	schema, err := s.compiler.Compile("file:///openapi.json" + schemaPrefix + name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// words are what a side is called in an event.
func words(action bool) (member, fields string) {
	if action {
		return "action", "args"
	}
	return "observation", "extras"
}

// TestUnionsOfKinds: the unions of what is served and of what can be posted
// have one schema for each known kind, one for the other actions and one for the
// other observations; the discriminators lead there.
func TestUnionsOfKinds(t *testing.T) {
	s := servedSchemas(t)
	for _, union := range []string{s.served, s.posted} {
		left := s.union(union)
		for _, k := range event.Kinds() {
			member, fields := words(k.Action)
			is := func(schema string) bool { return s.kindOf(schema, member) == k.Name }
			i := slices.IndexFunc(left, is)
			if i < 0 {
				t.Errorf("%s has no %s %s", union, member, k.Name)
				continue
			}
			schema := left[i]
			if left = slices.Delete(left, i, i+1); slices.ContainsFunc(left, is) {
				t.Errorf("%s has several of %s %s", union, member, k.Name)
			}
			base := names(get(s.components, schema, "allOf"))[0]
			if to := get(s.components, base, "discriminator", "mapping", k.Name).Text(); to != schemaPrefix+schema {
				t.Errorf("%s %s: the discriminator leads to %q, want %s", member, k.Name, to, schema)
			}
			var want, has []string
			for _, f := range k.Fields {
				want = append(want, f.Name)
			}
			of := strings.TrimPrefix(get(s.components, schema, "properties", fields, "$ref").Text(), schemaPrefix)
			for _, m := range get(s.components, of, "properties").Members() {
				has = append(has, m.Key)
			}
			if !slices.Equal(has, want) {
				t.Errorf("%s: %s = %v, want %v", schema, fields, has, want)
			}
		}
		if len(left) != 2 {
			t.Errorf("%s has %v beside the known kinds, want one for other actions and one for other observations", union, left)
		}
	}
}

// TestRecordedEventsFit: every recorded event, as served, exported and sent, is
// in the union: by what is loaded of it. One of a known kind has the fields of
// its schema and no others, and fits it unless a value is of another type than
// upstream declares, which upstream does not check. Cases with all fields or none
// but the required, and what was sent live, have no such values. Some of each
// kind fit.
func TestRecordedEventsFit(t *testing.T) {
	s := servedSchemas(t)
	loaded := names(get(s.components, s.served, "x-validated-as", "anyOf"))
	others := map[string]*jsonschema.Schema{"action": s.compile(t, loaded[0]), "observation": s.compile(t, loaded[1])}
	type known struct {
		event.Kind
		*jsonschema.Schema
		seen, fit int
	}
	kinds := map[string]*known{}
	for _, k := range event.Kinds() {
		member, _ := words(k.Action)
		for _, schema := range s.union(s.served) {
			if s.kindOf(schema, member) == k.Name {
				kinds[member+" "+k.Name] = &known{Kind: k, Schema: s.compile(t, schema)}
			}
		}
	}
	check := func(name string, v pyjson.Value, plain bool) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(v.Append(nil)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, isAction := v.Get("action")
		member, fields := words(isAction)
		if err := others[member].Validate(doc); err != nil {
			t.Errorf("%s is not taken for any %s: %v", name, member, err)
		}
		k := kinds[member+" "+get(v, member).Text()]
		if k == nil {
			return
		}
		k.seen++
		if err := k.Validate(doc); err == nil {
			k.fit++
		} else if plain || !ofOtherTypes(err) {
			t.Errorf("%s: %v", name, err)
		}
		checkFields(t, name+": "+fields, k.Fields, get(v, fields))
		for _, m := range event.Models() {
			at := map[string][]string{"ToolCallMetadata": {"tool_call_metadata"}, "Metrics": {"llm_metrics"}, "TokenUsage": {"llm_metrics", "accumulated_token_usage"}}
			if of := get(v, at[m.Name]...); at[m.Name] != nil && of.Kind() == pyjson.Object {
				checkFields(t, name+": "+m.Name, m.Fields, of)
			}
		}
	}
	for _, line := range lines(t, "events.jsonl") {
		for _, form := range []string{"served", "trajectory", "live"} {
			v, name := get(line, form), get(line, "name").Text()
			if _, isEvent := v.Get("id"); isEvent {
				check(name+" "+form, v, strings.HasSuffix(name, "/full") || strings.HasSuffix(name, "/min"))
			}
		}
	}
	for _, line := range lines(t, "live.jsonl") {
		if sent := get(line, "payload"); !sent.IsNull() {
			check(get(line, "name").Text(), sent, true)
		}
	}
	for name, k := range kinds {
		if k.seen > 0 && k.fit == 0 {
			t.Errorf("of %d recorded events of %s none fits", k.seen, name)
		}
	}
}

// ofOtherTypes tells that all that is wrong with an event are types of values
// within. One whose content is null has no message.
func ofOtherTypes(err error) bool {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return false
	}
	if len(invalid.Causes) > 0 {
		return !slices.ContainsFunc(invalid.Causes, func(c *jsonschema.ValidationError) bool { return !ofOtherTypes(c) })
	}
	switch wrong := invalid.ErrorKind.(type) {
	case *kind.Type:
		return true
	case *kind.Required:
		return slices.Equal(wrong.Missing, []string{"message"})
	}
	return false
}

// checkFields: an object has the fields, in order, but for those that may be
// away.
func checkFields(t *testing.T, name string, fields []event.Field, v pyjson.Value) {
	t.Helper()
	members := v.Members()
	for _, f := range fields {
		switch {
		case len(members) > 0 && members[0].Key == f.Name:
			members = members[1:]
		case f.Always:
			t.Errorf("%s lacks %s", name, f.Name)
		}
	}
	if len(members) > 0 {
		t.Errorf("%s has %s", name, members[0].Key)
	}
}

// TestRecordedFramesFit: whatever the real server was recorded to send over
// sockets is as the contract says.
func TestRecordedFramesFit(t *testing.T) {
	s := servedSchemas(t)
	sent, refused := s.compile(t, "SocketMessage"), s.compile(t, "SocketRefusal")
	count := map[*jsonschema.Schema]int{}
	for _, transcript := range lines(t, "../../live/testdata/transcripts.jsonl") {
		for _, step := range get(transcript, "steps").Items() {
			packet, of := get(step, "packet").Text(), sent
			text, ok := strings.CutPrefix(packet, `42["oh_event",`)
			if !ok {
				text, ok = strings.CutPrefix(packet, "44{")
				text, of = "{"+text, refused
			}
			if !ok || get(step, "dir").Text() != "s2c" {
				continue
			}
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(strings.TrimSuffix(text, "]")))
			if err == nil {
				err = of.Validate(doc)
			}
			if err != nil {
				t.Errorf("%s: %s: %v", get(transcript, "name").Text(), packet, err)
			}
			count[of]++
		}
	}
	if count[sent] == 0 || count[refused] == 0 {
		t.Errorf("%d messages and %d refusals are recorded, want some", count[sent], count[refused])
	}
}
