package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"os"

	"gopkg.in/yaml.v3"
)

// readYAML reads a JSON or YAML file as nodes, which keep the order of keys.
func readYAML(name string) (*yaml.Node, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if doc.Kind != yaml.DocumentNode || root(&doc).Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: not an OpenAPI document", name)
	}
	return &doc, nil
}

func root(doc *yaml.Node) *yaml.Node { return doc.Content[0] }

// pairs yields the keys and values of a mapping, in order.
func pairs(mapping *yaml.Node) iter.Seq2[string, *yaml.Node] {
	return func(yield func(string, *yaml.Node) bool) {
		if mapping == nil || mapping.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if !yield(mapping.Content[i].Value, mapping.Content[i+1]) {
				return
			}
		}
	}
}

// field returns the value of a key in a mapping, nil when there is none.
func field(mapping *yaml.Node, key string) *yaml.Node {
	for k, v := range pairs(mapping) {
		if k == key {
			return v
		}
	}
	return nil
}

// writeJSON writes a node as JSON, indented by two spaces, in the order of
// its keys.
func writeJSON(b *bytes.Buffer, n *yaml.Node, indent string) error {
	inner := indent + "  "
	switch n.Kind {
	case yaml.AliasNode:
		return writeJSON(b, n.Alias, indent)
	case yaml.MappingNode:
		if len(n.Content) == 0 {
			b.WriteString("{}")
			return nil
		}
		sep := "{\n"
		for k, v := range pairs(n) {
			b.WriteString(sep + inner)
			if err := writeScalar(b, k); err != nil {
				return err
			}
			b.WriteString(": ")
			if err := writeJSON(b, v, inner); err != nil {
				return err
			}
			sep = ",\n"
		}
		b.WriteString("\n" + indent + "}")
	case yaml.SequenceNode:
		if len(n.Content) == 0 {
			b.WriteString("[]")
			return nil
		}
		sep := "[\n"
		for _, v := range n.Content {
			b.WriteString(sep + inner)
			if err := writeJSON(b, v, inner); err != nil {
				return err
			}
			sep = ",\n"
		}
		b.WriteString("\n" + indent + "]")
	default:
		var v any
		if err := n.Decode(&v); err != nil {
			return err
		}
		return writeScalar(b, v)
	}
	return nil
}

func writeScalar(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the encoder's newline
	return nil
}
