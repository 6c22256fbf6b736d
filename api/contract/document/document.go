// Package document is an OpenAPI document as it is written: nodes that keep
// the order of their keys.
//
// [Parse] reads JSON or YAML, [Document.Check] finds what makes a document
// unfit for a contract, [Document.Publish] gives what a running server tells
// of itself the published form, and [Document.Join] adds what an overlay says
// beyond it. The package serves the programs that make package gen, and
// imports nothing that comes from it.
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
)

// A Document is an OpenAPI document.
type Document struct {
	// Name is how problems call it: its file or address.
	Name string
	tree *yaml.Node // of kind DocumentNode
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
	d := &Document{name, &tree}
	if tree.Kind != yaml.DocumentNode || d.root().Kind != yaml.MappingNode {
		return nil, wrong(0, "is no OpenAPI document: it is no object")
	}
	if err := d.unique(d.root(), "#"); err != nil {
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
			where := at + "/" + escape(key)
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

func (d *Document) root() *yaml.Node { return d.tree.Content[0] }

// Version is info.version.
func (d *Document) Version() string { return text(at(d.root(), "info", "version")) }

// JSON writes the document, indented by two spaces, in the order of its keys,
// with a newline at the end.
func (d *Document) JSON() ([]byte, error) {
	var b bytes.Buffer
	if err := writeJSON(&b, d.root(), ""); err != nil {
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

	pointer string
	node    *yaml.Node
}

func (o Operation) String() string { return o.Method + " " + o.Path }

var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// Operations yields the operations, in the order of the document.
func (d *Document) Operations() iter.Seq[Operation] {
	return func(yield func(Operation) bool) {
		for path, item := range pairs(field(d.root(), "paths")) {
			for method, node := range pairs(item) {
				if !slices.Contains(methods, method) {
					continue // parameters, summary: no operation
				}
				id := text(field(node, "operationId"))
				o := Operation{strings.ToUpper(method), path, id, goName(id, path, method), "#/paths/" + escape(path) + "/" + method, node}
				if !yield(o) {
					return
				}
			}
		}
	}
}

// Fields yields the schemas that have fields, with the names of these, in the
// order of the document.
func (d *Document) Fields() iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		for schema, n := range pairs(at(d.root(), "components", "schemas")) {
			var names []string
			for name := range pairs(field(n, "properties")) {
				names = append(names, name)
			}
			if len(names) > 0 && !yield(schema, names) {
				return
			}
		}
	}
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

// Check returns all that makes the document unfit, as [*Problem]s joined: it
// is not OpenAPI 3, it is openhands-local's own contract, it has no version or
// no operations, an operation has no id or no answers, two have the same name,
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
	root := d.root()
	if swagger := field(root, "swagger"); swagger != nil {
		wrong(swagger, "#/swagger", "is OpenAPI %s; only 3.0 and 3.1 can be read", swagger.Value)
		return errors.Join(problems...)
	}
	version := field(root, "openapi")
	if !regexp.MustCompile(`^3\.[01](\.|$)`).MatchString(text(version)) {
		wrong(version, "#/openapi", "is %q; an OpenAPI document of 3.0 or 3.1 says so here", text(version))
		return errors.Join(problems...)
	}
	if n := field(root, servedBy); n != nil {
		wrong(n, "#/"+servedBy, "is %s's own contract, which was made from a published one: give that, or a real server's", n.Value)
		return errors.Join(problems...)
	}
	if d.Version() == "" {
		wrong(field(root, "info"), "#/info/version", "there is no version")
	}
	ids, names := map[string]Operation{}, map[string]Operation{}
	count := 0
	for path, item := range pairs(field(root, "paths")) {
		if !strings.HasPrefix(path, "/") || item.Kind != yaml.MappingNode {
			wrong(item, "#/paths/"+escape(path), "is no path: it begins with a slash and has an object")
		}
	}
	for o := range d.Operations() {
		count++
		other, sameID := ids[o.ID]
		namesake, sameName := names[o.GoName]
		switch {
		case o.node.Kind != yaml.MappingNode:
			wrong(o.node, o.pointer, "an operation is an object")
		case o.ID == "":
			wrong(o.node, o.pointer+"/operationId", "the operation has no operationId")
		case !token.IsIdentifier(o.GoName):
			wrong(field(o.node, "operationId"), o.pointer+"/operationId", "%q makes no name in Go", o.ID)
		case sameID:
			wrong(field(o.node, "operationId"), o.pointer+"/operationId", "%s is the operationId of %v too", o.ID, other)
		case sameName:
			wrong(field(o.node, "operationId"), o.pointer+"/operationId", "the operation has the Go name %s, as has %v", o.GoName, namesake)
		case field(o.node, "responses") == nil:
			wrong(o.node, o.pointer+"/responses", "the operation has no answers")
		}
		ids[o.ID], names[o.GoName] = o, o
	}
	if count == 0 {
		wrong(field(root, "paths"), "#/paths", "there are no operations")
	}
	for pointer, ref := range references(root, "#") {
		switch {
		case !strings.HasPrefix(ref.Value, "#/"):
			wrong(ref, pointer, "%s leads out of the document, which cannot be followed", ref.Value)
		case resolve(root, ref.Value) == nil:
			wrong(ref, pointer, "%s leads nowhere", ref.Value)
		}
	}
	return errors.Join(problems...)
}

// literal are the keys whose values are values of the API, not parts of the
// document.
var literal = []string{"example", "examples", "default", "enum", "const"}

// named are the keys whose values have names for keys.
var named = []string{"properties", "patternProperties", "$defs", "schemas", "responses", "parameters", "requestBodies",
	"headers", "securitySchemes", "links", "callbacks", "paths", "content", "variables", "mapping", "encoding", "dependentSchemas"}

// references yields every $ref below a node, with its pointer.
func references(n *yaml.Node, pointer string) iter.Seq2[string, *yaml.Node] {
	return func(yield func(string, *yaml.Node) bool) {
		var walk func(n *yaml.Node, pointer string, names bool) bool
		walk = func(n *yaml.Node, pointer string, names bool) bool {
			for i, c := range n.Content {
				if n.Kind != yaml.MappingNode {
					if !walk(c, pointer+"/"+strconv.Itoa(i), false) {
						return false
					}
					continue
				}
				if i%2 == 0 {
					continue
				}
				key := n.Content[i-1].Value
				at := pointer + "/" + escape(key)
				switch {
				case !names && slices.Contains(literal, key):
				case !names && key == "$ref" && c.Kind == yaml.ScalarNode:
					if !yield(at, c) {
						return false
					}
				case !walk(c, at, !names && slices.Contains(named, key)):
					return false
				}
			}
			return true
		}
		walk(n, pointer, false)
	}
}

var unescapes = strings.NewReplacer("~1", "/", "~0", "~")

// resolve follows a reference within the document, nil when it leads nowhere.
func resolve(root *yaml.Node, ref string) *yaml.Node {
	n := root
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		if n == nil {
			return nil
		}
		part = unescapes.Replace(part)
		if n.Kind == yaml.SequenceNode {
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(n.Content) {
				return nil
			}
			n = n.Content[i]
			continue
		}
		n = field(n, part)
	}
	return n
}
