package agentserver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/api/agentserver"
	"github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/key"
	"github.com/openhands-local/openhands-local/api/workspace"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// A served is a line on an address of this machine.
type served struct {
	t     *testing.T
	url   string
	store store.Store
	rules *conversation.Service

	folder string // of the workspaces
}

// serve serves the line. The agent is asked for each run.
func serve(t *testing.T, k key.Key, agent func(context.Context, *conversation.Run) conversation.Status) *served {
	t.Helper()
	s := &served{t: t, store: memstore.New(), folder: t.TempDir()}
	s.open(k, agent)
	return s
}

// open serves what the store has.
func (s *served) open(k key.Key, agent func(context.Context, *conversation.Run) conversation.Status) {
	rules := conversation.New(conversation.Config{Store: s.store, Clock: clock.New(clock.Options{}), Agent: agent, NewID: newID})
	server := httptest.NewServer(agentserver.New(agentserver.Config{
		Conversations: rules, Key: k, LoggedIn: func(*http.Request) bool { return false }, Done: (*exchange.Exchange).Done,
		Workspace: opener(s.folder), Started: time.Now(), Log: slog.New(slog.DiscardHandler),
	}))
	s.t.Cleanup(rules.Close)
	s.t.Cleanup(server.Close)
	s.url, s.rules = server.URL, rules
}

// opener opens workspaces in a folder.
func opener(folder string) func(id string, create bool) (*workspace.Workspace, error) {
	return func(id string, create bool) (*workspace.Workspace, error) {
		if create {
			return workspace.Create(filepath.Join(folder, id), workspace.Folder)
		}
		return workspace.Open(filepath.Join(folder, id), workspace.Folder)
	}
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// do asks and returns the answer.
func (s *served) do(method, path, body string) (status int, text string) {
	s.t.Helper()
	contentType := ""
	if body != "" {
		contentType = "application/json"
	}
	return s.send(method, path, contentType, body)
}

// send is do with a body of this type.
func (s *served) send(method, path, contentType, body string) (status int, text string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.Header.Get("Vary") != "Origin" {
		s.t.Errorf("%s %s: Vary is %q, want Origin", method, path, resp.Header.Get("Vary"))
	}
	return resp.StatusCode, string(answer)
}

// create makes a conversation and returns its id.
func (s *served) create(more string) string {
	s.t.Helper()
	status, text := s.do("POST", "/api/conversations", `{"workspace":{"working_dir":"/w"},"agent_settings":{"llm":{"model":"openai/fake","api_key":"sk-secret"}}`+more+`}`)
	var c struct{ ID string }
	if err := json.Unmarshal([]byte(text), &c); status != http.StatusCreated || err != nil || c.ID == "" {
		s.t.Fatalf("create: %d %s", status, text)
	}
	return c.ID
}

// until waits for the status of a conversation.
func (s *served) until(id, want string) {
	s.t.Helper()
	got := ""
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		_, text := s.do("GET", "/api/conversations/"+id, "")
		var c struct {
			Status string `json:"execution_status"`
		}
		_ = json.Unmarshal([]byte(text), &c)
		if got = c.Status; got == want {
			return
		}
	}
	s.t.Fatalf("execution_status = %q, want %q", got, want)
}

// An event is as much of one as tests look at.
type event struct {
	ID, Kind, Source, Key string
	Parent                string `json:"parent_id"`
	Value                 any
	LLMMessage            struct {
		Content []struct{ Text string }
	} `json:"llm_message"`
}

func (e event) String() string {
	text := e.Kind
	switch e.Kind {
	case "ConversationStateUpdateEvent":
		text = e.Key
		if e.Key == "execution_status" {
			text = fmt.Sprint(e.Value)
		}
	case "MessageEvent":
		text = e.Source + ":"
		for _, c := range e.LLMMessage.Content {
			text += c.Text
		}
	}
	return text
}

// events are those of a conversation, told in short.
func (s *served) events(id, query string) (list string, all []event) {
	s.t.Helper()
	status, text := s.do("GET", "/api/conversations/"+id+"/events/search?"+query, "")
	var page struct {
		Items []event
		Next  *string `json:"next_page_id"`
	}
	if err := json.Unmarshal([]byte(text), &page); status != http.StatusOK || err != nil {
		s.t.Fatalf("search: %d %s", status, text)
	}
	var told []string
	for _, e := range page.Items {
		told = append(told, e.String())
	}
	return strings.Join(told, " "), page.Items
}

