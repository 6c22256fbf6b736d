package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/faults"
	"github.com/openhands-local/openhands-local/server/journal"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// in makes a request to a world, which it names by its "header", "host" or "path".
func in(ctx context.Context, s *servertest.Server, way, world, method, path, body string, headers ...string) (*http.Request, error) {
	if way == "path" {
		path = "/_local/worlds/" + world + path
	}
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	switch way {
	case "header":
		r.Header.Set("X-Local-World", world)
	case "host":
		r.Host = world + ".localhost:" + r.URL.Port()
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r, nil
}

// askIn sends a request to a world and returns its status and body; redirects are
// not followed.
func askIn(ctx context.Context, s *servertest.Server, way, world, method, path, body string, headers ...string) (*http.Response, string, error) {
	r, err := in(ctx, s, way, world, method, path, body, headers...)
	if err != nil {
		return nil, "", err
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// asked is askIn, for a test.
func asked(t *testing.T, s *servertest.Server, way, world, method, path, body string, headers ...string) (status int, text string) {
	t.Helper()
	resp, text, err := askIn(t.Context(), s, way, world, method, path, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text
}

// worlds are those that there are.
func worlds(t *testing.T, s *servertest.Server) []server.WorldInfo {
	t.Helper()
	_, text := asked(t, s, "", "", "GET", "/_local/worlds", "")
	var list struct{ Worlds []server.WorldInfo }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return list.Worlds
}

// names are theirs.
func names(t *testing.T, s *servertest.Server) string {
	t.Helper()
	var all []string
	for _, w := range worlds(t, s) {
		all = append(all, w.Name)
	}
	return strings.Join(all, " ")
}

// TestWorlds: 200 tests with a server in common, each in a world of its own, see
// what they did themselves and nothing else. When they are over nothing is left.
func TestWorlds(t *testing.T) {
	t.Parallel()
	const tests = 200
	s := servertest.NewServer(t, server.Config{Agent: "none", Data: t.TempDir()})
	send(t, "POST", s.URL+"/api/conversations/c/events", hello)
	t.Run("tests", func(t *testing.T) {
		for i := range tests {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				w := s.World(t)
				way := []string{"header", "host", "path"}[i%3]
				do := func(method, path, body string) (int, string) {
					t.Helper()
					return asked(t, s, way, w.Name, method, path, body)
				}
				if status, text := do("GET", "/api/conversations", ""); status != http.StatusOK || !strings.Contains(text, `"results":[]`) {
					t.Errorf("at first: %d %s, want no conversation", status, text)
				}
				model := fmt.Sprint("model-", i)
				if status, text := do("POST", "/api/settings", `{"llm_model":"`+model+`"}`); status != http.StatusOK {
					t.Errorf("settings: %d %s", status, text)
				}
				w.Faults.Add(faults.Rule{Name: model, Match: faults.Match{Operation: "AddEvent", Nth: i%3 + 1}, Do: faults.Do{Status: 503}})
				w.Clock.Set(server.SeedStart.AddDate(0, 0, i))
				day := w.Clock.Now().Format("2006-01-02T")
				var refused int
				for n := range 4 {
					status, _ := do("POST", "/api/conversations/c/events", stored(fmt.Sprintf("%d of %s", n, model)))
					if status == http.StatusServiceUnavailable {
						refused = n + 1
					}
				}
				if want := i%3 + 1; refused != want || w.Faults.Used(model) != 1 {
					t.Errorf("event %d was refused, want %d; faults: %+v", refused, want, w.Faults.List())
				}
				if status, text := do("GET", "/api/conversations/c/events", ""); status != http.StatusOK || strings.Count(text, "of "+model+`"`) != 2*3 || strings.Count(text, `"timestamp":"`+day) != 3 {
					t.Errorf("events: %d %s, want three of %s on %s", status, text, model, day)
				}
				if _, text := do("GET", "/api/settings", ""); !strings.Contains(text, `"`+model+`"`) {
					t.Errorf("settings: %s, want %s", text, model)
				}
				socket, err := dialSocket(t.Context(), w.URL, "conversation_id=c")
				if err != nil {
					t.Fatal(err)
				}
				defer socket.CloseNow()
				for n := 0; n < 3; {
					frame, err := socket.next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if strings.HasPrefix(frame, "42") && !strings.Contains(frame, "of "+model+`"`) {
						t.Errorf("frame = %s, want what was said here", frame)
					}
					n += strings.Count(frame, "42[")
				}
				if n := len(w.Requests.Wait(journal.Query{Operation: "AddEvent"}, 4)); n != 4 {
					t.Errorf("%d events in the journal, want 4", n)
				}
				for _, e := range w.Requests.All(journal.Query{}) {
					if e.World != w.Name {
						t.Errorf("the journal has %v of world %q", e, e.World)
					}
				}
				if i%10 == 0 {
					if status, text := do("POST", "/_local/reset", ""); status != http.StatusNoContent {
						t.Errorf("reset: %d %s", status, text)
					}
				}
			})
		}
	})
	if got := names(t, s); got != "" {
		t.Errorf("worlds are left: %s", got)
	}
	if now := s.Clock.Now(); now.Sub(server.SeedStart) > time.Hour {
		t.Errorf("the server's clock is at %v", now)
	}
	if events(t, s, "c") != 1 || len(s.Faults.List()) != 0 {
		t.Errorf("the server has %d events and faults %v of the worlds'", events(t, s, "c"), s.Faults.List())
	}
	for _, e := range s.Requests.All(journal.Query{}) {
		if e.World != "" || e.Operation == "StoreSettings" {
			t.Errorf("the server's journal has %v of world %q", e, e.World)
		}
	}
}

// TestWorldsCost: a world costs little, and nothing once it is deleted.
func TestWorldsCost(t *testing.T) {
	s := servertest.NewServer(t, server.Config{})
	measure := func() (bytes uint64, goroutines int) {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	const n = 200
	makeAll := func() time.Duration {
		start := time.Now()
		for i := range n {
			if status, text := asked(t, s, "header", fmt.Sprint("w", i), "GET", "/alive", ""); status != http.StatusOK {
				t.Fatalf("%d %s", status, text)
			}
		}
		return time.Since(start)
	}
	deleteAll := func() {
		if status, text := asked(t, s, "", "", "DELETE", "/_local/worlds", ""); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, text)
		}
	}
	makeAll() // what is loaded once
	deleteAll()
	before, running := measure()
	took := makeAll()
	with, _ := measure()
	deleteAll()
	each := (int64(with) - int64(before)) / n
	t.Logf("%d worlds in %v, %d bytes each", n, took, each)
	if each > 100<<10 || took > 10*time.Second {
		t.Errorf("%d worlds in %v, %d bytes each: want less than 100 KiB", n, took, each)
	}
	var after uint64
	var goroutines int
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if after, goroutines = measure(); goroutines <= running+2 && int64(after)-int64(before) < 2<<20 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after all are deleted: %d bytes and %d goroutines, before %d and %d", after, goroutines, before, running)
		}
	}
}

