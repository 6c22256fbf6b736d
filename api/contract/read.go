package contract

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A reader reads values as FastAPI's models do. What a value is read as is
// canonical: Go's decoders and the view take it. What cannot be read is noted,
// in FastAPI's order.
type reader struct{ fastapi.Reader }

var unservable = fastapi.ValueError("NaN, Infinity and lone surrogates cannot be stored")

// read reads v as s says.
func (r *reader) read(s *schema, v pyjson.Value) pyjson.Value {
	s, nullable := s.target()
	if v.IsNull() && nullable {
		return v
	}
	if s.opaque {
		return r.any(v)
	}
	switch s.typ {
	case "string":
		return r.string(s, v)
	case "integer":
		return r.number(s, fastapi.Int, v)
	case "number":
		if nullable {
			return r.number(s, fastapi.FloatOrNull, v)
		}
		return r.number(s, fastapi.Float, v)
	case "boolean":
		return r.Read(fastapi.Bool, v)
	case "array":
		return r.array(s, v)
	case "object":
		if s.model {
			return r.model(s, v)
		}
		return r.dict(s, v)
	}
	switch {
	case s.kind != "":
		return r.kind(s, v)
	case s.union != nil:
		return r.union(s, v)
	}
	return r.any(v)
}

// kind reads a value of the class that its member kind names.
func (r *reader) kind(s *schema, v pyjson.Value) pyjson.Value {
	v, ok := s.rules.Object(&r.Reader, v)
	if !ok {
		return v
	}
	said, _ := v.Get(s.kind)
	var kinds []string
	for _, of := range s.union {
		of, _ = of.target()
		name := of.literal(s.kind)
		if name == said.Text() && said.Kind() == pyjson.String {
			return r.read(of, v)
		}
		kinds = append(kinds, pyjson.StringOf(name).Repr())
	}
	class := className(s.name)
	if s.rules != nil {
		class = s.rules.Module + "." + class
	}
	return r.Fail(fastapi.RaisedValue(fmt.Sprintf("Unknown kind '%s' for %s; Expected one of: [%s]", said.Text(), class, strings.Join(kinds, ", "))), v)
}

// literal is the one text that a field can have.
func (s *schema) literal(field string) string {
	for _, p := range s.properties {
		if p.name == field && len(p.enum) == 1 {
			return p.enum[0]
		}
	}
	return ""
}

// className is the class of a component; FastAPI tells what is sent from what
// is answered.
func className(component string) string {
	name, _ := strings.CutSuffix(component, "-Input")
	return name
}

// union reads a value as the first alternative that it can be read as. When
// there is none, all are told, each below its name.
func (r *reader) union(s *schema, v pyjson.Value) pyjson.Value {
	var faults []fastapi.Error
	for _, of := range s.union {
		before := len(r.Errors)
		r.Push(of.alternative())
		read := r.read(of, v)
		r.Pop()
		if len(r.Errors) == before {
			return read
		}
		faults = append(faults, r.Errors[before:]...)
		r.Errors = r.Errors[:before]
	}
	r.Errors = append(r.Errors, faults...)
	return v
}

