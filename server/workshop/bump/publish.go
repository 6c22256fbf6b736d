package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/contract/document/node"
)

// secured begins the paths that ask for the key, keyHeader carries it.
const (
	secured   = "/api/"
	keyHeader = "X-Session-API-Key"
)

// publish gives a document the published form, in which openapi.json is kept,
// and tells whether it had the form of a running server. Prose is left out of
// both. What a running server does not tell is taken from like, published
// documents of which the first that has it counts: the servers, the key (a
// server without SESSION_API_KEY names none), the field conversation_id (one
// without ALLOW_SET_CONVERSATION_ID takes none), the summaries that were
// written by hand. The paths that are unpublished are taken out.
func publish(d *document.Document, unpublished []string, like ...*document.Document) (served bool, mends []document.Mend) {
	root := d.Root()
	if served = d.Served(unpublished); served {
		for _, path := range unpublished {
			node.Remove(node.Field(root, "paths"), path)
		}
		known := map[string]document.Operation{}
		for _, one := range slices.Backward(like) {
			for o := range one.Operations() {
				known[o.String()] = o
			}
		}
		nameOperations(d, known)
		mends = keepSchemas(d, like[0], known)
		for _, one := range like {
			mends = append(mends, secure(d, one, known)...)
			takeField(root, one.Root(), "components", "schemas", "InitSessionRequest", "properties", "conversation_id")
			takeField(root, one.Root(), "servers")
		}
	}
	dropProse(root, "")
	return served, mends
}

// takeField copies the last of keys where only like has it.
func takeField(n, like *yaml.Node, keys ...string) {
	last := len(keys) - 1
	parent, value := node.At(n, keys[:last]...), node.At(like, keys...)
	if parent != nil && value != nil && node.Field(parent, keys[last]) == nil {
		node.Insert(parent, "", keys[last], node.Clone(value))
	}
}

// keyOf returns the security scheme of the key and its name, nil when the
// document has none.
func keyOf(d *document.Document) (string, *yaml.Node) {
	for name, scheme := range node.Pairs(node.At(d.Root(), "components", "securitySchemes")) {
		if node.Text(node.Field(scheme, "name")) == keyHeader {
			return name, scheme
		}
	}
	return "", nil
}

// secure lets the operations ask for the key, as those that are known do,
// unless the document names the key itself. FastAPI writes it before the
// parameters or, of an operation without any, nearly always last. It gives
// every header the same name for a scheme: another's becomes that of the
// header.
func secure(d, like *document.Document, known map[string]document.Operation) (mends []document.Mend) {
	components := node.Field(d.Root(), "components")
	name, scheme := keyOf(like)
	if _, there := keyOf(d); components == nil || scheme == nil || there != nil {
		return nil
	}
	schemes := node.Field(components, "securitySchemes")
	if schemes == nil {
		schemes = &yaml.Node{Kind: yaml.MappingNode}
		node.Insert(components, "", "securitySchemes", schemes)
	}
	other := ""
	if taken := node.Field(schemes, name); taken != nil {
		header := node.Text(node.Field(taken, "name"))
		other = strings.ReplaceAll(header, "-", "")
		mends = append(mends, document.Mend{Line: taken.Line, Pointer: "#/components/securitySchemes/" + name,
			Text: fmt.Sprintf("is the header %s, and the key's header has this name: it is %s here", header, other)})
		node.Remove(schemes, name)
		node.Insert(schemes, "", other, taken)
	}
	first := ""
	if len(schemes.Content) > 0 {
		first = schemes.Content[0].Value
	}
	node.Insert(schemes, first, name, node.Clone(scheme))
	for o := range d.Operations() {
		written := node.Field(o.Node, "security")
		_, wasKnown := known[o.String()]
		switch {
		case written != nil && !wasKnown && other != "":
			for _, requirement := range written.Content {
				for i := 0; i < len(requirement.Content); i += 2 {
					if key := requirement.Content[i]; key.Value == name {
						key.Value = other
					}
				}
			}
			continue
		case written != nil || !strings.HasPrefix(o.Path, secured):
			continue
		}
		place := after(known[o.String()].Node, "security")
		if node.Field(o.Node, place) == nil {
			place = "parameters"
		}
		key := &yaml.Node{Kind: yaml.MappingNode}
		node.Insert(key, "", name, &yaml.Node{Kind: yaml.SequenceNode})
		node.Insert(o.Node, place, "security", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{key}})
	}
	return mends
}

