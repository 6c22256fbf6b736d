package conform

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

func TestAgentServerCases(t *testing.T) {
	cases := AgentServer.Cases()
	requests, refused, sockets := 0, 0, 0
	for _, c := range cases {
		if c.Recorded.Server != AgentServer.Recorded() || c.Recorded.Date == "" {
			t.Errorf("case %s: Recorded = %+v, want %s and a date", c.Name, c.Recorded, AgentServer.Recorded())
		}
		c.each(func(_ string, s *Step) {
			switch {
			case s.Op == "connect":
				sockets++
			case s.isRequest():
				requests++
				if s.Answer.Status >= 400 {
					refused++
				}
			}
		})
		if groups := c.Groups(); slices.Contains(groups, Settings) && !c.OwnServer() {
			t.Errorf("case %s changes settings, and runs on a server in use", c.Name)
		}
	}
	if requests < 600 || refused < requests*2/5 || sockets < 30 {
		t.Errorf("%d requests, %d of them refused, and %d websockets, want 600, two fifths and 30", requests, refused, sockets)
	}
	if len(AgentServer.Declared()) > requests {
		t.Error("more differences are declared than there are requests")
	}
}

var machinePath = regexp.MustCompile(`"/(root|work|tmp|home|var|Users)/`)

// Recordings hold nothing of the machine they were made on, and no long texts of others.
func TestAgentServerCasesAreScrubbed(t *testing.T) {
	for _, c := range AgentServer.Cases() {
		c.each(func(id string, s *Step) {
			for _, text := range append(s.Answer.texts(), string(s.Answer.Body)) {
				if text == "" {
					continue
				}
				if found := machinePath.FindString(text); found != "" {
					t.Errorf("case %s step %s holds the path %s", c.Name, id, found)
				}
				v, err := parseJSON([]byte(text))
				if err != nil {
					t.Errorf("case %s step %s: %v", c.Name, id, err)
				}
				if n := v.longest(); n > 500 {
					t.Errorf("case %s step %s holds a text of %d characters", c.Name, id, n)
				}
			}
		})
	}
}

// longest is the length of the longest text in v.
func (v value) longest() int {
	n := 0
	if v.kind == '"' {
		n = len([]rune(v.text))
	}
	for _, e := range v.list {
		n = max(n, e.longest())
	}
	return n
}

// nonsense answers everything with 200 {}.
type nonsense struct{ *httptest.Server }

func (s nonsense) URL() string                   { return s.Server.URL }
func (s nonsense) Restart(context.Context) error { return nil }
func (s nonsense) Close() error                  { s.Server.Close(); return nil }

func TestNonsenseFails(t *testing.T) {
	start := func(context.Context, map[string]string) (Server, error) {
		return nonsense{httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Vary", "Origin")
			io.WriteString(w, "{}")
		}))}, nil
	}
	report, err := Run(t.Context(), Target{Start: start}, Options{Line: AgentServer, clock: new(fakeClock).clock()})
	if err != nil {
		t.Fatal(err)
	}
	if report.OK() || report.Counts[Failed] < report.Steps*99/100 {
		t.Errorf("%v of %d requests, want 99 of 100 failed", report.Counts, report.Steps)
	}
}

// A server that was not started by the run is sent no case that needs its own, nothing that it could store in its
// settings, and what was made there is deleted.
func TestAgentServerForeign(t *testing.T) {
	var mu sync.Mutex
	made := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		id, operation, isConversation := conversation(r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == "POST" && (r.URL.Path == "/api/conversations" || operation == "fork"):
			id := newUUID()
			made[id] = true
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"id":%q}`, id)
		case isConversation && operation == "" && r.Method == "DELETE" && made[id]:
			delete(made, id)
			io.WriteString(w, `{"success":true}`)
		case isConversation && !made[id]:
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"detail":"Not Found"}`)
		case r.ContentLength > 0 && (strings.HasPrefix(r.URL.Path, "/api/settings") || strings.Contains(r.URL.Path, "/file/upload")):
			t.Errorf("%s %s was sent", r.Method, r.URL.Path)
		}
	}))
	defer server.Close()
	report, err := Run(t.Context(), Target{URL: server.URL}, Options{Line: AgentServer, Fast: true, clock: new(fakeClock).clock()})
	if err != nil {
		t.Fatal(err)
	}
	if len(made) > 0 || len(report.NotDeleted) > 0 {
		t.Errorf("%d conversations were not deleted: %v", len(made), report.NotDeleted)
	}
	if report.Counts[NotApplicable] == 0 || report.Counts[LeftOut] == 0 || report.Counts[Failed] == 0 {
		t.Errorf("Counts = %v, want some not applicable, left out and failed", report.Counts)
	}
}

