package overlay_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/contract/document/node"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
)

const (
	contracts   = "../../../api/contract/testdata/"
	overlayFile = "../../../api/overlay.yaml"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(contracts + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parse(t *testing.T, name string, text []byte) *document.Document {
	t.Helper()
	d, err := document.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func actions(t *testing.T) []overlay.Action {
	t.Helper()
	all, err := overlay.Read(overlayFile)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func text(t *testing.T, d *document.Document) string {
	t.Helper()
	b, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The overlay has a use in the contract that it was written for, but for what
// it adds to another.
func TestJoin(t *testing.T) {
	for name, want := range map[string][]string{
		"contract-0.53.0.json": nil,
		"contract-0.55.0.json": nil,
		"contract-0.52.0.json": {
			"exp-config ($.paths): it refers to #/components/schemas/ExperimentConfig, which is not there",
			"schema ExperimentConfig ($.components.schemas.ExperimentConfig): there is no such target",
		},
	} {
		d := parse(t, name, read(t, name))
		idle, err := overlay.Join(d, actions(t))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range idle {
			if i.Line == 0 {
				t.Errorf("%s: %v: Line = 0", name, i)
			}
			got = append(got, i.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: idle actions = %q, want %q", name, got, want)
		}
		if name == "contract-0.52.0.json" && strings.Contains(text(t, d), "ExperimentConfig") {
			t.Errorf("%s: an action that was left out left something behind", name)
		}
	}
}

// What the overlay adds of a later version steps aside for that version's own.
func TestJoinStepsAside(t *testing.T) {
	const path = "/api/conversations/{conversation_id}/message"
	later := laterContract(t)
	d := parse(t, "later", later)
	idle, err := overlay.Join(d, actions(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range idle {
		if !i.Aside {
			t.Errorf("%v: Aside = false", i)
		}
		got = append(got, i.String())
	}
	want := []string{
		"body of Add Message ($.components.schemas): steps aside, since the document has it by itself",
		"message ($.paths): steps aside, since the document has it by itself",
	}
	if !slices.Equal(got, want) {
		t.Errorf("idle actions = %q, want %q", got, want)
	}
	joined := text(t, d)
	if n := strings.Count(joined, path); n != 1 {
		t.Errorf("%s is there %d times, want 1", path, n)
	}
	if strings.Contains(joined, "x-since") {
		t.Error("the operation is still said to be of a later version")
	}
	for _, kept := range []string{"Appends a message of the user", `"description": "Its text."`, "Of the document alone"} {
		if !strings.Contains(joined, kept) {
			t.Errorf("the joined document lacks %q", kept)
		}
	}
}

// laterContract is 0.55.0's with the operation that 0.59.0 adds, as FastAPI
// writes it.
func laterContract(t *testing.T) []byte {
	doc := string(read(t, "contract-0.55.0.json"))
	doc = strings.Replace(doc, `"paths": {`, `"paths": {
    "/api/conversations/{conversation_id}/message": {
      "post": {
        "summary": "Add Message",
        "operationId": "add_message_api_conversations__conversation_id__message_post",
        "security": [{"APIKeyHeader": []}],
        "parameters": [{"name": "conversation_id", "in": "path", "required": true, "schema": {"type": "string", "title": "Conversation Id"}}],
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AddMessageRequest"}}}},
        "responses": {
          "200": {"description": "Successful Response", "content": {"application/json": {"schema": {}}}},
          "422": {"description": "Validation Error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}}
        }
      }
    },`, 1)
	return []byte(strings.Replace(doc, `"schemas": {`, `"schemas": {
      "AddMessageRequest": {"properties": {"message": {"type": "string", "title": "Message"}, "also": {"type": "string", "title": "Of the document alone"}}, "type": "object", "required": ["message"], "title": "AddMessageRequest"},`, 1))
}

// A schema that the document has of the same name for something else does not
// take the place of ours.
func TestJoinRenames(t *testing.T) {
	doc := strings.Replace(string(read(t, "contract-0.53.0.json")), `"schemas": {`, `"schemas": {
      "EventPage": {"properties": {"items": {"type": "array"}}, "type": "object", "title": "EventPage"},
      "EventPage_2": {"type": "object"},`, 1)
	d := parse(t, "doc", []byte(doc))
	idle, err := overlay.Join(d, actions(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(idle) != 1 || !idle[0].Aside || !strings.HasSuffix(idle[0].String(), "EventPage is EventPage_3 here, since the document has another of this name") {
		t.Errorf("idle actions = %v", idle)
	}
	schemas := node.At(d.Root(), "components", "schemas")
	if node.At(schemas, "EventPage", "properties", "items") == nil || node.At(schemas, "EventPage_3", "properties", "has_more") == nil {
		t.Error("the schemas are not both there")
	}
	answer := node.At(d.Root(), "paths", "/api/conversations/{conversation_id}/events", "get", "responses", "200", "content", "application/json", "schema", "$ref")
	if node.Text(answer) != "#/components/schemas/EventPage_3" {
		t.Errorf("events are answered as %s", node.Text(answer))
	}
	if err := d.Check(); err == nil || !strings.Contains(err.Error(), "x-served-by") {
		t.Errorf("Check() = %v", err)
	}
}
