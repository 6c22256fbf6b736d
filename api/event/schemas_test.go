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

// The schemas of events in the served contract.
type schemas struct {
	components pyjson.Value
	compiler   *jsonschema.Compiler
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
	return &schemas{get(served, "components", "schemas"), c}
}

const schemaPrefix = "#/components/schemas/"

// union returns the names of the schemas in a union.
func (s *schemas) union(name string) (names []string) {
	for _, ref := range get(s.components, name, "anyOf").Items() {
		names = append(names, strings.TrimPrefix(get(ref, "$ref").Text(), schemaPrefix))
	}
	return names
}

func (s *schemas) compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	schema, err := s.compiler.Compile("file:///openapi.json" + schemaPrefix + name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// words are what a side is called in an event, and in schemas.
func words(action bool) (member, fields, schema string) {
	if action {
		return "action", "args", "Action"
	}
	return "observation", "extras", "Observation"
}

// TestUnionsOfKinds: the unions of what is served and of what can be posted
// have one schema for each known kind, one for the other actions and one for the
// other observations; the discriminators lead there.
func TestUnionsOfKinds(t *testing.T) {
	s := servedSchemas(t)
	for name, prefix := range map[string]string{"Event": "", "AddEventRequest": "Add"} {
		left := s.union(name)
		for _, k := range event.Kinds() {
			member, fields, word := words(k.Action)
			is := func(one string) bool {
				return get(s.components, one, "properties", member, "const").Text() == k.Name
			}
			i := slices.IndexFunc(left, is)
			if i < 0 {
				t.Errorf("%s has no %s %s", name, member, k.Name)
				continue
			}
			one := left[i]
			if left = slices.Delete(left, i, i+1); slices.ContainsFunc(left, is) {
				t.Errorf("%s has several of %s %s", name, member, k.Name)
			}
			if to := get(s.components, prefix+word+"Base", "discriminator", "mapping", k.Name).Text(); to != schemaPrefix+one {
				t.Errorf("%s %s: the discriminator leads to %q, want %s", member, k.Name, to, one)
			}
			var names []string
			for _, f := range k.Fields {
				names = append(names, f.Name)
			}
			var has []string
			for _, m := range get(s.components, strings.TrimPrefix(get(s.components, one, "properties", fields, "$ref").Text(), schemaPrefix), "properties").Members() {
				has = append(has, m.Key)
			}
			if !slices.Equal(has, names) {
				t.Errorf("%s: %s = %v, want %v", one, fields, has, names)
			}
		}
		if want := []string{prefix + "OtherAction", prefix + "OtherObservation"}; !slices.Equal(left, want) {
			t.Errorf("%s has %v beside the known kinds, want %v", name, left, want)
		}
	}
}

// TestRecordedEventsFit: every recorded event, as served, exported and sent, is
// in the union. One of a known kind has the fields of its schema and no others,
// and fits it unless a value is of another type than upstream declares, which
// upstream does not check; it fits that of no other kind. Cases with all fields
// or none but the required, and what was sent live, have no such values. Each
// kind has events that fit.
func TestRecordedEventsFit(t *testing.T) {
	s := servedSchemas(t)
	union := s.compile(t, "Event")
	kinds := map[string]*jsonschema.Schema{}
	for _, name := range s.union("Event") {
		kinds[name] = s.compile(t, name)
	}
	known := map[string]event.Kind{}
	for _, k := range event.Kinds() {
		member, _, _ := words(k.Action)
		known[member+" "+k.Name] = k
	}
	fits := map[string]int{}
	check := func(name string, v pyjson.Value, plain bool) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(v.Append(nil)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := union.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		member := "action"
		of, ok := v.Get(member)
		if !ok {
			member = "observation"
			of, _ = v.Get(member)
		}
		k, ok := known[member+" "+of.Text()]
		_, fields, word := words(member == "action")
		for schema, compiled := range kinds {
			if strings.HasPrefix(schema, "Other") {
				continue
			}
			mine := ok && get(s.components, schema, "properties", member, "const").Text() == k.Name && strings.HasSuffix(schema, word)
			err := compiled.Validate(doc)
			if err == nil {
				fits[schema]++
			}
			switch {
			case err == nil && kinds["Other"+word].Validate(doc) != nil:
				t.Errorf("%s fits %s, and not what is loaded in its place", name, schema)
			case err == nil && !mine:
				t.Errorf("%s fits %s", name, schema)
			case err != nil && mine && (plain || !ofOtherTypes(err)):
				t.Errorf("%s: %v", name, err)
			}
		}
		if ok {
			checkFields(t, name+": "+fields, k.Fields, get(v, fields))
		}
		for _, of := range []struct {
			model string
			value pyjson.Value
		}{
			{"ToolCallMetadata", get(v, "tool_call_metadata")}, {"Metrics", get(v, "llm_metrics")}, {"TokenUsage", get(v, "llm_metrics", "accumulated_token_usage")},
		} {
			for _, m := range event.Models() {
				if ok && m.Name == of.model && of.value.Kind() == pyjson.Object {
					checkFields(t, name+": "+m.Name, m.Fields, of.value)
				}
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
	for schema := range kinds {
		if fits[schema] == 0 && !strings.HasPrefix(schema, "Other") {
			t.Errorf("no recorded event fits %s", schema)
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
