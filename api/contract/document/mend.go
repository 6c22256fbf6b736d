package document

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/openhands-local/openhands-local/api/contract/document/node"
)

// A Mend is a flaw of a document that was mended.
type Mend struct {
	Line    int    // of the document; 0 is unknown
	Pointer string // where, as in [Problem]
	Text    string // what was wrong, and what was done about it
}

func (m Mend) String() string { return m.Pointer + ": " + m.Text }

// Mend mends the flaws that do no harm, and tells of each: an operation that
// differs from another in the names of parameters alone, an operationId that
// several have, a $ref of a schema to nothing or of anything to what is no
// component, a parameter of
// the path that is not declared as one, a parameter without a schema or twice,
// a request body of a media type that is not read, of several or of none. What
// remains is for [Document.Check].
func (d *Document) Mend() []Mend {
	m := mender{d: d}
	m.paths()
	m.ids()
	m.references()
	m.inner()
	for path, item := range node.Pairs(node.Field(d.Root(), "paths")) {
		m.parameters(path, item)
	}
	for o := range d.Operations() {
		m.body(o)
	}
	return m.mends
}

type mender struct {
	d     *Document
	mends []Mend
}

func (m *mender) tell(n *yaml.Node, pointer, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	m.mends = append(m.mends, Mend{line, pointer, fmt.Sprintf(format, args...)})
}

// paths leaves one operation of those whose paths differ in the names of
// parameters alone: one of the current contract, else the first, which is the
// one that a server asks.
func (m *mender) paths() {
	by := map[string]Operation{}
	var second []Operation
	for o := range m.d.Operations() {
		key := o.Method + " " + templateName.ReplaceAllString(o.Path, "{}")
		first, there := by[key]
		if there && m.d.Names[o.String()] != "" && m.d.Names[first.String()] == "" {
			first, o = o, first
		}
		if by[key] = o; there {
			by[key] = first
			second = append(second, o)
			m.tell(o.Node, o.pointer, "no request comes here, since %v takes all: it is left out", first)
		}
	}
	paths := node.Field(m.d.Root(), "paths")
	for _, o := range second {
		item := node.Field(paths, o.Path)
		node.Remove(item, strings.ToLower(o.Method))
		if len(item.Content) == 0 {
			node.Remove(paths, o.Path)
		}
	}
}

// ids gives each operation an operationId of its own. The one whose path it
// names, as FastAPI writes it, keeps it, else one of the current contract, else
// the first by path. The others have their path instead.
func (m *mender) ids() {
	by := map[string][]Operation{}
	for o := range m.d.Operations() {
		if o.ID != "" {
			by[o.ID] = append(by[o.ID], o)
		}
	}
	there := func(id string) bool { return by[id] != nil }
	rank := func(o Operation) int {
		switch {
		case strings.HasSuffix(o.ID, o.idSuffix()):
			return 0
		case m.d.Names[o.String()] != "":
			return 1
		}
		return 2
	}
	for o := range m.d.Operations() {
		all := by[o.ID]
		slices.SortFunc(all, func(a, b Operation) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
		})
		if len(all) < 2 {
			continue
		}
		function := o.ID
		for _, other := range all {
			function = strings.TrimSuffix(function, other.idSuffix())
		}
		for _, other := range all[1:] {
			id := Numbered(cmp.Or(function, o.ID)+other.idSuffix(), there)
			by[id] = []Operation{other}
			written := node.Field(other.Node, "operationId")
			m.tell(written, other.pointer+"/operationId", "%s is the operationId of %v too: it is %s here", o.ID, all[0], id)
			written.Value = id
		}
		by[o.ID] = all[:1]
	}
}

// references lets a schema that refers to nothing take anything.
func (m *mender) references() {
	root := m.d.Root()
	type reference struct {
		pointer string
		ref     *yaml.Node
	}
	var dangling []reference
	for pointer, ref := range node.References(root, "#") {
		if strings.HasPrefix(ref.Value, "#/") && node.Resolve(root, ref.Value) == nil && ofSchema.MatchString(pointer) {
			dangling = append(dangling, reference{pointer, ref})
		}
	}
	for _, r := range dangling {
		node.Remove(node.Resolve(root, strings.TrimSuffix(r.pointer, "/$ref")), "$ref")
		m.tell(r.ref, r.pointer, "%s leads nowhere: any value passes there", r.ref.Value)
	}
}

