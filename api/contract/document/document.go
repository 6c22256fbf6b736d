// Package document is an OpenAPI document as it is written: nodes that keep
// the order of their keys.
//
// [Parse] reads JSON or YAML, [Document.Mend] mends harmless flaws and tells
// of each, and [Document.Check] finds what makes a document unfit for a
// contract. [Document.Operations] gives every operation a Go name of its own.
// The package serves the programs that make package gen, and imports nothing
// that comes from it.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"go/token"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/openhands-local/openhands-local/api/contract/document/node"
)

// A Document is an OpenAPI document.
type Document struct {
	// Name is how problems call it: its file or address.
	Name string
	// Names are the Go names that operations of the current contract have, by
	// [Operation.String]. They keep them.
	Names map[string]string
	// Tree is what is written, of kind DocumentNode.
	Tree *yaml.Node
}

// MaxSize is how many bytes a document may have. The contracts of OpenHands
// have a hundred thousand.
const MaxSize = 16 << 20

// maxNodes bounds what the aliases of a YAML document can grow to.
const maxNodes = 1 << 20

// A Problem is something that a document has wrong.
type Problem struct {
	Document string
	Line     int    // from 1; 0 is unknown
	Pointer  string // where, as the fragment of a JSON pointer: #/paths/~1alive
	Reason   string
}

func (p *Problem) Error() string {
	where := p.Document
	if p.Line > 0 {
		where += ":" + strconv.Itoa(p.Line)
	}
	if p.Pointer != "" {
		where += ": " + p.Pointer
	}
	return where + ": " + p.Reason
}

// Parse reads a document, JSON or YAML. Aliases are written out. Every error
// is a [*Problem]: the text is empty, too large, a web page, broken, or no
// object, or an object has a key twice.
func Parse(name string, text []byte) (*Document, error) {
	wrong := func(line int, format string, args ...any) error {
		return &Problem{Document: name, Line: line, Reason: fmt.Sprintf(format, args...)}
	}
	start := bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\uFEFF")))
	switch {
	case len(text) > MaxSize:
		return nil, wrong(0, "has more than %d bytes", MaxSize)
	case len(start) == 0:
		return nil, wrong(0, "is empty")
	case start[0] == '<':
		return nil, wrong(0, "is a web page, no OpenAPI document: give the address of the document itself (a server has it at /openapi.json)")
	}
	var tree yaml.Node
	if err := yaml.Unmarshal(text, &tree); err != nil {
		line, reason := syntaxError(err)
		return nil, wrong(line, "%s", reason)
	}
	left := maxNodes
	if !expand(&tree, &left, nil) {
		return nil, wrong(0, "its aliases make more than %d nodes", maxNodes)
	}
	d := &Document{Name: name, Tree: &tree}
	if tree.Kind != yaml.DocumentNode || d.Root().Kind != yaml.MappingNode {
		return nil, wrong(0, "is no OpenAPI document: it is no object")
	}
	if err := d.unique(d.Root(), "#"); err != nil {
		return nil, err
	}
	return d, nil
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntaxError is the line and the words of what the reader of YAML says.
func syntaxError(err error) (line int, reason string) {
	m := syntaxLine.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, err.Error()
	}
	line, _ = strconv.Atoi(m[1])
	return line, "is neither JSON nor YAML: " + m[2]
}

// expand puts copies in the place of aliases. It says false when there are
// too many nodes, as when an alias is within what it stands for.
func expand(n *yaml.Node, left *int, within []*yaml.Node) bool {
	if *left--; *left < 0 {
		return false
	}
	if n.Kind == yaml.AliasNode {
		if slices.Contains(within, n.Alias) {
			return false
		}
		within = append(within, n.Alias)
		*n = *n.Alias
		n.Content = slices.Clone(n.Content)
		for i, c := range n.Content {
			one := *c
			n.Content[i] = &one
		}
	}
	n.Anchor = ""
	for _, c := range n.Content {
		if !expand(c, left, within) {
			return false
		}
	}
	return true
}

