package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
	"github.com/openhands-local/openhands-local/server/workshop/recorded"
)

// TestConformLeavesDataAlone runs every case that is allowed without asking
// against a server full of data, which is the same afterwards, byte by byte.
// Its conversations have names that recorded cases use too, and it is lenient:
// it makes what a recorded request names.
func TestConformLeavesDataAlone(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "GET /api/settings", "POST /api/settings", "GET /api/secrets", "POST /api/secrets", "GET /api/conversations",
		"GET /api/conversations/{conversation_id}", "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events",
		"GET /api/conversations/{conversation_id}/trajectory")
	if testing.Short() {
		t.Skip("takes eight seconds")
	}
	s := servertest.NewServer(t, server.Config{Data: t.TempDir()})
	ask := func(method, path, body string) string {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode >= 300 {
			t.Fatalf("%s %s answers %d: %s (%v)", method, path, answer.StatusCode, text, err)
		}
		return string(text)
	}
	pages := []string{"/api/settings", "/api/secrets", "/api/conversations?limit=100"}
	ask("POST", "/api/settings", `{"llm_model":"mine/model","llm_api_key":"mine","language":"no"}`)
	ask("POST", "/api/secrets", `{"name":"MINE","value":"my-1","description":"first"}`)
	ask("POST", "/api/secrets", `{"name":"A","value":"my-2"}`)
	for _, id := range []string{"mine", "x", "0123456789abcdef0123456789abcdef", "hello-1"} {
		for i := range 30 {
			ask("POST", "/api/conversations/"+id+"/events", fmt.Sprintf(`{"action":"message","args":{"content":"number %d"}}`, i))
		}
		pages = append(pages, "/api/conversations/"+id, "/api/conversations/"+id+"/events?limit=100", "/api/conversations/"+id+"/trajectory")
	}
	before := map[string]string{}
	for _, page := range pages {
		before[page] = ask("GET", page, "")
	}

	// A run waits most of its time: many at once, each with its part of the cases.
	const runs = 60
	only := make([][]string, runs)
	for i, c := range conform.Cases() {
		only[i%runs] = append(only[i%runs], c.Name)
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		sent int
	)
	for _, names := range only {
		wg.Go(func() {
			report, err := conform.Run(t.Context(), conform.Target{URL: s.URL}, conform.Options{Only: names, Fast: true})
			if err != nil {
				t.Error(err)
			}
			if len(report.NotDeleted) > 0 {
				t.Errorf("not deleted: %v", report.NotDeleted)
			}
			mu.Lock()
			defer mu.Unlock()
			sent += report.Steps - report.Counts[conform.LeftOut] - report.Counts[conform.NotApplicable]
		})
	}
	wg.Wait()
	t.Logf("%d requests", sent)
	if sent < 500 {
		t.Errorf("%d requests were sent, want hundreds", sent)
	}
	for _, page := range pages {
		if after := ask("GET", page, ""); after != before[page] {
			t.Errorf("%s was\n%s\nis\n%s", page, before[page], after)
		}
	}
}

// TestConformSettings runs the cases that change settings and secrets against
// a server in use: what was there before is no difference.
func TestConformSettings(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "GET /api/settings", "POST /api/settings", "GET /api/secrets", "POST /api/secrets", "PUT /api/secrets/{secret_id}",
		"DELETE /api/secrets/{secret_id}", "POST /api/add-git-providers", "POST /api/unset-provider-tokens", "POST /api/conversations")
	s := servertest.NewServer(t, server.Config{Strict: true})
	for path, body := range map[string]string{
		"/api/settings": `{"llm_model":"mine/model","llm_base_url":"http://mine","llm_api_key":"mine","search_api_key":"mine","user_consents_to_analytics":true}`,
		"/api/secrets":  `{"name":"MINE","value":"my-1"}`,
	} {
		answer, err := http.Post(s.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	names, _, err := recorded.Applicable("../..", gen.OpenAPI, conform.Cases())
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !slices.ContainsFunc([]string{"settings_", "secrets_", "git_providers", "create_settings"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	})
	report, err := conform.Run(t.Context(), conform.Target{URL: s.URL}, conform.Options{
		Only: names, AllowSettings: true, Fast: true, Differences: conform.Declared(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() {
		var text strings.Builder
		t.Error(report.WriteText(&text), text.String())
	}
	if n := report.Counts[conform.Held] + report.Counts[conform.Part]; n < 150 {
		t.Errorf("%d requests passed, want over 150", n)
	}
}
