package servertest_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/faults"
	"github.com/openhands-local/openhands-local/server/journal"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// A test of a client: the server is its own, so it may run beside others; ids
// and times repeat; the clock is set by hand.
func TestNewServer(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations", "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
	s := servertest.NewServer(t, server.Config{Strict: true, Agent: "none"})
	post := func(path, body string) (answer map[string]any) {
		t.Helper()
		resp, err := http.Post(s.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("POST %s answers %s", path, resp.Status)
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}

	id := post("/api/conversations", `{}`)["conversation_id"].(string)
	s.Clock.Set(time.Date(2026, 2, 28, 23, 59, 0, 0, time.Local))
	post("/api/conversations/"+id+"/events", `{"action":"message","args":{"content":"Good night"}}`)
	s.Clock.Advance(time.Hour)
	post("/api/conversations/"+id+"/events", `{"action":"message","args":{"content":"Good morning"}}`)

	resp, err := http.Get(s.URL + "/api/conversations/" + id + "/events?reverse=true&limit=2")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct {
		Events []struct{ Timestamp, Message string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || len(page.Events) != 2 {
		t.Fatalf("events = %+v (%v), want two", page.Events, err)
	}
	if e := page.Events[0]; e.Timestamp != "2026-03-01T00:59:00.001000" || e.Message != "Good morning" {
		t.Errorf("last event = %+v, want Good morning of 2026-03-01T00:59:00.001000", e)
	}
	if e := page.Events[1]; e.Timestamp != "2026-02-28T23:59:00" || e.Message != "Good night" {
		t.Errorf("event before it = %+v, want Good night of 2026-02-28T23:59:00", e)
	}
}

// A test of a client's retries: the first event is stored, but the answer never
// comes; the second request has to wait; the third one is told to.
func TestServer_Faults(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
	s := servertest.NewServer(t, server.Config{})
	addEvent := faults.Match{Operation: "AddEvent"}
	s.Faults.Add(
		faults.Rule{Name: "lost", Match: addEvent, Do: faults.Do{At: faults.After, Connection: faults.Close}, Times: 1},
		faults.Rule{Name: "slow", Match: addEvent, Do: faults.Do{Delay: faults.Always(10 * time.Millisecond)}, Times: 1},
	)
	s.Faults.Preset("rate-limit")

	var answers []string
	for range 3 {
		resp, err := http.Post(s.URL+"/api/conversations/c/events", "application/json", strings.NewReader(`{"action":"message","args":{"content":"Hi"}}`))
		if err != nil {
			answers = append(answers, "no answer")
			continue
		}
		resp.Body.Close()
		answers = append(answers, resp.Status+" "+resp.Header.Get("Retry-After"))
	}
	if got, want := strings.Join(answers, ", "), "no answer, 200 OK , 429 Too Many Requests 1"; got != want {
		t.Errorf("answers: %s, want %s", got, want)
	}
	s.Faults.AllUsed()
	s.Faults.Clear()

	resp, err := http.Get(s.URL + "/api/conversations/c/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct{ Events []struct{ ID int } }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || len(page.Events) != 2 {
		t.Errorf("events = %+v (%v), want the one whose answer was lost, and the slow one", page.Events, err)
	}
}

// A test of what a client sends: it waits for the request, and looks at both
// sides of it.
func TestRequests(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events")
	s := servertest.NewServer(t, server.Config{Agent: "none"})
	go func() { // a client that misspells a field
		resp, err := http.Post(s.URL+"/api/conversations/c/events", "application/json", strings.NewReader(`{"action":"message","args":{"contnet":"Hi"}}`))
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
	}()
	sent := s.Requests.Wait(journal.Query{Operation: "AddEvent", Conversation: "c"}, 1)[0]
	if sent.Status != http.StatusUnprocessableEntity || sent.Refusal == nil || sent.Refusal.Loc != "body.args.contnet" {
		t.Errorf("request = %v, want one that is refused for contnet", sent)
	}
	if !strings.Contains(string(sent.Request.Body), `"contnet":"Hi"`) || !strings.Contains(string(sent.Response.Body), `"detail"`) {
		t.Errorf("bodies = %s, %s", sent.Request.Body, sent.Response.Body)
	}
	s.Requests.Clear()
	if all := s.Requests.All(journal.Query{}); len(all) != 0 {
		t.Errorf("after Clear there is %v", all)
	}
}

// A test of a client that follows an agent for an hour, which takes no time: the clock
// stands until the test moves it, each step of the agent is at its time, and the socket
// stays connected.
func TestServer_Clock(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events")
	script := filepath.Join(t.TempDir(), "hour.yaml")
	if err := os.WriteFile(script, []byte(`
rules:
  - on: tests
    steps:
      - {wait: 20m, say: Still at it.}
      - {wait: 40m, say: The tests pass.}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := servertest.NewServer(t, server.Config{Agent: "script:" + script})
	s.Clock.Freeze()
	say := func(text string) {
		t.Helper()
		resp, err := http.Post(s.URL+"/api/conversations/c/events", "application/json", strings.NewReader(`{"action":"message","args":{"content":"`+text+`"}}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	say("Hello")
	client, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+"/socket.io/?EIO=4&transport=websocket&conversation_id=c", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseNow()
	write := func(packet string) {
		t.Helper()
		if err := client.Write(t.Context(), websocket.MessageText, []byte(packet)); err != nil {
			t.Fatal(err)
		}
	}
	until := func(text string) string {
		t.Helper()
		for {
			_, packet, err := client.Read(t.Context())
			if err != nil {
				t.Fatalf("the socket ended before %q came: %v", text, err)
			}
			if string(packet) == "2" { // a ping
				write("3")
			}
			if strings.Contains(string(packet), text) {
				return string(packet)
			}
		}
	}
	write("40")
	until("awaiting_user_input")

	start := s.Clock.Now()
	say("Run the tests")
	s.Clock.Advance(time.Hour)
	if packet, at := until("The tests pass."), start.Add(time.Hour).Format("2006-01-02T15:04:05"); !strings.Contains(packet, at) {
		t.Errorf("the agent's last message is %s, want it at %s", packet, at)
	}
}
