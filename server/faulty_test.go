package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/faults"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// told is what a client without any knowledge of HTTP's habits gets: the
// answer's head and body, and how the connection ended.
type told struct {
	status int
	header http.Header
	body   string
	cut    bool          // the body is shorter than its length, or has no end
	none   bool          // no answer came
	reset  bool          // the connection was reset, not closed
	took   time.Duration // until the end
}

// raw sends one request over a connection of its own.
func raw(t *testing.T, url, method, path, body string, headers ...string) (got told) {
	t.Helper()
	addr := strings.TrimPrefix(url, "http://")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	begin := time.Now()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n%s", method, path, addr, len(body), strings.Join(append(headers, ""), "\r\n"), body)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return told{none: true, reset: errors.Is(err, syscall.ECONNRESET), took: time.Since(begin)}
	}
	text, err := io.ReadAll(resp.Body)
	got = told{status: resp.StatusCode, header: resp.Header, body: string(text), cut: err != nil, took: time.Since(begin)}
	if got.cut {
		_, after := r.ReadByte()
		got.reset = errors.Is(err, syscall.ECONNRESET) || errors.Is(after, syscall.ECONNRESET)
	}
	return got
}

// events is how many a conversation has; 0 when there is none.
func events(t *testing.T, s *servertest.Server, id string) int {
	t.Helper()
	return strings.Count(raw(t, s.URL, "GET", "/api/conversations/"+id+"/events?limit=100", "").body, `"id":`)
}

// TestSpoiled: each thing that a rule may do, as a client sees it, and what
// is stored then.
func TestSpoiled(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
	n := func(i int) *int { return &i }
	const success = `{"success":true}`
	for why, tt := range map[string]struct {
		do     faults.Do
		want   told
		stored int
		least  time.Duration // that it takes
	}{
		"a status":             {faults.Do{Status: 503}, told{status: 503}, 0, 0},
		"a status and a text":  {faults.Do{Status: 503, Body: "later", Headers: map[string]string{"Retry-After": "9"}}, told{status: 503, body: "later"}, 0, 0},
		"a status and JSON":    {faults.Do{Status: 409, Body: map[string]any{"detail": "<no>"}}, told{status: 409, body: `{"detail":"<no>"}`}, 0, 0},
		"a status afterwards":  {faults.Do{Status: 502, At: faults.After}, told{status: 502}, 1, 0},
		"no body":              {faults.Do{Status: 204}, told{status: 204}, 0, 0},
		"a delay":              {faults.Do{Delay: faults.Always(80 * time.Millisecond)}, told{status: 200, body: success}, 1, 80 * time.Millisecond},
		"a delay afterwards":   {faults.Do{Delay: faults.Always(80 * time.Millisecond), At: faults.After}, told{status: 200, body: success}, 1, 80 * time.Millisecond},
		"stopped before":       {faults.Do{Connection: faults.Close}, told{none: true}, 0, 0},
		"stopped after":        {faults.Do{Connection: faults.Close, At: faults.After}, told{none: true}, 1, 0},
		"reset before":         {faults.Do{Connection: faults.Reset}, told{none: true, reset: true}, 0, 0},
		"reset after":          {faults.Do{Connection: faults.Reset, At: faults.After}, told{none: true, reset: true}, 1, 0},
		"cut":                  {faults.Do{Cut: n(5)}, told{status: 200, body: success[:5], cut: true}, 1, 0},
		"cut at once":          {faults.Do{Cut: n(0)}, told{status: 200, cut: true}, 1, 0},
		"cut and reset":        {faults.Do{Cut: n(5), Connection: faults.Reset}, told{status: 200, body: success[:5], cut: true, reset: true}, 1, 0},
		"cut beyond the end":   {faults.Do{Cut: n(500)}, told{status: 200, body: success}, 1, 0},
		"a status that is cut": {faults.Do{Status: 500, Body: "abcdef", Cut: n(3)}, told{status: 500, body: "abc", cut: true}, 0, 0},
		"slow":                 {faults.Do{BytesPerSecond: 160}, told{status: 200, body: success}, 1, 100 * time.Millisecond},
		"slow and cut":         {faults.Do{BytesPerSecond: 160, Cut: n(8)}, told{status: 200, body: success[:8], cut: true}, 1, 50 * time.Millisecond},
		"set":                  {faults.Do{Set: map[string]any{"/success": []int{1}, "/nowhere": 2}}, told{status: 200, body: `{"success":[1]}`}, 1, 0},
		"set and cut":          {faults.Do{Set: map[string]any{"/success": nil}, Cut: n(12)}, told{status: 200, body: `{"success":n`, cut: true}, 1, 0},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			var o observed
			s := servertest.NewServer(t, server.Config{Observe: o.observe})
			s.Faults.Add(faults.Rule{Name: "it", Match: faults.Match{Operation: "AddEvent"}, Do: tt.do})
			got := raw(t, s.URL, "POST", "/api/conversations/c/events", hello)
			id := got.header.Get("X-Request-Id")
			if !got.none {
				if name := got.header.Get("X-Local-Fault"); name != "it" {
					t.Errorf("X-Local-Fault = %q, want the rule's name", name)
				}
				if x := o.wait(t, id); x.Fault != "it" || x.Status != tt.want.status {
					t.Errorf("exchange = %+v, want its fault and status", x)
				}
				if value := got.header.Get("Retry-After"); value != tt.do.Headers["Retry-After"] {
					t.Errorf("Retry-After = %q", value)
				}
			}
			if got.took < tt.least {
				t.Errorf("took %v, want %v at least", got.took, tt.least)
			}
			got.took, got.header = 0, nil
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("answer = %+v, want %+v", got, tt.want)
			}
			if n := events(t, s, "c"); n != tt.stored {
				t.Errorf("%d events, want %d", n, tt.stored)
			}
			if used := s.Faults.Used("it"); used != 1 {
				t.Errorf("used %d times, want once", used)
			}
		})
	}
}

