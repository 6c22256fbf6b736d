package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// TestStarting: what runs is told as STARTING for as long as the Config says,
// and is not held up by it.
func TestStarting(t *testing.T) {
	for _, test := range []struct {
		moment time.Duration
		want   string
	}{{time.Hour, "STARTING"}, {0, "RUNNING"}} {
		s := servertest.NewServer(t, server.Config{Strict: true, SetConversationID: true, Agent: "none", Starting: &test.moment})
		sent(t, "POST", s.URL+"/api/conversations", `{"conversation_id":"c"}`)
		if status, answer := sent(t, "POST", s.URL+"/api/conversations/c/events", `{"action":"null","args":{}}`); status != http.StatusOK {
			t.Errorf("POST events = %d %s", status, answer)
		}
		for _, request := range [][2]string{{"GET", "/api/conversations/c"}, {"GET", "/api/conversations"}, {"POST", "/api/conversations/c/start"}, {"POST", "/api/conversations/c/stop"}} {
			if _, answer := sent(t, request[0], s.URL+request[1], `{}`); !strings.Contains(answer, `status":"`+test.want+`"`) || strings.Contains(answer, "STATUS$") == (test.want == "STARTING") && request[0] == "GET" {
				t.Errorf("%s = %s, want %s", request, answer, test.want)
			}
		}
	}
}
