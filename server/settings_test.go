package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// settingsValues are values of one member of the settings, and what upstream
// says of them: "" when it takes them, else the type of the first error.
var settingsValues = []struct{ name, value, fault string }{
	{"mcp_config", `{"shttp_servers":[{"url":"ht\ttp://a"}]}`, ""},
	{"mcp_config", `{"shttp_servers":["http://a"," ws://b "],"stdio_servers":[{"name":" n ","command":"c","args":"a 'b c'","env":"A=1,B=2"}]}`, ""},
	{"mcp_config", `{"sse_servers":[{"url":"http://a","api_key":"k"}],"stdio_servers":[{"name":"n","command":"c","args":null,"env":0}]}`, ""},
	{"mcp_config", `{"sse_servers":"http://a"}`, "value_error"},
	{"mcp_config", `{"sse_servers":[{"url":"ftp://a"}]}`, "value_error"},
	{"mcp_config", `{"sse_servers":[{"url":"http://[a"}]}`, "value_error"},
	{"mcp_config", `{"sse_servers":[{}]}`, "missing"},
	{"mcp_config", `{"sse_servers":5}`, "list_type"},
	{"mcp_config", `{"stdio_servers":[{"name":"n","command":"a b"}]}`, "value_error"},
	{"mcp_config", `{"stdio_servers":[{"name":5,"command":"c"}]}`, "string_type"},
	{"mcp_config", `{"a":1}`, "extra_forbidden"},
	{"mcp_config", `[]`, "model_attributes_type"},
	{"max_iterations", `"5.0"`, ""},
	{"max_iterations", `true`, ""},
	{"max_iterations", `1000000000000000000000000`, ""},
	{"max_iterations", `"-1_000_000_000_000_000_000_000_000"`, ""},
	{"max_iterations", `1e300`, "int_parsing_size"},
	{"max_iterations", `1e400`, "finite_number"},
	{"max_iterations", `5.5`, "int_from_float"},
	{"max_iterations", `"x"`, "int_parsing"},
	{"remote_runtime_resource_factor", `99999999999999999999`, ""},
	{"confirmation_mode", `"yes"`, ""},
	{"confirmation_mode", `2`, "bool_parsing"},
	{"enable_default_condenser", `null`, "bool_type"},
	{"max_budget_per_task", `" 1_0"`, "float_parsing"},
	{"max_budget_per_task", `"1.5"`, ""},
	{"max_budget_per_task", `NaN`, ""},
	{"agent", `5`, "string_type"},
	{"agent", `"\ud800"`, "string_unicode"},
	{"secrets_store", `{"provider_tokens":{"github":{"token":"t"}},"custom_secrets":5}`, ""},
	{"secrets_store", `{"provider_tokens":null,"bogus":"\ud800"}`, ""},
	{"secrets_store", `null`, "value_error"},
	{"secrets_store", `[{}]`, "value_error"},
	{"bogus", `[1]`, ""},
}

// TestSettingsByEveryWay: what POST /api/settings makes of a value, or says of
// it, is what comes of it by --settings FILE, by the settings.json of a folder
// of OpenHands and by an export.
func TestSettingsByEveryWay(t *testing.T) {
	servertest.Needs(t, "POST /api/settings", "GET /api/settings")
	posted := servertest.NewServer(t, server.Config{Settings: "none"})
	for _, v := range settingsValues {
		t.Run(v.name+" "+v.value, func(t *testing.T) {
			body := `{"llm_model":"m","` + v.name + `":` + v.value + `}`
			status, answer := sent(t, http.MethodPost, posted.URL+"/api/settings", body)
			want, refused := "", ""
			if v.fault == "" {
				if status != http.StatusOK {
					t.Fatalf("POST = %d %s, want 200", status, answer)
				}
				_, want = sent(t, http.MethodGet, posted.URL+"/api/settings", "")
			} else {
				refused = firstFault(t, answer)
				if status != http.StatusUnprocessableEntity || !strings.Contains(answer, `[{"type":"`+v.fault+`"`) {
					t.Fatalf("POST = %d %s, want 422 %s", status, answer, v.fault)
				}
			}
			for way, c := range waysOf(t, body) {
				var log bytes.Buffer
				c.Log = slog.New(slog.NewTextHandler(&log, nil))
				got, why := settingsOf(t, c)
				if got != want || !strings.Contains(why+log.String(), refused) {
					t.Errorf("%s: %s %s%s, want %s%s", way, got, why, log.String(), want, refused)
				}
			}
		})
	}
}