// say answers everything with one text.
func say(text string) func(context.Context, *conversation.Run) conversation.Status {
	return func(ctx context.Context, r *conversation.Run) conversation.Status {
		if r.Say(ctx, text) != nil {
			return conversation.Error
		}
		return conversation.Finished
	}
}

const hello = `{"content":[{"type":"text","text":"hello"}],"run":true}`

// TestRun: a message that runs is answered, in the events and their tree of the
// real server (recorded run_text_full, run_second_message).
func TestRun(t *testing.T) {
	s := serve(t, "", say("Hello there."))
	id := s.create("")
	if status, text := s.do("POST", "/api/conversations/"+id+"/events", hello); status != 200 || text != `{"success":true}` {
		t.Fatalf("send: %d %s", status, text)
	}
	s.until(id, "finished")
	got, all := s.events(id, "")
	if want := "SystemPromptEvent user:hello last_user_message_id running agent:Hello there. finished"; got != want {
		t.Fatalf("events\n got %s\nwant %s", got, want)
	}
	for i, parent := range []string{"", all[0].ID, all[1].ID, all[1].ID, all[1].ID, all[4].ID} {
		if all[i].Parent != parent {
			t.Errorf("parent of %v = %q, want %q", all[i], all[i].Parent, parent)
		}
	}
	if s.do("POST", "/api/conversations/"+id+"/run", ""); true { // nobody has said anything since
		if again, _ := s.events(id, ""); again != got {
			t.Errorf("after a run of what is finished: %s", again)
		}
	}
	if _, text := s.do("GET", "/api/conversations/"+id+"/agent_final_response", ""); text != `{"response":"Hello there."}` {
		t.Errorf("final response = %s", text)
	}
	s.do("POST", "/api/conversations/"+id+"/events", `{"content":[{"text":"again"}]}`)
	s.until(id, "idle")
	s.do("POST", "/api/conversations/"+id+"/run", "")
	s.until(id, "finished")
	if got, _ := s.events(id, "kind=MessageEvent"); got != "user:hello agent:Hello there. user:again agent:Hello there." {
		t.Errorf("messages: %s", got)
	}
	if _, text := s.do("GET", "/api/conversations/"+id, ""); strings.Contains(text, "sk-secret") || strings.Contains(text, "****") {
		t.Errorf("the answer has a key: %s", text)
	}
}

// TestSearch: pages, orders and filters.
func TestSearch(t *testing.T) {
	s := serve(t, "", nil)
	id := s.create("")
	for _, text := range []string{"one", "Two", "three"} {
		s.do("POST", "/api/conversations/"+id+"/events", `{"content":[{"type":"text","text":"`+text+`"}]}`)
	}
	_, all := s.events(id, "")
	for query, want := range map[string]string{
		"kind=MessageEvent": "user:one user:Two user:three",
		"kind=openhands.sdk.event.MessageEvent&source=user": "user:one user:Two user:three",
		"source=agent": "SystemPromptEvent",
		"body=tWO":     "user:Two",
		"kind=MessageEvent&sort_order=TIMESTAMP_DESC&limit=2": "user:three user:Two",
		"limit=2":                      "SystemPromptEvent user:one",
		"limit=1&page_id=" + all[3].ID: "user:Two",
		"limit=2&sort_order=TIMESTAMP_DESC&page_id=" + all[1].ID: "user:one SystemPromptEvent",
		"limit=1&page_id=nothing":                                "SystemPromptEvent",
		"limit=1&page_id=" + all[3].ID[:35] + "f":                "SystemPromptEvent",
		"timestamp__gte=2100-01-01":                              "",
		"timestamp__lt=2000-01-01T00:00:00Z":                     "",
		"timestamp__lt=2100-01-01&kind=SystemPromptEvent":        "SystemPromptEvent",
	} {
		if got, _ := s.events(id, query); got != want {
			t.Errorf("search?%s = %q, want %q", query, got, want)
		}
	}
	for query, want := range map[string]string{"": "7", "?kind=MessageEvent": "3", "?body=two": "1"} {
		if _, got := s.do("GET", "/api/conversations/"+id+"/events/count"+query, ""); got != want {
			t.Errorf("count%s = %s, want %s", query, got, want)
		}
	}
	status, text := s.do("GET", "/api/conversations/"+id+"/events/"+all[1].ID, "")
	if status != 200 || !strings.HasPrefix(text, `{"id":"`+all[1].ID+`","timestamp":"`) || !strings.HasSuffix(text, `"activated_skills":[],"extended_content":[],"sender":null,"critic_result":null,"kind":"MessageEvent"}`) || !strings.Contains(text, `"reasoning_content":null`) {
		t.Errorf("event: %d %s", status, text)
	}
	if _, text := s.do("GET", "/api/conversations/"+id+"/events", `["x","`+all[1].ID+`"]`); !strings.HasPrefix(text, `[null,{"id":"`+all[1].ID) {
		t.Errorf("several: %s", text)
	}
}

