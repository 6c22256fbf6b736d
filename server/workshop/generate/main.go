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
// It runs from the root of the module (see gen/gen.go) and imports nothing
// that imports gen/, so that one which does not compile cannot stop it from
// being made again.
//
// An action of the overlay that the contract has no use for is told on
// standard error, and left out: a contract of another version is still served.
package main

import (
	"bytes"
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

const (
	publishedFile = "openapi.json"
	overlayFile   = "api/overlay.yaml"
	servedFile    = "gen/openapi.json"
	namesFile     = "gen/names.overlay.yaml"
	versionFile   = "gen/version.gen.go"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	text, err := os.ReadFile(publishedFile)
	if err != nil {
		return err
	}
	doc, err := document.Parse(publishedFile, text)
	if err != nil {
		return err
	}
	if doc.Names, err = overlay.Names(namesFile); err != nil {
		return err
	}
	if err := doc.Check(); err != nil {
		return err
	}
	actions, err := overlay.Read(overlayFile)
	if err != nil {
		return err
	}
	idle, err := overlay.Join(doc, actions)
	if err != nil {
		return err
	}
	for _, i := range idle {
		fmt.Fprintf(os.Stderr, "generate: %s:%d: %s\n", overlayFile, i.Line, i)
	}
	names := namesOverlay(doc)
	if err := writeEvents(doc); err != nil {
		return err
	}
	served, err := doc.JSON()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(servedFile, served, 0o644),
		os.WriteFile(namesFile, names, 0o644),
		os.WriteFile(versionFile, versionSource(doc.Version()), 0o644),
	)
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
func versionSource(version string) []byte {
	return fmt.Appendf(nil, `// Code generated from gen/openapi.json by server/workshop/generate. DO NOT EDIT.

package gen

// Version is that of the contract.
const Version = %q
`, version)
}
