package servertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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

// follow is a client of sockets. It calls seen with the id of each event, and
// when it loses the connection, it goes on after the last event that it has.
func follow(ctx context.Context, url, conversation string, seen func(id int64)) {
	for last := int64(-1); ctx.Err() == nil; {
		address := fmt.Sprintf("%s/socket.io/?EIO=4&transport=websocket&conversation_id=%s&latest_event_id=%d", url, conversation, last)
		socket, _, err := websocket.Dial(ctx, address, nil)
		if err != nil {
			continue
		}
		for {
			_, packet, err := socket.Read(ctx)
			if err != nil {
				break // and connect again
			}
			switch text := string(packet); {
			case strings.HasPrefix(text, "0"): // open: join the namespace
				_ = socket.Write(ctx, websocket.MessageText, []byte("40"))
			case strings.HasPrefix(text, `42["oh_event",`):
				var event struct{ ID *int64 }
				text = strings.TrimSuffix(strings.TrimPrefix(text, `42["oh_event",`), "]")
				if json.Unmarshal([]byte(text), &event) == nil && event.ID != nil {
					last = *event.ID
					seen(last)
				}
			}
		}
		_ = socket.CloseNow()
	}
}

// A test of a client of sockets: it loses its connection while it is sent what
// was stored, and must neither miss an event nor see one twice.
func TestFollow(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events")
	s := servertest.NewServer(t, server.Config{Agent: "none"})
	for range 3 {
		resp, err := http.Post(s.URL+"/api/conversations/hello/events", "application/json", strings.NewReader(`{"action":"message","args":{"content":"Hi"}}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	s.Faults.Preset("lost-in-replay")

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var ids []int64
	follow(ctx, s.URL, "hello", func(id int64) {
		if ids = append(ids, id); id >= 2 {
			cancel()
		}
	})
	if want := []int64{0, 1, 2}; !slices.Equal(ids, want) {
		t.Errorf("the client sees the events %v, want %v", ids, want)
	}
	s.Faults.AllUsed()
}

// Tests that share a server: each has a world of its own, and they run side by side.
func TestServer_World(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events", "GET /api/conversations")
	s := servertest.NewServer(t, server.Config{Agent: "none"})
	for _, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := s.World(t)
			if name == "second" {
				w.Faults.Preset("rate-limit") // here alone
			}
			resp, err := http.Post(w.URL+"/api/conversations/"+name+"/events", "application/json", strings.NewReader(`{"action":"message","args":{"content":"Hi"}}`))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if want := map[string]int{"first": 200, "second": 429}[name]; resp.StatusCode != want {
				t.Errorf("the answer is %s, want %d", resp.Status, want)
			}
			if sent := w.Requests.All(journal.Query{}); len(sent) != 1 || sent[0].Conversation != name {
				t.Errorf("requests = %v, want one", sent)
			}
		})
	}
}
