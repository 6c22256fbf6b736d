package overlay

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/contract/document/node"
)

// An Action is one of an overlay.
type Action struct {
	Name   string // its description and target
	Target string // a JSONPath
	Line   int    // in the overlay's file
	Update *yaml.Node

	// Find returns what the target is in a document.
	Find func(tree *yaml.Node) []*yaml.Node
	// Apply changes a document, with update in the place of Update.
	Apply func(tree, update *yaml.Node) error
}

// An Idle action is one that a document has no use for.
type Idle struct {
	Action
	Reason string
	// Aside says that the document has by itself what the action would have
	// added, and not that something is missing.
	Aside bool
}

func (i Idle) String() string { return i.Name + ": " + i.Reason }

// Join carries out the actions in order, and returns those that it did not.
// An action is left out when the document does not have its target, or when
// it refers to what the document does not have. An action that adds paths or
// schemas steps aside where the document has them by itself: that operation,
// that schema is the document's alone. But a schema that an action still refers
// to, and of whose name the document has another, is added under a name of its
// own.
func Join(d *document.Document, actions []Action) ([]Idle, error) {
	var idle []Idle
	renamed := renames(d, actions)
	for _, a := range actions {
		if len(a.Find(d.Tree)) == 0 {
			idle = append(idle, Idle{a, "there is no such target", false})
			continue
		}
		update := a.Update
		if update != nil {
			update = node.Clone(update)
			for _, name := range rename(a.Target, update, renamed) {
				idle = append(idle, Idle{a, name + " is " + renamed[name] + " here, since the document has another of this name", true})
			}
			if stepAside(a.Target, update, d.Root()) {
				idle = append(idle, Idle{a, "steps aside, since the document has it by itself", true})
				if len(update.Content) == 0 {
					continue
				}
			}
		}
		var before *yaml.Node
		if dangling(update, d.Root()) != nil {
			before = node.Clone(d.Tree)
		}
		if err := a.Apply(d.Tree, update); err != nil {
			return nil, err
		}
		if before == nil {
			continue
		}
		if ref := dangling(update, d.Root()); ref != nil { // it did not bring what it refers to
			a.Line = ref.Line
			idle = append(idle, Idle{a, "it refers to " + ref.Value + ", which is not there", false})
			d.Tree = before
		}
	}
	return idle, nil
}

// dangling is the first reference below n that leads nowhere in root.
func dangling(n, root *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	for _, ref := range node.References(n, "#") {
		if node.Resolve(root, ref.Value) == nil {
			return ref
		}
	}
	return nil
}

// Targets of actions that add what a document may have by itself.
const (
	allPaths   = "$.paths"
	allSchemas = "$.components.schemas"
)

// stepAside takes out of an update what the document has, and tells whether
// there was any.
func stepAside(target string, update, root *yaml.Node) (any bool) {
	switch target {
	case allSchemas:
		for name := range node.Pairs(node.At(root, "components", "schemas")) {
			if node.Field(update, name) != nil {
				any = true
				node.Remove(update, name)
			}
		}
	case allPaths:
		for path, item := range node.Pairs(node.Field(root, "paths")) {
			added := node.Field(update, path)
			for method := range node.Pairs(item) {
				if slices.Contains(document.Methods, method) && node.Field(added, method) != nil {
					any = true
					node.Remove(added, method)
				}
			}
			if added != nil && len(added.Content) == 0 {
				node.Remove(update, path)
			}
		}
	}
	return any
}

const schemaPrefix = "#/components/schemas/"

// renames are the names that schemas of the actions have here, by the name that
// the document has for another.
func renames(d *document.Document, actions []Action) map[string]string {
	schemas := node.At(d.Root(), "components", "schemas")
	referred := map[string]bool{}
	for _, a := range actions {
		if a.Update == nil || len(a.Find(d.Tree)) == 0 {
			continue
		}
		update := node.Clone(a.Update)
		stepAside(a.Target, update, d.Root())
		for _, ref := range node.References(update, "#") {
			referred[strings.TrimPrefix(ref.Value, schemaPrefix)] = true
		}
	}
	names := map[string]string{}
	for _, a := range actions {
		if a.Target != allSchemas {
			continue
		}
		for name := range node.Pairs(a.Update) {
			if node.Field(schemas, name) != nil && referred[name] {
				names[name] = document.Numbered(name, func(one string) bool { return node.Field(schemas, one) != nil })
			}
		}
	}
	return names
}

// rename gives the schemas that an update adds and refers to the names that
// they have here, and returns which it adds under another.
func rename(target string, update *yaml.Node, names map[string]string) (added []string) {
	for i := 0; target == allSchemas && i < len(update.Content); i += 2 {
		if key := update.Content[i]; names[key.Value] != "" {
			added = append(added, key.Value)
			key.Value = names[key.Value]
		}
	}
	for _, ref := range node.References(update, "#") {
		if name := names[strings.TrimPrefix(ref.Value, schemaPrefix)]; name != "" {
			ref.Value = schemaPrefix + name
		}
	}
	return added
}

// unpublished marks operations that a running server tells of and its makers
// leave out of the published document.
const unpublished = "x-unpublished"

// Unpublished returns the paths of the operations that the actions add and
// mark as unpublished.
func Unpublished(actions []Action) []string {
	var paths []string
	for _, a := range actions {
		if a.Target != allPaths {
			continue
		}
		for path, item := range node.Pairs(a.Update) {
			for _, operation := range node.Pairs(item) {
				if node.Text(node.Field(operation, unpublished)) == "true" {
					paths = append(paths, path)
				}
			}
		}
	}
	return paths
}
