package contract

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// An Error is one entry of a 422 answer, as FastAPI writes it: the members in
// the order of the fields, ctx only where there is one. The contract's schema
// of it is ValidationError.
type Error struct {
	Type  string `json:"type"`          // pydantic's name of the fault, such as int_parsing
	Loc   []any  `json:"loc"`           // the place: path, query or body, then names (string) and indices (int)
	Msg   string `json:"msg"`           // the fault in words
	Input any    `json:"input"`         // what was sent, as it was sent
	Ctx   any    `json:"ctx,omitempty"` // what Msg was made from
}

// Invalid is a 422 answer: everything that is wrong with a request, in
// FastAPI's order, up to 1000 faults. It marshals to the body of the answer,
// HTTPValidationError.
type Invalid struct {
	Errors []Error `json:"detail"`
}

// Error tells the first fault and how many there are.
func (e *Invalid) Error() string {
	first := e.Errors[0]
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
// a NaN, an infinity or a lone surrogate: the real server dies of it) is null.
func (e *Invalid) Body() []byte {
	b := []byte(`{"detail":[`)
	for i, one := range e.Errors {
		if i > 0 {
			b = append(b, ',')
		}
		b = one.append(b)
	}
	return append(b, "]}"...)
}

func (e *Error) append(b []byte) []byte {
	b = append(b, `{"type":`...)
	b = appendValue(b, e.Type)
	b = append(b, `,"loc":[`...)
	for i, part := range e.Loc {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(b, part)
	}
	b = append(b, `],"msg":`...)
	b = appendValue(b, e.Msg)
	b = append(b, `,"input":`...)
	b = appendValue(b, e.Input)
	if e.Ctx != nil {
		b = append(b, `,"ctx":`...)
		b = appendValue(b, e.Ctx)
	}
	return append(b, '}')
}

// appendValue appends a value as Python's json writes it.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case pyjson.Value:
		if v.Unservable() != nil {
			return append(b, "null"...)
		}
		return v.Append(b)
	case string:
		return pyjson.AppendString(b, strings.ToValidUTF8(v, "\ufffd"))
	}
	text, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}

// A Refusal is an answer of {"detail": Detail} whose status is not 422: 400
// for a body that cannot be read as what its content type says.
type Refusal struct {
	Status int    `json:"-"`
	Detail string `json:"detail"`
}

// Error is the status and detail.
func (r *Refusal) Error() string { return fmt.Sprintf("%d %s", r.Status, r.Detail) }

// Body is the body of the answer.
func (r *Refusal) Body() []byte {
	return append(appendValue([]byte(`{"detail":`), r.Detail), '}')
}

// errBody is FastAPI's answer to a body that no decoder understands.
var errBody = &Refusal{http.StatusBadRequest, "There was an error parsing the body"}
