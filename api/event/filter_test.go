package event_test

import (
	"testing"

	"github.com/openhands-local/openhands-local/api/event"
)

// TestFilterCase has queries whose letters change with their case.
func TestFilterCase(t *testing.T) {
	e := normalise(t, `{"action":"run","args":{"command":"Kiosk é"}}`, noon)
	for query, want := range map[string]bool{
		"KIOSK": true, "\u212aiosk": true, "İ": false, "é": false, `\U00E9`: true, `"ID": 7`: true,
	} {
		if got := (event.Filter{Query: &query}).Matcher()(7, e.JSON, e.Flags); got != want {
			t.Errorf("query %q matches: %v, want %v", query, got, want)
		}
	}
}

// TestFilterHead: how an event begins decides nothing; what nearly all of them
// begin with is only read sooner.
func TestFilterHead(t *testing.T) {
	agent, noon := "agent", "2025-01-01T12:00:00"
	for stored, want := range map[string]bool{
		`{"timestamp":"2025-01-01T12:00:00","source":"agent","action":"null"}`:                 true,
		`{"timestamp":"2025-01-01T11:59:59.999999","source":"agent","action":"null"}`:          false,
		`{"timestamp":"2025-01-01T12:00:00","source":"user","action":"null"}`:                  false,
		`{"timestamp":"2025-01-01T12:00:00","source":"agent\u0000","action":"null"}`:           false,
		`{"timestamp":"2025-01-01T12:00:00","source":"\u0061gent","action":"null"}`:            true,
		`{"source":"agent","timestamp":"2025-01-01T12:00:01","action":"null"}`:                 true,
		`{"source":"user","timestamp":"2025-01-01T12:00:01","action":"null"}`:                  false,
		`{"timestamp":"2025-01-01T12:00:00","message":"\"source\":\"agent\"","source":"user"}`: false,
		`{"timestamp":"2025-01-01T12:00:00","action":"null"}`:                                  false,
		`{"timestamp":"2025-01-01T12:00:00","source":"agent`:                                   false,
		``: false,
	} {
		f := event.Filter{Source: &agent, StartDate: &noon}
		if got := f.Matcher()(7, []byte(stored), 0); got != want {
			t.Errorf("%s matches: %v, want %v", stored, got, want)
		}
	}
}
