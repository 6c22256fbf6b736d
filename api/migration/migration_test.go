package migration_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/migration"
)

// recorded are the calls of 0.53.0, from its document.
func recorded(t *testing.T) (calls []string) {
	t.Helper()
	text, err := os.ReadFile("../contract/testdata/served-0.53.0.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for path, methods := range document.Paths {
		for method := range methods {
			calls = append(calls, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(calls)
	return calls
}

// TestTable: each call of 0.53.0 is there once, and each successor is a call of
// its line.
func TestTable(t *testing.T) {
	t.Parallel()
	calls := recorded(t)
	if len(calls) != 47 {
		t.Fatalf("0.53.0 has %d calls, want 47", len(calls))
	}
	for _, call := range calls {
		if _, known := migration.Of(call); !known {
			t.Errorf("the table lacks %s", call)
		}
	}
	seen := map[string]bool{}
	for _, call := range migration.Calls() {
		if seen[call] {
			t.Errorf("%s is there twice", call)
		}
		seen[call] = true
		s, _ := migration.Of(call)
		for _, line := range []struct {
			*migration.Line
			calls []string
		}{{migration.AgentServer, s.AgentServer}, {migration.AppServer, s.AppServer}} {
			for _, successor := range line.calls {
				if !slices.Contains(line.Calls(), successor) {
					t.Errorf("%s: the %s %s has no %s", call, line.Name, line.Version, successor)
				}
			}
		}
	}
	if a, b := len(migration.AgentServer.Calls()), len(migration.AppServer.Calls()); a != 177+1 || b != 67 {
		t.Errorf("the lines have %d and %d calls, want 177 and a websocket, and 67", a, b)
	}
	if s, known := migration.Of("GET /nowhere"); known || s.None {
		t.Errorf("Of(GET /nowhere) = %v, %v", s, known)
	}
	for call, want := range map[string]string{
		"POST /api/reset-settings": "no successor",
		"GET /api/secrets":         "agent server: GET /api/settings/secrets; app server: GET /api/v1/secrets/search",
		"GET /api/options/agents":  "no successor; a new conversation brings its agent_settings",
	} {
		if s, _ := migration.Of(call); s.String() != want {
			t.Errorf("Of(%s) = %v, want %s", call, s, want)
		}
	}
}

// TestHint: what was probably meant is named, and nothing where that is a guess.
func TestHint(t *testing.T) {
	t.Parallel()
	served := append(recorded(t), "GET /_local/requests")
	const agent, app = " is a call of the agent server (V1, 1.58.2): ", " is a call of the app server (V1, 1.11.0): "
	for _, tt := range []struct {
		method, path string
		methods      []string
		want         []string // parts, none for no hint
	}{
		{"POST", "/api/conversations/c/run", nil, []string{"POST /api/conversations/{conversation_id}/run" + agent, "port 8000", "Here: POST /api/conversations/{conversation_id}/events or POST /api/conversations/{conversation_id}/start"}},
		{"GET", "/sockets/events/c", nil, []string{migration.EventsSocket + agent, "Here: GET /socket.io/"}},
		{"POST", "/api/bash/execute_bash_command", nil, []string{agent, "Nothing here replaces it."}},
		{"GET", "/api/conversations/c/workspace/a/b.txt", nil, []string{agent, "select-file"}},
		{"PATCH", "/api/settings", []string{"GET", "POST"}, []string{"PATCH /api/settings" + agent, "Here: POST /api/settings"}},
		{"GET", "/api/v1/app-conversations/search", nil, []string{app, "port 3000", "Here: GET /api/conversations"}},
		{"GET", "/api/v1/app-conversation/search", nil, []string{"did you mean GET /api/v1/app-conversations/search of the app server"}},
		{"GET", "/api/conversations/c/run", nil, []string{"did you mean POST /api/conversations/{conversation_id}/run of the agent server", "Here: "}},
		{"PUT", "/api/settings", []string{"GET", "POST"}, []string{"this path takes GET, POST"}},
		{"GET", "/conversations", nil, []string{"did you mean GET /api/conversations?"}},
		{"GET", "/api/api/conversations", nil, []string{"did you mean GET /api/conversations?"}},
		{"POST", "/api/conversation/c/event", nil, []string{"did you mean POST /api/conversations/{conversation_id}/events?"}},
		{"GET", "/api/options/Model", nil, []string{"did you mean GET /api/options/models?"}},
		{"GET", "/_local/request", nil, []string{"did you mean GET /_local/requests?"}},
		{"GET", "/socketio/", nil, []string{"did you mean GET /socket.io/?"}},
		{"GET", "/api/user/search/branches", nil, []string{"came with OpenHands 0.55.0"}},
		{"GET", "/nowhere", nil, nil}, {"GET", "/", nil, nil}, {"GET", "/api", nil, nil}, {"GET", "", nil, nil}, {"GET", "/api/conversations/c/nothing/like/it", nil, nil},
		{"GET", "/api/" + strings.Repeat("a/", 30), nil, nil}, {"GET", "/api/" + strings.Repeat("a", 5000), nil, nil},
	} {
		got := migration.Hint(tt.method, tt.path, tt.methods, append(served, migration.SocketIO))
		if (got == "") != (len(tt.want) == 0) {
			t.Errorf("Hint(%s %.60s) = %q, want %q", tt.method, tt.path, got, tt.want)
		}
		for _, part := range tt.want {
			if !strings.Contains(got, part) {
				t.Errorf("Hint(%s %s) = %q, lacks %q", tt.method, tt.path, got, part)
			}
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("Hint(%s %s) = %q is no line of ASCII", tt.method, tt.path, got)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ got, want string }{
		{migration.Match("GET", "/api/conversations/c"), "GET /api/conversations/{conversation_id}"},
		{migration.Match("POST", "/socket.io/"), migration.SocketIO}, {migration.Match("GET", "/socket.io"), migration.SocketIO}, {migration.Match("GET", "/socket.io/"), migration.SocketIO},
		{migration.Match("POST", "/api/conversations/c/run"), ""},
		{migration.AgentServer.Match("GET", "/api/conversations/search"), "GET /api/conversations/search"},
		{migration.AppServer.Match("GET", "/api/v1/settings"), "GET /api/v1/settings"}, {migration.AppServer.Match("PUT", "/api/v1/settings"), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("Match = %q, want %q", tt.got, tt.want)
		}
	}
}

func FuzzHint(f *testing.F) {
	f.Add("GET", "/api/conversations/c/run")
	f.Fuzz(func(t *testing.T, method, path string) {
		served := []string{"GET /", "GET /api/conversations/{conversation_id}", migration.SocketIO}
		if hint := migration.Hint(method, path, nil, served); strings.ContainsAny(hint, "\r\n") {
			t.Errorf("Hint(%q, %q) = %q", method, path, hint)
		}
	})
}
