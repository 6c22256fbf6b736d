// Package fastapi says what FastAPI and Pydantic say of a value: what it is
// read as, or what is wrong with it and where.
//
// A scalar is read by [Int], [Bool], [Float], [FloatOrNull] or [String], each
// of which returns the value that it stands for, or the [Fault] of it. A Fault
// at a place is an [Error]; a [Reader] keeps the place while it goes through a
// value, and collects Errors in the order in which it meets them. An [Invalid]
// of them is the body of a 422 answer, and can always be encoded.
//
// What a document's schemas cannot say of its models is said once, as [Rules],
// and handed to whoever reads them.
package fastapi

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// An Error is one entry of a 422 answer, whose members FastAPI writes in this
// order. The contract's schema of it is ValidationError.
type Error struct {
	Type  string       // pydantic's name of the fault, such as int_parsing
	Loc   []any        // the place: path, query, header or body, then names (string) and indices (int)
	Msg   string       // the fault in words
	Input pyjson.Value // what was sent, as it was sent
	Ctx   pyjson.Value // what Msg was made from, an object; null is not written
}

// Invalid is a 422 answer: everything that is wrong with a request, in
// FastAPI's order. It marshals to the body of the answer, HTTPValidationError.
type Invalid struct{ Errors []Error }

// Error tells the first fault and how many there are.
func (e *Invalid) Error() string {
	first := &e.Errors[0]
	place := make([]string, len(first.Loc))
	for i, p := range first.Loc {
		place[i] = fmt.Sprint(p)
	}
	text := strings.Join(place, ".") + ": " + first.Msg
	if n := len(e.Errors); n > 1 {
		text += fmt.Sprintf(" (and %d more)", n-1)
	}
	return text
}

// MarshalJSON is [Invalid.Body].
func (e *Invalid) MarshalJSON() ([]byte, error) { return e.Body(), nil }

// Body is the body of the answer: `{"detail":[…]}`, compact, in raw UTF-8,
// byte for byte as FastAPI writes it. An input that JSON cannot carry (it has
// a NaN, an infinity or a lone surrogate: the real server dies of it, recorded
// create_extra_and_malformed) is null.
func (e *Invalid) Body() []byte {
	b := []byte(`{"detail":[`)
	for i := range e.Errors {
		if i > 0 {
			b = append(b, ',')
		}
		b = e.Errors[i].append(b)
	}
	return append(b, "]}"...)
}

func (e *Error) append(b []byte) []byte {
	b = append(b, `{"type":`...)
	b = appendText(b, e.Type)
	b = append(b, `,"loc":[`...)
	for i, part := range e.Loc {
		if i > 0 {
			b = append(b, ',')
		}
		if index, ok := part.(int); ok {
			b = strconv.AppendInt(b, int64(index), 10)
		} else {
			b = appendText(b, fmt.Sprint(part))
		}
	}
	b = append(b, `],"msg":`...)
	b = appendText(b, e.Msg)
	b = append(b, `,"input":`...)
	b = appendServable(b, e.Input)
	if !e.Ctx.IsNull() {
		b = append(b, `,"ctx":`...)
		b = appendServable(b, e.Ctx)
	}
	return append(b, '}')
}

func appendText(b []byte, s string) []byte {
	return pyjson.AppendString(b, strings.ToValidUTF8(s, "\ufffd"))
}

func appendServable(b []byte, v pyjson.Value) []byte {
	if v.Unservable() != nil {
		v = pyjson.Value{}
	}
	return append(b, bytes.ToValidUTF8(v.Append(nil), []byte("\ufffd"))...) // a header may be anything
}

// A Reader goes through a value and notes what is wrong in it. The zero Reader
// is at the outside.
type Reader struct {
	Errors []Error // in the order in which they were met, at most 1000
	at     []step
}

const maxErrors = 1000

// A step leads to a value: into a field or key, or into an item.
type step struct {
	name  string
	index int // of an item; -1 for a name
}

// Push goes one step further in, to a field or key.
func (r *Reader) Push(name string) { r.at = append(r.at, step{name, -1}) }

// PushItem goes one step further in, to an item of a list.
func (r *Reader) PushItem(index int) { r.at = append(r.at, step{index: index}) }

// Pop goes one step back.
func (r *Reader) Pop() { r.at = r.at[:len(r.at)-1] }

// Fail notes a fault of the value v at the present place, and gives v back.
func (r *Reader) Fail(f *Fault, v pyjson.Value) pyjson.Value {
	if len(r.Errors) == maxErrors {
		return v
	}
	loc := make([]any, len(r.at))
	for i, s := range r.at {
		if loc[i] = s.name; s.index >= 0 {
			loc[i] = s.index
		}
	}
	r.Errors = append(r.Errors, f.At(v, loc...))
	return v
}

// Read reads a scalar at the present place. What cannot be read is noted and
// given back.
func (r *Reader) Read(scalar func(pyjson.Value) (pyjson.Value, *Fault), v pyjson.Value) pyjson.Value {
	read, f := scalar(v)
	if f != nil {
		return r.Fail(f, v)
	}
	return read
}

// Err is an [*Invalid] of the Errors, nil for none.
func (r *Reader) Err() error {
	if len(r.Errors) == 0 {
		return nil
	}
	return &Invalid{r.Errors}
}
