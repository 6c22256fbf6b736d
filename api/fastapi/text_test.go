package fastapi_test

import (
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// TestUUID: what pydantic takes for a UUID, and what it says of the rest, as the
// agent server 1.58.2 answered each as a conversation's id.
func TestUUID(t *testing.T) {
	const one = "00000000-0000-0000-0000-000000000001"
	for _, tt := range []struct{ text, want, problem string }{
		{one, one, ""},
		{"00000000000000000000000000000001", one, ""},
		{"{" + one + "}", one, ""},
		{"urn:uuid:" + one, one, ""},
		{"ABCDEF00-0000-0000-0000-00000000000A", "abcdef00-0000-0000-0000-00000000000a", ""},
		{"abc", "", "invalid length: found 3"},
		{"000000000000000000000000000000012", "", "invalid length: found 33"},
		{"xyz", "", "invalid character: found `x` at 0"},
		{"é", "", "invalid character: found `é` at 0"},
		{"0000000000000000000000000000000g", "", "invalid character: found `g` at 31"},
		{"{" + one, "", "invalid character: found `{` at 0"},
		{"00000000-0000-0000-0000-00000000000g", "", "invalid character: found `g` at 35"},
		{"a-b", "", "invalid group count: expected 5, found 2"},
		{"urn:uuid:", "", "invalid group count: expected 5, found 1"},
		{"----", "", "invalid group length in group 0: expected 8, found 0"},
		{"00000000-0000-0000-0000-00000000000", "", "invalid group length in group 4: expected 12, found 11"},
	} {
		read, f := fastapi.UUID(pyjson.StringOf(tt.text))
		switch {
		case tt.problem == "" && (f != nil || read.Text() != tt.want):
			t.Errorf("UUID(%q) = %q, %v, want %q", tt.text, read.Text(), f, tt.want)
		case tt.problem != "" && (f == nil || f.Type != "uuid_parsing" || f.Msg != "Input should be a valid UUID, "+tt.problem):
			t.Errorf("UUID(%q) = %v, want %q", tt.text, f, tt.problem)
		}
	}
	if _, f := fastapi.UUID(pyjson.IntOf(1)); f == nil || f.Type != "uuid_type" {
		t.Errorf("UUID(1) = %v, want uuid_type", f)
	}
}

// TestDateTime: a time comes back as it was meant, one without a zone in the zone
// that is asked for.
func TestDateTime(t *testing.T) {
	zone := time.FixedZone("", 3600)
	for text, want := range map[string]time.Time{
		"2026-11-28T09:38:17.506328":  time.Date(2026, 11, 28, 9, 38, 17, 506328000, zone),
		"2026-11-28 09:38":            time.Date(2026, 11, 28, 9, 38, 0, 0, zone),
		"2026-11-28":                  time.Date(2026, 11, 28, 0, 0, 0, 0, zone),
		"2026-11-28T09:38:17Z":        time.Date(2026, 11, 28, 9, 38, 17, 0, time.UTC),
		"2026-11-28T09:38:17.5+02:00": time.Date(2026, 11, 28, 7, 38, 17, 500000000, time.UTC),
	} {
		read, f := fastapi.DateTime(pyjson.StringOf(text))
		if f != nil {
			t.Errorf("DateTime(%q) = %v", text, f)
			continue
		}
		if got, err := fastapi.ParseTime(read.Text(), zone); err != nil || !got.Equal(want) {
			t.Errorf("ParseTime(DateTime(%q)) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "", "yesterday at noon"} {
		if _, f := fastapi.DateTime(pyjson.StringOf(text)); f == nil || f.Type != "datetime_from_date_parsing" {
			t.Errorf("DateTime(%q) = %v, want datetime_from_date_parsing", text, f)
		}
	}
}
