package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/journal"
	"github.com/openhands-local/openhands-local/server/servertest"
)

func bodyOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRequests: a request is in the journal with all that happened, once it is
// answered; what is asked of the journal is not.
func TestRequests(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	resp := send(t, "POST", s.URL+"/api/conversations/c/events?x=1", hello)
	refused := send(t, "POST", s.URL+"/api/conversations/c/events", `{"action":"message","args":{"contnet":1}}`)
	send(t, "GET", s.URL+"/nowhere", "")
	var page journal.Page
	if err := json.Unmarshal([]byte(bodyOf(t, send(t, "GET", s.URL+"/_local/requests", ""))), &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Entries) != 3 || page.Last != 3 || page.Dropped != 0 {
		t.Fatalf("page = %+v, want three requests", page)
	}
	e := page.Entries[0]
	if e.ID != resp.Header.Get("X-Request-Id") || e.Method != "POST" || e.Path != "/api/conversations/c/events" || e.Query != "x=1" ||
		e.Operation != "AddEvent" || e.Conversation != "c" || e.Status != 200 || e.EventID != 0 || len(e.Lenient) != 1 || e.Refusal != nil || e.Milliseconds <= 0 ||
		string(e.Request.Body) != hello || string(e.Response.Body) != `{"success":true}` || e.Response.Header.Get("X-Event-Id") != "0" {
		t.Errorf("entry = %+v", e)
	}
	e = page.Entries[1]
	if e.ID != refused.Header.Get("X-Request-Id") || e.Status != 422 || e.EventID != -1 || e.Refusal == nil || e.Refusal.Loc != "body.args.contnet" || len(e.Request.Body) == 0 {
		t.Errorf("refused entry = %+v", e)
	}
	if got := bodyOf(t, send(t, "GET", s.URL+"/_local/requests?status=404&format=curl", "")); got != "curl '"+s.URL+"/nowhere'\n" {
		t.Errorf("curl = %s", got)
	}
	var har struct{ Log struct{ Entries []any } }
	if err := json.Unmarshal([]byte(bodyOf(t, send(t, "GET", s.URL+"/_local/requests?format=har", ""))), &har); err != nil || len(har.Log.Entries) != 3 {
		t.Errorf("HAR has %d entries, %v", len(har.Log.Entries), err)
	}
	if resp := send(t, "DELETE", s.URL+"/_local/requests", ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("DELETE: %s", resp.Status)
	}
	if got, want := bodyOf(t, send(t, "GET", s.URL+"/_local/requests", "")), `{"requests":[],"last":3,"dropped":0}`+"\n"; got != want {
		t.Errorf("after DELETE %s, want %s", got, want)
	}
}

// TestRequestsWait: an answer comes as soon as there are so many, or says what
// came instead.
func TestRequestsWait(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	answered := make(chan string)
	go func() {
		resp, err := http.Get(s.URL + "/_local/requests?operation=AddEvent&status=2xx&wait=30s&min=2")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		answered <- resp.Status + string(text)
	}()
	for range 2 {
		send(t, "POST", s.URL+"/api/conversations/c/events", hello)
	}
	if got := <-answered; !strings.HasPrefix(got, "200 OK") || strings.Count(got, `"operation":"AddEvent"`) != 2 {
		t.Errorf("answer = %s, want both", got)
	}

	resp := send(t, "GET", s.URL+"/_local/requests?operation=AddEvent&status=422&wait=10ms", "")
	var short struct {
		Detail string
		Others int
		Misses []journal.Miss
	}
	text := bodyOf(t, resp)
	if err := json.Unmarshal([]byte(text), &short); err != nil || resp.StatusCode != http.StatusNotFound || short.Others != 2 || len(short.Misses) != 2 ||
		!slices.Equal(short.Misses[0].Differs, []string{"status is 200, want 422"}) || !strings.Contains(short.Detail, "0 of 1 requests came within ") {
		t.Errorf("answer = %s %s (%v)", resp.Status, text, err)
	}
}

