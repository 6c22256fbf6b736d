// Package node reads and changes an OpenAPI document as it is written: nodes
// of YAML, whose mappings keep the order of their keys. A node that is not
// there is nil, and has nothing in it.
package node

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Pairs yields the keys and values of a mapping, in order.
func Pairs(mapping *yaml.Node) iter.Seq2[string, *yaml.Node] {
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

// Field returns the value of a key in a mapping, nil when there is none.
func Field(mapping *yaml.Node, key string) *yaml.Node {
	for k, v := range Pairs(mapping) {
		if k == key {
			return v
		}
	}
	return nil
}

// At follows keys into mappings, nil when one is not there.
func At(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		n = Field(n, key)
	}
	return n
}

// Text is the value of a scalar, "" for anything else.
func Text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// Insert puts a key and its value into a mapping, before the key Named, or
// last where there is none of that name.
func Insert(mapping *yaml.Node, before, key string, value *yaml.Node) {
	i := 0
	for i+1 < len(mapping.Content) && mapping.Content[i].Value != before {
		i += 2
	}
	added := []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value}
	mapping.Content = append(mapping.Content[:i:i], append(added, mapping.Content[i:]...)...)
}

// Remove takes a key out of a mapping.
func Remove(mapping *yaml.Node, key string) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			mapping.Content = append(mapping.Content[:i], mapping.Content[i+2:]...)
			return
		}
	}
}

// Clone copies a node with all that is below it.
func Clone(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = Clone(child)
	}
	return &c
}

// Escape makes a name a part of a JSON pointer.
func Escape(name string) string { return escapes.Replace(name) }

var escapes = strings.NewReplacer("~", "~0", "/", "~1")

// WriteJSON writes a node as JSON, indented by two spaces, in the order of
// its keys.
func WriteJSON(b *bytes.Buffer, n *yaml.Node, indent string) error {
	inner := indent + "  "
	switch n.Kind {
	case yaml.MappingNode:
		if len(n.Content) == 0 {
			b.WriteString("{}")
			return nil
		}
		sep := "{\n"
		for k, v := range Pairs(n) {
			b.WriteString(sep + inner)
			if err := writeScalar(b, k); err != nil {
				return err
			}
			b.WriteString(": ")
			if err := WriteJSON(b, v, inner); err != nil {
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
			if err := WriteJSON(b, v, inner); err != nil {
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

// Literal are the keys whose values are values of the API, not parts of the
// document.
var Literal = []string{"example", "examples", "default", "enum", "const"}

// Named are the keys whose values have names for keys.
var Named = []string{"properties", "patternProperties", "$defs", "schemas", "responses", "parameters", "requestBodies",
	"headers", "securitySchemes", "links", "callbacks", "paths", "content", "variables", "mapping", "encoding", "dependentSchemas"}

// References yields every $ref below a node, with its pointer.
func References(n *yaml.Node, pointer string) iter.Seq2[string, *yaml.Node] {
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
				at := pointer + "/" + Escape(key)
				switch {
				case !names && slices.Contains(Literal, key):
				case !names && key == "$ref" && c.Kind == yaml.ScalarNode:
					if !yield(at, c) {
						return false
					}
				case !walk(c, at, !names && slices.Contains(Named, key)):
					return false
				}
			}
			return true
		}
		walk(n, pointer, false)
	}
}

var unescapes = strings.NewReplacer("~1", "/", "~0", "~")

// Resolve follows a reference within the document, nil when it leads nowhere.
func Resolve(root *yaml.Node, ref string) *yaml.Node {
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
		n = Field(n, part)
	}
	return n
}