// TestWorldsNamed: how a request names its world, and what is refused.
func TestWorldsNamed(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{MaxWorlds: 3})
	for _, tt := range []struct {
		way, world, path string
		headers          []string
		status           int
		want             string
	}{
		{"header", "a", "/_local/info", nil, 200, `"world":"a"`},
		{"host", "a", "/_local/info", nil, 200, `"url":"` + s.URL + `/_local/worlds/a"`},
		{"host", "A", "/_local/info", nil, 200, `"world":"a"`},
		{"path", "a", "/_local/info", nil, 200, `"world":"a"`},
		{"path", "a", "/_local/info", []string{"X-Local-World", "a"}, 200, `"world":"a"`},
		{"path", "a", "/_local/worlds", nil, 200, `"name":"a"`},
		{"host", "a", "/", nil, 200, `<`},
		{"path", "a", "/", nil, 303, "http://a.localhost" + s.URL[strings.LastIndex(s.URL, ":"):] + "/"},
		{"path", "a", "/_local/page/requests?status=4xx", nil, 303, "http://a.localhost" + s.URL[strings.LastIndex(s.URL, ":"):] + "/_local/page/requests?status=4xx"},
		{"", "", "/_local/info", nil, 200, `"strict":false}`},
		{"host", "a.b", "/_local/info", nil, 200, `"strict":false}`},
		{"header", "A", "/_local/info", nil, 422, `"loc":["header","x-local-world"],"msg":"Value error, want 1 to 63 of a to z`},
		{"header", "-a", "/_local/info", nil, 422, `"input":"-a"`},
		{"header", "", "/_local/info", nil, 422, `"loc":["header","x-local-world"]`},
		{"header", strings.Repeat("a", 64), "/_local/info", nil, 422, `"loc":["header","x-local-world"]`},
		{"host", "a_b", "/_local/info", nil, 422, `"loc":["header","host"]`},
		{"path", "a_b", "/_local/info", nil, 422, `"loc":["path","name"]`},
		{"path", "", "/_local/info", nil, 422, `"loc":["path","name"]`},
		{"host", "a", "/_local/info", []string{"X-Local-World", "b"}, 422, `"loc":["header","x-local-world"],"msg":"Value error, this request is also for the world a"`},
		{"host", "b", "/_local/worlds/a/_local/info", nil, 422, `"loc":["path","name"],"msg":"Value error, this request is also for the world b"`},
		{"host", "a", "/_local/worlds/b", nil, 404, ""},
		{"path", "a", "/_local/worlds/b/alive", nil, 404, ""},
		{"", "", "/_local/worlds/b", nil, 404, ""},
		{"", "", "/_local/worlds/", nil, 404, ""},
	} {
		status, text := asked(t, s, tt.way, tt.world, "GET", tt.path, "", tt.headers...)
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s %q %s %q: %d %s, want %d %s", tt.way, tt.world, tt.path, tt.headers, status, text, tt.status, tt.want)
		}
	}
	if got := names(t, s); got != "a" {
		t.Errorf("worlds: %s, want a alone", got)
	}
	asked(t, s, "header", "b", "GET", "/alive", "")
	asked(t, s, "header", "c", "GET", "/alive", "")
	status, text := asked(t, s, "header", "d", "GET", "/_local/info", "", "Origin", "http://localhost:5173")
	if want := `"message":"There are 3 worlds, and no more are allowed. Delete one (DELETE /_local/worlds/NAME), or start openhands-local with --max-worlds 6."`; status != http.StatusConflict || !strings.Contains(text, want) {
		t.Errorf("one too many: %d %s, want 409 %s", status, text, want)
	}
	if status, text := asked(t, s, "", "", "DELETE", "/_local/worlds/B", ""); status != http.StatusUnprocessableEntity || !strings.Contains(text, `"loc":["path","name"]`) {
		t.Errorf("delete B: %d %s", status, text)
	}
	for range 2 { // the second time there is nothing to delete
		if status, text := asked(t, s, "path", "b", "DELETE", "/_local/worlds/b", ""); status != http.StatusNoContent {
			t.Errorf("delete b: %d %s", status, text)
		}
	}
	if got := names(t, s); got != "a c" {
		t.Errorf("worlds: %s, want a c", got)
	}
	if status, _ := asked(t, s, "header", "d", "GET", "/alive", ""); status != http.StatusOK {
		t.Errorf("after a deletion: %d", status)
	}
}

