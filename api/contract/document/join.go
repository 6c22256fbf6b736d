package document

import (
	"slices"

	"gopkg.in/yaml.v3"
)

// An Action is one of an overlay. Package overlay reads them from a file.
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
// that schema is the document's alone.
func (d *Document) Join(actions []Action) ([]Idle, error) {
	var idle []Idle
	for _, a := range actions {
		if len(a.Find(d.tree)) == 0 {
			idle = append(idle, Idle{a, "there is no such target", false})
			continue
		}
		update := a.Update
		if update != nil {
			update = clone(update)
			if stepAside(a.Target, update, d.root()) {
				idle = append(idle, Idle{a, "steps aside, since the document has it by itself", true})
				if len(update.Content) == 0 {
					continue
				}
			}
		}
		var before *yaml.Node
		if dangling(update, d.root()) != nil {
			before = clone(d.tree)
		}
		if err := a.Apply(d.tree, update); err != nil {
			return nil, err
		}
		if before == nil {
			continue
		}
		if ref := dangling(update, d.root()); ref != nil { // it did not bring what it refers to
			a.Line = ref.Line
			idle = append(idle, Idle{a, "it refers to " + ref.Value + ", which is not there", false})
			d.tree = before
		}
	}
	return idle, nil
}

// dangling is the first reference below n that leads nowhere in root.
func dangling(n, root *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	for _, ref := range references(n, "#") {
		if resolve(root, ref.Value) == nil {
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
		for name := range pairs(at(root, "components", "schemas")) {
			if field(update, name) != nil {
				any = true
				remove(update, name)
			}
		}
	case allPaths:
		for path, item := range pairs(field(root, "paths")) {
			added := field(update, path)
			for method := range pairs(item) {
				if slices.Contains(methods, method) && field(added, method) != nil {
					any = true
					remove(added, method)
				}
			}
			if added != nil && len(added.Content) == 0 {
				remove(update, path)
			}
		}
	}
	return any
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
		for path, item := range pairs(a.Update) {
			for _, operation := range pairs(item) {
				if text(field(operation, unpublished)) == "true" {
					paths = append(paths, path)
				}
			}
		}
	}
	return paths
}
