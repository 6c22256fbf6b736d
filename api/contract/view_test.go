package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/settings"
)

var documents = []string{"contract-0.52.0.json", "contract-0.53.0.json", "contract-0.54.0.json", "contract-0.55.0.json", "served-0.53.0.json"}

// keywords is a document of what the OpenHands contracts do not use.
const keywords = `{"openapi":"3.1.0","info":{"title":"t","version":"1"},"paths":{"/p":{"post":{"operationId":"p","requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Tree"}}}},"responses":{"200":{"description":""}}}}},"components":{"schemas":{
	"Const": {"const": "a"},
	"ConstNumber": {"const": 5},
	"ConstNull": {"const": null},
	"Enum": {"enum": ["a", 5, true]},
	"EnumNull": {"enum": ["a", null]},
	"TwoTypes": {"type": ["string", "null"], "minLength": 1},
	"ThreeTypes": {"type": ["string", "integer", "null"], "maxLength": 2},
	"OnlyNull": {"type": "null"},
	"Above": {"type": "integer", "exclusiveMinimum": 1},
	"Below": {"type": "number", "exclusiveMaximum": 5, "maximum": 5},
	"Between": {"type": "number", "minimum": 1, "exclusiveMinimum": 0, "maximum": 2, "exclusiveMaximum": 5},
	"Multiple": {"type": "integer", "multipleOf": 5},
	"Pattern": {"type": "string", "pattern": "^a"},
	"Items": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2, "uniqueItems": true},
	"AnyItems": {"type": "array"},
	"Size": {"type": "object", "minProperties": 1, "maxProperties": 2},
	"Map": {"type": "object", "additionalProperties": {"type": ["integer", "null"]}},
	"Keys": {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "integer"}},
	"AnyValues": {"type": "object", "propertyNames": {"enum": ["a", "b"]}},
	"Any": {},
	"Always": true,
	"Never": false,
	"Untyped": {"properties": {"a": {"type": "string"}}, "required": ["a"]},
	"Either": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
	"EitherAny": {"anyOf": [{"type": "string"}, {}]},
	"One": {"oneOf": [{"type": "number"}, {"type": "integer"}]},
	"Both": {"allOf": [{"$ref": "#/components/schemas/Untyped"}, {"type": "object", "additionalProperties": true}]},
	"Not": {"type": "string", "not": {"const": "a"}},
	"Sibling": {"$ref": "#/components/schemas/TwoTypes", "default": "x", "description": "no more"},
	"Narrower": {"$ref": "#/components/schemas/TwoTypes", "maxLength": 1},
	"NullableRef": {"anyOf": [{"$ref": "#/components/schemas/Keys"}, {"type": "null"}]},
	"Tree": {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#/components/schemas/Tree"}, {"type": "null"}]}, "b": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}}, "additionalProperties": false}
}}}`

func document(tb testing.TB, name string) []byte {
	tb.Helper()
	if name == "keywords" {
		return []byte(keywords)
	}
	doc, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return doc
}

// Rules are those of the documents' models.
var Rules = func() fastapi.Rules {
	all := maps.Clone(settings.Rules)
	maps.Copy(all, event.Rules)
	return all
}()