// TestWorldsOff: with none allowed, who wants one is told; a host is only a host.
func TestWorldsOff(t *testing.T) {
	t.Parallel()
	srv, err := server.New(t.Context(), server.Config{Addr: "127.0.0.1:0", Data: server.Memory})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	s := &servertest.Server{URL: srv.Info().URL}
	for way, want := range map[string]int{"header": 409, "path": 409, "host": 200, "": 200} {
		if status, text := asked(t, s, way, "a", "GET", "/alive", ""); status != want || want == 409 && !strings.Contains(text, "--max-worlds 256") {
			t.Errorf("%s: %d %s, want %d", way, status, text, want)
		}
	}
	if _, err := srv.World("a"); err == nil {
		t.Error("World() makes one")
	}
}

// TestWorldsNotMade: who may not come in, or is a page of another site, makes no
// world. One that is there refuses as every server does.
func TestWorldsNotMade(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Key: "secret"})
	key := []string{"X-Session-API-Key", "secret"}
	for _, tt := range []struct {
		path    string
		headers []string
		status  int
	}{
		{"/_local/info", nil, 401},
		{"/_local/info", []string{"X-Session-API-Key", "wrong"}, 401},
		{"/_local/login?key=wrong", nil, 401},
		{"/socket.io/?EIO=4&transport=polling&session_api_key=wrong", nil, 401},
		{"/_local/info", append([]string{"Origin", "http://evil.example"}, key...), 403},
		{"/_local/info", append([]string{"Origin", "null"}, key...), 403},
		{"/_local/info", append([]string{"Sec-Fetch-Site", "cross-site"}, key...), 403},
	} {
		for _, way := range []string{"header", "host", "path"} {
			if status, text := asked(t, s, way, "a", "GET", tt.path, "", tt.headers...); status != tt.status {
				t.Errorf("%s %s %q: %d %s, want %d", way, tt.path, tt.headers, status, text, tt.status)
			}
		}
	}
	if status, _ := asked(t, s, "host", "a", "OPTIONS", "/alive", "", "Origin", "http://localhost:5173", "Access-Control-Request-Method", "GET"); status != http.StatusOK {
		t.Errorf("preflight: %d", status)
	}
	if status, text := asked(t, s, "path", "a", "GET", "/socket.io/?EIO=4&transport=polling&sid=gone&session_api_key=secret", ""); status != http.StatusBadRequest || !strings.Contains(text, "Invalid session") {
		t.Errorf("a connection of a world that is gone: %d %s", status, text)
	}
	if _, text := asked(t, s, "", "", "GET", "/_local/worlds", "", key...); text != "{\"max\":256,\"worlds\":[]}\n" {
		t.Errorf("worlds: %s, want none", text)
	}
	if status, _ := asked(t, s, "", "", "GET", "/_local/worlds", ""); status != http.StatusUnauthorized {
		t.Errorf("worlds without the key: %d", status)
	}
	for i, path := range []string{"/alive?session_api_key=secret", "/_local/login?key=secret"} {
		asked(t, s, "host", fmt.Sprint("b", i), "GET", path, "")
		if status, text := asked(t, s, "header", fmt.Sprint("b", i), "GET", "/alive", ""); status != http.StatusOK {
			t.Errorf("after %s: %d %s", path, status, text)
		}
	}
	if status, _ := asked(t, s, "header", "b0", "GET", "/api/conversations", ""); status != http.StatusUnauthorized {
		t.Errorf("without the key: %d", status)
	}
	if status, _ := asked(t, s, "header", "b0", "GET", "/alive", "", "Sec-Fetch-Site", "cross-site"); status != http.StatusOK {
		t.Errorf("a link to a world that is there: %d", status)
	}
}

