package contract

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A reader reads values as FastAPI's models do. What a value is read as is
// canonical: Go's decoders and the view take it. What cannot be read is noted
// in errs, in FastAPI's order.
type reader struct {
	at   []step
	errs []Error
}

// maxErrors is how many faults of one request are told.
const maxErrors = 1000

// A step leads to a value: into a field or key, or into an item.
type step struct {
	name  string
	index int // of an item; -1 for a name
}

// push and pushItem go one step further in, pop goes back.
func (r *reader) push(name string)   { r.at = append(r.at, step{name, -1}) }
func (r *reader) pushItem(index int) { r.at = append(r.at, step{index: index}) }
func (r *reader) pop()               { r.at = r.at[:len(r.at)-1] }

// fail notes a fault of the value v at the present place, and gives v back.
func (r *reader) fail(f *fault, v pyjson.Value) pyjson.Value {
	if len(r.errs) == maxErrors {
		return v
	}
	loc := make([]any, len(r.at))
	for i, s := range r.at {
		if loc[i] = s.name; s.index >= 0 {
			loc[i] = s.index
		}
	}
	e := Error{Type: f.kind, Loc: loc, Msg: f.msg, Input: v}
	if !f.ctx.IsNull() {
		e.Ctx = f.ctx
	}
	r.errs = append(r.errs, e)
	return v
}

// Faults of values that are not of a type with rules of its own.
var (
	missing        = &fault{kind: "missing", msg: "Field required"}
	extraForbidden = &fault{kind: "extra_forbidden", msg: "Extra inputs are not permitted"}
	stringType     = &fault{kind: "string_type", msg: "Input should be a valid string"}
	stringUnicode  = &fault{kind: "string_unicode", msg: "Input should be a valid string, unable to parse raw data as a unicode string"}
	listType       = &fault{kind: "list_type", msg: "Input should be a valid list"}
	dictType       = &fault{kind: "dict_type", msg: "Input should be a valid dictionary"}
	unservable     = valueError("NaN, Infinity and lone surrogates cannot be stored")
	modelType      = &fault{kind: "model_attributes_type", msg: "Input should be a valid dictionary or object to extract fields from"}
)

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
		return r.integer(v)
	case "number":
		return r.number(nullable, v)
	case "boolean":
		return r.boolean(v)
	case "array":
		return r.array(s, v)
	case "object":
		if s.model {
			return r.model(s, v)
		}
		return r.dict(s, v)
	}
	return r.any(v)
}

// any takes a value that nothing is said of, as long as it can be written
// again.
func (r *reader) any(v pyjson.Value) pyjson.Value {
	if v.Unservable() != nil {
		return r.fail(unservable, v)
	}
	return v
}

func (r *reader) string(s *schema, v pyjson.Value) pyjson.Value {
	if s.enum != nil {
		if v.Kind() != pyjson.String || !slices.Contains(s.enum, v.Text()) {
			return r.fail(s.notInEnum(), v)
		}
		return v
	}
	if v.Kind() != pyjson.String {
		return r.fail(stringType, v)
	}
	if v.Unservable() != nil {
		return r.fail(stringUnicode, v)
	}
	if s.minLength > 0 || s.maxLength >= 0 {
		n := utf8.RuneCountInString(v.Text())
		if n < s.minLength {
			return r.fail(lengthFault("string_too_short", "at least", "min_length", s.minLength), v)
		}
		if s.maxLength >= 0 && n > s.maxLength {
			return r.fail(lengthFault("string_too_long", "at most", "max_length", s.maxLength), v)
		}
	}
	return v
}

// notInEnum names the allowed values. Python's enumerations are components
// of the contract, its literals are written where they are used.
func (s *schema) notInEnum() *fault {
	kind := "literal_error"
	if s.name != "" {
		kind = "enum"
	}
	return &fault{kind, "Input should be " + s.expected, ctx("expected", pyjson.StringOf(s.expected))}
}

func lengthFault(kind, bound, key string, n int) *fault {
	unit := "characters"
	if n == 1 {
		unit = "character"
	}
	return &fault{kind, "String should have " + bound + " " + strconv.Itoa(n) + " " + unit, ctx(key, pyjson.IntOf(int64(n)))}
}