// unique refuses a key that an object has twice.
func (d *Document) unique(n *yaml.Node, at string) error {
	switch n.Kind {
	case yaml.MappingNode:
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			where := at + "/" + node.Escape(key)
			if seen[key] {
				return &Problem{d.Name, n.Content[i].Line, where, "the key is there twice"}
			}
			seen[key] = true
			if err := d.unique(n.Content[i+1], where); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			if err := d.unique(c, at+"/"+strconv.Itoa(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Root is the object that the document is.
func (d *Document) Root() *yaml.Node { return d.Tree.Content[0] }

// Version is info.version.
func (d *Document) Version() string { return node.Text(node.At(d.Root(), "info", "version")) }

// JSON writes the document, indented by two spaces, in the order of its keys,
// with a newline at the end.
func (d *Document) JSON() ([]byte, error) {
	var b bytes.Buffer
	if err := node.WriteJSON(&b, d.Root(), ""); err != nil {
		return nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// An Operation is one operation of a document.
type Operation struct {
	Method string // in capitals
	Path   string // a template: /api/conversations/{conversation_id}
	ID     string // operationId
	GoName string // of its method in package gen

	// Node is what is written of it.
	Node    *yaml.Node
	pointer string
}

func (o Operation) String() string { return o.Method + " " + o.Path }

// Later tells an operation of a later version than the contract's (see
// api/overlay.yaml).
func (o Operation) Later() bool { return node.Field(o.Node, "x-since") != nil }

// Methods are those of operations, as a path's object has them.
var Methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// Operations yields the operations, in the order of the document.
func (d *Document) Operations() iter.Seq[Operation] {
	var all []Operation
	for path, item := range node.Pairs(node.Field(d.Root(), "paths")) {
		for method, n := range node.Pairs(item) {
			if !slices.Contains(Methods, method) {
				continue // parameters, summary: no operation
			}
			all = append(all, Operation{strings.ToUpper(method), path, node.Text(node.Field(n, "operationId")), "", n, "#/paths/" + node.Escape(path) + "/" + method})
		}
	}
	d.name(all)
	return slices.Values(all)
}

// Fields yields the schemas that have fields, with the names of these, in the
// order of the document.
func (d *Document) Fields() iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		for schema, n := range node.Pairs(node.At(d.Root(), "components", "schemas")) {
			var names []string
			for name := range node.Pairs(node.Field(n, "properties")) {
				names = append(names, name)
			}
			if len(names) > 0 && !yield(schema, names) {
				return
			}
		}
	}
}

// Check returns all that makes the document unfit, as [*Problem]s joined: it
// is not OpenAPI 3, it is openhands-local's own contract, it has no version or
// no operations, an operation has no id or no answers, two have the same id,
// or a reference leads nowhere or out of the document.
func (d *Document) Check() error {
	var problems []error
	wrong := func(n *yaml.Node, pointer, format string, args ...any) {
		line := 0
		if n != nil {
			line = n.Line
		}
		problems = append(problems, &Problem{d.Name, line, pointer, fmt.Sprintf(format, args...)})
	}
	root := d.Root()
	if swagger := node.Field(root, "swagger"); swagger != nil {
		wrong(swagger, "#/swagger", "is OpenAPI %s; only 3.0 and 3.1 can be read", swagger.Value)
		return errors.Join(problems...)
	}
	version := node.Field(root, "openapi")
	if !regexp.MustCompile(`^3\.[01](\.|$)`).MatchString(node.Text(version)) {
		wrong(version, "#/openapi", "is %q; an OpenAPI document of 3.0 or 3.1 says so here", node.Text(version))
		return errors.Join(problems...)
	}
	if n := node.Field(root, servedBy); n != nil {
		wrong(n, "#/"+servedBy, "is %s's own contract, which was made from a published one: give that, or a real server's", n.Value)
		return errors.Join(problems...)
	}
	if d.Version() == "" {
		wrong(node.Field(root, "info"), "#/info/version", "there is no version")
	}
	ids := map[string]Operation{}
	count := 0
	for path, item := range node.Pairs(node.Field(root, "paths")) {
		if !strings.HasPrefix(path, "/") || item.Kind != yaml.MappingNode {
			wrong(item, "#/paths/"+node.Escape(path), "is no path: it begins with a slash and has an object")
		}
	}
	for o := range d.Operations() {
		count++
		other, sameID := ids[o.ID]
		switch {
		case o.Node.Kind != yaml.MappingNode:
			wrong(o.Node, o.pointer, "an operation is an object")
		case o.ID == "":
			wrong(o.Node, o.pointer+"/operationId", "the operation has no operationId")
		case !token.IsIdentifier(o.GoName):
			wrong(node.Field(o.Node, "operationId"), o.pointer+"/operationId", "%q makes no name in Go", o.ID)
		case sameID:
			wrong(node.Field(o.Node, "operationId"), o.pointer+"/operationId", "%s is the operationId of %v too", o.ID, other)
		case node.Field(o.Node, "responses") == nil:
			wrong(o.Node, o.pointer+"/responses", "the operation has no answers")
		}
		ids[o.ID] = o
	}
	if count == 0 {
		wrong(node.Field(root, "paths"), "#/paths", "there are no operations")
	}
	for pointer, ref := range node.References(root, "#") {
		switch {
		case !strings.HasPrefix(ref.Value, "#/"):
			wrong(ref, pointer, "%s leads out of the document, which cannot be followed", ref.Value)
		case node.Resolve(root, ref.Value) == nil:
			wrong(ref, pointer, "%s leads nowhere", ref.Value)
		}
	}
	return errors.Join(problems...)
}

// servedBy marks openhands-local's own contract.
const servedBy = "x-served-by"

// Served tells the document of a running server from the published one, which
// names servers and has none of the unpublished paths.
func (d *Document) Served(unpublished []string) bool {
	paths := node.Field(d.Root(), "paths")
	return node.Field(d.Root(), "servers") == nil || slices.ContainsFunc(unpublished, func(path string) bool { return node.Field(paths, path) != nil })
}

// Another says of a document that it is of another API, nil when it is of
// this one. here are the operations that are served, by [Operation.String]. A
// document that has less than a third of what it could have of them is no other
// version.
func (d *Document) Another(here []string) error {
	all, shared := 0, 0
	for o := range d.Operations() {
		all++
		if slices.Contains(here, o.String()) {
			shared++
		}
	}
	if 3*shared >= min(all, len(here)) {
		return nil
	}
	return &Problem{Document: d.Name, Reason: fmt.Sprintf("%s %s has %d of the %d operations that are served here, so it is another API and no version of this one: "+
		"give a document of OpenHands up to %s, the last that has this API, and let clients of the other ask a server of their own",
		node.Text(node.At(d.Root(), "info", "title")), d.Version(), shared, len(here), lastVersion)}
}

// lastVersion is the last of OpenHands that serves the operations of 0.53.0,
// 45 of the 47.
const lastVersion = "1.6.0"