// TestWorldsBrowser: a browser at NAME.localhost logs in there, and its pages use the
// API and sockets of the world as they use a server's.
func TestWorldsBrowser(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Key: "secret", Agent: "none"})
	resp, _, err := askIn(t.Context(), s, "host", "a", "GET", "/_local/login?key=secret", "")
	if err != nil || len(resp.Cookies()) != 1 || resp.Header.Get("Location") != "/" {
		t.Fatalf("login: %+v, %v", resp, err)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	page := []string{"Origin", "http://a.localhost:" + port, "Cookie", resp.Cookies()[0].String()}
	if status, text := asked(t, s, "host", "a", "POST", "/api/conversations/c/events", hello, page...); status != http.StatusOK {
		t.Errorf("event: %d %s", status, text)
	}
	if status, _ := asked(t, s, "host", "b", "GET", "/api/conversations", "", page...); status != http.StatusUnauthorized {
		t.Errorf("another world, by a page of this one: %d", status)
	}
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+"/socket.io/?EIO=4&transport=websocket&conversation_id=c", &websocket.DialOptions{
		Host: "a.localhost:" + port, HTTPHeader: http.Header{"Origin": page[1:2], "Cookie": page[3:4]},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(t.Context(), websocket.MessageText, []byte("40")); err != nil {
		t.Fatal(err)
	}
	for frame := ""; !strings.Contains(frame, `"content":"Hi"`); {
		if frame, err = (socket{c}).next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWorldsLines: a world has all lines of contract.
func TestWorldsLines(t *testing.T) {
	t.Parallel()
	info, end := serveLines(t, server.Config{Addr: "127.0.0.1:0", Data: server.Memory, Agent: "none", MaxWorlds: 2})
	defer end()
	id := idOf(t, info.AgentServer+"/_local/worlds/a", newAgentConversation)
	for _, tt := range []struct {
		url, path string
		status    int
		want      string
	}{
		{info.AgentServer + "/_local/worlds/a", "/api/conversations/" + id, 200, `"id":"` + id + `"`},
		{info.AgentServer, "/api/conversations/" + id, 404, ""},
		{info.AgentServer + "/_local/worlds/b", "/api/conversations/" + id, 404, ""},
		{info.URL + "/_local/worlds/a", "/_local/info", 200, `"agent_server":"` + info.AgentServer + `/_local/worlds/a"`},
		{info.AgentServer, "/_local/worlds", 200, `"url":"` + info.URL + `/_local/worlds/b"`},
		{info.AgentServer + "/_local/worlds/A", "/api/conversations/" + id, 422, `"loc":["path","name"]`},
		{info.AgentServer + "/_local/worlds/c", "/api/conversations/" + id, 409, "--max-worlds 4"},
	} {
		if status, text := sent(t, "GET", tt.url+tt.path, ""); status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("GET %s%s: %d %s, want %d %s", tt.url, tt.path, status, text, tt.status, tt.want)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", info.AgentServer+"/_local/worlds/a/alive/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got, want := resp.Header.Get("Location"), info.AgentServer+"/_local/worlds/a/alive"; got != want {
		t.Errorf("sent to %s, want %s", got, want)
	}
	if status, text := sent(t, "DELETE", info.AgentServer+"/_local/worlds/a", ""); status != http.StatusNoContent {
		t.Errorf("delete: %d %s", status, text)
	}
	if status, _ := sent(t, "GET", info.AgentServer+"/_local/worlds/a/api/conversations/"+id, ""); status != http.StatusNotFound {
		t.Errorf("afterwards: %d", status)
	}
}

// TestWorldsRedirect: a client is not sent out of its world.
func TestWorldsRedirect(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	for way, want := range map[string]string{"path": s.URL + "/_local/worlds/a/alive", "header": s.URL + "/alive"} {
		resp, _, err := askIn(t.Context(), s, way, "a", "GET", "/alive/", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Location"); got != want || resp.Header.Get("X-Local-World") != "a" {
			t.Errorf("%s: sent to %s, want %s", way, got, want)
		}
	}
	resp, _, err := askIn(t.Context(), s, "path", "a", "GET", "/_local/login", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Location"); got != "/_local/worlds/a/" {
		t.Errorf("after the login: %s", got)
	}
}

// TestWorldsBegin: a world is as a server with the same flags: seed, settings,
// faults, what is imported, agent. A reset is of one world.
func TestWorldsBegin(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "faults.yaml")
	if err := os.WriteFile(file, []byte("- name: third\n  match: {operation: AddEvent, nth: 3}\n  do: {status: 503}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	seed := int64(7)
	s := servertest.NewServer(t, server.Config{Seed: &seed, Settings: "none", Faults: file, Strict: true, Agent: "none"})
	var ids []string
	for _, name := range []string{"a", "b"} {
		if status, _ := asked(t, s, "path", name, "GET", "/api/settings", ""); status != http.StatusNotFound {
			t.Errorf("settings of %s: %d, want none", name, status)
		}
		asked(t, s, "path", name, "POST", "/api/settings", `{"llm_model":"m","llm_api_key":"k"}`)
		status, text := asked(t, s, "path", name, "POST", "/api/conversations", `{}`)
		if status != http.StatusOK {
			t.Fatalf("create in %s: %d %s", name, status, text)
		}
		ids = append(ids, text)
	}
	if ids[0] != ids[1] {
		t.Errorf("ids do not repeat: %s, %s", ids[0], ids[1])
	}
	if status, _ := asked(t, s, "path", "a", "POST", "/_local/reset", ""); status != http.StatusNoContent {
		t.Errorf("reset: %d", status)
	}
	for name, want := range map[string]int{"a": 404, "b": 200} {
		if status, _ := asked(t, s, "path", name, "GET", "/api/settings", ""); status != want {
			t.Errorf("settings of %s after a reset of a: %d, want %d", name, status, want)
		}
	}
	for _, name := range []string{"a", "b"} {
		if _, text := asked(t, s, "path", name, "GET", "/_local/faults", ""); !strings.Contains(text, `"name":"third"`) {
			t.Errorf("faults of %s: %s", name, text)
		}
	}
	if status, text := asked(t, s, "path", "a", "GET", "/_local/backup", ""); status != http.StatusConflict || !strings.Contains(text, "This server keeps nothing") {
		t.Errorf("backup: %d %s", status, text)
	}
}

// TestWorldsCannotBegin: when what a world begins with cannot be read, the request is
// told, and the next one tries again.
func TestWorldsCannotBegin(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "settings.json")
	write := func() {
		if err := os.WriteFile(file, []byte(`{"llm_model":"mine"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	s := servertest.NewServer(t, server.Config{Settings: file})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	status, text := asked(t, s, "header", "a", "GET", "/_local/info", "")
	if status != http.StatusInternalServerError || !strings.Contains(text, `The world a cannot be made: settings \"`) {
		t.Errorf("%d %s", status, text)
	}
	if got := names(t, s); got != "" {
		t.Errorf("worlds: %s", got)
	}
	write()
	if status, text := asked(t, s, "header", "a", "GET", "/api/settings", ""); status != http.StatusOK || !strings.Contains(text, `"mine"`) {
		t.Errorf("%d %s", status, text)
	}
}

// TestWorldsDeleted: who is in a world when it is deleted is told, as of a server
// that stops: streams and waits end, sockets get 41 and so do not come back, a
// request under way is finished.
func TestWorldsDeleted(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Agent: "none"})
	w := s.World(t)
	w.Clock.Freeze()
	asked(t, s, "path", w.Name, "POST", "/api/conversations/c/events", hello)
	w.Faults.Add(faults.Rule{Name: "slow", Match: faults.Match{Operation: "AddEvent"}, Do: faults.Do{Delay: faults.Always(time.Hour)}})
	socket, err := dialSocket(t.Context(), w.URL, "conversation_id=c")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	for frame := ""; !strings.HasPrefix(frame, "40"); {
		if frame, err = socket.next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan string)
	begin := func(what, method, path, body, want string) {
		go func() {
			resp, text, err := askIn(t.Context(), s, "header", w.Name, method, path, body)
			if err != nil {
				ended <- fmt.Sprintf("%s: %v", what, err)
				return
			}
			if got := fmt.Sprint(resp.StatusCode, " ", text); !strings.HasPrefix(got, want) {
				ended <- fmt.Sprintf("%s: %s, want %s", what, got, want)
				return
			}
			ended <- ""
		}()
	}
	begin("stream", "GET", "/_local/conversations/c/stream", "", "200 ")
	begin("requests", "GET", "/_local/requests/stream", "", "200 ")
	begin("wait", "GET", "/_local/requests?operation=Alive&wait=10m", "", "404 ")
	begin("slow", "POST", "/api/conversations/c/events", hello, "")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		infos := worlds(t, s)
		if infos[0].Requests >= 6 && w.Faults.Used("slow") == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", infos)
		}
	}
	start := time.Now()
	if status, text := asked(t, s, "header", w.Name, "DELETE", "/_local/worlds/"+w.Name, ""); status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", status, text)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("the deletion took %v", took)
	}
	for range 4 {
		if wrong := <-ended; wrong != "" {
			t.Error(wrong)
		}
	}
	var frames []string
	for {
		frame, err := socket.next(t.Context())
		if err != nil {
			break
		}
		frames = append(frames, frame)
	}
	if n := len(frames); n == 0 || frames[n-1] != "41" {
		t.Errorf("the socket was sent %q, want 41 at the end", frames)
	}
	if status, _ := asked(t, s, "path", w.Name, "GET", "/api/conversations/c", ""); status != http.StatusOK && status != http.StatusNotFound {
		t.Errorf("afterwards: %d", status)
	}
	if status, text := asked(t, s, "path", w.Name, "GET", "/api/conversations", ""); !strings.Contains(text, `"results":[]`) {
		t.Errorf("another world of the name: %d %s, want an empty one", status, text)
	}
}

// TestWorldsRace: worlds are made, used and deleted at once; each request is
// answered by a world that is whole.
func TestWorldsRace(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Agent: "none", Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))})
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for range 60 {
				name := fmt.Sprint("w", random.IntN(3))
				var err error
				var resp *http.Response
				var text string
				switch random.IntN(5) {
				case 0:
					resp, text, err = askIn(t.Context(), s, "", "", "DELETE", "/_local/worlds/"+name, "")
				case 1:
					resp, text, err = askIn(t.Context(), s, "", "", "GET", "/_local/worlds", "")
				case 2:
					socket, failed := dialSocket(t.Context(), s.URL+"/_local/worlds/"+name, "conversation_id=c")
					if failed == nil {
						_, _ = socket.next(t.Context())
						socket.CloseNow()
					}
					continue
				default:
					resp, text, err = askIn(t.Context(), s, "header", name, "POST", "/api/conversations/c/events", hello)
				}
				if err != nil || resp.StatusCode >= 300 {
					t.Errorf("goroutine %d: %v %s %s", g, err, text, name)
				}
			}
		})
	}
	all.Wait()
}

