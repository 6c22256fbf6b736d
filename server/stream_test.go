package server_test

import (
	"bufio"
	"io"
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

// TestStreamNotices: a stream has what is told beside the events when that is
// asked for, in its place; that of all conversations names them.
func TestStreamNotices(t *testing.T) {
	s := servertest.NewServer(t, server.Config{Data: server.Memory, Agent: "none", SetConversationID: true})
	send(t, "POST", s.URL+"/api/conversations/c/events", `{"action":"null","args":{}}`).Body.Close()
	streams := map[string]*bufio.Scanner{}
	for _, path := range []string{"/_local/conversations/c/stream", "/_local/conversations/c/stream?notices=true", "/_local/stream?notices=1", "/_local/stream"} {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		streams[path] = bufio.NewScanner(resp.Body)
	}
	send(t, "PATCH", s.URL+"/api/conversations/c", `{"title":"Named"}`).Body.Close()
	send(t, "POST", s.URL+"/api/conversations/c/events", `{"action":"null","args":{}}`).Body.Close()
	const (
		title  = `{"kind":"update","update":{"status_update":true,"type":"info","message":"c","conversation_title":"Named"}}`
		first  = `data: {"id":0,`
		second = `data: {"id":1,`
	)
	for path, want := range map[string][]string{
		"/_local/conversations/c/stream":              {"id: 0", first, "", "id: 1", second},
		"/_local/conversations/c/stream?notices=true": {"id: 0", first, "", "event: notice", "data: " + title, "", "id: 1", second},
		"/_local/stream?notices=1":                    {"event: notice", `data: {"conversation_id":"c","notice":` + title + "}", "", `data: {"conversation_id":"c","event":{"id":1,`},
		"/_local/stream":                              {`data: {"conversation_id":"c","event":{"id":1,`},
	} {
		for _, line := range want {
			if !streams[path].Scan() || !strings.HasPrefix(streams[path].Text(), line) {
				t.Errorf("%s: %q, %v, want %q", path, streams[path].Text(), streams[path].Err(), line)
				break
			}
		}
	}
	resp, err := http.Get(s.URL + "/_local/stream?notices=maybe")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("notices=maybe = %s, want 422", resp.Status)
	}
}

// TestMCPStream: the stream on which an MCP server may speak first stays open
// until the server ends.
func TestMCPStream(t *testing.T) {
	s := servertest.NewServer(t, server.Config{})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/mcp/mcp/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("GET = %d %s, want 200 text/event-stream", resp.StatusCode, kind)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); err != nil || len(text) > 0 {
		t.Errorf("the stream has %q, %v, want nothing", text, err)
	}
}
