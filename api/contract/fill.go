package contract

import (
	"slices"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// Fill returns a value as a component of the contract has it when FastAPI writes
// all fields of its models: those that are absent and may be null are null, and
// all are in their order. What no schema says comes last, as it is.
func (c *Contract) Fill(component string, v pyjson.Value) pyjson.Value {
	if s := c.schemas[component]; s != nil {
		return s.fill(v)
	}
	return v
}

func (s *schema) fill(v pyjson.Value) pyjson.Value {
	s, _ = s.target()
	switch {
	case s.opaque || v.IsNull():
		return v
	case s.union != nil:
		for _, of := range s.union {
			if of, _ = of.target(); of.model && of.means(v) {
				return of.fill(v)
			}
		}
		return v
	case s.items != nil && v.Kind() == pyjson.Array:
		items := make([]pyjson.Value, len(v.Items()))
		for i, item := range v.Items() {
			items[i] = s.items.fill(item)
		}
		return pyjson.ArrayOf(items...)
	case !s.model || v.Kind() != pyjson.Object:
		return v
	}
	members := make([]pyjson.Member, 0, len(s.properties))
	for i := range s.properties {
		p := &s.properties[i]
		field, ok := v.Get(p.name)
		if _, nullable := p.target(); ok || nullable && !p.required {
			members = append(members, pyjson.Member{Key: p.name, Value: p.fill(field)})
		}
	}
	for _, m := range v.Members() {
		if !slices.ContainsFunc(s.properties, func(p property) bool { return p.name == m.Key }) {
			members = append(members, m)
		}
	}
	return pyjson.ObjectOf(members...)
}

// means tells whether a value has the texts that the model's fields must have.
func (s *schema) means(v pyjson.Value) bool {
	said := false
	for _, p := range s.properties {
		if len(p.enum) != 1 {
			continue
		}
		field, ok := v.Get(p.name)
		if !ok || field.Text() != p.enum[0] {
			return false
		}
		said = true
	}
	return said
}