// TestRequestsWaitEnds: a server that stops does not wait for those who wait.
func TestRequestsWaitEnds(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	answered := make(chan int)
	go func() {
		resp, err := http.Get(s.URL + "/_local/requests?status=599&wait=5m")
		if err != nil {
			answered <- 0
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(bodyOf(t, send(t, "GET", s.URL+"/_local/metrics", "")), "openhands_local_http_requests_in_flight 2\n"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits")
		}
	}
	start := time.Now()
	if err := s.Close(); err != nil || time.Since(start) > 9*time.Second {
		t.Errorf("Close = %v after %v", err, time.Since(start))
	}
	<-answered
}

// TestRequestsRefused: what cannot be asked is 422 with its place.
func TestRequestsRefused(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	for _, tt := range []struct{ query, loc string }{
		{"after=x", `["query","after"]`}, {"after=-1", `["query","after"]`}, {"after=99999999999999999999", `["query","after"]`},
		{"limit=0", `["query","limit"]`}, {"limit=1.5", `["query","limit"]`}, {"limit=" + strings.Repeat("9", 5000), `["query","limit"]`},
		{"wait=1", `["query","wait"]`}, {"wait=-1s", `["query","wait"]`}, {"wait=11m", `["query","wait"]`},
		{"min=0", `["query","min"]`}, {"min=1001", `["query","min"]`},
		{"status=2000", `["query","status"]`}, {"status=", `["query","status"]`}, {"format=xml", `["query","format"]`},
		{"opration=AddEvent", `["query","opration"]`}, {"path=a&path=b", `["query","path"]`}, {"%zz=1", `["query"]`}, {"a;b", `["query"]`},
	} {
		resp := send(t, "GET", s.URL+"/_local/requests?"+tt.query, "")
		if text := bodyOf(t, resp); resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(text, `"loc":`+tt.loc+`,`) {
			t.Errorf("%.40s: %s %.300s, want 422 at %s", tt.query, resp.Status, text, tt.loc)
		}
	}
	for _, query := range []string{"limit=5", "wait=1s", "after=x"} { // a stream has no end, and no page
		if resp := send(t, "GET", s.URL+"/_local/requests/stream?"+query, ""); resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("stream?%s: %s, want 422", query, resp.Status)
		}
	}
	resp := send(t, "POST", s.URL+"/_local/requests", "")
	if resp.StatusCode != http.StatusMethodNotAllowed && resp.StatusCode != http.StatusNotFound {
		t.Errorf("POST: %s", resp.Status)
	}
}

// TestRequestsOff: without a journal nothing is kept, and the answer says how to
// get one.
func TestRequestsOff(t *testing.T) {
	t.Parallel()
	srv, err := server.New(t.Context(), server.Config{Addr: "127.0.0.1:0", Data: server.Memory})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	url := srv.Info().URL
	for _, method := range []string{"GET", "DELETE"} {
		resp := send(t, method, url+"/_local/requests", "")
		if text := bodyOf(t, resp); resp.StatusCode != http.StatusConflict || !strings.Contains(text, "--journal") {
			t.Errorf("%s: %s %s", method, resp.Status, text)
		}
	}
}

// TestRequestsStream: each request comes as it is answered, once, from now on or
// after the last that is known.
func TestRequestsStream(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	send(t, "GET", s.URL+"/alive", "")
	next := func(lines *bufio.Scanner) string {
		t.Helper()
		for lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok && lines.Scan() && lines.Text() != "" { // else it is how far the stream is
				_, seq, _ := strings.Cut(id, "-")
				return seq + " " + lines.Text()
			}
		}
		t.Fatal("the stream ended")
		return ""
	}
	stream := func(after string) *bufio.Scanner {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/_local/requests/stream?path=/a*", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Last-Event-ID", after)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return bufio.NewScanner(resp.Body)
	}
	now, all := stream(""), stream("0")
	send(t, "GET", s.URL+"/nowhere", "")
	send(t, "GET", s.URL+"/api/conversations", "")
	if got := next(now); !strings.HasPrefix(got, "3 data: {") || !strings.Contains(got, `"path":"/api/conversations"`) {
		t.Errorf("first = %s, want the third request", got)
	}
	if a, b := next(all), next(all); !strings.HasPrefix(a, "1 ") || !strings.HasPrefix(b, "3 ") {
		t.Errorf("all = %s, %s, want the first and the third", a, b)
	}
}

