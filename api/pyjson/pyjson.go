// Package pyjson reads and writes JSON as Python's json module does: what
// OpenHands, a Python program, accepts, stores and answers byte for byte.
//
// [Decode] reads bytes as json.loads does (encodings, NaN, duplicate keys,
// lone surrogates, its errors and their offsets). A [Value] keeps the order
// of keys and the difference between int and float; it is written back
// compactly ([Value.Append]), in ASCII with spaces ([Value.AppendASCII]), or
// as Python's repr and str show it.
package pyjson

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds. Int and Float are told apart as Python does: by the way the
// number is written.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	Array
	Object
)

// A Value is one JSON value. The zero Value is null.
type Value struct {
	kind  Kind
	bool  bool
	text  string // String: its characters; Int, Float: as Python writes it
	parts *parts // of an Array or Object; nil is none
}

// parts are apart from the Value, so that one with none of them is small.
type parts struct {
	items   []Value
	members []Member
}

// A Member is one key of an object and its value. Strings are UTF-8, in which
// a lone surrogate is written as if it were a character (three bytes).
type Member struct {
	Key   string
	Value Value
}

// BoolOf returns a Bool.
func BoolOf(b bool) Value { return Value{kind: Bool, bool: b} }

// StringOf returns a String of UTF-8 text.
func StringOf(s string) Value { return Value{kind: String, text: s} }

// IntOf returns an Int.
func IntOf(i int64) Value { return Value{kind: Int, text: strconv.FormatInt(i, 10)} }

// IntOfDigits returns the Int of decimal digits as JSON writes them, however
// many.
func IntOfDigits(s string) Value {
	if s == "-0" {
		s = "0"
	}
	return Value{kind: Int, text: s}
}

// FloatOf returns a Float.
func FloatOf(f float64) Value { return Value{kind: Float, text: FloatRepr(f)} }

// ArrayOf returns an Array that keeps the items it is given.
func ArrayOf(items ...Value) Value { return Value{kind: Array, parts: &parts{items: items}} }

// ObjectOf returns an Object that keeps the members it is given, whose keys
// must differ; a [Builder] sees to that.
func ObjectOf(members ...Member) Value { return Value{kind: Object, parts: &parts{members: members}} }

// Kind is the type of the value.
func (v Value) Kind() Kind { return v.kind }

// IsNull tells whether the value is null.
func (v Value) IsNull() bool { return v.kind == Null }

// Bool is the value of a Bool, false for others.
func (v Value) Bool() bool { return v.bool }

// Items are those of an Array, in order; they must not be changed.
func (v Value) Items() []Value {
	if v.parts == nil {
		return nil
	}
	return v.parts.items
}

// Members are those of an Object, in order; they must not be changed.
func (v Value) Members() []Member {
	if v.parts == nil {
		return nil
	}
	return v.parts.members
}

// A Builder makes an Object. As in a Python dictionary, a later value of a key
// takes the place of the first. The zero Builder is empty.
type Builder struct {
	members []Member
	index   map[string]int // of the members' keys, once they are many
}

// few keys are found faster by looking at each.
const few = 16

// Set gives a key its value.
func (b *Builder) Set(key string, v Value) {
	if i := b.find(key); i >= 0 {
		b.members[i].Value = v
		return
	}
	if b.index != nil {
		b.index[key] = len(b.members)
	}
	b.members = append(b.members, Member{key, v})
}

func (b *Builder) find(key string) int {
	if len(b.members) < few {
		return slices.IndexFunc(b.members, func(m Member) bool { return m.Key == key })
	}
	if b.index == nil {
		b.index = make(map[string]int, 2*few)
		for i := range b.members {
			b.index[b.members[i].Key] = i
		}
	}
	if i, ok := b.index[key]; ok {
		return i
	}
	return -1
}

// Object returns the object of all that was set.
func (b *Builder) Object() Value { return ObjectOf(b.members...) }

// Text is the characters of a String, or an Int or Float as Python writes it.
func (v Value) Text() string { return v.text }

// Get returns the value of a key of an Object.
func (v Value) Get(key string) (Value, bool) {
	for _, m := range v.Members() {
		if m.Key == key {
			return m.Value, true
		}
	}
	return Value{}, false
}

// Without is an Object's value without some of its keys.
func (v Value) Without(keys ...string) Value {
	kept := make([]Member, 0, len(v.Members()))
	for _, m := range v.Members() {
		if !slices.Contains(keys, m.Key) {
			kept = append(kept, m)
		}
	}
	return ObjectOf(kept...)
}

// Float64 is the number of an Int or Float, or of a Bool as Python counts it.
func (v Value) Float64() float64 {
	switch v.kind {
	case Bool:
		if v.bool {
			return 1
		}
		return 0
	case Int, Float:
		switch v.text {
		case "NaN":
			return math.NaN()
		case "Infinity":
			return math.Inf(1)
		case "-Infinity":
			return math.Inf(-1)
		}
		f, _ := strconv.ParseFloat(v.text, 64)
		return f
	}
	return 0
}

// Truthy is Python's bool(v).
func (v Value) Truthy() bool {
	switch v.kind {
	case Bool:
		return v.bool
	case Int:
		return v.text != "0"
	case Float:
		return v.Float64() != 0
	case String:
		return v.text != ""
	case Array:
		return len(v.Items()) > 0
	case Object:
		return len(v.Members()) > 0
	}
	return false
}

// FloatRepr is Python's repr of a float, NaN and Infinity as its json writes
// them.
func FloatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	e := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(e[strings.IndexByte(e, 'e')+1:])
	if f != 0 && (exp < -4 || exp >= 16) {
		return e
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// Fault is what keeps a value from being written as JSON text that others
// read: it has a NaN, an infinity or a lone surrogate.
type Fault struct {
	Path []any // keys and indices, from the outside in
	What string
	Key  bool // a key is at fault, not a value
}

// Unservable returns the first fault of a value, nil when it has none.
func (v Value) Unservable() *Fault {
	f := v.fault()
	if f != nil {
		slices.Reverse(f.Path)
	}
	return f
}

// fault finds a fault, its path from the inside out: a path costs nothing
// where there is no fault.
func (v Value) fault() *Fault {
	switch v.kind {
	case Float:
		if c := v.text[len(v.text)-1]; c == 'N' || c == 'y' {
			return &Fault{What: v.text}
		}
	case String:
		if hasSurrogate(v.text) {
			return &Fault{What: "a lone surrogate"}
		}
	case Array:
		items := v.Items()
		for i := range items {
			if f := items[i].fault(); f != nil {
				f.Path = append(f.Path, i)
				return f
			}
		}
	case Object:
		members := v.Members()
		for i := range members {
			if hasSurrogate(members[i].Key) {
				return &Fault{What: "a lone surrogate", Key: true}
			}
			if f := members[i].Value.fault(); f != nil {
				f.Path = append(f.Path, members[i].Key)
				return f
			}
		}
	}
	return nil
}

// hasSurrogate finds one written as three bytes: 0xED and 0xA0 or more.
func hasSurrogate(s string) bool {
	for i := strings.IndexByte(s, 0xED); i >= 0 && i+1 < len(s); {
		if s[i+1] >= 0xA0 {
			return true
		}
		next := strings.IndexByte(s[i+1:], 0xED)
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}
