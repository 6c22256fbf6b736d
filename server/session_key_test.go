package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// TestSessionKeyREST plays the one transcript of api/live that is about REST
// alone. What is answered to the right key, the cases of api/conform compare.
func TestSessionKeyREST(t *testing.T) {
	servertest.Needs(t, "GET /alive", "GET /api/options/config", "GET /api/conversations/{conversation_id}")
	text, err := os.ReadFile("../api/live/testdata/transcripts.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	type exchanges struct {
		Name, Key string
		Steps     []struct {
			Request, Answer string
			Headers         map[string]string
			Status          int
		}
	}
	var transcript exchanges
	for line := range strings.Lines(string(text)) {
		transcript = exchanges{}
		if err := json.Unmarshal([]byte(line), &transcript); err != nil {
			t.Fatal(err)
		}
		if transcript.Name == "session_key_rest__js-ws" {
			break
		}
	}
	if len(transcript.Steps) != 10 {
		t.Fatalf("%s has %d steps, want session_key_rest with 10", transcript.Name, len(transcript.Steps))
	}
	s := servertest.NewServer(t, server.Config{Key: transcript.Key})
	for _, step := range transcript.Steps {
		method, path, _ := strings.Cut(step.Request, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range step.Headers {
			r.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != step.Status {
			t.Errorf("%s %v answers %d, want %d", step.Request, step.Headers, resp.StatusCode, step.Status)
		}
		if small := len(step.Answer) < 40; small && strings.TrimSpace(string(body)) != step.Answer {
			t.Errorf("%s %v answers %s, want %s", step.Request, step.Headers, body, step.Answer)
		}
	}
}