// waysOf has a server for each way other than POST that settings come in.
func waysOf(t *testing.T, body string) map[string]server.Config {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("sessions/a/metadata.json", `{"created_at":"2025-01-01T00:00:00Z"}`)
	write("sessions/a/events/0.json", `{"id":0,"timestamp":"2025-01-01T00:00:00","source":"user","action":"null","args":{}}`)
	file := write("settings.json", body)
	ways := map[string]server.Config{
		"--settings FILE":        {Settings: file},
		"a folder of OpenHands'": {Settings: "none", Import: dir},
	}
	if json.Valid([]byte(body)) {
		export := `{"openhands_local":1}` + "\n" + `{"record":"settings","value":` + body + "}\n" + `{"end":{"conversations":0,"events":0,"records":1,"left_out":0}}` + "\n"
		ways["an export"] = server.Config{Settings: "none", Import: write("export.ndjson", export)}
	}
	return ways
}

// settingsOf starts a server and asks for its settings: "" for none. why is
// what kept it from starting.
func settingsOf(t *testing.T, c server.Config) (settings, why string) {
	t.Helper()
	var handler http.Handler
	c.Addr, c.Data, c.Wrap = "127.0.0.1:0", server.Memory, func(h http.Handler) http.Handler { handler = h; return h }
	s, err := server.New(t.Context(), c)
	if err != nil {
		return "", err.Error()
	}
	defer s.Close()
	if w := ask(t, handler, http.MethodGet, "/api/settings", nil); w.Code == http.StatusOK {
		settings = w.Body.String()
	}
	return settings, ""
}

// sent sends a request and returns the answer.
func sent(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text.String()
}

// firstFault is "place: text" of the first error of a 422 answer.
func firstFault(t *testing.T, answer string) string {
	t.Helper()
	var invalid struct {
		Detail []struct {
			Loc []any
			Msg string
		}
	}
	if err := json.Unmarshal([]byte(answer), &invalid); err != nil || len(invalid.Detail) == 0 {
		t.Fatalf("%s is no 422 answer: %v", answer, err)
	}
	place := make([]string, len(invalid.Detail[0].Loc))
	for i, part := range invalid.Detail[0].Loc {
		place[i] = fmt.Sprint(part)
	}
	return strings.Join(place, ".") + ": " + invalid.Detail[0].Msg
}

// TestLongIntegers: an integer is kept as it came, however long, wherever a
// body has one.
func TestLongIntegers(t *testing.T) {
	s := servertest.NewServer(t, server.Config{})
	const long = "1000000000000000000000000"
	for _, name := range []string{"max_iterations", "remote_runtime_resource_factor"} {
		if status, answer := sent(t, http.MethodPost, s.URL+"/api/settings", `{"`+name+`":`+long+`,"llm_api_key":"k"}`); status != http.StatusOK {
			t.Fatalf("POST = %d %s", status, answer)
		}
		if _, answer := sent(t, http.MethodGet, s.URL+"/api/settings", ""); !strings.Contains(answer, `"`+name+`":`+long+`,`) {
			t.Errorf("GET = %s, want %s %s", answer, name, long)
		}
	}
	status, answer := sent(t, http.MethodPost, s.URL+"/api/conversations",
		`{"suggested_task":{"git_provider":"github","task_type":"OPEN_ISSUE","repo":"o/r","issue_number":`+long+`,"title":"t"}}`)
	var created struct {
		ID string `json:"conversation_id"`
	}
	if err := json.Unmarshal([]byte(answer), &created); err != nil || status != http.StatusOK {
		t.Fatalf("POST = %d %s", status, answer)
	}
	if _, answer := sent(t, http.MethodGet, s.URL+"/api/conversations/"+created.ID+"/events", ""); !strings.Contains(answer, "open issue #"+long+" of o/r") {
		t.Errorf("events = %s, want the number %s in them", answer, long)
	}
	event := `{"action":"message","args":{"content":"x"},"cause":` + long + `}`
	if status, answer := sent(t, http.MethodPost, s.URL+"/api/conversations/c/events", event); status != http.StatusOK {
		t.Fatalf("POST = %d %s", status, answer)
	}
	if _, answer := sent(t, http.MethodGet, s.URL+"/api/conversations/c/events", ""); !strings.Contains(answer, `"cause":`+long+`,`) {
		t.Errorf("events = %s, want cause %s", answer, long)
	}
	// A limit is only looked at.
	for _, limit := range []string{long, "-" + long} {
		if status, answer := sent(t, http.MethodGet, s.URL+"/api/conversations?limit="+limit, ""); status != http.StatusOK {
			t.Errorf("GET with limit %s = %d %s, want 200", limit, status, answer)
		}
	}
}