// TestRefusals: what is refused, in the words and order of the real server.
func TestRefusals(t *testing.T) {
	s := serve(t, "", nil)
	id := s.create("")
	const zero = "00000000-0000-0000-0000-000000000001"
	const unknown = `{"detail":"Conversation not found: ` + zero + `"}`
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/nope", "", 404, `{"detail":"Not Found"}`},
		{"POST", "/alive", "", 405, `{"detail":"Method Not Allowed"}`},
		{"HEAD", "/alive", "", 405, ``},
		{"GET", "/alive/", "", 307, ``},
		{"GET", "/api/tools", "", 307, ``},
		{"GET", "/api/conversations/" + zero, "", 404, `{"detail":"Not Found"}`},
		{"GET", "/api/conversations/xyz", "", 422, "{\"detail\":[{\"type\":\"uuid_parsing\",\"loc\":[\"path\",\"conversation_id\"],\"msg\":\"Input should be a valid UUID, invalid character: found `x` at 0\",\"input\":\"xyz\",\"ctx\":{\"error\":\"invalid character: found `x` at 0\"}}]}"},
		{"GET", "/api/conversations?ids=" + zero, "", 200, `[null]`},
		{"GET", "/api/conversations", "", 422, `{"detail":[{"type":"missing","loc":["query","ids"],"msg":"Field required","input":null}]}`},
		{"GET", "/api/conversations/search?limit=0", "", 422, `{"detail":[{"type":"greater_than","loc":["query","limit"],"msg":"Input should be greater than 0","input":"0","ctx":{"gt":0}}]}`},
		{"GET", "/api/conversations/search?limit=101", "", 422, `{"detail":[{"type":"less_than_equal","loc":["query","limit"],"msg":"Input should be less than or equal to 100","input":"101","ctx":{"le":100}}]}`},
		{"GET", "/api/conversations/" + zero + "/events/search?limit=x", "", 404, unknown},
		{"POST", "/api/conversations/" + zero + "/events", `{"role":"x"}`, 404, unknown},
		{"POST", "/api/conversations/" + zero + "/run", "", 404, `{"detail":"Not Found"}`},
		{"POST", "/api/conversations/" + zero + "/confirmation_policy", "{}", 422, `{"detail":[{"type":"missing","loc":["body","policy"],"msg":"Field required","input":{}}]}`},
		{"POST", "/api/conversations/" + id + "/confirmation_policy", `{"policy":{"kind":"X"}}`, 422, `{"detail":[{"type":"value_error","loc":["body","policy"],"msg":"Value error, Unknown kind 'X' for openhands.sdk.security.confirmation_policy.ConfirmationPolicyBase; Expected one of: ['AlwaysConfirm', 'ConfirmRisky', 'NeverConfirm']","input":{"kind":"X"},"ctx":{"error":"Unknown kind 'X' for openhands.sdk.security.confirmation_policy.ConfirmationPolicyBase; Expected one of: ['AlwaysConfirm', 'ConfirmRisky', 'NeverConfirm']"}}]}`},
		{"POST", "/api/conversations/" + id + "/events", `{"content":[5]}`, 422, `{"detail":[{"type":"model_attributes_type","loc":["body","content",0,"TextContent"],"msg":"Input should be a valid dictionary or object to extract fields from","input":5},{"type":"model_attributes_type","loc":["body","content",0,"ImageContent"],"msg":"Input should be a valid dictionary or object to extract fields from","input":5}]}`},
		{"POST", "/api/conversations/" + id + "/events", `{"content":"hi"}`, 422, `{"detail":[{"type":"list_type","loc":["body","content"],"msg":"Input should be a valid list","input":"hi"}]}`},
		{"POST", "/api/conversations/" + id + "/events", `{`, 422, `{"detail":[{"type":"json_invalid","loc":["body",1],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting property name enclosed in double quotes"}}]}`},
		{"POST", "/api/conversations/" + id + "/events", `{"role":"system"}`, 422, `{"detail":"Only user messages are allowed to be sent to the agent."}`},
		{"POST", "/api/conversations", `{"workspace":{"working_dir":"/w"}}`, 422, `{"detail":[{"type":"value_error","loc":["body"],"msg":"Value error, One of ` + "`agent`, `agent_settings`, or `agent_profile_id`" + ` must be provided","input":{"workspace":{"working_dir":"/w"}},"ctx":{"error":"One of ` + "`agent`, `agent_settings`, or `agent_profile_id`" + ` must be provided"}}]}`},
		{"PATCH", "/api/conversations/" + id, `{"tags":{"A":"b"}}`, 422, `{"detail":[{"type":"value_error","loc":["body","tags"],"msg":"Value error, Tag key 'A' is invalid: keys must be lowercase alphanumeric only","input":{"A":"b"},"ctx":{"error":"Tag key 'A' is invalid: keys must be lowercase alphanumeric only"}}]}`},
		{"PATCH", "/api/conversations/" + id, `{"title":" "}`, 422, `{"detail":[{"type":"value_error","loc":["body","title"],"msg":"Value error, title must not be blank","input":" ","ctx":{"error":"title must not be blank"}}]}`},
		{"PATCH", "/api/conversations/" + id, `{"title":" padded "}`, 200, `{"success":true}`},
		{"PATCH", "/api/conversations/" + id, `{}`, 200, `{"success":true}`},
		{"POST", "/api/conversations/" + id + "/confirmation_policy", `{"policy":{"kind":"ConfirmRisky","threshold":"UNKNOWN"}}`, 422, `{"detail":[{"type":"value_error","loc":["body","policy","threshold"],"msg":"Value error, Threshold cannot be UNKNOWN","input":"UNKNOWN","ctx":{"error":"Threshold cannot be UNKNOWN"}}]}`},
		{"PATCH", "/api/conversations/" + id, `{"title":""}`, 422, `{"detail":[{"type":"string_too_short","loc":["body","title"],"msg":"String should have at least 1 character","input":"","ctx":{"min_length":1}}]}`},
		{"DELETE", "/api/conversations/" + id, "", 200, `{"success":true}`},
		{"DELETE", "/api/conversations/" + id, "", 404, `{"detail":"Not Found"}`},
	} {
		status, got := s.do(tt.method, tt.path, tt.body)
		if status != tt.status || got != tt.want {
			t.Errorf("%s %s %s\n got %d %s\nwant %d %s", tt.method, tt.path, tt.body, status, got, tt.status, tt.want)
		}
	}
	status, text := s.do("GET", "/v1/models", "")
	if status != http.StatusNotImplemented || !strings.Contains(text, "does not implement GetOpenaiModels") {
		t.Errorf("an operation without a handler: %d %s", status, text)
	}
}

