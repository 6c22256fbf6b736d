package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
)

// serveLines serves both lines until its end is called.
func serveLines(t *testing.T, c server.Config) (info server.Info, end func()) {
	t.Helper()
	c.AgentServer, c.Log = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	s, err := server.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s.Info(), func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	}
}

const newAgentConversation = `{"workspace":{"working_dir":"/w"},"agent_settings":{}}`

// idOf makes a conversation in the agent server's line.
func idOf(t *testing.T, url, body string) string {
	t.Helper()
	status, text := sent(t, "POST", url+"/api/conversations", body)
	var c struct{ ID string }
	if err := json.Unmarshal([]byte(text), &c); status != http.StatusCreated || err != nil {
		t.Fatalf("create: %d %s", status, text)
	}
	return c.ID
}

// TestLines: each line is served at its address, and what is ours alone at both;
// a new process has the conversations of both.
func TestLines(t *testing.T) {
	data := t.TempDir()
	info, end := serveLines(t, server.Config{Addr: "127.0.0.1:0", Data: data})
	if info.AgentServer == "" || info.AgentServer == info.URL {
		t.Fatalf("%+v", info)
	}
	id := idOf(t, info.AgentServer, newAgentConversation)
	if status, text := sent(t, "POST", info.AgentServer+"/api/conversations/"+id+"/events", `{"content":[{"text":"hello"}],"run":true}`); status != 200 {
		t.Fatalf("send: %d %s", status, text)
	}
	sent(t, "POST", info.URL+"/api/conversations/c/events", `{"action":"message","args":{"content":"hello"}}`)
	for _, url := range []string{info.URL, info.AgentServer} {
		if status, text := sent(t, "GET", url+"/_local/info", ""); status != 200 || !strings.Contains(text, `"agent_server":"`+info.AgentServer) {
			t.Errorf("%s/_local/info = %d %s", url, status, text)
		}
	}
	end()
	info, end = serveLines(t, server.Config{Addr: "127.0.0.1:0", Data: data})
	defer end()
	for url, want := range map[string]string{
		info.AgentServer + "/api/conversations/" + id + "/events/search?kind=MessageEvent": "hello",
		info.URL + "/api/conversations/c/events":                                           "hello",
	} {
		if status, text := sent(t, "GET", url, ""); status != 200 || !strings.Contains(text, want) {
			t.Errorf("GET %s = %d %s", url, status, text)
		}
	}
	sent(t, "POST", info.AgentServer+"/_local/reset", "")
	if _, text := sent(t, "GET", info.AgentServer+"/api/conversations/count", ""); text != "0" {
		t.Errorf("after a reset there are %s", text)
	}
}

// TestLinesReset: a reset ends the runs of the agent server's line too, so that a
// conversation of the same id is another.
func TestLinesReset(t *testing.T) {
	script := filepath.Join(t.TempDir(), "slow.yaml")
	if err := os.WriteFile(script, []byte("rules:\n  - on: .*\n    steps:\n      - {wait: 1h, say: late}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, end := serveLines(t, server.Config{Addr: "127.0.0.1:0", Data: server.Memory, Agent: "script:" + script})
	defer end()
	const id = "00000000-0000-4000-8000-000000000000"
	for round := range 2 {
		idOf(t, info.AgentServer, strings.TrimSuffix(newAgentConversation, "}")+`,"conversation_id":"`+id+`"}`)
		path := info.AgentServer + "/api/conversations/" + id
		if status, text := sent(t, "POST", path+"/events", `{"content":[{"text":"hello"}]}`); status != http.StatusOK {
			t.Fatalf("send: %d %s", status, text)
		}
		if status, text := sent(t, "POST", path+"/run", ""); status != http.StatusOK {
			t.Fatalf("run %d: %d %s", round, status, text)
		}
		if status, text := sent(t, "POST", info.URL+"/_local/reset", ""); status != http.StatusNoContent && status != http.StatusOK {
			t.Fatalf("reset: %d %s", status, text)
		}
	}
	if _, text := sent(t, "GET", info.URL+"/_local/metrics", ""); !strings.Contains(text, "_agent_runs 0\n") {
		t.Errorf("an agent is at work after a reset")
	}
}

// TestLineAlone: the agent server's line is served alone.
func TestLineAlone(t *testing.T) {
	info, end := serveLines(t, server.Config{Data: server.Memory})
	defer end()
	if info.URL != info.AgentServer {
		t.Errorf("%+v", info)
	}
	if status, _ := sent(t, "GET", info.URL+"/api/options/models", ""); status != http.StatusNotFound {
		t.Errorf("an operation of the other line is %d", status)
	}
	idOf(t, info.URL, newAgentConversation)
}

// TestLinesAccess: a foreign Host and a foreign page are refused in both lines.
func TestLinesAccess(t *testing.T) {
	info, end := serveLines(t, server.Config{Addr: "127.0.0.1:0", Data: server.Memory, Key: "k"})
	defer end()
	for header, want := range map[string]int{"Host": 403, "Origin": 403, "X-Session-Api-Key": 200} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", info.AgentServer+"/api/conversations/count", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Session-Api-Key", "k")
		switch header {
		case "Host":
			r.Host = "evil.example"
		case "Origin":
			r.Header.Set("Origin", "http://evil.example")
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", header, resp.StatusCode, text, want)
		}
	}
}

