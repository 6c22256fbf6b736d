package document

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"

	"gopkg.in/yaml.v3"
)

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

// at follows keys into mappings, nil when one is not there.
func at(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		n = field(n, key)
	}
	return n
}

// text is the value of a scalar, "" for anything else.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// insert puts a key and its value into a mapping, before the key named, or
// last where there is none of that name.
func insert(mapping *yaml.Node, before, key string, value *yaml.Node) {
	i := 0
	for i+1 < len(mapping.Content) && mapping.Content[i].Value != before {
		i += 2
	}
	added := []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value}
	mapping.Content = append(mapping.Content[:i:i], append(added, mapping.Content[i:]...)...)
}

// after is the key that follows one in a mapping, "" when none does.
func after(mapping *yaml.Node, key string) string {
	found := false
	for k := range pairs(mapping) {
		if found {
			return k
		}
		found = k == key
	}
	return ""
}

// remove takes a key out of a mapping.
func remove(mapping *yaml.Node, key string) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			mapping.Content = append(mapping.Content[:i], mapping.Content[i+2:]...)
			return
		}
	}
}

// clone copies a node with all that is below it.
func clone(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = clone(child)
	}
	return &c
}

// escape makes a name a part of a JSON pointer.
func escape(name string) string { return escapes.Replace(name) }

var escapes = strings.NewReplacer("~", "~0", "/", "~1")

// writeJSON writes a node as JSON, indented by two spaces, in the order of
// its keys.
func writeJSON(b *bytes.Buffer, n *yaml.Node, indent string) error {
	inner := indent + "  "
	switch n.Kind {
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