// keepSchemas gives a schema the name that it has in like. FastAPI gives one
// another name as soon as a second of the same name is served:
// ConversationInfo-Output, or openhands__server__ConversationInfo. It is the
// one that the known operations come to, and of two the one of answers.
func keepSchemas(d, like *document.Document, known map[string]document.Operation) (mends []document.Mend) {
	schemas, before := node.At(d.Root(), "components", "schemas"), node.At(like.Root(), "components", "schemas")
	reached := map[string]bool{}
	var reach func(n *yaml.Node)
	reach = func(n *yaml.Node) {
		for _, ref := range node.References(n, "#") {
			if name, ok := strings.CutPrefix(ref.Value, schemaPrefix); ok && !reached[name] {
				reached[name] = true
				if schema := node.Field(schemas, name); schema != nil {
					reach(schema)
				}
			}
		}
	}
	for o := range d.Operations() {
		if _, ok := known[o.String()]; ok {
			reach(o.Node)
		}
	}
	for name := range node.Pairs(before) {
		var found []string
		for other := range node.Pairs(schemas) {
			short := strings.TrimSuffix(strings.TrimSuffix(other[strings.LastIndex(other, "__")+1:], "-Output"), "-Input")
			if reached[other] && strings.TrimPrefix(short, "_") == name && node.Field(before, other) == nil {
				found = append(found, other)
			}
		}
		if len(found) > 1 {
			found = slices.DeleteFunc(found, func(other string) bool { return !strings.HasSuffix(other, "-Output") })
		}
		other := node.Field(schemas, name)
		if len(found) != 1 || other != nil && reached[name] {
			continue
		}
		text := "is " + name + " of the current contract: it keeps that name"
		if other != nil {
			text += ", and another schema of the name takes this one"
		}
		mends = append(mends, document.Mend{Line: node.Field(schemas, found[0]).Line, Pointer: schemaPrefix + node.Escape(found[0]), Text: text})
		swap := map[string]string{name: found[0], found[0]: name}
		for i := 0; i < len(schemas.Content); i += 2 {
			key := schemas.Content[i]
			key.Value = cmp.Or(swap[key.Value], key.Value)
		}
		renameValues(d.Root(), map[string]string{schemaPrefix + name: schemaPrefix + found[0], schemaPrefix + found[0]: schemaPrefix + name})
	}
	return mends
}

const schemaPrefix = "#/components/schemas/"

// renameValues changes every text of a document: of references, and of the
// mappings of discriminators.
func renameValues(n *yaml.Node, names map[string]string) {
	if to := names[n.Value]; n.Kind == yaml.ScalarNode && to != "" {
		n.Value = to
	}
	for _, c := range n.Content {
		renameValues(c, names)
	}
}

// nameOperations gives operations the known summaries where theirs is the
// function's name, as FastAPI writes it, and leaves out the descriptions of
// answers that are known to be prose.
func nameOperations(d *document.Document, known map[string]document.Operation) {
	for o := range d.Operations() {
		summary, written := node.Text(node.Field(known[o.String()].Node, "summary")), node.Field(o.Node, "summary")
		if summary != "" && strings.EqualFold(strings.ReplaceAll(node.Text(written), " ", ""), o.Function()) {
			written.Value = summary
		}
		for status, answer := range node.Pairs(node.Field(o.Node, "responses")) {
			before, now := node.At(known[o.String()].Node, "responses", status, "description"), node.Field(answer, "description")
			if before != nil && before.Value == "" && now != nil {
				now.Value = ""
			}
		}
	}
}

// standard are FastAPI's own descriptions of answers, which are kept.
var standard = []string{"Successful Response", "Validation Error"}

// answer stands for the status that an answer is the value of.
const answer = "200"

// labels are what a settings page shows of a field: prose, in an extension.
var labels = []string{"openhands_settings", "openhands_settings_section"}

// handwritten tells a title that somebody wrote from the name of a field, each
// of whose words FastAPI begins with a capital.
func handwritten(title string) bool {
	return slices.ContainsFunc(strings.Fields(title), func(word string) bool { return 'a' <= word[0] && word[0] <= 'z' }) && strings.Contains(title, " ")
}

// dropProse takes descriptions and titles in words away, but for those of the
// document and its servers. That of an answer, which OpenAPI wants, is emptied.
// key is the one that n is the value of.
func dropProse(n *yaml.Node, key string) {
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			dropProse(c, "")
		}
		return
	}
	names := slices.Contains(node.Named, key)
	switch description := node.Field(n, "description"); {
	case description == nil || names:
	case key != answer:
		node.Remove(n, "description")
	case !slices.Contains(standard, description.Value):
		*description = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}
	}
	if !names {
		if title := node.Field(n, "title"); title != nil && title.Kind == yaml.ScalarNode && key != "info" && handwritten(title.Value) {
			node.Remove(n, "title")
		}
		for _, label := range labels {
			node.Remove(n, label)
		}
	}
	for k, c := range node.Pairs(n) {
		switch {
		case names && key == "responses":
			dropProse(c, answer)
		case names:
			dropProse(c, "")
		case !slices.Contains(node.Literal, k) && k != "info" && k != "servers":
			dropProse(c, k)
		}
	}
}

// after is the key that follows one in a mapping, "" when none does.
func after(mapping *yaml.Node, key string) string {
	found := false
	for k := range node.Pairs(mapping) {
		if found {
			return k
		}
		found = k == key
	}
	return ""
}