// TestLinesApart: whatever is done in one line, the other's conversations and
// their number stay as they were, also when both know one by the same id.
func TestLinesApart(t *testing.T) {
	info, end := serveLines(t, server.Config{Addr: "127.0.0.1:0", Data: server.Memory, Agent: "none"})
	defer end()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	ids := []string{"00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"}
	first, second := map[string]int{}, map[string]int{} // events, by id
	for step := range 120 {
		id := ids[random.IntN(len(ids))]
		path := info.AgentServer + "/api/conversations/" + id
		_, is := second[id]
		switch n := random.IntN(6); {
		case n == 0:
			sent(t, "POST", info.URL+"/api/conversations/"+id+"/events", `{"action":"message","args":{"content":"x"}}`)
			first[id]++
		case n == 1:
			sent(t, "DELETE", info.URL+"/api/conversations/"+id, "")
			delete(first, id)
		case n == 2 && !is:
			idOf(t, info.AgentServer, strings.TrimSuffix(newAgentConversation, "}")+`,"conversation_id":"`+id+`"}`)
			second[id] = 0
		case n == 3 && is:
			sent(t, "POST", path+"/events", `{"content":[{"text":"x"}]}`)
			second[id]++
		case n == 4 && is:
			sent(t, "DELETE", path, "")
			delete(second, id)
		}
		var one struct {
			Results []struct {
				ID string `json:"conversation_id"`
			}
		}
		var two struct{ Items []struct{ ID string } }
		_, text := sent(t, "GET", info.URL+"/api/conversations", "")
		_, other := sent(t, "GET", info.AgentServer+"/api/conversations/search", "")
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(other), &two); err != nil {
			t.Fatal(err)
		}
		if len(one.Results) != len(first) || len(two.Items) != len(second) {
			t.Fatalf("seed %d, step %d: lists of %d and %d, want %d and %d", seed, step, len(one.Results), len(two.Items), len(first), len(second))
		}
		for _, c := range one.Results {
			if _, is := first[c.ID]; !is {
				t.Fatalf("seed %d, step %d: the first line lists %s", seed, step, c.ID)
			}
		}
		if _, is := second[id]; is {
			if _, text := sent(t, "GET", path+"/events/count?kind=MessageEvent", ""); text != fmt.Sprint(second[id]) {
				t.Fatalf("seed %d, step %d: %s has %s messages, want %d", seed, step, id, text, second[id])
			}
		}
	}
	idOf(t, info.AgentServer, strings.TrimSuffix(newAgentConversation, "}")+`,"conversation_id":"00000000-0000-4000-8000-000000000009"}`)
	if status, text := sent(t, "GET", info.URL+"/api/conversations/agent:00000000-0000-4000-8000-000000000009", ""); status != http.StatusOK || text != "null" {
		t.Errorf("the first line has a conversation of the second's id in the store: %d %s", status, text)
	}
}
