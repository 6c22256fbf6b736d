// Package overlay reads an OpenAPI Overlay, and joins a document with it.
package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/speakeasy-api/openapi/overlay"
	"gopkg.in/yaml.v3"
)

// Read reads the actions of a file, in order. An error says that the file
// cannot be read, is no overlay, or has a target that is no JSONPath.
func Read(file string) ([]Action, error) {
	o, err := overlay.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	actions := make([]Action, len(o.Actions))
	for i, a := range o.Actions {
		path, err := o.NewPath(a.Target, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: target %s: %w", file, a.Target, err)
		}
		one := Action{Name: a.Target, Target: a.Target, Line: a.Update.Line, Find: path.Query}
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

var nameTarget = regexp.MustCompile(`^\$\.paths\[(".*")\]\.([a-z]+)$`)

// Names reads the Go names that an overlay gives to operations, by method and
// path: those of the current contract, as server/workshop/generate wrote them.
// There are none without the file.
func Names(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var o struct {
		Actions []struct {
			Target string
			Update struct {
				Name string `yaml:"operationId"`
			}
		}
	}
	if err := errors.Join(err, yaml.Unmarshal(text, &o)); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	names := map[string]string{}
	for _, a := range o.Actions {
		if m := nameTarget.FindStringSubmatch(a.Target); m != nil {
			path, err := strconv.Unquote(m[1])
			if err != nil {
				return nil, fmt.Errorf("%s: target %s: %w", file, a.Target, err)
			}
			names[strings.ToUpper(m[2])+" "+path] = a.Update.Name
		}
	}
	return names, nil
}
