package document_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract/document"
)

func TestUses(t *testing.T) {
	har := `{"log": {"version": "1.2", "entries": [
		{"request": {"method": "POST", "url": "http://localhost:3000/api/conversations"}},
		{"request": {"method": "POST", "url": "https://there/api/conversations?x=/api#y"}},
		{"request": {"method": "get", "url": "http://localhost:3000/api/conversations/a%20b"}},
		{"request": {"method": "GET", "url": "::"}}, {}
	]}}`
	match := func(method, path string) string { return method + " " + path }
	got, err := document.Uses([]byte(har), match)
	want := map[string]int{"POST /api/conversations": 2, "GET /api/conversations/a b": 1, "GET ": 1, " ": 1}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("Uses() = %v, %v, want %v", got, err, want)
	}
	for text, want := range map[string]string{"": "is no HAR: ", "[]": "is no HAR: ", `{"openapi": "3.1.0"}`: "is no HAR: it has no log.entries"} {
		if got, err := document.Uses([]byte(text), match); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Uses(%s) = %v, %v, want %s", text, got, err, want)
		}
	}
	if got, err := document.Uses([]byte(`{"log": {"entries": []}}`), match); err != nil || len(got) > 0 {
		t.Errorf("Uses() of nothing = %v, %v", got, err)
	}
}