// inner puts a copy in the place of a reference to what is no component. One
// that is within what it stands for is left.
func (m *mender) inner() {
	root := m.d.Root()
	const rounds = 5 // of copies within copies
	for range rounds {
		var inner []string
		for pointer, ref := range node.References(root, "#") {
			if strings.HasPrefix(ref.Value, "#/") && !component.MatchString(ref.Value) && node.Resolve(root, ref.Value) != nil {
				inner = append(inner, pointer)
			}
		}
		for _, pointer := range inner {
			parent := node.Resolve(root, strings.TrimSuffix(pointer, "/$ref"))
			ref := node.Field(parent, "$ref")
			target := node.Resolve(root, ref.Value)
			if within(target, parent) {
				continue
			}
			m.tell(ref, pointer, "%s is no component: it is copied here", ref.Value)
			node.Remove(parent, "$ref")
			for key, value := range node.Pairs(node.Clone(target)) {
				if node.Field(parent, key) == nil {
					node.Insert(parent, "", key, value)
				}
			}
		}
	}
}

// component tells the references that everything follows.
var component = regexp.MustCompile(`^#/components/[A-Za-z]+/[^/]+$`)

// within tells whether n is below tree.
func within(tree, n *yaml.Node) bool {
	return tree == n || slices.ContainsFunc(tree.Content, func(c *yaml.Node) bool { return within(c, n) })
}

// ofSchema tells the places of schemas.
var ofSchema = regexp.MustCompile(`^#/components/schemas/|/schema/`)

var templateName = regexp.MustCompile(`\{([^{}]*)\}`)

// A declared parameter is one of an operation, or of all of a path.
type declared struct {
	*yaml.Node
	in, name string
}

// parameters makes those of a path's operations fit the path.
func (m *mender) parameters(path string, item *yaml.Node) {
	var names []string
	for _, match := range templateName.FindAllStringSubmatch(path, -1) {
		names = append(names, match[1])
	}
	shared := node.Field(item, "parameters")
	before := len(m.mends)
	lists := map[*yaml.Node]*yaml.Node{} // of operations
	for method, operation := range node.Pairs(item) {
		if !slices.Contains(Methods, method) || operation.Kind != yaml.MappingNode {
			continue
		}
		pointer := "#/paths/" + node.Escape(path) + "/" + method
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, p := range m.fit(operation, m.declared(operation, shared, pointer), names, pointer) {
			list.Content = append(list.Content, p.Node)
		}
		lists[operation] = list
	}
	if len(m.mends) == before {
		return
	}
	node.Remove(item, "parameters")
	for operation, list := range lists {
		if written := node.Field(operation, "parameters"); written != nil {
			*written = *list
		} else if len(list.Content) > 0 {
			node.Insert(operation, "responses", "parameters", list)
		}
	}
}

// declared are the parameters of an operation, followed by those shared by
// its path that it does not declare itself. None is there twice, and each has
// a schema.
func (m *mender) declared(operation, shared *yaml.Node, pointer string) []declared {
	var all []declared
	for _, list := range []*yaml.Node{node.Field(operation, "parameters"), shared} {
		if list == nil || list.Kind != yaml.SequenceNode {
			continue
		}
		for _, written := range list.Content {
			n := written
			if ref := node.Text(node.Field(n, "$ref")); ref != "" {
				if n = node.Resolve(m.d.Root(), ref); n == nil {
					continue // Check refuses it
				}
			}
			p := declared{written, node.Text(node.Field(n, "in")), node.Text(node.Field(n, "name"))}
			if slices.ContainsFunc(all, func(o declared) bool { return o.in == p.in && o.name == p.name }) {
				if list != shared {
					m.tell(written, pointer+"/parameters", "%s is declared twice in the %s: the first counts", p.name, p.in)
				}
				continue
			}
			if node.Field(n, "schema") == nil {
				m.tell(written, pointer+"/parameters", "%s has no schema: any text passes", p.name)
				p.Node = node.Clone(n)
				node.Remove(p.Node, "content")
				node.Insert(p.Node, "", "schema", mapping("type", "string"))
			}
			all = append(all, p)
		}
	}
	return all
}

