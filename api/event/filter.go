package event

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Filter selects events; all its conditions must hold, and the zero value
// has none. Its JSON is the API's EventFilter, less the types that HTTP cannot
// give.
type Filter struct {
	ExcludeHidden bool    `json:"exclude_hidden"`
	Query         *string `json:"query"`      // in the event's ASCII JSON, keys and id too, in any case
	Source        *string `json:"source"`     // exactly
	StartDate     *string `json:"start_date"` // compared with the timestamp as text, inclusive
	EndDate       *string `json:"end_date"`
}

// Rules are what the contract cannot say of a Filter: it is a dataclass, and its
// types are classes, which JSON has none of: only null and [] pass (recorded
// search_filter_body2).
var Rules = fastapi.Rules{
	"EventFilter": {Class: "EventFilter", Fields: map[string]fastapi.Rule{"include_types": eventTypes, "exclude_types": eventTypes}},
}

var notEvent = fastapi.Subclass("Event")

// eventTypes reads a tuple of classes.
func eventTypes(r *fastapi.Reader, v pyjson.Value) (pyjson.Value, bool) {
	switch v.Kind() {
	case pyjson.Null:
		return v, true
	case pyjson.Array:
	default:
		return r.Fail(fastapi.TupleType, v), false
	}
	for i, item := range v.Items() {
		r.PushItem(i)
		r.Fail(notEvent, item)
		r.Pop()
	}
	return v, len(v.Items()) == 0
}

// Matcher returns the filter as a function on stored events. What is no event
// matches only a filter that does not look into it.
func (f Filter) Matcher() func(id int64, stored []byte, flags Flags) bool {
	given := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	query, source, start, end := lower(given(f.Query)), given(f.Source), given(f.StartDate), given(f.EndDate)
	needsHead := source != "" || start != "" || end != ""
	fits := func(timestamp, from []byte) bool {
		return (source == "" || string(from) == source) && (start == "" || string(timestamp) >= start) && (end == "" || string(timestamp) <= end)
	}
	return func(id int64, stored []byte, flags Flags) bool {
		if f.ExcludeHidden && flags&IsHidden != 0 {
			return false
		}
		if needsHead {
			if timestamp, from, ok := headOf(stored); ok && !fits(timestamp, from) {
				return false
			} else if ok && query == "" {
				return true
			}
		}
		if !needsHead && query == "" {
			return true
		}
		v, err := pyjson.Decode(stored)
		if err != nil {
			return false
		}
		timestamp, _ := v.Get("timestamp")
		from, _ := v.Get("source")
		if !fits([]byte(timestamp.Text()), []byte(from.Text())) {
			return false
		}
		if query == "" {
			return true
		}
		text := strconv.AppendInt([]byte(`{"id": `), id, 10)
		text = append(text, ", "...)
		text = append(text, v.AppendASCII(nil)[1:]...)
		return bytes.Contains(bytes.ToLower(text), []byte(query))
	}
}

// headOf reads what nearly every stored event begins with, and tells whether
// this one does.
func headOf(stored []byte) (timestamp, source []byte, ok bool) {
	rest, begins := bytes.CutPrefix(stored, []byte(`{"timestamp":"`))
	timestamp, rest, dated := bytes.Cut(rest, []byte(`"`))
	rest, follows := bytes.CutPrefix(rest, []byte(`,"source":"`))
	source, _, ends := bytes.Cut(rest, []byte(`"`))
	return timestamp, source, begins && dated && follows && ends && !bytes.ContainsRune(timestamp, '\\') && !bytes.ContainsRune(source, '\\')
}

// lower is Python's lower of a query: the capital I with a dot keeps its dot,
// and so is in no event's ASCII text.
func lower(query string) string {
	return strings.ToLower(strings.ReplaceAll(query, "İ", "i\u0307"))
}