// integer reads numbers without a fraction, texts of them, and true and false
// (recorded settings_field_types). What 64 bits cannot hold is clamped.
func (r *reader) integer(v pyjson.Value) pyjson.Value {
	f := intType
	var n int64
	switch v.Kind() {
	case pyjson.Int:
		return pyjson.IntOf(clamp(v.Text()))
	case pyjson.Bool:
		return pyjson.IntOf(int64(v.Float64()))
	case pyjson.Float:
		n, f = floatAsInt(v.Float64())
	case pyjson.String:
		n, f = parseInt(v.Text())
	}
	if f != nil {
		return r.fail(f, v)
	}
	return pyjson.IntOf(n)
}

// boolean reads true and false, the texts of them, and 0 and 1.
func (r *reader) boolean(v pyjson.Value) pyjson.Value {
	f := boolType
	var b bool
	switch v.Kind() {
	case pyjson.Bool:
		return v
	case pyjson.String:
		b, f = parseBool(v.Text())
	case pyjson.Int, pyjson.Float:
		if n, beyond := floatAsInt(v.Float64()); beyond == nil {
			f = boolParsing
			if n == 0 || n == 1 {
				b, f = n == 1, nil
			}
		}
	}
	if f != nil {
		return r.fail(f, v)
	}
	return pyjson.BoolOf(b)
}

// number reads numbers, texts of them, and true and false. JSON has no NaN
// and no infinity: they become null, as what stores them answers (recorded
// settings_nan_budget).
func (r *reader) number(nullable bool, v pyjson.Value) pyjson.Value {
	fault := floatType
	number := 0.0
	switch v.Kind() {
	case pyjson.Int: // Python has no double for one beyond the largest
		if f := v.Float64(); finite(f) {
			number, fault = f, nil
		}
	case pyjson.Bool, pyjson.Float:
		number, fault = v.Float64(), nil
	case pyjson.String:
		number, fault = parseFloat(v.Text())
	}
	if fault == nil && !nullable && !finite(number) {
		fault = notFinite
	}
	switch {
	case fault != nil:
		return r.fail(fault, v)
	case !finite(number):
		return pyjson.Value{}
	}
	return pyjson.FloatOf(number)
}

func (r *reader) array(s *schema, v pyjson.Value) pyjson.Value {
	if v.Kind() != pyjson.Array {
		return r.fail(listType, v)
	}
	items := make([]pyjson.Value, len(v.Items()))
	for i, item := range v.Items() {
		r.pushItem(i)
		items[i] = r.read(s.items, item)
		r.pop()
	}
	return pyjson.ArrayOf(items...)
}

// dict reads a map: each key, then its value.
func (r *reader) dict(s *schema, v pyjson.Value) pyjson.Value {
	if v.Kind() != pyjson.Object {
		return r.fail(dictType, v)
	}
	members := make([]pyjson.Member, len(v.Members()))
	for i, m := range v.Members() {
		r.push(m.Key)
		r.push("[key]")
		r.key(s.keys, pyjson.StringOf(m.Key))
		r.pop()
		members[i] = pyjson.Member{Key: m.Key, Value: r.rest(s, m.Value)}
		r.pop()
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
	if v.Kind() != pyjson.Object {
		return r.fail(s.rules.notObject(), v)
	}
	v = s.rules.prepare(v)
	sent := v.Members()
	members := make([]pyjson.Member, 0, len(sent))
	for i := range s.properties {
		p := &s.properties[i]
		value, ok := v.Get(p.name)
		if !ok {
			if p.required {
				r.push(p.name)
				r.fail(missing, v)
				r.pop()
			}
			continue
		}
		r.push(p.name)
		members = append(members, pyjson.Member{Key: p.name, Value: r.field(p, value)})
		r.pop()
	}
	if len(members) == len(sent) || !s.closed && s.rest == nil {
		return pyjson.ObjectOf(members...)
	}
	for _, m := range sent {
		if slices.ContainsFunc(s.properties, func(p property) bool { return p.name == m.Key }) {
			continue
		}
		r.push(m.Key)
		if s.closed {
			r.fail(extraForbidden, m.Value)
		} else {
			m.Value = r.rest(s, m.Value)
		}
		members = append(members, m)
		r.pop()
	}
	return pyjson.ObjectOf(members...)
}

// field reads a field of a model: first by the rule that the contract does
// not tell.
func (r *reader) field(p *property, v pyjson.Value) pyjson.Value {
	if p.rule != nil {
		ruled, ok := p.rule(r, v)
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
		return clamp(v.Text())
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
