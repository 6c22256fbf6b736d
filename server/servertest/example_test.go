package servertest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// A test of a client gets a server of its own.
func TestNewServer(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
	s := servertest.NewServer(t, server.Config{Data: t.TempDir()})
	resp, err := http.Post(s.URL+"/api/conversations/c/events", "application/json", strings.NewReader(`{"action":"message","args":{"content":"Hi"}}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("X-Event-Id"); got != "0" {
		t.Errorf("X-Event-Id = %q, want 0", got)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	resp, err = http.Get(s.URL + "/api/conversations/c/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	const want = `{"events":[{"id":0,"timestamp":"2025-01-01T00:00:00`
	if err != nil || !strings.HasPrefix(string(body), want) {
		t.Errorf("events = %s (%v), want %s…", body, err, want)
	}
}
