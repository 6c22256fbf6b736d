package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/api/live/engineio"
	"github.com/openhands-local/openhands-local/store"
)

const hello = `{"action":"message","args":{"content":"hello"}}`

// ids are those of the events among frames.
func ids(t *testing.T, frames []string) (all []int64) {
	t.Helper()
	for _, f := range frames {
		payload, isEvent := strings.CutPrefix(f, `42["oh_event",`)
		var e struct {
			ID any
		}
		if !isEvent || json.Unmarshal([]byte(strings.TrimSuffix(payload, "]")), &e) != nil {
			continue
		}
		if id, ok := e.ID.(float64); ok {
			all = append(all, int64(id))
		}
	}
	return all
}

func TestRefusals(t *testing.T) {
	const message = `44{"message":`
	tests := []struct{ name, query, connect, want string }{
		{"no id", "session_api_key=k", "40", message + `"No conversation_id in query params"}`},
		{"blank id", "session_api_key=k&conversation_id=", "40", message + `"No conversation_id in query params"}`},
		{"id before key", "session_api_key=x", "40", message + `"No conversation_id in query params"}`},
		{"unknown id", "session_api_key=k&conversation_id=x", "40", message + `"Conversation not found"}`},
		{"path as id", "session_api_key=k&conversation_id=../../etc", "40", message + `"Conversation not found"}`},
		{"no key", "conversation_id=a", "40", message + `"invalid_session_api_key"}`},
		{"blank key", "conversation_id=a&session_api_key=", "40", message + `"invalid_session_api_key"}`},
		{"null key", "conversation_id=a&session_api_key=null", "40", message + `"invalid_session_api_key"}`},
		{"wrong key", "conversation_id=a&session_api_key=K", "40", message + `"invalid_session_api_key"}`},
		{"provider", "conversation_id=a&session_api_key=k&providers_set=github,svn", "40", message + `"providers_set: unknown provider \"svn\": want github, gitlab, bitbucket, enterprise_sso"}`},
		{"auth", "conversation_id=a&session_api_key=k", `40{"token":"x"}`, message + `"auth is not taken: say session_api_key in the query"}`},
	}
	h := newHost(t, "k", false, engineio.Options{})
	h.settle("a")
	for _, tt := range tests {
		p := h.dial("EIO=4&transport=websocket&" + tt.query)
		p.send(tt.connect)
		if got := p.next(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if _, total, err := h.conversations.List(t.Context(), 0, 9); total != 1 || err != nil {
		t.Errorf("List = %d, %v, want the one that was there", total, err)
	}
	p := h.dial("EIO=4&transport=websocket&conversation_id=a&session_api_key=k&providers_set=github%2Cgitlab&providers_set=")
	p.send("40{}")
	p.until("40")
}

func TestNoSettings(t *testing.T) {
	h := newHost(t, "", false, engineio.Options{})
	h.settle("a")
	h.setSettings("")
	p := h.connect("conversation_id=a&latest_event_id=7")
	got := p.until("44")
	const want = `44{"message":"Settings not found","data":{"msg_id":"CONFIGURATION$SETTINGS_NOT_FOUND"}}`
	if len(got) != 2 || got[1] != want {
		t.Errorf("frames = %q, want the replay and %s", got, want)
	}
	h.setSettings(`{"llm_api_key":null}`)
	h.connect("conversation_id=a").until("40")
}

func TestStoreFails(t *testing.T) {
	h := newHost(t, "", false, engineio.Options{})
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := h.connect("conversation_id=a").next(), `44{"message":"Internal Server Error"}`; got != want {
		t.Errorf("frame = %s, want %s", got, want)
	}
}

func TestLatestEventID(t *testing.T) {
	all := []int64{1, 2, 3, 6, 7, 8}
	tests := []struct {
		text string
		want []int64
	}{
		{"", all}, {"-1", all}, {"-7", all}, {"abc", all}, {"3.5", all}, {"undefined", all}, {"-99999999999999999999", all},
		{"0", all}, {"2", []int64{3, 6, 7, 8}}, {"%2B6", []int64{7, 8}}, {"0_6", []int64{7, 8}}, {"_6", all}, {"6__0", all}, {"7", []int64{8}},
		{"8", nil}, {"9", nil}, {"9223372036854775807", nil}, {"99999999999999999999", nil},
	}
	h := newHost(t, "", false, engineio.Options{})
	h.settle("a")
	for _, tt := range tests {
		if got := ids(t, h.connect("conversation_id=a&latest_event_id="+tt.text).until("40")); !slices.Equal(got, tt.want) {
			t.Errorf("latest_event_id=%s: ids = %v, want %v", tt.text, got, tt.want)
		}
	}
}

// TestNothingIsLostOrDoubled connects clients while others append: each sees
// every id once and in order.
func TestNothingIsLostOrDoubled(t *testing.T) {
	const writers, each, clients = 4, 250, 8
	h := newHost(t, "", false, engineio.Options{QueueSize: 10_000})
	h.settle("a")
	var work sync.WaitGroup
	for range writers {
		work.Go(func() {
			for range each {
				h.add("a", hello)
			}
		})
	}
	var peers []*peer
	var after []int64
	for i := range clients {
		after = append(after, int64(8+i))
		peers = append(peers, h.connect("conversation_id=a&latest_event_id="+strconv.Itoa(8+i)))
		peers[i].until("40")
	}
	work.Wait()
	last := h.add("a", hello)
	for i, p := range peers {
		h.connections("a", clients)
		got := ids(t, p.until(fmt.Sprintf(`42["oh_event",{"id":%d,`, last)))
		for at := range got[1:] {
			if got[at+1] != got[at]+1 {
				t.Fatalf("client %d: %d follows %d", i, got[at+1], got[at])
			}
		}
		if got[0] < after[i]+1 {
			t.Errorf("client %d begins with %d", i, got[0])
		}
	}
	// One that read from the start has all of them.
	p := h.connect("conversation_id=a&latest_event_id=8")
	if got := ids(t, p.until("40")); len(got) != int(last-8) {
		t.Errorf("replay of %d events, want %d", len(got), last-8)
	}
}

// TestJoinBehindTheRoom: an event that is stored and sent between a client's
// replay and its joining is the client's too.
func TestJoinBehindTheRoom(t *testing.T) {
	h := newHost(t, "", false, engineio.Options{})
	h.settle("a")
	var member atomic.Pointer[peer]
	meanwhile := sync.OnceFunc(func() {
		member.Load().until(fmt.Sprintf(`42["oh_event",{"id":%d,`, h.add("a", hello)))
	})
	h.before = func(r store.Range) {
		if member.Load() != nil && r.From == 3 { // a replay: its end is known
			meanwhile()
		}
	}
	first := h.connect("conversation_id=a&latest_event_id=8")
	first.until("40")
	h.connections("a", 1)
	member.Store(first)
	late := h.connect("conversation_id=a&latest_event_id=2")
	got := late.until(`42["oh_event",{"id":9,`)
	h.connections("a", 2)
	h.add("a", hello)
	if got = append(got, late.next()); !slices.Equal(ids(t, got), []int64{3, 6, 7, 8, 9, 10}) {
		t.Errorf("ids = %v, want 3, 6 to 10", ids(t, got))
	}
}

// TestJoinBeforeTheRoom: an event that a client had in its replay does not come
// again with the room's.
func TestJoinBeforeTheRoom(t *testing.T) {
	h := newHost(t, "", false, engineio.Options{})
	h.settle("a")
	var held sync.RWMutex // while the room may not read
	h.before = func(r store.Range) {
		if r.To == store.All.To && !r.Reverse {
			held.RLock()
			defer held.RUnlock()
		}
	}
	first := h.connect("conversation_id=a&latest_event_id=8")
	first.until("40")
	h.connections("a", 1)
	held.Lock()
	h.add("a", hello)
	early := h.connect("conversation_id=a&latest_event_id=8")
	got := early.until("40")
	h.connections("a", 2)
	held.Unlock()
	h.add("a", hello)
	if got = append(got, early.next()); !slices.Equal(ids(t, got), []int64{9, 10}) {
		t.Errorf("ids = %v, want 9 and 10", ids(t, got))
	}
}

// TestFaces: HTTP, sockets and agents reach all sockets of the conversation
// and no other's, in the order of the ids.
func TestFaces(t *testing.T) {
	h := newHost(t, "", false, engineio.Options{})
	h.settle("a")
	h.settle("b")
	a1, a2, b := h.connect("conversation_id=a&latest_event_id=8"), h.connect("conversation_id=a&latest_event_id=8"), h.connect("conversation_id=b&latest_event_id=8")
	h.connections("a", 2)
	h.connections("b", 1)
	h.add("a", hello)
	a1.send(`421["oh_user_action",` + hello + `]`)
	h.poll("the socket's event", func() bool {
		events, err := store.Events(t.Context(), h.store, "a", store.Range{From: 10, To: 10}, 1)
		return err == nil && len(events) == 1
	})
	if _, err := h.conversations.InjectState(t.Context(), "a", "running", ""); err != nil {
		t.Fatal(err)
	}
	if err := h.conversations.Rename(t.Context(), "a", "Named"); err != nil {
		t.Fatal(err)
	}
	const title = `42["oh_event",{"status_update":true,"type":"info","message":"a","conversation_title":"Named"}]`
	for _, p := range []*peer{a1, a2} {
		got := p.until(title)
		if want := []int64{9, 10, 11}; !slices.Equal(ids(t, got), want) || got[len(got)-1] != title {
			t.Errorf("frames = %q, want events %v and the title", got, want)
		}
	}
	if err := h.conversations.Rename(t.Context(), "b", ""); err != nil {
		t.Fatal(err)
	}
	if got := b.until(`42`); len(ids(t, got)) != 0 || !strings.Contains(got[len(got)-1], `"conversation_title":"Conversation b"`) {
		t.Errorf("frames = %q, want the default title alone", got)
	}
	a1.send("41")
	h.connections("a", 1)
}

func TestLenientAction(t *testing.T) {
	h := newHost(t, "", false, engineio.Options{})
	h.settle("a")
	p := h.connect("conversation_id=a&latest_event_id=8")
	p.until("40")
	p.send(`421["oh_user_action",{"action":"of_a_later_version","args":{}}]`)
	if got := append(p.until("4"), p.next()); !slices.Contains(got, "431[]") || len(ids(t, got)) != 1 {
		t.Errorf("frames = %q, want the event and its acknowledgement", got)
	}
	p.send(`422["oh_user_action"]`, `423["oh_user_action",{},{}]`, `424["oh_user_action",null]`, `425["oh_user_action",`+hello+`]`)
	if got := append(p.until("4"), p.next()); !slices.Contains(got, "435[]") || len(ids(t, got)) != 1 {
		t.Errorf("frames = %q, want the last alone", got)
	}
}

// TestBornWithoutAgent: a socket brings the agent.
func TestBornWithoutAgent(t *testing.T) {
	h := newHost(t, "", false, engineio.Options{})
	h.add("bare", hello)
	p := h.connect("conversation_id=bare")
	got := p.until(`42["oh_event",{"id":4,`)
	want := []string{`42["oh_event",{"id":0,`, `40{"sid"`, `42["oh_event",{"id":1,`, `42["oh_event",{"status_update":true,"type":"info","id":"STATUS$STARTING_RUNTIME","message":""}]`,
		`42["oh_event",{"status_update":true,"type":"info","id":"STATUS$RUNTIME_STARTED","message":""}]`,
		`42["oh_event",{"status_update":true,"type":"info","id":"STATUS$READY","message":""}]`, `42["oh_event",{"id":2,`, `42["oh_event",{"id":4,`}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("frames = %q, want %q", got, want)
	}
	h.connect("conversation_id=bare&latest_event_id=4").until("40")
	h.connections("bare", 2)
	if id := h.add("bare", hello); id != 5 {
		t.Errorf("the next event is %d, want 5: the agent comes once", id)
	}
}

// TestEnds: who is connected is told 41 after the events that were stored
// before, and no state that comes after.
func TestEnds(t *testing.T) {
	ends := map[string]func(h *host) error{
		"stop":   func(h *host) error { _, err := h.conversations.Stop(h.Context(), "a"); return err },
		"delete": func(h *host) error { return h.conversations.Delete(h.Context(), "a") },
		"reset":  func(h *host) error { return h.store.Reset(h.Context()) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "", false, engineio.Options{})
			h.settle("a")
			p, q := h.connect("conversation_id=a&latest_event_id=8"), h.connect("conversation_id=a&latest_event_id=8")
			h.connections("a", 2)
			id := h.add("a", hello)
			if name == "reset" {
				p.until(fmt.Sprintf(`42["oh_event",{"id":%d,`, id))
				q.until(fmt.Sprintf(`42["oh_event",{"id":%d,`, id))
			}
			if err := end(h); err != nil {
				t.Fatal(err)
			}
			for _, peer := range []*peer{p, q} {
				got := peer.until("")
				if len(got) == 0 || got[len(got)-1] != "41" || name != "reset" && !slices.Equal(ids(t, got), []int64{id}) {
					t.Errorf("frames = %q, want %d and 41", got, id)
				}
			}
		})
	}
}

