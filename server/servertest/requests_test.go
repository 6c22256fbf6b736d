package servertest

import (
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/journal"
)

// TestRequestsMissed: what a test is told when its request does not come names
// what came instead, and how it differs.
func TestRequestsMissed(t *testing.T) {
	t.Parallel()
	needs(t)
	s := NewServer(t, server.Config{Agent: "none"})
	s.post(t, greeting)
	_, err := s.Requests.wait(journal.Query{Operation: "AddEvent", Conversation: "d"}, 1, time.Millisecond)
	if err == nil {
		t.Fatal("a request that nobody made came")
	}
	for _, want := range []string{"0 of 1 requests", "operation=AddEvent conversation=d", "#1 ", "POST /api/conversations/c/events 200 AddEvent c event 0", "conversation is c, want d"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}