// TestSpoiledStops: a fault that waits ends with its client, and with the server.
func TestSpoiledStops(t *testing.T) {
	t.Parallel()
	var o observed
	s := servertest.NewServer(t, server.Config{Observe: o.observe})
	s.Faults.Add(faults.Rule{Do: faults.Do{Delay: faults.Always(time.Hour)}})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n")
	for s.Faults.Used("fault-1") == 0 {
		time.Sleep(time.Millisecond)
	}
	conn.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		o.mu.Lock()
		done := len(o.all) == 1 && o.all[0].Fault == "fault-1" && o.all[0].Waits == "fault"
		o.mu.Unlock()
		if done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the request of a client that is gone goes on waiting")
		}
	}
	go http.Get(s.URL + "/alive")
	for s.Faults.Used("fault-1") < 2 {
		time.Sleep(time.Millisecond)
	}
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the server took %v to stop", took)
	}
}

// TestLocalFaults: rules by HTTP, what is wrong with them, and that they are
// behind the key; what is below /_local is never faulted.
func TestLocalFaults(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Key: "sekret"})
	call := func(method, path, body string, headers ...string) told {
		return raw(t, s.URL, method, path, body, append(headers, "X-Session-API-Key: sekret")...)
	}
	if got := raw(t, s.URL, "POST", "/_local/faults", `{"do":{"status":500}}`); got.status != 401 {
		t.Errorf("without a key: %d, want 401", got.status)
	}
	if got := call("POST", "/_local/faults", `{"do":{"status":500}}`, "Origin: http://example.com"); got.status != 403 {
		t.Errorf("of a foreign origin: %d, want 403", got.status)
	}
	for body, want := range map[string]string{
		`{`:                                 `{"detail":[{"type":"json_invalid","loc":["body",1]`,
		`{"do":{"status":"x"}}`:             `{"detail":[{"type":"int_parsing","loc":["body","do","status"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"}]}`,
		`[{"do":{"status":500}},{"doo":1}]`: `{"detail":[{"type":"extra_forbidden","loc":["body",1,"doo"]`,
		`{"faults":[{"match":{"operation":"add_event"}}]}`: `{"detail":[{"type":"value_error","loc":["body","faults",0,"match","operation"],"msg":"Value error, there is no operation of this name: did you mean AddEvent?"`,
	} {
		if got := call("POST", "/_local/faults", body); got.status != 422 || !strings.HasPrefix(got.body, want) {
			t.Errorf("%s: %d %s, want 422 %s…", body, got.status, got.body, want)
		}
	}
	if got := call("GET", "/_local/faults", ""); got.body != "{\"faults\":[]}\n" {
		t.Errorf("faults = %s, want none of those that were refused", got.body)
	}
	added := call("POST", "/_local/faults", `{"name":"all","do":{"status":503}}`)
	if want := `{"faults":[{"name":"all","do":{"at":"before","status":503},"offered":0,"used":0}]}`; added.status != 200 || strings.TrimSpace(added.body) != want {
		t.Errorf("added = %d %s, want %s", added.status, added.body, want)
	}
	if got := call("GET", "/api/conversations", ""); got.status != 503 {
		t.Errorf("GET /api/conversations = %d, want the fault's 503", got.status)
	}
	if got := call("GET", "/nowhere", ""); got.status != 503 {
		t.Errorf("GET /nowhere = %d, want the fault's 503", got.status)
	}
	if got := call("POST", "/mcp/mcp/", "{}"); got.status != 503 {
		t.Errorf("POST /mcp/mcp/ = %d, want the fault's 503", got.status)
	}
	if got := call("GET", "/socket.io/?EIO=4&transport=polling", ""); got.status != 503 {
		t.Errorf("a socket = %d, want the fault's 503", got.status)
	}
	if got := raw(t, s.URL, "GET", "/api/conversations", ""); got.status != 401 {
		t.Errorf("without a key: %d, want 401", got.status)
	}
	if got := call("GET", "/_local/faults", ""); !strings.Contains(got.body, `"offered":4,"used":4}`) {
		t.Errorf("faults = %s, want four of four", got.body)
	}
	if got := call("DELETE", "/_local/faults/none", ""); got.status != 422 {
		t.Errorf("DELETE of no rule = %d, want 422", got.status)
	}
	if got := call("DELETE", "/_local/faults/all", ""); got.status != 204 {
		t.Errorf("DELETE = %d, want 204", got.status)
	}
	if got := call("GET", "/api/conversations", ""); got.status != 200 {
		t.Errorf("GET /api/conversations = %d, want 200 again", got.status)
	}
	call("POST", "/_local/faults", `[{"do":{"status":503}},{"do":{"status":503}}]`)
	if got := call("POST", "/_local/reset", ""); got.status != 204 {
		t.Errorf("reset = %d", got.status)
	}
	if got := call("GET", "/_local/faults", ""); got.body != "{\"faults\":[]}\n" {
		t.Errorf("faults = %s, want none after a reset", got.body)
	}
	call("POST", "/_local/faults", `{"do":{"status":503}}`)
	if got := call("DELETE", "/_local/faults", ""); got.status != 204 {
		t.Errorf("DELETE of all = %d, want 204", got.status)
	}
	var listed struct {
		Presets []struct{ Name, What, Cites string }
	}
	if got := call("GET", "/_local/faults/presets", ""); json.Unmarshal([]byte(got.body), &listed) != nil || len(listed.Presets) != len(faults.Presets) {
		t.Errorf("presets = %s, want all", got.body)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if got := call("GET", "/_local/faults", ""); got.body != "{\"faults\":[]}\n" {
		t.Errorf("faults = %s, want none after a restart", got.body)
	}
}