// lineReplayer is a server that answers a case as it was recorded: each request in order, and on the websockets what was
// received before the next one. Ids and times differ from the recorded ones.
type lineReplayer struct {
	*httptest.Server
	t      *testing.T
	c      Case
	mutate func(step string, text string) string

	mu      sync.Mutex
	said    *sync.Cond // a message was sent
	at      int
	vars    vars
	sockets map[string]*websocket.Conn
}

func (r *lineReplayer) URL() string                   { return r.Server.URL }
func (r *lineReplayer) Restart(context.Context) error { return nil }
func (r *lineReplayer) Close() error {
	r.mu.Lock()
	for _, conn := range r.sockets {
		conn.CloseNow()
	}
	r.mu.Unlock()
	r.Server.Close()
	return nil
}

func startLineReplayer(t *testing.T, c Case, mutate func(string, string) string) *lineReplayer {
	r := &lineReplayer{t: t, c: c, mutate: mutate, vars: vars{"root": "/srv/root"}, sockets: map[string]*websocket.Conn{}}
	r.said = sync.NewCond(&r.mu)
	r.Server = httptest.NewServer(r)
	r.vars["host"] = strings.TrimPrefix(r.Server.URL, "http://")
	return r
}

func (r *lineReplayer) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := r.peek(); s != nil && s.Op == "send"; s = r.peek() {
		r.said.Wait() // it was sent before this request
	}
	s := r.next("", "connect")
	if s == nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	r.learn(s, q, body)
	if s.Op == "connect" && s.Answer.Status == http.StatusSwitchingProtocols {
		conn, err := websocket.Accept(w, q, nil)
		if err != nil {
			r.t.Error(err)
			return
		}
		r.sockets[s.Var] = conn
		go func() {
			for {
				if _, _, err := conn.Read(context.Background()); err != nil {
					return
				}
				r.mu.Lock()
				r.next("send")
				r.tell()
				r.said.Broadcast()
				r.mu.Unlock()
			}
		}()
		r.tell()
		return
	}
	for name, v := range s.Answer.Headers {
		if name != "content-length" {
			w.Header().Set(name, r.fill("", v))
		}
	}
	text := ""
	if len(s.Answer.Body) > 0 {
		text = string(s.Answer.Body)
		if s.Answer.Headers["content-type"] != "application/json" {
			if err := json.Unmarshal(s.Answer.Body, &text); err != nil {
				r.t.Error(err)
			}
		}
	}
	text = r.fill(strconv.Itoa(r.at-1), text)
	if length, ok := s.Answer.Headers["content-length"]; ok && s.Method == "HEAD" {
		w.Header().Set("Content-Length", length)
	} else if ok {
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	}
	w.WriteHeader(s.Answer.Status)
	if s.Method != "HEAD" {
		io.WriteString(w, text)
	}
	r.tell()
}

// next returns the next step that has one of these operations, and leaves all before it.
func (r *lineReplayer) next(ops ...string) *Step {
	for r.at < len(r.c.Steps) {
		s := &r.c.Steps[r.at]
		r.at++
		if slices.Contains(ops, s.Op) {
			return s
		}
	}
	return nil
}

// peek returns the next step that the client lets the server see.
func (r *lineReplayer) peek() *Step {
	for i := r.at; i < len(r.c.Steps); i++ {
		if s := &r.c.Steps[i]; s.isRequest() || s.Op == "connect" || s.Op == "send" {
			return s
		}
	}
	return nil
}

// learn takes from a request what the client has made up: the model's address and ids.
func (r *lineReplayer) learn(s *Step, q *http.Request, body []byte) {
	for name := range s.Capture {
		r.vars[name] = newUUID()
	}
	recorded, err := parseJSON([]byte(s.BodyRaw))
	got, err2 := parseJSON(body)
	if err != nil || err2 != nil {
		return
	}
	for _, pointer := range []string{"/agent_settings/llm/base_url", "/conversation_id", "/id"} {
		w, _ := recorded.at(pointer)
		g, _ := got.at(pointer)
		m := placeholder.FindStringSubmatch(w.text)
		if m == nil || r.vars[m[1]] != "" {
			continue
		}
		r.vars[m[1]] = strings.TrimSuffix(g.text, "/v1")
		for name := range s.Capture {
			if m[1] != "llm" && s.Answer.Status/100 == 2 {
				r.vars[name] = g.text
			}
		}
	}
}

