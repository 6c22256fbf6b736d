package settings_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/settings"
	"github.com/openhands-local/openhands-local/gen"
)

// A scenario is what the real server answered, in order
// (testdata/recorded).
type scenario struct {
	Steps []step `json:"steps"`
}

type step struct {
	Method   string `json:"method"`
	Path     string `json:"path"`
	Body     string `json:"body_raw"`
	Response struct {
		Status   int             `json:"status"`
		Body     json.RawMessage `json:"body"`
		Volatile []string        `json:"volatile"`
	} `json:"response"`
}

// TestRecorded replays every recorded request of these operations that gets
// as far as a handler, and compares the answers byte for byte.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/recorded/*.json")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var sc scenario
			decodeFile(t, file, &sc)
			var s server
			for i, st := range sc.Steps {
				if !reachesHandler(st) {
					continue
				}
				status, body := s.answer(t, st)
				if st.Response.Status == 500 { // sse_servers is a number
					if status != 422 {
						t.Errorf("step %d: %s %s %s = %d, want 422", i, st.Method, st.Path, st.Body, status)
					}
					continue
				}
				compared++
				if st.Response.Body == nil {
					continue // too long to be recorded: the models
				}
				want := compact(t, st.Response.Body, st.Response.Volatile)
				if got := compact(t, body, st.Response.Volatile); status != st.Response.Status || got != want {
					t.Errorf("step %d: %s %s %s = %d %s, want %d %s", i, st.Method, st.Path, st.Body, status, got, st.Response.Status, want)
				}
			}
		})
	}
	if compared < 119 {
		t.Errorf("%d answers compared, want 119 or more", compared)
	}
}

// reachesHandler tells whether a recorded request passes routing and the
// contract, which say 404 Not Found, 405, 307, 400 and most of 422.
func reachesHandler(st step) bool {
	body := string(st.Response.Body)
	switch st.Response.Status {
	case 0, 307, 405:
		return false
	case 422:
		return strings.Contains(body, `"body", "mcp_config"`)
	}
	return strings.HasPrefix(st.Path, "/api/") && st.Path != "/api/conversations" && !strings.Contains(body, `"detail": "`)
}

// server keeps the two records and answers as the handlers do.
type server struct{ settings, secrets []byte }

// schemas are those of the bodies.
var schemas = map[string]string{
	"POST /api/settings":          "Settings",
	"POST /api/secrets":           "CustomSecretModel",
	"PUT /api/secrets/{id}":       "CustomSecretWithoutValueModel",
	"POST /api/add-git-providers": "POSTProviderModel",
}

func (s *server) answer(t *testing.T, st step) (status int, body []byte) {
	t.Helper()
	route, _, _ := strings.Cut(st.Path, "?")
	id := ""
	if rest, ok := strings.CutPrefix(route, "/api/secrets/"); ok {
		var err error
		if id, err = url.PathUnescape(rest); err != nil {
			t.Fatal(err)
		}
		route = "/api/secrets/{id}"
	}
	var (
		sent    []byte
		err     error
		stored  []byte
		message string
		record  = &s.secrets
	)
	status = 200
	if schema := schemas[st.Method+" "+route]; schema != "" {
		if sent, err = read(t, schema, st.Body); err != nil {
			return refusal(t, err)
		}
	}
	switch st.Method + " " + route {
	case "GET /api/settings":
		body, err = settings.Load(s.settings, s.secrets)
	case "GET /api/secrets":
		body, err = settings.SecretNames(s.secrets)
	case "GET /api/options/models":
		return 200, list(t, settings.Models())
	case "GET /api/options/agents":
		return 200, list(t, settings.Agents())
	case "GET /api/options/security-analyzers":
		return 200, list(t, settings.SecurityAnalyzers())
	case "GET /api/options/config":
		return 200, settings.Config()
	case "POST /api/reset-settings":
		return 410, []byte(`{"error":"Reset settings functionality has been removed."}`)
	case "POST /api/settings":
		record, message = &s.settings, "Settings stored"
		stored, err = settings.Store(s.settings, sent)
	case "POST /api/secrets":
		status, message = 201, "Secret created successfully"
		stored, err = settings.CreateSecret(s.secrets, sent)
	case "PUT /api/secrets/{id}":
		message = "Secret updated successfully"
		stored, err = settings.UpdateSecret(s.secrets, id, sent)
	case "DELETE /api/secrets/{id}":
		message = "Secret deleted successfully"
		stored, err = settings.DeleteSecret(s.secrets, id)
	case "POST /api/add-git-providers":
		message = "Git providers stored"
		stored, err = settings.AddProviders(s.secrets, sent, settings.NoNetwork)
	case "POST /api/unset-provider-tokens":
		message = "Unset Git provider tokens"
		stored, err = settings.UnsetProviders(s.secrets)
	default:
		t.Fatalf("no handler for %s %s", st.Method, st.Path)
	}
	if err != nil {
		return refusal(t, err)
	}
	if message != "" {
		*record = stored
		body = fmt.Appendf(nil, `{"message":%q}`, message)
	}
	return status, body
}

// refusal is the answer that an error means.
func refusal(t *testing.T, err error) (status int, body []byte) {
	t.Helper()
	var (
		invalid *fastapi.Invalid
		refused *settings.Refusal
	)
	switch {
	case errors.As(err, &invalid):
		return 422, invalid.Body()
	case !errors.As(err, &refused):
		t.Fatal(err)
	}
	member := "error"
	switch refused.Err {
	case settings.ErrNoSettings, settings.ErrNoSecret:
		status = 404
	case settings.ErrBadToken:
		status = 401
	case settings.ErrSecretExists:
		status, member = 400, "message"
	}
	return status, pyjson.ObjectOf(pyjson.Member{Key: member, Value: pyjson.StringOf(refused.Text)}).Append(nil)
}

// served is the contract, with the rules of this package.
var served = sync.OnceValues(func() (*contract.Contract, error) { return contract.Load(gen.OpenAPI, settings.Rules) })

// read reads a body by its schema, as it is before it comes to the functions of
// this package.
func read(t testing.TB, schema, body string) ([]byte, error) {
	t.Helper()
	c, err := served()
	if err != nil {
		t.Fatal(err)
	}
	return c.Read(schema, []byte(body))
}

// store reads a body of POST /api/settings and stores it.
func store(t testing.TB, old []byte, body string) ([]byte, error) {
	t.Helper()
	sent, err := read(t, "Settings", body)
	if err != nil {
		return nil, err
	}
	return settings.Store(old, sent)
}

// compact is a recorded or given body as Python writes it, without the
// top-level members that differ from run to run.
func compact(t *testing.T, body []byte, volatile []string) string {
	t.Helper()
	v, err := pyjson.Decode(body)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if len(volatile) == 0 {
		return string(v.Append(nil))
	}
	members := slices.DeleteFunc(slices.Clone(v.Members()), func(m pyjson.Member) bool { return slices.Contains(volatile, "/"+m.Key) })
	return string(pyjson.ObjectOf(members...).Append(nil))
}

func list(t *testing.T, names []string) []byte {
	t.Helper()
	if !slices.IsSorted(names) {
		t.Errorf("names are not sorted: %v", names)
	}
	text, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func decodeFile(t *testing.T, file string, v any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
