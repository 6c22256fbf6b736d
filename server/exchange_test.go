package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// observed keeps the exchanges of a server.
type observed struct {
	mu  sync.Mutex
	all []*exchange.Exchange
}

func (o *observed) observe(x *exchange.Exchange) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, x)
}

// of returns the exchange that has an id.
func (o *observed) of(id string) *exchange.Exchange {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.all {
		if x.ID == id {
			return x
		}
	}
	return nil
}

// wait returns the exchange that has an id once it is done.
func (o *observed) wait(t *testing.T, id string) *exchange.Exchange {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if x := o.of(id); x != nil {
			return x
		}
		if time.Now().After(deadline) {
			t.Fatalf("no exchange %q", id)
		}
	}
}

// TestExchange: whoever observes is told what happened to each request, when it
// is answered.
func TestExchange(t *testing.T) {
	t.Parallel()
	var o observed
	s := servertest.NewServer(t, server.Config{Observe: o.observe, Pprof: true})
	for _, tt := range []struct{ method, path, body, want string }{
		{"POST", "/api/conversations/c/events", hello, "AddEvent c 200 event 0 lenient 1"},
		{"POST", "/api/conversations/c/events", hello, "AddEvent c 200 event 1 lenient 0"},
		{"POST", "/api/conversations/c/events", `{"action":"message","args":{"contnet":1}}`, "AddEvent c 422 event -1 lenient 0 refused body.args.contnet"},
		{"GET", "/api/conversations/c/events?limit=x", "", "SearchEvents c 422 event -1 lenient 0 refused query.limit"},
		{"GET", "/api/conversations/nobody/events", "", "SearchEvents nobody 404 event -1 lenient 0 refused "},
		{"GET", "/api/conversations", "", "SearchConversations  200 event -1 lenient 0"},
		{"GET", "/api/user/repository/o/r/microagents", "", "GetRepositoryMicroagents  200 event -1 lenient 0"},
		{"GET", "/_local/conversations/c/stream?start_id=x", "", "/_local/conversations/:id/stream c 422 event -1 lenient 0 refused query.start_id"},
		{"GET", "/_local/pprof/cmdline", "", "/_local/pprof/*  200 event -1 lenient 0 waits profile"},
		{"GET", "/_local/nowhere", "", "/_local/*  404 event -1 lenient 0 refused "},
		{"GET", "/nowhere", "", "  404 event -1 lenient 0 refused "},
		{"GET", "/alive/", "", "Alive  200 event -1 lenient 0"},
		{"GET", "/socket.io/?EIO=3", "", "/socket.io  400 event -1 lenient 0 waits socket"},
	} {
		resp := send(t, tt.method, s.URL+tt.path, tt.body)
		x := o.of(resp.Header.Get("X-Request-Id"))
		if x == nil {
			t.Errorf("%s %s: no exchange", tt.method, tt.path)
			continue
		}
		got := fmt.Sprint(x.Operation, " ", x.Conversation, " ", x.Status, " event ", x.EventID, " lenient ", len(x.Lenient))
		if x.Refusal != nil {
			got += " refused " + x.Refusal.Loc
		}
		if x.Waits != "" {
			got += " waits " + x.Waits
		}
		if got != tt.want || x.Transport != exchange.HTTP || x.Method != tt.method || string(x.Body) != tt.body || x.Start.IsZero() || x.Duration <= 0 {
			t.Errorf("%s %s: %s, %+v, want %s", tt.method, tt.path, got, x, tt.want)
		}
		if resp.ContentLength != x.Bytes {
			t.Errorf("%s %s: %d bytes, want %d", tt.method, tt.path, x.Bytes, resp.ContentLength)
		}
	}
}

// TestHeldBack: a request that the rate limit holds back is known to have waited
// for it.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	var o observed
	s := servertest.NewServer(t, server.Config{RateLimit: true, Observe: o.observe})
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); { // a machine may be too slow for so many in a second
		var sent sync.WaitGroup
		waited := make(chan string, 15)
		for range cap(waited) {
			sent.Go(func() {
				resp, err := http.Get(s.URL + "/alive")
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if x := o.of(resp.Header.Get("X-Request-Id")); x != nil && x.Waits != "" {
					waited <- x.Waits
				}
			})
		}
		sent.Wait()
		if len(waited) == 0 {
			continue
		}
		if why := <-waited; why != exchange.WaitsForLimit {
			t.Errorf("waited for %s, want the rate limit", why)
		}
		return
	}
	t.Error("no request was held back")
}

// TestLenientSocket: an event of a socket that OpenHands would have refused
// counts as one by HTTP does.
func TestLenientSocket(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	var made struct {
		ID string `json:"conversation_id"`
	}
	if err := json.NewDecoder(send(t, "POST", s.URL+"/api/conversations", `{}`).Body).Decode(&made); err != nil {
		t.Fatal(err)
	}
	socket := s.URL + "/socket.io/?EIO=4&transport=polling"
	var session struct{ SID string }
	opened := bufio.NewReader(send(t, "GET", socket+"&conversation_id="+made.ID, "").Body)
	if _, err := opened.Discard(1); err != nil { // the packet's type
		t.Fatal(err)
	}
	if err := json.NewDecoder(opened).Decode(&session); err != nil {
		t.Fatal(err)
	}
	for _, packet := range []string{`40`, `42["oh_user_action",{"action":"of a later version"}]`} {
		if resp := send(t, "POST", socket+"&sid="+session.SID, packet); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", packet, resp.Status)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); s.Lenient.Answers() != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d lenient answers, want the socket's", s.Lenient.Answers())
		}
	}
}