// recordedAnswer finds the first answer with a status to a method and a path's
// end in a recorded case.
func recordedAnswer(t *testing.T, name, method, pathEnd string, status int) *conform.Recorded {
	t.Helper()
	var find func([]conform.Step) *conform.Recorded
	find = func(steps []conform.Step) *conform.Recorded {
		for _, s := range steps {
			if s.Answer != nil && s.Method == method && strings.HasSuffix(s.Path, pathEnd) && s.Answer.Status == status {
				return s.Answer
			}
			if found := find(s.Steps); found != nil {
				return found
			}
		}
		return nil
	}
	for _, c := range conform.Cases() {
		if c.Name == name {
			if found := find(c.Steps); found != nil {
				return found
			}
		}
	}
	t.Fatalf("no case %s with %s …%s that is answered %d", name, method, pathEnd, status)
	return nil
}

// TestPresets: each preset answers as the recorded case that it cites.
func TestPresets(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations", "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}", "GET /api/conversations/{conversation_id}/trajectory")
	for _, tt := range []struct {
		preset, recorded      string
		method, pathEnd, body string // of the case, and of the request
		status                int
	}{
		{"rate-limit", "ratelimit_429_shape", "GET", "/nope", "", 429},
		{"bad-event", "add_event_bad_kinds", "POST", "/events", `{}`, 500},
		{"stays-starting", "get_while_starting", "GET", "{{cid}}", "", 200},
		{"broken-trajectory", "add_event_poison_float", "GET", "/trajectory", "", 500},
	} {
		t.Run(tt.preset, func(t *testing.T) {
			t.Parallel()
			s := servertest.NewServer(t, server.Config{Strict: true})
			var made struct {
				ID string `json:"conversation_id"`
			}
			if err := json.NewDecoder(send(t, "POST", s.URL+"/api/conversations", `{}`).Body).Decode(&made); err != nil {
				t.Fatal(err)
			}
			s.Faults.Preset(tt.preset)
			was := recordedAnswer(t, tt.recorded, tt.method, tt.pathEnd, tt.status)
			if cites := s.Faults.List()[0].Cites; !strings.Contains(cites, "recorded "+tt.recorded) {
				t.Errorf("cites %q, want %s", cites, tt.recorded)
			}
			path := "/api/conversations/" + made.ID + strings.TrimPrefix(tt.pathEnd, "{{cid}}")
			got := raw(t, s.URL, tt.method, path, tt.body)
			if got.status != tt.status {
				t.Errorf("status = %d %s, want %d", got.status, got.body, tt.status)
			}
			for _, name := range []string{"Content-Type", "Retry-After"} {
				if want := was.Headers[strings.ToLower(name)]; got.header.Get(name) != want {
					t.Errorf("%s = %q, want %q", name, got.header.Get(name), want)
				}
			}
			switch {
			case tt.preset == "stays-starting":
				var is, want map[string]any
				if json.Unmarshal([]byte(got.body), &is) != nil || json.Unmarshal(was.Body, &want) != nil || is["status"] != want["status"] || is["runtime_status"] != want["runtime_status"] || len(is) != len(want) {
					t.Errorf("answer = %s, want as %s", got.body, was.Body)
				}
			case strings.HasPrefix(got.header.Get("Content-Type"), "application/json"):
				var compact bytes.Buffer
				if err := json.Compact(&compact, was.Body); err != nil || compact.String() != got.body {
					t.Errorf("answer = %s, want %s", got.body, was.Body)
				}
			default:
				var text string
				if err := json.Unmarshal(was.Body, &text); err != nil || text != got.body {
					t.Errorf("answer = %s, want %s", got.body, was.Body)
				}
			}
			if tt.preset == "bad-event" {
				if got := raw(t, s.URL, "POST", path, hello); got.status != 200 {
					t.Errorf("a good event = %d %s, want 200", got.status, got.body)
				}
			}
			s.Faults.AllUsed()
		})
	}
}

