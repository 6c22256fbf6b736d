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