// TestShutdown: no 41, and the code that makes clients come back.
func TestShutdown(t *testing.T) {
	h := newHost(t, "", false, engineio.Options{})
	h.settle("a")
	ws, _, err := websocket.Dial(t.Context(), h.url+"/socket.io/?EIO=4&transport=websocket&conversation_id=a&latest_event_id=8", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("40")); err != nil {
		t.Fatal(err)
	}
	h.connections("a", 1)
	closed := make(chan error)
	go func() {
		for {
			_, text, err := ws.Read(context.Background())
			if string(text) == "41" {
				err = errors.New("got 41")
			}
			if err != nil {
				closed <- err
				return
			}
		}
	}()
	if err := h.live.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("closed = %v, want code 1012", err)
	}
}

// TestSlowClient: one that does not read is cut off, another does not notice.
func TestSlowClient(t *testing.T) {
	h := newHost(t, "", false, engineio.Options{QueueSize: 4})
	h.settle("a")
	quick := h.connect("conversation_id=a&latest_event_id=8")
	quick.until("40")
	ws, _, err := websocket.Dial(t.Context(), h.url+"/socket.io/?EIO=4&transport=websocket&conversation_id=a&latest_event_id=8", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("40")); err != nil {
		t.Fatal(err)
	}
	h.connections("a", 2) // and it reads no more
	big := fmt.Sprintf(`{"action":"message","args":{"content":%q}}`, strings.Repeat("x", 1<<20))
	var last int64
	h.poll("the slow client is cut off", func() bool {
		last = h.add("a", big)
		quick.until(fmt.Sprintf(`42["oh_event",{"id":%d,`, last))
		i, err := h.conversations.Info(t.Context(), "a")
		return err == nil && i.Connections < 2
	})
	last = h.add("a", hello)
	quick.until(fmt.Sprintf(`42["oh_event",{"id":%d,`, last))
	again := h.connect(fmt.Sprintf("conversation_id=a&latest_event_id=%d", last-1))
	if got := ids(t, again.until("40")); !slices.Equal(got, []int64{last}) {
		t.Errorf("ids after coming back = %v, want %d", got, last)
	}
}

// TestNothingStays: rooms, followers and goroutines are gone with the clients.
func TestNothingStays(t *testing.T) {
	h := newHost(t, "", false, engineio.Options{})
	h.settle("a")
	h.connect("conversation_id=a").until("40") // what the runtime keeps is there
	h.connections("a", 1)
	before := runtime.NumGoroutine()
	h.settle("b")
	for range 20 {
		p := h.connect("conversation_id=b")
		p.until("40")
		p.send("41", "1")
	}
	h.connections("b", 0)
	h.poll("goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}
