// Command generate makes the files of gen/ that oapi-codegen does not: it
// joins the published contract with our overlay, and gives every operation a
// Go name.
//
//	openapi.json + api/overlay.yaml => gen/openapi.json        what we serve and validate against
//	gen/openapi.json                => gen/names.overlay.yaml  operationId => Go name, read by oapi-codegen
//	gen/openapi.json                => gen/version.gen.go      the contract's version
//
// It runs from the root of the module (see gen/gen.go) and imports nothing of
// the module, so that a gen/ which does not compile cannot stop it from being
// made again.
//
// An action of the overlay whose target the contract does not have is told on
// standard error, by its description or target, and left out: a contract of
// another version is still served.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/speakeasy-api/openapi/overlay"
	"gopkg.in/yaml.v3"
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
	doc, err := readYAML(publishedFile)
	if err != nil {
		return err
	}
	o, err := overlay.Parse(overlayFile)
	if err != nil {
		return fmt.Errorf("%s: %w", overlayFile, err)
	}
	if err := o.Validate(); err != nil {
		return fmt.Errorf("%s: %w", overlayFile, err)
	}
	missed, err := apply(doc, o)
	if err != nil {
		return err
	}
	for _, m := range missed {
		fmt.Fprintf(os.Stderr, "generate: %s: no target in %s: %s\n", overlayFile, publishedFile, m)
	}
	names, err := goNames(doc)
	if err != nil {
		return err
	}
	var served bytes.Buffer
	if err := writeJSON(&served, root(doc), ""); err != nil {
		return err
	}
	served.WriteByte('\n')
	return errors.Join(
		os.WriteFile(servedFile, served.Bytes(), 0o644),
		os.WriteFile(namesFile, namesOverlay(names), 0o644),
		os.WriteFile(versionFile, versionSource(field(field(root(doc), "info"), "version")), 0o644),
	)
}

// apply carries out the actions of o in order. It returns those that found no
// target.
func apply(doc *yaml.Node, o *overlay.Overlay) (missed []string, err error) {
	for _, a := range o.Actions {
		path, err := o.NewPath(a.Target, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: target %s: %w", overlayFile, a.Target, err)
		}
		if len(path.Query(doc)) == 0 {
			name := a.Target
			if a.Description != "" {
				name = a.Description + " (" + a.Target + ")"
			}
			missed = append(missed, name)
			continue
		}
		one := *o
		one.Actions = []overlay.Action{a}
		if err := one.ApplyTo(doc); err != nil {
			return nil, fmt.Errorf("%s: target %s: %w", overlayFile, a.Target, err)
		}
	}
	return missed, nil
}

// A named operation.
type named struct{ path, method, operationID, goName string }

// goNames gives each operation of the document its Go name.
func goNames(doc *yaml.Node) ([]named, error) {
	var all []named
	taken := map[string]string{}
	for path, item := range pairs(field(root(doc), "paths")) {
		for method, op := range pairs(item) {
			id := field(op, "operationId")
			if id == nil {
				continue // parameters, summary: not an operation
			}
			n := named{path, method, id.Value, goName(id.Value, path, method)}
			if other := taken[n.goName]; other != "" {
				return nil, fmt.Errorf("%s %s and %s have the same Go name %s", strings.ToUpper(method), path, other, n.goName)
			}
			taken[n.goName] = strings.ToUpper(method) + " " + path
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no operations", publishedFile)
	}
	return all, nil
}

var nonWord = regexp.MustCompile(`\W`)

// goName undoes FastAPI's rule for operation ids, function_path_method, and
// writes what is left in camel case: add_event_api_conversations__conversation_id__events_post
// of POST /api/conversations/{conversation_id}/events is AddEvent. An id that
// was not made by that rule keeps all its words.
func goName(operationID, path, method string) string {
	suffix := nonWord.ReplaceAllString(path, "_") + "_" + method
	function := strings.TrimSuffix(operationID, suffix)
	if function == "" {
		function = operationID
	}
	var b strings.Builder
	for word := range strings.FieldsFuncSeq(function, func(r rune) bool { return r == '_' || r == '-' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// namesOverlay writes the names as an overlay, one operation an action, so
// that the operations that a new contract brings can be read from its diff.
func namesOverlay(names []named) []byte {
	var b bytes.Buffer
	b.WriteString("# Code generated from gen/openapi.json by api/contract/generate. DO NOT EDIT.\n" +
		"overlay: 1.0.0\nx-speakeasy-jsonpath: rfc9535\ninfo:\n  title: Go names of the operations\n  version: 1.0.0\nactions:\n")
	for _, n := range names {
		fmt.Fprintf(&b, "  - target: $.paths[%q].%s\n    update: {operationId: %s, x-operation-id: %s}\n", n.path, n.method, n.goName, n.operationID)
	}
	return b.Bytes()
}

// versionSource writes the contract's version as a constant.
func versionSource(version *yaml.Node) []byte {
	text := ""
	if version != nil {
		text = version.Value
	}
	return fmt.Appendf(nil, `// Code generated from gen/openapi.json by api/contract/generate. DO NOT EDIT.

package gen

// Version is that of the contract.
const Version = %q
`, text)
}
