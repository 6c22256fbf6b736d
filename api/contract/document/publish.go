package document

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// servedBy marks openhands-local's own contract.
const servedBy = "x-served-by"

// secured begins the paths that ask for the key.
const secured = "/api/"

// Served tells the document of a running server from the published one, which
// names servers and has none of the unpublished paths.
func (d *Document) Served(unpublished []string) bool {
	paths := field(d.root(), "paths")
	return field(d.root(), "servers") == nil || slices.ContainsFunc(unpublished, func(path string) bool { return field(paths, path) != nil })
}

// Publish gives the document the published form, in which openapi.json is
// kept, and tells whether it had the form of a running server. Prose is left
// out of both. What a running server does not tell is taken from like, a
// published document: the servers, the key (a server without SESSION_API_KEY
// names none), the field conversation_id (one without
// ALLOW_SET_CONVERSATION_ID takes none), the summaries that were written by
// hand. The paths that are unpublished are taken out.
func (d *Document) Publish(like *Document, unpublished []string) (served bool) {
	root, as := d.root(), like.root()
	if served = d.Served(unpublished); served {
		for _, path := range unpublished {
			remove(field(root, "paths"), path)
		}
		d.secure(like)
		d.nameOperations(like)
		takeField(root, as, "components", "schemas", "InitSessionRequest", "properties", "conversation_id")
		takeField(root, as, "servers")
	}
	dropProse(root, "")
	return served
}

// takeField copies the last of keys where only like has it.
func takeField(n, like *yaml.Node, keys ...string) {
	last := len(keys) - 1
	parent, value := at(n, keys[:last]...), at(like, keys...)
	if parent != nil && value != nil && field(parent, keys[last]) == nil {
		insert(parent, "", keys[last], clone(value))
	}
}

// secure lets the operations ask for the key, as those of like do, unless the
// document names a key itself. FastAPI writes it before the parameters or, of
// an operation without any, nearly always last.
func (d *Document) secure(like *Document) {
	components := field(d.root(), "components")
	schemes := at(like.root(), "components", "securitySchemes")
	if components == nil || schemes == nil || field(components, "securitySchemes") != nil {
		return
	}
	insert(components, "", "securitySchemes", clone(schemes))
	before := map[string]string{}
	for o := range like.Operations() {
		before[o.String()] = after(o.node, "security")
	}
	for o := range d.Operations() {
		if !strings.HasPrefix(o.Path, secured) {
			continue
		}
		key := &yaml.Node{Kind: yaml.MappingNode}
		for name := range pairs(schemes) {
			insert(key, "", name, &yaml.Node{Kind: yaml.SequenceNode})
		}
		place, known := before[o.String()]
		if !known || field(o.node, place) == nil {
			place = "parameters"
		}
		insert(o.node, place, "security", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{key}})
	}
}

// nameOperations gives operations the summaries of like where theirs is the
// function's name, as FastAPI writes it.
func (d *Document) nameOperations(like *Document) {
	summaries := map[string]string{}
	for o := range like.Operations() {
		summaries[o.String()] = text(field(o.node, "summary"))
	}
	for o := range d.Operations() {
		known, written := summaries[o.String()], field(o.node, "summary")
		if known != "" && strings.ReplaceAll(text(written), " ", "") == o.GoName {
			written.Value = known
		}
	}
}

// standard are FastAPI's own descriptions of answers, which are kept.
var standard = []string{"Successful Response", "Validation Error"}

// answer stands for the status that an answer is the value of.
const answer = "200"

// dropProse takes descriptions away, but for those of the document and its
// servers. That of an answer, which OpenAPI wants, is emptied. key is the one
// that n is the value of.
func dropProse(n *yaml.Node, key string) {
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			dropProse(c, "")
		}
		return
	}
	names := slices.Contains(named, key)
	switch description := field(n, "description"); {
	case description == nil || names:
	case key != answer:
		remove(n, "description")
	case !slices.Contains(standard, description.Value):
		*description = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}
	}
	for k, c := range pairs(n) {
		switch {
		case names && key == "responses":
			dropProse(c, answer)
		case names:
			dropProse(c, "")
		case !slices.Contains(literal, k) && k != "info" && k != "servers":
			dropProse(c, k)
		}
	}
}