func mustLoad(tb testing.TB, doc []byte) *Contract {
	tb.Helper()
	c, err := Load(doc, Rules)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// The view of a 3.1 document is a sound 3.0 document.
func TestViewIsOpenAPI30(t *testing.T) {
	for _, name := range documents {
		c := mustLoad(t, document(t, name))
		text, err := json.Marshal(c.view)
		if err != nil {
			t.Fatal(err)
		}
		view, err := openapi3.NewLoader().LoadFromData(text)
		if err != nil {
			t.Fatalf("%s: load of the view = %v", name, err)
		}
		if err := view.Validate(t.Context(), openapi3.DisableExamplesValidation()); err != nil {
			t.Errorf("%s: view = %v", name, err)
		}
		if got := c.Unvalidated(); len(got) > 0 {
			t.Errorf("%s: Unvalidated() = %v, want none", name, got)
		}
	}
}

// The view and the document as written judge random values alike.
func TestViewAgreesWithDocument(t *testing.T) {
	seed := rand.Uint64()
	random := newRandom(seed)
	for _, name := range append([]string{"keywords"}, documents...) {
		doc := document(t, name)
		views := viewSchemas(mustLoad(t, doc))
		compiler := jsonschema.NewCompiler()
		compiler.DefaultDraft(jsonschema.Draft2020)
		compiler.AssertFormat()
		root, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("file:///doc.json", root); err != nil {
			t.Fatal(err)
		}
		accepted, refused := 0, 0
		for pointer, view := range views {
			written, err := compiler.Compile("file:///doc.json" + pointer)
			if err != nil {
				t.Fatalf("%s%s: %v", name, pointer, err)
			}
			for range 60 {
				v := random.value(view, 4)
				errView, errWritten := view.VisitJSON(v), written.Validate(v)
				if (errView == nil) != (errWritten == nil) {
					t.Fatalf("seed %d: %s%s: %s: view = %v, document = %v", seed, name, pointer, show(v), errView, errWritten)
				}
				if errView == nil {
					accepted++
				} else {
					refused++
				}
			}
		}
		if total := accepted + refused; accepted < total/10 || refused < total/10 {
			t.Errorf("seed %d: %s: %d values accepted, %d refused, want some of each", seed, name, accepted, refused)
		}
	}
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// viewSchemas has the schemas of a contract's view by their JSON pointers.
func viewSchemas(c *Contract) map[string]*openapi3.Schema {
	all := map[string]*openapi3.Schema{}
	for name, s := range c.view.Components.Schemas {
		all[componentPrefix+escape(name)] = s.Value
	}
	for _, op := range c.ordered {
		at := "#/paths/" + escape(op.Path) + "/" + strings.ToLower(op.Method)
		view := op.route.Operation
		for i, p := range view.Parameters {
			all[fmt.Sprintf("%s/parameters/%d/schema", at, i)] = p.Value.Schema.Value
		}
		if view.RequestBody != nil {
			contentSchemas(all, at+"/requestBody", view.RequestBody.Value.Content)
		}
		for status, r := range view.Responses.Map() {
			contentSchemas(all, at+"/responses/"+status, r.Value.Content)
		}
	}
	return all
}

func contentSchemas(all map[string]*openapi3.Schema, at string, content openapi3.Content) {
	for media, m := range content {
		if m.Schema != nil {
			all[at+"/content/"+escape(media)+"/schema"] = m.Schema.Value
		}
	}
}

// A random makes values that are often, and never always, as a schema says.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 0))} }

var oddValues = []any{nil, true, false, 0.0, 1.0, 2.0, 5.0, -1.0, 1.5, 1e300, "", "a", "abc", "yes", "5", "5.0", " 7 ", "1_0", "github", "gui",
	"☃", "😀😀", strings.Repeat("é", 201), "2025-01-01T00:00:00Z", "http://a", "a b", []any{}, []any{"a"}, []any{1.0, nil}, map[string]any{}, map[string]any{"a": 1.0}, map[string]any{"url": "http://x"}}

func (r random) value(s *openapi3.Schema, depth int) any {
	for len(s.AllOf) > 0 && r.IntN(4) > 0 {
		s = s.AllOf[0].Value
	}
	if r.IntN(6) == 0 || depth == 0 {
		return oddValues[r.IntN(len(oddValues))]
	}
	if s.Nullable && r.IntN(4) == 0 {
		return nil
	}
	if len(s.Enum) > 0 {
		return number(s.Enum[r.IntN(len(s.Enum))])
	}
	if len(s.AnyOf) > 0 {
		return r.value(s.AnyOf[r.IntN(len(s.AnyOf))].Value, depth)
	}
	switch {
	case s.Type.Is("string") && s.Format == "date-time":
		return "2025-01-01T00:00:00Z"
	case s.Type.Is("string"):
		return []any{"a", "b", "aa", "xyz", "☃"}[r.IntN(5)]
	case s.Type.Is("integer"), s.Type.Is("number"):
		return []any{0.0, 1.0, 2.0, 5.0, 7.0}[r.IntN(5)]
	case s.Type.Is("boolean"):
		return r.IntN(2) == 0
	case s.Type.Is("array"):
		items := make([]any, r.IntN(4))
		for i := range items {
			items[i] = r.value(s.Items.Value, depth-1)
		}
		return items
	case s.Type.Is("object") || s.Properties != nil:
		return r.object(s, depth)
	}
	return oddValues[r.IntN(len(oddValues))]
}

func (r random) object(s *openapi3.Schema, depth int) map[string]any {
	object := map[string]any{}
	few := r.IntN(2) == 0
	for name, p := range s.Properties {
		if slices.Contains(s.Required, name) && r.IntN(12) > 0 || !few && r.IntN(3) == 0 || few && r.IntN(12) == 0 {
			object[name] = r.value(p.Value, depth-1)
		}
	}
	if more := s.AdditionalProperties.Schema; more != nil {
		for _, name := range []string{"a", "b", "c"}[r.IntN(4):] {
			object[name] = r.value(more.Value, depth-1)
		}
	}
	if r.IntN(8) == 0 {
		object["bogus"] = oddValues[r.IntN(len(oddValues))]
	}
	return object
}

// number is v as encoding/json decodes it.
func number(v any) any {
	if n, ok := v.(int64); ok {
		return float64(n)
	}
	return v
}

// beyondSchema are the faults that no schema tells.
var beyondSchema = []string{"value_error", "is_subclass_of", "int_parsing_size", "finite_number", "string_unicode"}

// Reading finds a fault exactly when the view refuses what was read.
func TestReadingAgreesWithView(t *testing.T) {
	seed := rand.Uint64()
	random := newRandom(seed)
	faults := 0
	for _, name := range documents {
		c := mustLoad(t, document(t, name))
		for _, op := range c.ordered {
			if op.body == nil || op.body.form {
				continue
			}
			for range 400 {
				sent := show(random.value(op.body.view, 5))
				v, err := pyjson.Decode([]byte(sent))
				if err != nil {
					t.Fatal(err)
				}
				r := &reader{}
				got := r.read(op.body.schema, v)
				errView := op.body.view.VisitJSON(plain(got))
				schemaFaults := slices.ContainsFunc(r.Errors, func(e fastapi.Error) bool { return !slices.Contains(beyondSchema, e.Type) })
				if errView != nil && len(r.Errors) == 0 || errView == nil && schemaFaults {
					t.Fatalf("seed %d: %s %s: %s: faults = %v, view = %v", seed, name, op.ID, sent, r.Errors, errView)
				}
				if len(r.Errors) > 0 {
					faults++
				}
			}
		}
	}
	if faults < 1000 {
		t.Errorf("seed %d: %d values with faults, want more", seed, faults)
	}
}

func TestUnvalidated(t *testing.T) {
	doc := strings.Replace(keywords, `"Any": {},`, `"Any": {"if": {}, "then": {}, "patternProperties": {"a/b": {}}, "x-ours": 1},
		"Names": {"type": "object", "propertyNames": {"pattern": "^a"}}, "More": {"type": "object", "properties": {}, "propertyNames": {"enum": ["a"]}},`, 1)
	want := []string{"#/components/schemas/Any/if", "#/components/schemas/Any/patternProperties", "#/components/schemas/Any/then",
		"#/components/schemas/More/propertyNames", "#/components/schemas/Names/propertyNames"}
	if got := mustLoad(t, []byte(doc)).Unvalidated(); !slices.Equal(got, want) {
		t.Errorf("Unvalidated() = %q, want %q", got, want)
	}
}

// What a document has for readers alone is not loaded: a component that says so,
// and a schema in whose place another is to be validated.
func TestForReaders(t *testing.T) {
	const union = `"Union": {"x-validated-as": {"$ref": "#/components/schemas/Other"}, "anyOf": [{"$ref": "#/components/schemas/One"}, {"$ref": "#/components/schemas/Other"}]},
		"One": {"x-not-validated": true, "if": {}, "properties": {"kind": {"const": "one"}}},
		"Other": {"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}}},
		"Tree": `
	c := mustLoad(t, []byte(strings.Replace(keywords, `"Tree": `, union, 1)))
	if got := c.Unvalidated(); len(got) > 0 {
		t.Errorf("Unvalidated() = %q, want none", got)
	}
	views := viewSchemas(c)
	if views[componentPrefix+"One"] != nil {
		t.Error("One is loaded")
	}
	loaded := views[componentPrefix+"Union"]
	if err := loaded.VisitJSON(map[string]any{"kind": "two"}); err != nil {
		t.Errorf("what Other takes is refused: %v", err)
	}
	if err := loaded.VisitJSON(map[string]any{}); err == nil {
		t.Error("what Other refuses is taken")
	}
}