// TestKey: with a key only what tells that the server lives is open.
func TestKey(t *testing.T) {
	s := serve(t, "k", nil)
	for path, want := range map[string]int{"/alive": 200, "/server_info": 200, "/api/conversations/count": 401, "/api/conversations/x": 401} {
		if status, text := s.do("GET", path, ""); status != want {
			t.Errorf("GET %s = %d %s, want %d", path, status, text, want)
		}
	}
}

// TestConfirm: what waits is run by a yes and rejected by a no.
func TestConfirm(t *testing.T) {
	for _, accept := range []bool{true, false} {
		s := serve(t, "", func(ctx context.Context, r *conversation.Run) conversation.Status {
			said, err := r.Said(ctx)
			if err != nil {
				t.Error(err)
			}
			if said.Calls == 0 {
				if _, err := r.Act(ctx, conversation.Call{Tool: "terminal", Action: json.RawMessage(`{"command":"ls","kind":"TerminalAction"}`), Args: json.RawMessage(`{"command": "ls"}`)}); err != nil {
					t.Error(err)
				}
				return conversation.Waiting
			}
			for _, a := range said.Pending {
				if err := r.Observe(ctx, a, json.RawMessage(`{"content":[],"is_error":false,"kind":"TerminalObservation"}`)); err != nil {
					t.Error(err)
				}
			}
			return say("Done.")(ctx, r)
		})
		id := s.create(`,"confirmation_policy":{"kind":"AlwaysConfirm"}`)
		s.do("POST", "/api/conversations/"+id+"/events", hello)
		s.until(id, "waiting_for_confirmation")
		s.do("POST", "/api/conversations/"+id+"/events/respond_to_confirmation", fmt.Sprintf(`{"accept":%t,"reason":"not now"}`, accept))
		want, end := "running ObservationEvent agent:Done. finished", "finished"
		if !accept {
			want, end = "idle UserRejectObservation", "idle"
		}
		s.until(id, end)
		got, _ := s.events(id, "")
		if _, got, _ = strings.Cut(got, "waiting_for_confirmation "); got != want {
			t.Errorf("accept %t: %s, want %s", accept, got, want)
		}
	}
}

