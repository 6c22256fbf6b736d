package fastapi

import "github.com/openhands-local/openhands-local/api/pyjson"

// Rules are what the models of a document do beyond what their schemas say, by
// the name of the schema.
type Rules map[string]*Model

// A Model is what one of them does.
type Model struct {
	// Class is the name of a dataclass; "" for the other models.
	Class string
	// Module is that of a class of which others are kinds.
	Module string
	// Before changes an object before its fields are read.
	Before func(pyjson.Value) pyjson.Value
	// Fields have rules of their own, applied before the field's schema.
	Fields map[string]Rule
	// Without are fields of the schema that it does not have.
	Without []string
}

// A Rule reads a value before its schema does. It notes faults in the reader;
// ok is false when there were some.
type Rule func(r *Reader, v pyjson.Value) (read pyjson.Value, ok bool)

// Field is the rule of a field, nil when it has none.
func (m *Model) Field(name string) Rule {
	if m == nil {
		return nil
	}
	return m.Fields[name]
}

// Object is an object as its fields are read; what is no object is noted in
// the reader.
func (m *Model) Object(r *Reader, v pyjson.Value) (object pyjson.Value, ok bool) {
	switch {
	case v.Kind() != pyjson.Object && m != nil && m.Class != "":
		return r.Fail(DataclassType(m.Class), v), false
	case v.Kind() != pyjson.Object:
		return r.Fail(ModelType, v), false
	case m != nil && m.Before != nil:
		v = m.Before(v)
	}
	return v, true
}

// Raised is a rule that judges a text, or tells what is wrong with it as
// [RaisedValue] does. Other values are left to the schema.
func Raised(problem func(text string) string) Rule {
	return func(r *Reader, v pyjson.Value) (pyjson.Value, bool) {
		if v.Kind() == pyjson.String {
			if p := problem(v.Text()); p != "" {
				return r.Fail(RaisedValue(p), v), false
			}
		}
		return v, true
	}
}

// Text is a rule that rewrites a text, or tells what is wrong with it in the
// words of a validator. Other values are left to the schema.
func Text(read func(text string) (v pyjson.Value, problem string)) Rule {
	return func(r *Reader, v pyjson.Value) (pyjson.Value, bool) {
		if v.Kind() != pyjson.String {
			return v, true
		}
		value, problem := read(v.Text())
		if problem != "" {
			return r.Fail(ValueError(problem), v), false
		}
		return value, true
	}
}