// TestRequestsSockets: messages are there both ways, with the connection's
// request.
func TestRequestsSockets(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Agent: "none"})
	var made struct {
		ID string `json:"conversation_id"`
	}
	if err := json.NewDecoder(send(t, "POST", s.URL+"/api/conversations", `{}`).Body).Decode(&made); err != nil {
		t.Fatal(err)
	}
	socket := s.URL + "/socket.io/?EIO=4&transport=polling"
	opening := send(t, "GET", socket+"&conversation_id="+made.ID, "")
	var session struct{ SID string }
	if err := json.Unmarshal([]byte(bodyOf(t, opening)[1:]), &session); err != nil {
		t.Fatal(err)
	}
	for _, packet := range []string{`40`, `421["oh_user_action",` + hello + `]`} {
		send(t, "POST", socket+"&sid="+session.SID, packet)
	}
	got := s.Requests.Wait(journal.Query{Method: "oh_user_action", Conversation: made.ID}, 1)[0]
	if string(got.Request.Body) != hello || got.Sent || got.EventID < 0 || got.Connection != opening.Header.Get("X-Request-Id") {
		t.Errorf("message = %+v, of %s", got, opening.Header.Get("X-Request-Id"))
	}
	s.Requests.Wait(journal.Query{Method: "connect"}, 1)
	s.Requests.Wait(journal.Query{Method: "ack"}, 1)
	id := got.EventID
	for after := int64(0); got.EventID != id || !got.Sent; after = got.Seq {
		got = s.Requests.Wait(journal.Query{Method: "oh_event", After: after}, 1)[0]
	}
	if !strings.Contains(string(got.Response.Body), `"message":"`) || got.Conversation != made.ID {
		t.Errorf("sent = %+v", got)
	}
	send(t, "POST", s.URL+"/api/conversations/"+made.ID+"/stop", "")
	s.Requests.Wait(journal.Query{Method: "disconnect", Conversation: made.ID}, 1)

	send(t, "POST", socket+"&sid="+func() string {
		var other struct{ SID string }
		if err := json.Unmarshal([]byte(bodyOf(t, send(t, "GET", socket+"&conversation_id=nobody", ""))[1:]), &other); err != nil {
			t.Fatal(err)
		}
		return other.SID
	}(), `40`)
	if got := s.Requests.Wait(journal.Query{Method: "connect_error"}, 1)[0]; !strings.Contains(string(got.Response.Body), "Conversation not found") {
		t.Errorf("connect_error = %s", got.Response.Body)
	}
}

// TestRequestsSecrets: no key and no secret can be read in the journal, whichever
// way it came.
func TestRequestsSecrets(t *testing.T) {
	t.Parallel()
	const key, wrong = "kEy-right", "kEy-other"
	s := servertest.NewServer(t, server.Config{Key: key, Data: filepath.Join(t.TempDir(), "d")})
	ask := func(method, path, body string, header ...string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Session-API-Key", key)
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return bodyOf(t, resp)
	}
	ask("POST", "/api/settings", `{"llm_model":"m","llm_api_key":"kEy-llm","mcp_config":{"sse_servers":[{"url":"http://x","api_key":"kEy-mcp"}],"stdio_servers":[],"shttp_servers":[]}}`)
	ask("GET", "/api/settings", "")
	ask("POST", "/api/secrets", `{"name":"n","value":"kEy-custom","description":""}`)
	ask("POST", "/api/secrets", `{"name":5,"value":"kEy-refused"}`)
	ask("POST", "/api/add-git-providers", `{"provider_tokens":{"github":{"token":"kEy-git"}}}`)
	ask("POST", "/api/conversations/c/events", `{"action":"message","args":{"content":"say kEy-custom and `+key+`"}}`)
	ask("POST", "/api/conversations/c/events", `{"action":"kEy-custom"`)
	ask("GET", "/api/conversations/c/events", "")
	ask("GET", "/api/conversations/?session_api_key="+wrong, "", "X-Session-API-Key", wrong, "Authorization", "Bearer "+wrong, "Cookie", "a="+wrong, "Referer", "http://localhost/?session_api_key="+wrong)
	ask("GET", "/_local/login?key="+key, "")
	ask("GET", "/_local/login?key="+wrong, "")
	ask("GET", "/_local/export?secrets=true", "")
	ask("GET", "/_local/backup", "", "X-Local-Token", wrong)
	ask("GET", "/socket.io/?EIO=4&transport=polling&conversation_id=c&session_api_key="+key, "")
	for _, format := range []string{"json", "har", "curl"} {
		if text := ask("GET", "/_local/requests?format="+format, ""); strings.Contains(text, "kEy-") || strings.Contains(text, "openhands_local_") || !strings.Contains(text, "/api/settings") {
			at := max(0, strings.Index(text, "kEy-")-200)
			t.Errorf("%s shows a key: …%.300s", format, text[at:])
		}
	}
	if n := len(s.Requests.All(journal.Query{})); n != 14 {
		t.Errorf("%d requests, want 14", n)
	}
}

