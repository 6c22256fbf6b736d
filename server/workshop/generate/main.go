// Command generate makes the files of gen/ that oapi-codegen does not: it
// joins the published contract with our overlay, and gives every operation a
// Go name.
//
//	openapi.json + api/overlay.yaml => gen/openapi.json        what we serve and validate against
//	gen/openapi.json                => gen/names.overlay.yaml  operationId => Go name, order of fields, odd types; read by oapi-codegen
//	gen/openapi.json                => gen/version.gen.go      the contract's version
//
// The schemas of events are made of the tables of api/event (events.go).
//
// The agent server's line has its own in api/agentserver, from which it makes
// gen/agentserver: the document, and a table of operations.
//
// It runs from the root of the module (see gen/gen.go) and imports nothing
// that imports gen/, so that one which does not compile cannot stop it from
// being made again.
//
// An action of the overlay that the contract has no use for is told on
// standard error, and left out: a contract of another version is still served.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/contract/document/node"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
)

// A line is a contract that evolves by itself.
type line struct {
	published, overlay string // what it is made from
	served             string
	schemas            func(*document.Document) error             // adds those that are made of tables; nil for none
	names              string                                     // overlay for oapi-codegen; "" where it makes nothing
	sources            map[string]func(*document.Document) []byte // Go files
	compact            bool                                       // of a document too long to be read
}

var lines = []line{{
	published: "openapi.json", overlay: "api/overlay.yaml", served: "gen/openapi.json", schemas: writeEvents, names: "gen/names.overlay.yaml",
	sources: map[string]func(*document.Document) []byte{"gen/version.gen.go": versionSource},
}, {
	published: "api/agentserver/openapi.json", overlay: "api/agentserver/overlay.yaml", served: "gen/agentserver/openapi.json", compact: true,
	sources: map[string]func(*document.Document) []byte{"gen/agentserver/operations.gen.go": tableSource},
}}

func main() {
	for _, l := range lines {
		if err := l.make(); err != nil {
			fmt.Fprintln(os.Stderr, "generate:", err)
			os.Exit(1)
		}
	}
}

func (l line) make() error {
	text, err := os.ReadFile(l.published)
	if err != nil {
		return err
	}
	doc, err := document.Parse(l.published, text)
	if err != nil {
		return err
	}
	if l.names != "" {
		if doc.Names, err = overlay.Names(l.names); err != nil {
			return err
		}
	}
	if err := doc.Check(); err != nil {
		return err
	}
	actions, err := overlay.Read(l.overlay)
	if err != nil {
		return err
	}
	idle, err := overlay.Join(doc, actions)
	if err != nil {
		return err
	}
	for _, i := range idle {
		fmt.Fprintf(os.Stderr, "generate: %s:%d: %s\n", l.overlay, i.Line, i)
	}
	names := namesOverlay(doc) // of what there is before the schemas are added
	if l.schemas != nil {
		if err := l.schemas(doc); err != nil {
			return err
		}
	}
	served, err := doc.JSON()
	if err != nil {
		return err
	}
	if l.compact {
		var b bytes.Buffer
		if err := json.Compact(&b, served); err != nil {
			return err
		}
		served = b.Bytes()
	}
	errs := []error{os.WriteFile(l.served, served, 0o644)}
	if l.names != "" {
		errs = append(errs, os.WriteFile(l.names, names, 0o644))
	}
	for file, source := range l.sources {
		errs = append(errs, os.WriteFile(file, source(doc), 0o644))
	}
	return errors.Join(errs...)
}

// namesOverlay writes the names as an overlay, one operation an action, so
// that the operations that a new contract brings can be read from its diff;
// the order of the fields of schemas, in which FastAPI writes them; and the Go
// type of schemas of several types, of which oapi-codegen has none.
func namesOverlay(doc *document.Document) []byte {
	var b bytes.Buffer
	b.WriteString("# Code generated from gen/openapi.json by server/workshop/generate. DO NOT EDIT.\n" +
		"overlay: 1.0.0\nx-speakeasy-jsonpath: rfc9535\ninfo:\n  title: Go names of the operations and order of fields\n  version: 1.0.0\nactions:\n")
	for o := range doc.Operations() {
		fmt.Fprintf(&b, "  - target: $.paths[%q].%s\n    update: {operationId: %s, x-operation-id: %s}\n", o.Path, strings.ToLower(o.Method), o.GoName, o.ID)
	}
	for schema, fields := range doc.Fields() {
		if unionOfEvents(node.At(doc.Root(), "components", "schemas", schema)) { // of no use in Go
			fmt.Fprintf(&b, "  - target: $.components.schemas[%q].anyOf\n    remove: true\n", schema)
			continue
		}
		fmt.Fprintf(&b, "  - target: $.components.schemas[%q].properties\n    update: {", schema)
		for i, name := range fields {
			fmt.Fprintf(&b, "%s%q: {x-order: %d}", ", "[:min(2, 2*i)], name, i)
		}
		b.WriteString("}\n")
	}
	for _, target := range severalTypes(doc.Root(), "$") {
		goType := "any"
		if strings.Contains(target, `["parameters"]`) {
			goType = "string" // as it is written in the path or the query
		}
		fmt.Fprintf(&b, "  - target: %s\n    update: {x-go-type: %s}\n", target, goType)
	}
	return b.Bytes()
}

// severalTypes returns the places below n, as JSONPaths, whose type is a list
// of more than one beside null.
func severalTypes(n *yaml.Node, at string) (targets []string) {
	types := 0
	if list := node.Field(n, "type"); list != nil && list.Kind == yaml.SequenceNode {
		for _, t := range list.Content {
			if node.Text(t) != "null" {
				types++
			}
		}
	}
	if types > 1 {
		targets = append(targets, at)
	}
	for i, c := range n.Content {
		switch {
		case n.Kind != yaml.MappingNode:
			targets = append(targets, severalTypes(c, fmt.Sprintf("%s[%d]", at, i))...)
		case i%2 == 1 && !slices.Contains(node.Literal, n.Content[i-1].Value):
			targets = append(targets, severalTypes(c, fmt.Sprintf("%s[%q]", at, n.Content[i-1].Value))...)
		}
	}
	return targets
}

// versionSource writes the contract's version as a constant.
func versionSource(doc *document.Document) []byte {
	return fmt.Appendf(nil, `// Code generated from gen/openapi.json by server/workshop/generate. DO NOT EDIT.

package gen

// Version is that of the contract.
const Version = %q
`, doc.Version())
}

// tableSource writes the operations as a table, for a line whose bodies are
// read and written as JSON: types for all its schemas would be most of the
// program.
func tableSource(doc *document.Document) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `// Code generated from openapi.json by server/workshop/generate. DO NOT EDIT.

package agentserver

// Version is that of the contract.
const Version = %q

// Operations lists the operations of the contract, in its order.
var Operations = []Operation{
`, doc.Version())
	for o := range doc.Operations() {
		fmt.Fprintf(&b, "\t{%q, %q, %q, %q, %t, %t},\n", o.GoName, o.ID, o.Method, o.Path, node.Field(o.Node, "security") != nil, node.Text(node.Field(o.Node, "x-conversation")) == "true")
	}
	b.WriteString("}\n")
	return b.Bytes()
}
