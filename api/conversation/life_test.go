package conversation_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/conversation"
)

// TestSetReplay: why a list cannot be played is told, with upstream's name for
// it.
func TestSetReplay(t *testing.T) {
	const hi = `{"action":"message","args":{"content":"hi"}}`
	tests := []struct {
		list, message string
		strict        bool
		class, reason string
		lenient       int
	}{
		{list: "[" + hi + "]", strict: true},
		{list: `[{"source":"environment","observation":"null","content":""},` + hi + `]`, strict: true},
		{list: "[" + hi + "]", message: "a", class: "AssertionError", reason: "the conversation has a first message of its own"},
		{list: "{", class: "ValueError", reason: "Expecting property name"},
		{list: "{}", class: "ValueError", reason: "want a list of events"},
		{list: "[]", class: "IndexError", reason: "the list has no event of the user or the agent"},
		{list: `[{"source":"environment","observation":"null","content":""}]`, class: "IndexError", reason: "no event"},
		{list: `[{"action":"think","args":{}}]`, class: "AssertionError", reason: "is no message"},
		{list: "[3]", class: "ValueError", reason: "event 0 of the list: [body]: Input should be an object"},
		{list: "[" + hi + `,{"action":"run","args":{}}]`, class: "LLMMalformedActionError", reason: "event 1 of the list: [body args command]: Field required"},
		{list: "[" + hi + `,{"observation":"run","content":""}]`, class: "ValueError", reason: "event 1 of the list: "},
		{list: "[" + hi + `,{"action":"dance","args":{}}]`, strict: true, class: "LLMMalformedActionError", reason: "event 1 of the list: "},
		{list: "[" + hi + `,{"action":"dance","args":{}}]`, lenient: 1},
	}
	for _, tt := range tests {
		d := conversation.Draft{InitialMessage: tt.message}
		d.SetReplay(tt.list, tt.strict)
		r := d.Replay
		if r.Class != tt.class || (r.Err == nil) != (tt.reason == "") || r.Err != nil && !strings.Contains(r.Err.Error(), tt.reason) || len(r.Lenient) != tt.lenient {
			t.Errorf("SetReplay(%s) = %q, %v, lenient %q, want %q, %q, %d", tt.list, r.Class, r.Err, r.Lenient, tt.class, tt.reason, tt.lenient)
		}
	}
}

// TestSessionFailure: who opens a conversation without a session is told, until
// it is stopped.
func TestSessionFailure(t *testing.T) {
	s, _, noticed := newService(t)
	d := conversation.Draft{ID: "c"}
	d.SetReplay("{", false)
	if _, err := s.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := noticed(); !slices.Equal(got, []string{starting, started}) {
		t.Errorf("noticed %q, want no run of an agent", got)
	}
	c, err := s.CanOpen(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	open := func(want string) {
		t.Helper()
		if _, failure, err := s.Open(t.Context(), c); err != nil || string(failure) != want {
			t.Errorf("Open = %s, %v, want %s", failure, err, want)
		}
	}
	const failed = `{"error":true,"message":"Failed to create agent session: ValueError"}`
	open(failed)
	open(failed)
	if _, err := s.Stop(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	open("")
	if err := s.Delete(t.Context(), "c"); err != nil {
		t.Error(err)
	}
}