// TestWorldsStop: a server that stops stops its worlds.
func TestWorldsStop(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Agent: "none"})
	asked(t, s, "header", "a", "POST", "/api/conversations/c/events", hello)
	r, err := in(t.Context(), s, "header", "a", "GET", "/_local/conversations/c/stream", "")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "id: 0\n" {
		t.Fatalf("stream = %q, %v", line, err)
	}
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if _, err := io.ReadAll(lines); err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
}

// TestWorldsTogether: what is told of the whole server tells of all worlds: faults
// that were never used, an archive of what was asked, metrics; records name the
// world.
func TestWorldsTogether(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "faults.yaml")
	var rules strings.Builder
	for _, name := range []string{"never", "here", "there", "gone"} {
		fmt.Fprintf(&rules, "- name: %s\n  match: {operation: AddEvent, conversation: %s}\n  do: {status: 503}\n", name, name)
	}
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var records bytes.Buffer
	srv, err := server.New(t.Context(), server.Config{
		Addr: "127.0.0.1:0", Data: server.Memory, Agent: "none", Faults: file, Journal: 100, KeepJournals: true, MaxWorlds: 10,
		LogRequests: true, Log: slog.New(slog.NewTextHandler(&records, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	s := &servertest.Server{URL: srv.Info().URL}
	for world, conversation := range map[string]string{"": "here", "a": "there", "b": "gone"} {
		way := map[bool]string{true: "path"}[world != ""]
		if status, text := asked(t, s, way, world, "POST", "/api/conversations/"+conversation+"/events", hello); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", conversation, status, text)
		}
	}
	if _, text := asked(t, s, "path", "a", "GET", "/_local/metrics", ""); !strings.Contains(text, "\nopenhands_local_worlds 2\n") || !strings.Contains(text, `http_requests_total{operation="AddEvent",status="503"} 3`) {
		t.Errorf("metrics: %s", text)
	}
	if status, _ := asked(t, s, "", "", "DELETE", "/_local/worlds/b", ""); status != http.StatusNoContent {
		t.Errorf("delete: %d", status)
	}
	if _, text := asked(t, s, "path", "a", "GET", "/_local/requests?operation=AddEvent&format=curl", ""); !strings.HasPrefix(text, "curl -X 'POST' '"+s.URL+"/_local/worlds/a/api/conversations/there/events'") {
		t.Errorf("curl: %s", text)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(srv.UnusedFaults()); got != "[never]" {
		t.Errorf("never used: %s", got)
	}
	var har bytes.Buffer
	if err := srv.WriteHAR(&har); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"/api/conversations/here/events", "/_local/worlds/a/api/conversations/there/events", "/_local/worlds/b/api/conversations/gone/events"} {
		if !strings.Contains(har.String(), `"url":"`+s.URL+url+`"`) {
			t.Errorf("the archive lacks %s", url)
		}
	}
	if !strings.Contains(records.String(), "path=/api/conversations/there/events operation=AddEvent fault=there world=a") {
		t.Errorf("records: %s", records.String())
	}
}
