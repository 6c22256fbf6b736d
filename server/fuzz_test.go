package server_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// fuzzed is a server without a socket: requests go to its handler.
func fuzzed(f *testing.F) http.Handler {
	var handler http.Handler
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, server.Config{Addr: "127.0.0.1:0", Data: server.Memory,
		Wrap: func(h http.Handler) http.Handler { handler = h; return h }})
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

// ask sends a request and returns the answer; a hang, a 5xx, or an answer that
// the contract does not have is a failure.
func ask(t *testing.T, h http.Handler, method, target string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost/", bytes.NewReader(body))
	u, err := url.Parse("http://localhost" + target)
	if err != nil {
		t.Skip("no URL")
	}
	u.Scheme, u.Host = "", ""
	r.URL = u
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
	if err := servertest.CheckAnswer(method, u.Path, w.Code, w.Header(), w.Body.Bytes()); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	return w
}

// FuzzAddEvent: any body is stored whole or not at all, and what is stored is
// served.
func FuzzAddEvent(f *testing.F) {
	for _, seed := range []string{"", "{", benchBody, `{"action":"run","args":{"command":"ls"}}`, `{"action":"frob","x":[1,2]}`,
		`{"observation":"run","content":"x","extras":{"command":"c","metadata":{}}}`, "\xff\xfe{", `{"action":"message","args":{"content":NaN}}`,
		`{"action":"message","args":{"content":"\ud800"}}`, `[]`, `{"role":"user","content":[]}`} {
		f.Add([]byte(seed))
	}
	h := fuzzed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		const path = "/api/conversations/fuzz/events"
		before := ask(t, h, http.MethodGet, path+"?limit=1&reverse=true", nil).Body.String()
		w := ask(t, h, http.MethodPost, path, body)
		after := ask(t, h, http.MethodGet, path+"?limit=1&reverse=true", nil)
		if stored := after.Body.String() != before; stored != (w.Code == http.StatusOK) {
			t.Fatalf("body %q: answer %d %s, and the last event was %s and is %s", body, w.Code, w.Body, before, after.Body)
		}
		if w.Code == http.StatusOK && after.Code != http.StatusOK {
			t.Fatalf("body %q is stored and cannot be read: %d", body, after.Code)
		}
	})
}

// FuzzSearch: any query and filter body is answered.
func FuzzSearch(f *testing.F) {
	for _, seed := range [][2]string{{"", ""}, {"limit=2&reverse=yes", `{"query":"x"}`}, {"start_id=-1&end_id=99999999999999999999", "null"},
		{"limit=%zz", "{"}, {"limit=1&limit=2", `{"exclude_hidden":"on","source":5}`}, {"start_id=+5&limit=1_0", `{"include_types":[1]}`}} {
		f.Add(seed[0], []byte(seed[1]))
	}
	h := fuzzed(f)
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		const path = "/api/conversations/fuzz/events"
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader([]byte(benchBody)))
		h.ServeHTTP(httptest.NewRecorder(), r)
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