// TestPause: a run ends at once, and the next one goes on (recorded
// interrupt_mid_run); a deleted conversation's too.
func TestPause(t *testing.T) {
	entered := make(chan struct{}, 4)
	s := serve(t, "", func(ctx context.Context, r *conversation.Run) conversation.Status {
		entered <- struct{}{}
		<-ctx.Done()
		return conversation.Finished
	})
	id := s.create("")
	for kind, path := range map[string]string{"PauseEvent": "pause", "InterruptEvent": "interrupt"} {
		s.do("POST", "/api/conversations/"+id+"/run", "")
		<-entered
		if status, text := s.do("POST", "/api/conversations/"+id+"/run", ""); status != http.StatusConflict {
			t.Errorf("a second run: %d %s", status, text)
		}
		s.do("POST", "/api/conversations/"+id+"/"+path, "")
		s.until(id, "paused")
		if got, _ := s.events(id, "kind="+kind); got != kind {
			t.Errorf("%s: events %q", path, got)
		}
	}
	s.do("POST", "/api/conversations/"+id+"/run", "")
	<-entered
	if status, text := s.do("DELETE", "/api/conversations/"+id, ""); status != 200 {
		t.Errorf("delete: %d %s", status, text)
	}
}

// TestFork: a fork has the events, or a branch of them, and goes its own way.
func TestFork(t *testing.T) {
	s := serve(t, "", say("Yes."))
	id := s.create("")
	for range 2 {
		s.do("POST", "/api/conversations/"+id+"/events", hello)
		s.until(id, "finished")
	}
	_, all := s.events(id, "kind=MessageEvent")
	for body, want := range map[string]string{
		"":                                      "user:hello agent:Yes. user:hello agent:Yes.",
		`{"from_event_id":"` + all[1].ID + `"}`: "user:hello agent:Yes.",
	} {
		status, text := s.do("POST", "/api/conversations/"+id+"/fork", body)
		var c struct {
			ID     string
			Status string `json:"execution_status"`
			From   string `json:"forked_from_conversation_id"`
		}
		if err := json.Unmarshal([]byte(text), &c); err != nil || status != http.StatusCreated || c.From != id || c.Status != "idle" {
			t.Fatalf("fork %s: %d %s", body, status, text)
		}
		if got, _ := s.events(c.ID, "kind=MessageEvent"); got != want {
			t.Errorf("fork %s has %s, want %s", body, got, want)
		}
		s.do("POST", "/api/conversations/"+c.ID+"/events", hello)
		s.until(c.ID, "finished")
		if got, _ := s.events(c.ID, "kind=MessageEvent"); got != want+" user:hello agent:Yes." {
			t.Errorf("fork %s goes on with %s", body, got)
		}
	}
	if status, _ := s.do("POST", "/api/conversations/"+id+"/fork", `{"id":"`+id+`"}`); status != http.StatusConflict {
		t.Errorf("fork under an id that is taken: %d, want 409", status)
	}
	if status, _ := s.do("POST", "/api/conversations/"+id+"/fork", `{"from_event_id":"x"}`); status != http.StatusNotFound {
		t.Errorf("fork at an unknown event: %d, want 404", status)
	}
}