// tell sends what is received before the client does anything else.
func (r *lineReplayer) tell() {
	for i := r.at; i < len(r.c.Steps); i++ {
		s := &r.c.Steps[i]
		if s.isRequest() || s.Op == "connect" || s.Op == "send" {
			return
		}
		conn := r.sockets[s.Var]
		if s.Op != "receive" || conn == nil {
			continue
		}
		for _, f := range s.Answer.Frames {
			if err := conn.Write(r.t.Context(), websocket.MessageText, []byte(r.fill(strconv.Itoa(i), string(f)))); err != nil {
				r.t.Errorf("step %d: %v", i, err)
			}
		}
		if end := s.Answer.End; end != nil {
			go conn.Close(websocket.StatusCode(end.Code), end.Reason)
			delete(r.sockets, s.Var)
		}
	}
}

var filled = map[string]string{"{{number}}": "1.5", "{{text}}": `"some"`, "{{bool}}": "true", "{{list}}": `[1]`, "{{object}}": `{"a":1}`, "{{any}}": "null"}

// fill puts values for placeholders.
func (r *lineReplayer) fill(step, text string) string {
	for kind, v := range filled {
		text = strings.ReplaceAll(text, `"`+kind+`"`, v)
	}
	text = placeholder.ReplaceAllStringFunc(text, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		if _, ok := r.vars[m[1]]; !ok {
			kind := strings.TrimRight(m[1], "0123456789")
			r.vars[m[1]] = map[string]string{"id": newUUID(), "hex": strings.ReplaceAll(newUUID(), "-", ""), "home": "/srv/home", "text": "some", "number": "7", "stamp": "20250101000000000000",
				"time": fmt.Sprintf("2025-01-01T00:00:00.%06d", len(r.vars))}[kind]
		}
		v, _ := r.vars.lookup(m)
		return v
	})
	if r.mutate != nil && step != "" {
		text = r.mutate(step, text)
	}
	return text
}

func (r *lineReplayer) run(t *testing.T) Report {
	report, err := run(t.Context(), Target{Start: func(context.Context, map[string]string) (Server, error) { return r, nil }},
		Options{Line: AgentServer}, []Case{r.c})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// replayable tells whether a replayer can play c: it asks no model.
func replayable(c Case) bool {
	return !slices.ContainsFunc(c.Steps, func(s Step) bool { return s.Op == "asked" })
}

// A server that answers as recorded passes, each request and each frame as recorded.
func TestAgentServerReplayHolds(t *testing.T) {
	for _, c := range AgentServer.Cases() {
		if !replayable(c) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			report := startLineReplayer(t, c, nil).run(t)
			if n := report.Counts[Held]; n != c.Requests() {
				t.Errorf("held %d of %d requests: %v", n, c.Requests(), report.Counts)
				report.WriteText(testWriter{t})
			}
		})
	}
}

// A server that answers one frame or body otherwise fails there.
func TestAgentServerMutations(t *testing.T) {
	tests := []struct{ name, step, old, new string }{
		{"run_text_full", "5", `"source":"user"`, `"source":"agent"`},
		{"run_text_full", "5", `"key":"execution_status","value":"running"`, `"key":"execution_status","value":"idle"`},
		{"run_text_full", "6", `"kind":"MessageEvent"`, `"kind":"ActionEvent"`},
		{"socket_refused", "13", "", ""}, // another reason for the end: below
		{"socket_modes", "7", `"role":"user"`, `"role":"tool"`},
		{"create_bad_bodies", "0", `"type":"json_invalid"`, `"type":"json"`},
		{"events_search", "6", `"next_page_id":"`, `"next_page_id":"x`},
	}
	byName := map[string]Case{}
	for _, c := range AgentServer.Cases() {
		byName[c.Name] = c
	}
	for _, tt := range tests {
		c := byName[tt.name]
		if tt.old == "" {
			c.Steps = slices.Clone(c.Steps)
			i, _ := strconv.Atoi(tt.step)
			answer := *c.Steps[i].Answer
			answer.End = &End{Code: answer.End.Code, Reason: "another"}
			replayed := c
			replayed.Steps = slices.Clone(c.Steps)
			replayed.Steps[i].Answer = &answer
			r := startLineReplayer(t, replayed, nil)
			r.c = replayed
			report, err := run(t.Context(), Target{Start: func(context.Context, map[string]string) (Server, error) { return r, nil }}, Options{Line: AgentServer}, []Case{c})
			if err != nil || report.Counts[Failed] != 1 {
				t.Errorf("%s step %s: %v, %v, want one failure", tt.name, tt.step, report.Counts, err)
			}
			continue
		}
		changed := false
		report := startLineReplayer(t, c, func(step, text string) string {
			if step != tt.step || changed || !strings.Contains(text, tt.old) {
				return text
			}
			changed = true
			return strings.Replace(text, tt.old, tt.new, 1)
		}).run(t)
		if failed := report.Cases[0].Count(Failed); !changed || failed == 0 {
			t.Errorf("%s step %s with %s: changed %v, failed %d", tt.name, tt.step, tt.new, changed, failed)
		}
	}
}