// alternative is how pydantic calls one of a union.
func (s *schema) alternative() string {
	s, _ = s.target()
	switch {
	case s.name != "":
		return className(s.name)
	case s.typ == "array":
		return "list[" + s.items.alternative() + "]"
	case s.typ == "object":
		return "dict[str," + s.rest.alternative() + "]"
	case s.enum != nil:
		return "literal[" + strings.Join(s.enum, ",") + "]"
	}
	names := map[string]string{"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
	return cmp.Or(names[s.typ], "any")
}

// number reads a number and keeps it to its bounds.
func (r *reader) number(s *schema, scalar func(pyjson.Value) (pyjson.Value, *fastapi.Fault), v pyjson.Value) pyjson.Value {
	read, f := scalar(v)
	for i := 0; f == nil && !read.IsNull() && i < len(s.bounds); i++ {
		f = fastapi.Bound(s.bounds[i].keyword, s.bounds[i].limit, read)
	}
	if f != nil {
		return r.Fail(f, v)
	}
	return read
}

// any takes a value that nothing is said of, as long as it can be written
// again.
func (r *reader) any(v pyjson.Value) pyjson.Value {
	if v.Unservable() != nil {
		return r.Fail(unservable, v)
	}
	return v
}

func (r *reader) string(s *schema, v pyjson.Value) pyjson.Value {
	if s.enum != nil {
		if v.Kind() != pyjson.String || !slices.Contains(s.enum, v.Text()) {
			return r.Fail(s.notInEnum(), v)
		}
		return v
	}
	read, f := fastapi.String(v)
	switch s.format {
	case "uuid":
		read, f = fastapi.UUID(v)
	case "date-time":
		read, f = fastapi.DateTime(v)
	}
	if f == nil && (s.minLength > 0 || s.maxLength >= 0) {
		switch n := utf8.RuneCountInString(v.Text()); {
		case n < s.minLength:
			f = fastapi.TooShort(s.minLength)
		case s.maxLength >= 0 && n > s.maxLength:
			f = fastapi.TooLong(s.maxLength)
		}
	}
	if f != nil {
		return r.Fail(f, v)
	}
	return read
}

// notInEnum names the allowed values. Python's enumerations are components
// of the contract, its literals are written where they are used.
func (s *schema) notInEnum() *fastapi.Fault {
	if s.name != "" {
		return fastapi.Enum(s.enum...)
	}
	return fastapi.Literal(s.enum...)
}

func (r *reader) array(s *schema, v pyjson.Value) pyjson.Value {
	if v.Kind() != pyjson.Array {
		return r.Fail(fastapi.ListType, v)
	}
	switch n := len(v.Items()); {
	case n < s.minItems:
		return r.Fail(fastapi.TooFew(s.minItems, n), v)
	case s.maxItems >= 0 && n > s.maxItems:
		return r.Fail(fastapi.TooMany(s.maxItems, n), v)
	}
	items := make([]pyjson.Value, len(v.Items()))
	for i, item := range v.Items() {
		r.PushItem(i)
		items[i] = r.read(s.items, item)
		r.Pop()
	}
	return pyjson.ArrayOf(items...)
}

// dict reads a map: each key, then its value.
func (r *reader) dict(s *schema, v pyjson.Value) pyjson.Value {
	if v.Kind() != pyjson.Object {
		return r.Fail(fastapi.DictType, v)
	}
	members := make([]pyjson.Member, len(v.Members()))
	for i, m := range v.Members() {
		r.Push(m.Key)
		r.Push("[key]")
		r.key(s.keys, pyjson.StringOf(m.Key))
		r.Pop()
		members[i] = pyjson.Member{Key: m.Key, Value: r.rest(s, m.Value)}
		r.Pop()
	}
	return pyjson.ObjectOf(members...)
}

func (r *reader) key(s *schema, key pyjson.Value) {
	if s == nil {
		r.any(key)
		return
	}
	r.read(s, key)
}

func (r *reader) rest(s *schema, v pyjson.Value) pyjson.Value {
	if s.rest == nil {
		return r.any(v)
	}
	return r.read(s.rest, v)
}

// model reads named fields in their order, then what else was sent in its
// own: that is refused, kept or left out, as the schema says.
func (r *reader) model(s *schema, v pyjson.Value) pyjson.Value {
	v, ok := s.rules.Object(&r.Reader, v)
	if !ok {
		return v
	}
	sent := v.Members()
	members := make([]pyjson.Member, 0, len(sent))
	for i := range s.properties {
		p := &s.properties[i]
		value, ok := v.Get(p.name)
		if !ok {
			if p.required {
				r.Push(p.name)
				r.Fail(fastapi.Missing, v)
				r.Pop()
			}
			continue
		}
		r.Push(p.name)
		members = append(members, pyjson.Member{Key: p.name, Value: r.field(p, value)})
		r.Pop()
	}
	if len(members) == len(sent) || !s.closed && s.rest == nil {
		return pyjson.ObjectOf(members...)
	}
	for _, m := range sent {
		if slices.ContainsFunc(s.properties, func(p property) bool { return p.name == m.Key }) {
			continue
		}
		r.Push(m.Key)
		if s.closed {
			r.Fail(fastapi.ExtraForbidden, m.Value)
		} else {
			m.Value = r.rest(s, m.Value)
		}
		members = append(members, m)
		r.Pop()
	}
	return pyjson.ObjectOf(members...)
}

// field reads a field of a model: first by the rule that the contract does
// not tell.
func (r *reader) field(p *property, v pyjson.Value) pyjson.Value {
	if p.rule != nil {
		ruled, ok := p.rule(&r.Reader, v)
		if !ok {
			return v
		}
		v = ruled
	}
	return r.read(p.schema, v)
}

// plain is a value as encoding/json decodes it, for the view to judge.
func plain(v pyjson.Value) any {
	switch v.Kind() {
	case pyjson.Bool:
		return v.Bool()
	case pyjson.Int:
		return clamp(v)
	case pyjson.Float:
		return v.Float64()
	case pyjson.String:
		return v.Text()
	case pyjson.Array:
		items := make([]any, len(v.Items()))
		for i, item := range v.Items() {
			items[i] = plain(item)
		}
		return items
	case pyjson.Object:
		object := make(map[string]any, len(v.Members()))
		for _, m := range v.Members() {
			object[m.Key] = plain(m.Value)
		}
		return object
	}
	return nil
}

// clamp is an integer, or the nearest that Go's 64 bits hold.
func clamp(v pyjson.Value) int64 {
	n, _ := strconv.ParseInt(v.Text(), 10, 64) // out of range is the nearest, too
	return n
}