// fit declares the parameters that the path names, and no others, as those of
// the path.
func (m *mender) fit(operation *yaml.Node, all []declared, names []string, pointer string) []declared {
	ofPath := func(p declared) bool { return p.in == "path" }
	var missing []string
	for _, name := range names {
		if !slices.ContainsFunc(all, func(p declared) bool { return ofPath(p) && p.name == name }) {
			missing = append(missing, name)
		}
	}
	pointer += "/parameters"
	change := func(i int, key, value string) {
		n := all[i].Node
		if ref := node.Text(node.Field(n, "$ref")); ref != "" {
			n = node.Resolve(m.d.Root(), ref)
		}
		all[i].Node = node.Clone(n)
		if node.Field(all[i].Node, key) == nil {
			node.Insert(all[i].Node, "", key, &yaml.Node{})
		}
		tag := "!!str"
		if value == "true" {
			tag = "!!bool"
		}
		*node.Field(all[i].Node, key) = yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
	}
	extra := func(p declared) bool { return ofPath(p) && !slices.Contains(names, p.name) }
	for _, name := range missing {
		elsewhere := slices.IndexFunc(all, func(p declared) bool { return p.name == name })
		other := slices.IndexFunc(all, extra)
		switch {
		case elsewhere >= 0:
			m.tell(all[elsewhere].Node, pointer, "%s is declared in the %s: it is declared in the path here", name, all[elsewhere].in)
			change(elsewhere, "in", "path")
			change(elsewhere, "required", "true")
			all[elsewhere].in = "path"
		case other >= 0 && len(missing) == 1:
			m.tell(all[other].Node, pointer, "%s of the path is declared as %s: it is declared as %[1]s here", name, all[other].name)
			change(other, "name", name)
			all[other].name = name
		default:
			m.tell(operation, pointer, "%s of the path is not declared: it is declared as any text here", name)
			p := mapping("name", name, "in", "path")
			node.Insert(p, "", "required", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
			node.Insert(p, "", "schema", mapping("type", "string"))
			all = append(all, declared{p, "path", name})
		}
	}
	for i, p := range all {
		if ofPath(p) && !extra(p) && node.Field(p.Node, "$ref") == nil && node.Text(node.Field(p.Node, "required")) != "true" {
			m.tell(p.Node, pointer, "%s of the path is not required: it is required here", p.name)
			change(i, "required", "true")
		}
	}
	return slices.DeleteFunc(all, func(p declared) bool {
		if extra(p) {
			m.tell(p.Node, pointer, "%s is not in the path: it is left out", p.name)
			return true
		}
		return false
	})
}

// read tells the media types of request bodies that are decoded.
var read = regexp.MustCompile(`^application/([^;]*\+)?json\b|^multipart/form-data\b|^application/x-www-form-urlencoded\b`)

// body leaves a request body one media type, with a schema; where none is
// decoded, the body is not validated.
func (m *mender) body(o Operation) {
	body, pointer := node.Field(o.Node, "requestBody"), o.pointer+"/requestBody"
	if ref := node.Text(node.Field(body, "$ref")); ref != "" {
		body = node.Resolve(m.d.Root(), ref)
	}
	if body == nil || body.Kind != yaml.MappingNode || node.Field(body, notValidated) != nil {
		return
	}
	content := node.Field(body, "content")
	var first string
	var others []string
	for media := range node.Pairs(content) {
		if read.MatchString(media) && (first == "" || media == "application/json") {
			first, media = media, first
		}
		if media != "" {
			others = append(others, media)
		}
	}
	if first == "" {
		m.tell(body, pointer, "a body of %s is not read: it is not validated", cmp.Or(strings.Join(others, " or "), "no media type"))
		node.Insert(body, "", notValidated, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
		return
	}
	for _, media := range others {
		m.tell(node.Field(content, media), pointer+"/content", "a body of %s is left out: %s is read", media, first)
		node.Remove(content, media)
	}
	if kept := node.Field(content, first); kept.Kind == yaml.MappingNode && node.Field(kept, "schema") == nil {
		m.tell(kept, pointer+"/content/"+node.Escape(first), "there is no schema: any value passes")
		node.Insert(kept, "", "schema", mapping())
	}
}

// notValidated marks a request body that is for the handler alone (package
// contract).
const notValidated = "x-not-validated"

func mapping(pairs ...string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		node.Insert(n, "", pairs[i], &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: pairs[i+1]})
	}
	return n
}
