package server_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// TestStreamHeartbeat: a stream on which nothing happens says every 15 s that
// it lives, in a way that no client takes for an event.
func TestStreamHeartbeat(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events")
	s := servertest.NewServer(t, server.Config{})
	send(t, "POST", s.URL+"/api/conversations/c/events", `{"action":"null"}`).Body.Close()
	resp, err := http.Get(s.URL + "/_local/conversations/c/stream?start_id=1")
	if err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(time.Minute, func() { resp.Body.Close() })
	defer stop.Stop()
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for range 2 { // a comment, and the empty line behind it
		line, err := r.ReadString('\n')
		if err != nil || strings.TrimSpace(line) != "" && !strings.HasPrefix(line, ":") {
			t.Fatalf("after silence the stream has %q, %v, want a comment", line, err)
		}
	}
}
