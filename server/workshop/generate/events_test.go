package main

import (
	"os"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/contract/document/node"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
)

// joined is a contract with the overlay, and with schemas of its own.
func joined(t *testing.T, own string) *document.Document {
	t.Helper()
	text, err := os.ReadFile("../../../api/contract/testdata/contract-0.53.0.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := document.Parse("doc", []byte(strings.Replace(string(text), `"schemas": {`, `"schemas": {`+own, 1)))
	if err != nil {
		t.Fatal(err)
	}
	actions, err := overlay.Read("../../../" + lines[0].overlay)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := overlay.Join(doc, actions); err != nil {
		t.Fatal(err)
	}
	return doc
}

// Where the contract has schemas of the same names for something else, both are
// there, and ours refer to ours.
func TestWriteEventsRenames(t *testing.T) {
	doc := joined(t, `"Event": {"type": "integer"}, "RunAction": {"type": "boolean"}, "Metrics": {"type": "string"},`)
	if err := writeEvents(doc); err != nil {
		t.Fatal(err)
	}
	text, err := doc.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := contract.Load(text, nil); err != nil {
		t.Error(err)
	}
	schemas := node.At(doc.Root(), "components", "schemas")
	for name, want := range map[string]string{"Event": "integer", "RunAction": "boolean", "Metrics": "string", "RunAction_2": "object", "Metrics_2": "object"} {
		if typ := node.Text(node.At(schemas, name, "type")); typ != want {
			t.Errorf("%s is of type %q, want %s", name, typ, want)
		}
	}
	for what, got := range map[string]string{
		"RunAction": node.Text(node.At(schemas, "ActionBase", "discriminator", "mapping", "run")),
		"Metrics":   node.Text(node.At(schemas, "KnownAction", "properties", "llm_metrics", "$ref")),
		"Event":     node.Text(node.At(schemas, "EventPage", "properties", "events", "items", "$ref")),
	} {
		if want := "#/components/schemas/" + what + "_2"; got != want {
			t.Errorf("ours refer to %s, want %s", got, want)
		}
	}
	for _, ref := range node.References(doc.Root(), "#") {
		if node.Resolve(doc.Root(), ref.Value) == nil {
			t.Errorf("%s leads nowhere", ref.Value)
		}
	}
}

// A mark that says neither which events a schema is of is a mistake.
func TestWriteEventsRefuses(t *testing.T) {
	doc := joined(t, `"Odd": {"type": "object", "x-events": "stored"},`)
	if err := writeEvents(doc); err == nil || !strings.Contains(err.Error(), "stored") {
		t.Errorf("writeEvents() = %v", err)
	}
}
