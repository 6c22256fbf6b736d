// Package overlay reads an OpenAPI Overlay, whose actions are carried out by
// package document.
package overlay

import (
	"fmt"

	"github.com/speakeasy-api/openapi/overlay"
	"gopkg.in/yaml.v3"

	"github.com/openhands-local/openhands-local/api/contract/document"
)

// Read reads the actions of a file, in order. An error says that the file
// cannot be read, is no overlay, or has a target that is no JSONPath.
func Read(file string) ([]document.Action, error) {
	o, err := overlay.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	actions := make([]document.Action, len(o.Actions))
	for i, a := range o.Actions {
		path, err := o.NewPath(a.Target, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: target %s: %w", file, a.Target, err)
		}
		one := document.Action{Name: a.Target, Target: a.Target, Line: a.Update.Line, Find: path.Query}
		if a.Description != "" {
			one.Name = a.Description + " (" + a.Target + ")"
		}
		if !a.Update.IsZero() {
			one.Update = &a.Update
		}
		one.Apply = func(tree, update *yaml.Node) error {
			action, single := a, *o
			if update != nil {
				action.Update = *update
			}
			single.Actions = []overlay.Action{action}
			if err := single.ApplyTo(tree); err != nil {
				return fmt.Errorf("%s: target %s: %w", file, a.Target, err)
			}
			return nil
		}
		actions[i] = one
	}
	return actions, nil
}