// TestRestart: another process has the conversations; one that ran is in error.
func TestRestart(t *testing.T) {
	s := serve(t, "", say("Yes."))
	id := s.create("")
	s.do("POST", "/api/conversations/"+id+"/events", hello)
	s.until(id, "finished")
	before, _ := s.events(id, "")
	s.rules.Close()
	started := make(chan struct{})
	s.open("", func(ctx context.Context, _ *conversation.Run) conversation.Status {
		close(started)
		<-ctx.Done()
		return conversation.Finished
	})
	if after, _ := s.events(id, ""); after != before {
		t.Errorf("events after a restart: %s, want %s", after, before)
	}
	s.do("POST", "/api/conversations/"+id+"/events", hello)
	<-started
	s.rules.Close()
	s.open("", nil)
	s.until(id, "error")
	s.do("POST", "/api/conversations/"+id+"/run", "")
	s.until(id, "finished")
}

// TestSecrets: the values of secrets are in no event and no answer.
func TestSecrets(t *testing.T) {
	s := serve(t, "", say("The word is hunter2."))
	id := s.create(`,"secrets":{"A":"swordfish"}`)
	s.do("POST", "/api/conversations/"+id+"/secrets", `{"secrets":{"B":"hunter2"}}`)
	s.do("POST", "/api/conversations/"+id+"/events", `{"content":[{"text":"swordfish?"}],"run":true}`)
	s.until(id, "finished")
	if got, _ := s.events(id, "kind=MessageEvent"); got != "user:<secret-hidden>? agent:The word is <secret-hidden>." {
		t.Errorf("messages: %s", got)
	}
	if _, text := s.do("GET", "/api/conversations/"+id, ""); strings.Contains(text, "swordfish") || strings.Contains(text, "hunter2") {
		t.Errorf("the answer tells a secret: %s", text)
	}
}

// A socket is a connected client.
type socket struct {
	t *testing.T
	*websocket.Conn
}

func (s *served) connect(query string) *socket {
	s.t.Helper()
	conn, _, err := websocket.Dial(s.t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+"/sockets/events/"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	return &socket{s.t, conn}
}

// frames reads until one is told as want, and returns all.
func (c *socket) frames(want string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	var told []string
	for {
		_, text, err := c.Read(ctx)
		if err != nil {
			c.t.Fatalf("frames %s, then %v; want %s", told, err, want)
		}
		var e event
		if err := json.Unmarshal(text, &e); err != nil {
			c.t.Fatal(err)
		}
		if told = append(told, e.String()); e.String() == want {
			return strings.Join(told, " ")
		}
	}
}

// TestSocket: the state first, stored events as far as they are asked for, then
// what happens, and a message of the client's is run (recorded ws_*).
func TestSocket(t *testing.T) {
	s := serve(t, "", say("Yes."))
	id := s.create("")
	live := s.connect(id)
	if got := live.frames("full_state"); got != "full_state" {
		t.Errorf("first: %s", got)
	}
	if err := live.Write(t.Context(), websocket.MessageText, []byte(`{"role":"user","content":[{"type":"text","text":"hello"}]}`)); err != nil {
		t.Fatal(err)
	}
	want := "SystemPromptEvent user:hello last_user_message_id running agent:Yes. finished full_state"
	if got := live.frames("full_state"); got != want {
		t.Errorf("live\n got %s\nwant %s", got, want)
	}
	stored := strings.TrimSuffix(want, " full_state")
	for query, want := range map[string]string{
		"?resend_mode=all": "full_state " + stored,
		"?resend_all=true": "full_state " + stored,
		"?resend_mode=since&after_timestamp=2000-01-01T00:00:00": "full_state " + stored,
	} {
		if got := s.connect(id + query).frames("finished"); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
	for _, text := range []string{"{", `{"content":[]}`, `{"role":"system","content":[]}`} {
		if err := live.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := live.frames("ServerErrorEvent"); got != "ServerErrorEvent" {
			t.Errorf("after %s: %s", text, got)
		}
	}
	s.do("DELETE", "/api/conversations/"+id, "")
	if _, _, err := live.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("after a delete: %v", err)
	}
	for _, query := range []string{"xyz", id + "?resend_mode=some", id + "?resend_mode=since&after_timestamp=x"} {
		_, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+"/sockets/events/"+query, nil)
		if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %v, want 403", query, err)
		}
	}
	if _, _, err := s.connect("00000000-0000-0000-0000-000000000001").Read(t.Context()); websocket.CloseStatus(err) != 4004 {
		t.Errorf("an unknown conversation: %v, want 4004", err)
	}
}

