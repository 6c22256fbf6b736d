package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// fuzzed is a server without a socket: requests go to its handler.
func fuzzed(f *testing.F, c server.Config) http.Handler {
	var handler http.Handler
	ctx, cancel := context.WithCancel(context.Background())
	c.Addr, c.Agent, c.Wrap = "127.0.0.1:0", "none", func(h http.Handler) http.Handler { handler = h; return h }
	if c.Data == "" {
		c.Data = server.Memory
	}
	s, err := server.New(ctx, c)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		cancel()
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	return handler
}

// local is a request to this machine.
func local(t testing.TB, method, target string, body []byte) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost/", bytes.NewReader(body))
	u, err := url.Parse("http://localhost" + target)
	if err != nil {
		t.Skip("no URL")
	}
	u.Scheme, u.Host = "", ""
	r.URL = u
	return r
}

// ask sends a request and returns the answer; a hang, a 5xx, or an answer that
// the contract does not have is a failure.
func ask(t *testing.T, h http.Handler, method, target string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	r := local(t, method, target, body)
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(w, r)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s %s hangs with body %q", method, target, body)
	}
	if w.Code >= 500 {
		t.Fatalf("%s %s with body %q answers %d: %s", method, target, body, w.Code, w.Body)
	}
	if err := servertest.CheckAnswer(method, r.URL.Path, w.Code, w.Header(), w.Body.Bytes()); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	return w
}

// notFinite are bodies that JSON cannot carry in an answer.
var notFinite = []string{"NaN", "Infinity", "-Infinity", "1e400", "[NaN]", "[-Infinity,1]", "[[1e400]]", `"\ud800"`, `{"\ud800":1}`, `{"a":NaN}`}

// FuzzAddEvent: any body is stored whole or not at all, in both modes: 200
// means that the event is there, and what is stored is served.
func FuzzAddEvent(f *testing.F) {
	for _, seed := range append([]string{"", "{", benchBody, `{"action":"run","args":{"command":"ls"}}`, `{"action":"frob","x":[1,2]}`,
		`{"observation":"run","content":"x","extras":{"command":"c","metadata":{}}}`, "\xff\xfe{", `{"action":"message","args":{"content":NaN}}`,
		`{"action":"message","args":{"content":"\ud800"}}`, `[]`, `{"role":"user","content":[]}`}, notFinite...) {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	lenient, strict := fuzzed(f, server.Config{}), fuzzed(f, server.Config{Strict: true})
	created := httptest.NewRecorder()
	strict.ServeHTTP(created, local(f, http.MethodPost, "/api/conversations", []byte("{}")))
	var conversation struct {
		ID string `json:"conversation_id"`
	}
	if err := json.Unmarshal(created.Body.Bytes(), &conversation); err != nil || conversation.ID == "" {
		f.Fatalf("POST /api/conversations = %d %s", created.Code, created.Body)
	}
	f.Fuzz(func(t *testing.T, body []byte, isStrict bool) {
		h, path := lenient, "/api/conversations/fuzz/events"
		if isStrict {
			h, path = strict, "/api/conversations/"+conversation.ID+"/events"
		}
		before := ask(t, h, http.MethodGet, path+"?limit=1&reverse=true", nil).Body.String()
		w := ask(t, h, http.MethodPost, path, body)
		after := ask(t, h, http.MethodGet, path+"?limit=1&reverse=true", nil)
		id := w.Header().Get("X-Event-Id") // none for a message with images that OpenHands drops
		if stored := after.Body.String() != before; stored != (w.Code == http.StatusOK && id != "") {
			t.Fatalf("body %q: answer %d %s, and the last event was %s and is %s", body, w.Code, w.Body, before, after.Body)
		}
		if w.Code == http.StatusOK && (after.Code != http.StatusOK || !strings.HasPrefix(after.Body.String(), `{"events":[{"id":`+id)) {
			t.Fatalf("body %q is stored as %s and read as %d %s", body, id, after.Code, after.Body)
		}
	})
}

// FuzzOperations: whatever is sent to an operation, its answer is documented,
// and 200 has the shape of the contract.
func FuzzOperations(f *testing.F) {
	bodies := append([]string{"", "{}", "null", "[]", "{", `"x"`, "5", strings.Repeat("9", 30), `{"a":1e400}`, "\xff",
		`{"max_iterations":` + strings.Repeat("9", 30) + `}`, `{"polarity":"positive","x":` + strings.Repeat("9", 30) + `}`}, notFinite...)
	unwritten := api.ContractStatus().Unimplemented // answered by 501
	written := slices.DeleteFunc(slices.Clone(gen.Operations), func(op gen.Operation) bool { return slices.Contains(unwritten, op.Name) })
	for i := range written {
		for _, body := range bodies {
			f.Add(uint16(i), "x", "event_id=0", []byte(body))
		}
		for _, query := range []string{"", "limit=-1000000000000000000000000&page=9e9", "event_id=99999999999999999999&file=/&path=.", "page_id=%ff"} {
			f.Add(uint16(i), "fuzz", query, []byte("{}"))
		}
	}
	h := fuzzed(f, server.Config{Data: f.TempDir()})
	f.Fuzz(func(t *testing.T, i uint16, name, query string, body []byte) {
		op := written[int(i)%len(written)]
		if name == "fuzz" { // the conversation is there
			h.ServeHTTP(httptest.NewRecorder(), local(t, http.MethodPost, "/api/conversations/fuzz/events", []byte(benchBody)))
		}
		path := parameters.ReplaceAllString(op.Path, url.PathEscape(name))
		ask(t, h, op.Method, path+"?"+query, body)
	})
}

var parameters = regexp.MustCompile(`\{[^}]*\}`)

// FuzzSearch: any query and filter body is answered.
func FuzzSearch(f *testing.F) {
	for _, seed := range [][2]string{{"", ""}, {"limit=2&reverse=yes", `{"query":"x"}`}, {"start_id=-1&end_id=99999999999999999999", "null"},
		{"limit=%zz", "{"}, {"limit=1&limit=2", `{"exclude_hidden":"on","source":5}`}, {"start_id=+5&limit=1_0", `{"include_types":[1]}`}} {
		f.Add(seed[0], []byte(seed[1]))
	}
	h := fuzzed(f, server.Config{})
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		const path = "/api/conversations/fuzz/events"
		h.ServeHTTP(httptest.NewRecorder(), local(t, http.MethodPost, path, []byte(benchBody)))
		u := url.URL{Path: path, RawQuery: query}
		if _, err := url.Parse(u.String()); err != nil {
			t.Skip("no URL")
		}
		w := ask(t, h, http.MethodGet, u.String(), body)
		if _, err := io.Copy(io.Discard, w.Body); err != nil {
			t.Fatal(err)
		}
	})
}