// TestRequestsGone: nothing of the journal is in the data folder, nor there after a
// restart.
func TestRequestsGone(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := servertest.NewServer(t, server.Config{Data: folder})
	send(t, "GET", s.URL+"/nowhere/looked-for", "")
	if n := len(s.Requests.All(journal.Query{})); n != 1 {
		t.Fatalf("%d requests, want one", n)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Requests.All(journal.Query{})); n != 0 {
		t.Errorf("%d requests after a restart", n)
	}
	err := filepath.WalkDir(folder, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(name)
		if strings.Contains(string(text), "looked-for") {
			t.Errorf("%s has a request", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestHint: a request for an unknown path is answered as recorded, and a header,
// the log and the journal say what it probably meant.
func TestHint(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "GET /api/settings", "POST /api/settings")
	var log records
	s := servertest.NewServer(t, server.Config{Log: log.logger()})
	for _, tt := range []struct {
		method, path string
		status       int
		body, hint   string
	}{
		{"POST", "/api/conversations/c/run", 404, `{"detail":"Not Found"}`, "of the agent server"},
		{"PUT", "/api/settings", 405, `{"detail":"Method Not Allowed"}`, "this path takes GET, POST"},
		{"GET", "/_local/request", 404, `{"detail":"Not Found"}`, "did you mean GET /_local/requests?"},
		{"GET", "/nowhere", 404, `{"detail":"Not Found"}`, ""},
	} {
		resp := send(t, tt.method, s.URL+tt.path, "")
		got := resp.Header.Get("X-Local-Hint")
		if text := bodyOf(t, resp); resp.StatusCode != tt.status || text != tt.body || !strings.Contains(got, tt.hint) || (got == "") != (tt.hint == "") {
			t.Errorf("%s %s: %s %s, hint %q, want %d %s, %q", tt.method, tt.path, resp.Status, text, got, tt.status, tt.body, tt.hint)
		}
		if e := s.Requests.Wait(journal.Query{Path: tt.path}, 1)[0]; e.Hint != got || !strings.Contains(e.String(), got) {
			t.Errorf("entry = %v, want the hint %q", e, got)
		}
		if lines := strings.Join(log.take("WARN"), ""); !strings.Contains(lines, got) || !strings.Contains(lines, tt.path) {
			t.Errorf("the log lacks %q:\n%s", got, lines)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/sockets/events/c", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("X-Local-Hint"); resp.StatusCode != http.StatusForbidden || !strings.Contains(got, "Here: GET /socket.io/") {
		t.Errorf("websocket: %s, hint %q", resp.Status, got)
	}
}

// TestEvidence: an entry says which recordings stand behind its answer, or what
// else does, and what replaces the call.
func TestEvidence(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "GET /alive", "GET /health", "POST /api/conversations")
	s := servertest.NewServer(t, server.Config{Strict: true, Agent: "none"})
	send(t, "POST", s.URL+"/_local/faults", `{"name":"ordered","match":{"path":"/health"},"do":{"status":418}}`)
	of := func(method, path, body string, header ...string) *journal.Entry {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		bodyOf(t, resp)
		resp.Body.Close()
		entries := s.Requests.All(journal.Query{})
		return entries[len(entries)-1]
	}
	for _, tt := range []struct {
		name  string
		entry *journal.Entry
		basis journal.Basis
		has   string // within the evidence's line
		moves string // within the successor's; "" for none
	}{
		{"the same", of("GET", "/alive", ""), journal.BasisRecorded, "as GET /alive 200: ", "agent server: GET /alive"},
		{"a foreign origin", of("GET", "/alive", "", "Origin", "http://evil.example"), journal.BasisDeclared, "foreign-origin: ", "agent server: "},
		{"unknown", of("GET", "/nowhere", ""), journal.BasisRecorded, " as 404: ", ""},
		{"another method", of("PUT", "/alive", ""), journal.BasisRecorded, "as PUT /alive 405: ", ""},
		{"a refused field", of("POST", "/api/conversations", `{"initial_user_msg":5}`), journal.BasisRecorded, "422 body.initial_user_msg string_type: ", "app server: POST /api/v1/app-conversations"},
		{"ours", of("GET", "/_local/info", ""), journal.BasisOurs, "", ""},
		{"ordered", of("GET", "/health", ""), journal.BasisFault, "ordered", "agent server: "},
	} {
		e := tt.entry
		if e.Evidence == nil || e.Evidence.Basis != tt.basis || !strings.Contains(e.Evidence.String(), tt.has) {
			t.Errorf("%s: evidence %v, want %s with %q", tt.name, e.Evidence, tt.basis, tt.has)
		}
		if (e.Successor == nil) != (tt.moves == "") || e.Successor != nil && !strings.Contains(e.Successor.String(), tt.moves) {
			t.Errorf("%s: successor %v, want %q", tt.name, e.Successor, tt.moves)
		}
	}
}

// TestRequestsAnswered: whoever has an answer finds it in the journal, also a long
// one, whose end is sent before its handler returns.
func TestRequestsAnswered(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
	read := make(chan struct{})
	release := sync.OnceFunc(func() { close(read) })
	s := servertest.NewServer(t, server.Config{Agent: "none", Observe: func(x *exchange.Exchange) {
		if x.Method == "GET" && x.Operation == "SearchEvents" {
			<-read
		}
	}})
	t.Cleanup(release)
	// The last part of the answer is longer than net/http's buffer of a connection.
	send(t, "POST", s.URL+"/api/conversations/c/events", `{"action":"message","args":{"content":"`+strings.Repeat("x", 110_000)+`"}}`)
	resp, err := http.Get(s.URL + "/api/conversations/c/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := make([]byte, resp.ContentLength)
	if _, err := io.ReadFull(resp.Body, body); err != nil {
		t.Fatal(err)
	}
	entries := s.Requests.All(journal.Query{Method: "GET"})
	release()
	if len(entries) != 1 || entries[0].Status != 200 || entries[0].Response.Bytes != int64(len(body)) || !entries[0].Response.Cut || !bytes.HasPrefix(body, entries[0].Response.Body) {
		t.Errorf("entries = %v, want the answer of %d bytes", entries, len(body))
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	if n := len(s.Requests.All(journal.Query{Method: "GET"})); n != 1 {
		t.Errorf("%d entries of one request", n)
	}
}

// TestRequestsStreamMissed: a stream tells what gave way before it was sent, and
// goes on at an id of its own journal alone.
func TestRequestsStreamMissed(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Journal: 2})
	for range 5 {
		send(t, "GET", s.URL+"/nowhere", "")
	}
	own := s.Requests.All(journal.Query{})[1]
	cursor := ""
	for _, tt := range []struct {
		after string
		want  []string
	}{
		{"1", []string{`data: {"missed":2}`, `data: {"seq":4,`, `data: {"seq":5,`}},
		{"4", []string{`data: {"seq":5,`}},
		{"ffffffff0-4", []string{`data: {"missed":3}`, `data: {"seq":4,`, `data: {"seq":5,`}}, // of another server
		{"own", []string{`data: {"seq":6,`}},
	} {
		if tt.after == "own" {
			tt.after = cursor
			send(t, "GET", s.URL+"/nowhere", "")
		}
		resp := send(t, "GET", s.URL+"/_local/requests/stream?after="+tt.after, "")
		lines := bufio.NewScanner(resp.Body)
		for i := 0; i < len(tt.want) && lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				cursor = id
			}
			if strings.HasPrefix(lines.Text(), "data: ") {
				if !strings.HasPrefix(lines.Text(), tt.want[i]) {
					t.Errorf("after %s: %.40s, want %s", tt.after, lines.Text(), tt.want[i])
				}
				i++
			}
		}
		resp.Body.Close()
	}
	if own.Seq != 5 || !strings.HasSuffix(cursor, "-6") {
		t.Errorf("the latest was %d, and the last id is %s, want 5 and -6", own.Seq, cursor)
	}
	for _, after := range []string{"-4", "a-", "a-b", "a--1"} {
		if resp := send(t, "GET", s.URL+"/_local/requests/stream?after="+after, ""); resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("after=%s: %s, want 422", after, resp.Status)
		}
	}
}

// TestEvidenceOfLines: what stands behind an answer of the agent server is not
// looked for among the recordings of another line.
func TestEvidenceOfLines(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{AgentServer: "127.0.0.1:0"})
	var info server.Info
	if err := json.NewDecoder(send(t, "GET", s.URL+"/_local/info", "").Body).Decode(&info); err != nil {
		t.Fatal(err)
	}
	send(t, "GET", info.AgentServer+"/alive", "")
	if e := s.Requests.Wait(journal.Query{Path: "/alive"}, 1)[0]; e.Line != "agent" || e.Evidence != nil || e.Successor != nil {
		t.Errorf("entry of line %q has %v, %v, want neither of line agent", e.Line, e.Evidence, e.Successor)
	}
}