// TestSocketKey: who says no key says it in the first message, or is closed.
func TestSocketKey(t *testing.T) {
	s := serve(t, "k", nil)
	info, _, err := s.rules.Create(t.Context(), conversation.Draft{State: conversation.State{Status: conversation.Idle}})
	if err != nil {
		t.Fatal(err)
	}
	s.connect(info.ID + "?session_api_key=k").frames("full_state")
	for text, ok := range map[string]bool{`{"type":"auth","session_api_key":"k"}`: true, `{"type":"auth","session_api_key":"x"}`: false, `{}`: false, `x`: false} {
		c := s.connect(info.ID)
		if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if ok {
			c.frames("full_state")
		} else if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != 4001 {
			t.Errorf("after %s: %v, want 4001", text, err)
		}
	}
	if _, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+"/sockets/events/"+info.ID+"?session_api_key=x", nil); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a wrong key: %v, want 403", err)
	}
}

// TestList: newest first, by status, a page at a time.
func TestList(t *testing.T) {
	s := serve(t, "", nil)
	var ids []string
	for range 3 {
		ids = append(ids, s.create(""))
	}
	s.do("POST", "/api/conversations/"+ids[1]+"/pause", "")
	var page struct {
		Items []struct{ ID string }
		Next  *string `json:"next_page_id"`
	}
	list := func(query string) (got []string) {
		page.Items, page.Next = nil, nil
		_, text := s.do("GET", "/api/conversations/search?"+query, "")
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Items {
			got = append(got, c.ID)
		}
		return got
	}
	for query, want := range map[string][]string{
		"":                                   {ids[2], ids[1], ids[0]},
		"sort_order=CREATED_AT":              {ids[0], ids[1], ids[2]},
		"sort_order=UPDATED_AT_DESC&limit=1": {ids[1]},
		"status=paused":                      {ids[1]},
	} {
		if got := list(query); !slices.Equal(got, want) {
			t.Errorf("search?%s = %v, want %v", query, got, want)
		}
	}
	list("limit=2")
	if page.Next == nil {
		t.Fatal("no next page")
	}
	if got := list("limit=2&page_id=" + *page.Next); !slices.Equal(got, ids[:1]) {
		t.Errorf("second page = %v, want %v", got, ids[:1])
	}
	if _, text := s.do("GET", "/api/conversations/count?status=idle", ""); text != "2" {
		t.Errorf("count = %s, want 2", text)
	}
}

// TestContractStatus: no handler is of an operation that the contract does not
// have, and the answers of those that there are keep to it.
func TestContractStatus(t *testing.T) {
	status := agentserver.ContractStatus()
	if len(status.Orphaned) > 0 {
		t.Errorf("orphaned: %v", status.Orphaned)
	}
	if len(status.Implemented) < 30 {
		t.Errorf("implemented: %v", status.Implemented)
	}
}

// FuzzSend: whatever is posted is answered, and with no 5xx.
func FuzzSend(f *testing.F) {
	for _, body := range []string{hello, "{", "[]", `{"content":[{"type":"image","image_urls":["x"]}]}`, `{"role":"user","content":[{"text":"\ud800"}]}`, `{"run":1}`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := serve(t, "", say("Yes."))
		id := s.create("")
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/api/conversations/"+id+"/events", bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode >= 500 || !json.Valid(text) {
			t.Errorf("%q: %d %s %v", body, resp.StatusCode, text, err)
		}
	})
}