// TestMaintenancePreset: HTML where JSON is wanted, titled as reported.
func TestMaintenancePreset(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "GET /api/conversations/{conversation_id}/trajectory")
	s := servertest.NewServer(t, server.Config{})
	s.Faults.Add(faults.Rule{Preset: "maintenance", Match: faults.Match{Operation: "GetTrajectory"}, Times: 1})
	got := raw(t, s.URL, "GET", "/api/conversations/c/trajectory", "")
	if got.status != 500 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") || !strings.Contains(got.body, "<title>System Maintenance</title>") {
		t.Errorf("answer = %+v, want 500 and a page", got)
	}
	if got := raw(t, s.URL, "GET", "/api/conversations/c/trajectory", ""); got.status != 404 {
		t.Errorf("the second = %d, want 404", got.status)
	}
}

// TestSocketPresets: a client whose connection is lost in the replay comes back
// and has each event once; one that follows an agent when the server begins
// anew finds the conversation stopped, with what was stored, and starts it by
// coming back.
func TestSocketPresets(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations", "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}")
	t.Run("lost-in-replay", func(t *testing.T) {
		t.Parallel()
		s := servertest.NewServer(t, server.Config{Agent: "none"})
		var acknowledged []int64
		for i := range int64(5) {
			send(t, "POST", s.URL+"/api/conversations/c/events", stored("mark "+fmt.Sprint(i)))
			acknowledged = append(acknowledged, i)
		}
		s.Faults.Preset("lost-in-replay")
		f := follow(s.URL, "c")
		if err := f.join(t.Context()); websocket.CloseStatus(err) != -1 || err == nil || fmt.Sprint(f.seen) != "[0]" {
			t.Errorf("joined with %v, having seen %v, want a lost connection after the first event", err, f.seen)
		}
		if err := f.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.check(t, acknowledged)
		s.Faults.AllUsed()
	})
	t.Run("restart-mid-run", func(t *testing.T) {
		t.Parallel()
		script := filepath.Join(t.TempDir(), "slow.yaml")
		if err := os.WriteFile(script, []byte("rules: [{on: ., steps: [{wait: 1h, say: Done.}]}]"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := servertest.NewServer(t, server.Config{Agent: "script:" + script})
		var c struct {
			ID     string `json:"conversation_id"`
			Status string
		}
		if err := json.NewDecoder(send(t, "POST", s.URL+"/api/conversations", `{}`).Body).Decode(&c); err != nil {
			t.Fatal(err)
		}
		f, other := follow(s.URL, c.ID), follow(s.URL, c.ID)
		for _, f := range []*follower{f, other} {
			if err := f.join(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s.Faults.Preset("restart-mid-run")
		send(t, "POST", s.URL+"/api/conversations/"+c.ID+"/events", hello)
		for _, f := range []*follower{f, other} {
			frame, err := "", error(nil)
			for err == nil {
				if frame, err = f.take(t.Context()); strings.HasPrefix(frame, "41") {
					t.Error("a client is sent 41, and would not come back")
				}
			}
			if websocket.CloseStatus(err) != -1 {
				t.Errorf("the connection ends with %v, want no word", err)
			}
		}
		status := func() string {
			if err := json.NewDecoder(send(t, "GET", s.URL+"/api/conversations/"+c.ID, "").Body).Decode(&c); err != nil {
				t.Fatal(err)
			}
			return c.Status
		}
		if got := status(); got != "STOPPED" {
			t.Errorf("status = %s after the restart, want STOPPED", got)
		}
		if err := f.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); status() != "RUNNING"; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("status = %s, want RUNNING again", c.Status)
			}
		}
		s.Faults.AllUsed()
	})
}
