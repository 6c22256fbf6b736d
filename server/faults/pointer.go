package faults

import (
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A setting is a JSON pointer (RFC 6901) and the value that is there, or shall
// be.
type setting struct {
	pointer []string
	value   pyjson.Value
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// parsePointer reads a pointer; "" is the whole.
func parsePointer(text string) (steps []string, ok bool) {
	if text == "" {
		return nil, true
	}
	if text[0] != '/' {
		return nil, false
	}
	for step := range strings.SplitSeq(text[1:], "/") {
		steps = append(steps, unescape.Replace(step))
	}
	return steps, true
}

// at is what a value has at a pointer.
func at(v pyjson.Value, pointer []string) (pyjson.Value, bool) {
	for _, step := range pointer {
		var ok bool
		if v, ok = child(v, step); !ok {
			return pyjson.Value{}, false
		}
	}
	return v, true
}

func child(v pyjson.Value, step string) (pyjson.Value, bool) {
	if v.Kind() != pyjson.Array {
		return v.Get(step)
	}
	if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(v.Items()) {
		return v.Items()[i], true
	}
	return pyjson.Value{}, false
}

// hasAll tells whether a value has all settings.
func hasAll(v pyjson.Value, settings []setting) bool {
	for _, s := range settings {
		if got, ok := at(v, s.pointer); !ok || !equal(got, s.value) {
			return false
		}
	}
	return true
}

// equal compares as Python does, but true is not 1. The order of an object's
// keys does not count.
func equal(a, b pyjson.Value) bool {
	number := func(v pyjson.Value) bool { return v.Kind() == pyjson.Int || v.Kind() == pyjson.Float }
	if number(a) && number(b) {
		return a.Text() == b.Text() || a.Float64() == b.Float64()
	}
	if a.Kind() != b.Kind() || len(a.Items()) != len(b.Items()) || len(a.Members()) != len(b.Members()) {
		return false
	}
	for i, item := range a.Items() {
		if !equal(item, b.Items()[i]) {
			return false
		}
	}
	for _, m := range a.Members() {
		if other, ok := b.Get(m.Key); !ok || !equal(m.Value, other) {
			return false
		}
	}
	return a.Text() == b.Text() && a.Bool() == b.Bool()
}

// put is a value with another one at a pointer; itself when it has nothing
// there.
func put(v pyjson.Value, pointer []string, with pyjson.Value) pyjson.Value {
	if len(pointer) == 0 {
		return with
	}
	old, ok := child(v, pointer[0])
	if !ok {
		return v
	}
	changed := put(old, pointer[1:], with)
	if v.Kind() == pyjson.Array {
		items := append([]pyjson.Value(nil), v.Items()...)
		i, _ := strconv.Atoi(pointer[0])
		items[i] = changed
		return pyjson.ArrayOf(items...)
	}
	members := append([]pyjson.Member(nil), v.Members()...)
	for i := range members {
		if members[i].Key == pointer[0] {
			members[i].Value = changed
		}
	}
	return pyjson.ObjectOf(members...)
}

// Rewrite is the body of an answer with what Do.Set says. What is no JSON stays
// as it is.
func (f *Fault) Rewrite(body []byte) []byte {
	v, err := pyjson.Decode(body)
	if err != nil {
		return body
	}
	for _, s := range f.set {
		v = put(v, s.pointer, s.value)
	}
	return v.Append(nil)
}