// TestFeedback: a body without what it needs is refused where the real server
// fails (recorded sub_feedback); what it does not look at is taken.
func TestFeedback(t *testing.T) {
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/submit-feedback")
	s := servertest.NewServer(t, server.Config{})
	sent(t, http.MethodPost, s.URL+"/api/conversations/c/events", benchBody)
	const literal = `{"type":"literal_error","loc":["body","polarity"],"msg":"Input should be 'positive' or 'negative'","input":`
	for body, want := range map[string]string{
		`{"polarity":"positive"}`: "",
		`{"polarity":"negative","email":"a@b.c","version":"1","permissions":"public","feedback":5,"token":null}`: "",
		"\xff\xfe{\x00}\x00": `{"type":"missing","loc":["body","polarity"],"msg":"Field required","input":{}}`,
		`{}`:                 `{"type":"missing","loc":["body","polarity"],"msg":"Field required","input":{}}`,
		`{"polarity":"meh"}`: literal + `"meh"`,
		`{"polarity":null}`:  literal + `null`,
		`{"polarity":"positive","permissions":"secret"}`: `{"type":"literal_error","loc":["body","permissions"],"msg":"Input should be 'public' or 'private'","input":"secret"`,
		`{"polarity":"positive","email":5}`:              `{"type":"string_type","loc":["body","email"]`,
		`{"polarity":"positive","version":null}`:         `{"type":"string_type","loc":["body","version"]`,
		`[]`:                                             `{"type":"model_attributes_type","loc":["body"]`,
		`5`:                                              `{"type":"model_attributes_type","loc":["body"]`,
		`null`:                                           `{"type":"missing","loc":["body"]`,
		`NaN`:                                            `{"type":"model_attributes_type","loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","input":null}`,
		``:                                               `{"type":"json_invalid","loc":["body",0],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting value"}}`,
		`{`:                                              `{"type":"json_invalid","loc":["body",1]`,
		`{"polarity":"positive","x":[1e400]}`:            `{"type":"value_error","loc":["body","x"]`,
	} {
		status, answer := sent(t, http.MethodPost, s.URL+"/api/conversations/c/submit-feedback", body)
		switch {
		case want == "" && status != http.StatusOK:
			t.Errorf("%s: %d %s, want 200", body, status, answer)
		case want != "" && (status != http.StatusUnprocessableEntity || !strings.Contains(answer, `{"detail":[`+want)):
			t.Errorf("%s: %d %s, want 422 %s", body, status, answer, want)
		}
	}
}

// TestOddValuesElsewhere: what is read beside the contract's operations is read
// and refused as theirs.
func TestOddValuesElsewhere(t *testing.T) {
	s := servertest.NewServer(t, server.Config{Key: "k"})
	for _, test := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodPost, "/mcp/mcp/", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, http.StatusOK},
		{http.MethodPost, "/mcp/mcp/", `{"jsonrpc":"2.0","id":1000000000000000000000000,"method":"ping"}`, http.StatusOK},
		{http.MethodPost, "/mcp/mcp/", `{"jsonrpc":"2.0","id":NaN,"method":"ping"}`, http.StatusBadRequest},
		{http.MethodPost, "/mcp/mcp/", `{"jsonrpc":"2.0","id":"\ud800","method":"ping"}`, http.StatusBadRequest},
		{http.MethodPost, "/mcp/mcp/a/b", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, http.StatusOK},
		{http.MethodPost, "/api/conversations/%00/exp-config", `{}`, http.StatusUnprocessableEntity},
		{http.MethodGet, "/_local/export?secrets=Yes", "", http.StatusOK},
		{http.MethodGet, "/_local/export?secrets=2", "", http.StatusUnprocessableEntity},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, s.URL+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"X-Session-Api-Key": {"k"}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%s %s %s = %d, want %d", test.method, test.path, test.body, resp.StatusCode, test.want)
		}
	}
}
