package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/faults"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// hourScript is an agent that works for an hour, ten minutes a step.
const hourScript = `
rules:
  - on: .*
    steps:
      - {wait: 10m, event: {action: think, args: {thought: "1"}}}
      - {wait: 10m, event: {action: think, args: {thought: "2"}}}
      - {wait: 10m, event: {action: think, args: {thought: "3"}}}
      - {wait: 10m, event: {action: think, args: {thought: "4"}}}
      - {wait: 10m, event: {action: think, args: {thought: "5"}}}
      - {wait: 10m, event: {action: message, args: {content: "done, $0", wait_for_response: true}}}
`

// hourly is the Agent of a Config that plays hourScript.
func hourly(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hour.yaml")
	if err := os.WriteFile(name, []byte(hourScript), 0o600); err != nil {
		t.Fatal(err)
	}
	return "script:" + name
}

// clockState is what GET /_local/clock answers, or a POST of a body.
func clockState(t *testing.T, url, body string) (state server.ClockState) {
	t.Helper()
	method := "GET"
	if body != "" {
		method = "POST"
	}
	status, answer := sent(t, method, url+"/_local/clock", body)
	if err := json.Unmarshal([]byte(answer), &state); status != http.StatusOK || err != nil {
		t.Fatalf("%s %s = %d %s", method, body, status, answer)
	}
	return state
}

// A listener is a client of a socket that answers pings and keeps what it is sent.
type listener struct {
	socket
	pings  atomic.Int64
	mu     sync.Mutex
	frames []string
	ended  error
}

func listen(t *testing.T, url, conversation string) *listener {
	t.Helper()
	s, err := dialSocket(t.Context(), url, "conversation_id="+conversation+"&latest_event_id=-1")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{socket: s}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		for {
			_, b, err := s.Read(ctx)
			if err == nil && string(b) == "2" {
				l.pings.Add(1)
				err = s.Write(ctx, websocket.MessageText, []byte("3"))
			}
			l.mu.Lock()
			if err != nil {
				l.ended = err
				l.mu.Unlock()
				return
			}
			l.frames = append(l.frames, string(b))
			l.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// has tells whether a frame with a text has come. A connection that has ended ends
// the test.
func (l *listener) has(t *testing.T, text string) bool {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		t.Fatalf("the socket has ended: %v", l.ended)
	}
	return slices.ContainsFunc(l.frames, func(f string) bool { return strings.Contains(f, text) })
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen within 30 s: %s", what)
		}
	}
}

// said are the events of a conversation in words: time after start, and what.
func said(t *testing.T, url, conversation string, start time.Time) (all []string) {
	t.Helper()
	for _, e := range readEvents(t, url, conversation) {
		at, err := time.ParseInLocation("2006-01-02T15:04:05.999999", e.Timestamp, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(at.Sub(start).Truncate(time.Second), " ", e.Action, e.Observation))
	}
	return all
}

// wantHour is what hourScript answers to a message, with the message.
var wantHour = []string{"0s message", "0s recall", "0s agent_state_changed", "0s recall",
	"10m0s think", "20m0s think", "30m0s think", "40m0s think", "50m0s think", "1h0m0s message", "1h0m0s agent_state_changed"}

// TestHour: an agent's hour passes in one request, each step at its time, and the
// socket of a client that answers pings stays connected and is sent all of it.
func TestHour(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations", "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
	s := servertest.NewServer(t, server.Config{Agent: hourly(t), Strict: true, SetConversationID: true})
	start := clockState(t, s.URL, `{"freeze":true}`).Now
	sent(t, "POST", s.URL+"/api/conversations", `{"conversation_id":"c"}`)
	l := listen(t, s.URL, "c")
	eventually(t, "the socket is let in", func() bool { return l.has(t, "40{") })
	before := len(said(t, s.URL, "c", start))
	for round := range 3 {
		begin, pings := clockState(t, s.URL, "").Now, l.pings.Load()
		sent(t, "POST", s.URL+"/api/conversations/c/events", stored("Hello"))
		state := clockState(t, s.URL, `{"advance":"1h"}`)
		all := said(t, s.URL, "c", begin)
		if got := all[before:]; !slices.Equal(got, wantHour) && round == 0 || len(got) != len(wantHour) || got[9] != wantHour[9] {
			t.Errorf("round %d: %q, want %q", round, got, wantHour)
		}
		before = len(all)
		if d := state.Now.Sub(begin); d < time.Hour || d > time.Hour+time.Second || !state.Frozen {
			t.Errorf("round %d: %v later, frozen %v, want an hour, and true", round, d, state.Frozen)
		}
		last := fmt.Sprintf(`"id":%d,`, before-1)
		eventually(t, "the socket is sent the last event, "+last, func() bool { return l.has(t, last) })
		// It was pinged in this hour, once or more, and has answered: the next ping is
		// waited for.
		eventually(t, "a ping that is answered", func() bool {
			waiting := clockState(t, s.URL, "").Waiting
			return l.has(t, "") && l.pings.Load() > pings && len(waiting) == 1 && waiting[0].What == "ping"
		})
	}
}

// TestSeedRepeats: two servers with a seed and a clock that stands are told the same
// and tell the same, byte for byte.
func TestSeedRepeats(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations", "GET /api/conversations", "GET /api/conversations/{conversation_id}", "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
	run := func() string {
		c := server.Config{Addr: "127.0.0.1:0", Data: server.Memory, Agent: hourly(t), Seed: new(int64), FrozenAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		srv, err := server.New(t.Context(), c)
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
		var whole strings.Builder
		say := func(method, path, body string) string {
			status, answer := sent(t, method, url+path, body)
			fmt.Fprintln(&whole, method, path, status, answer)
			return answer
		}
		var ids []string
		for range 3 {
			var made struct {
				ID string `json:"conversation_id"`
			}
			if err := json.Unmarshal([]byte(say("POST", "/api/conversations", `{}`)), &made); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, made.ID)
		}
		for i, id := range ids {
			say("POST", "/api/conversations/"+id+"/events", stored(fmt.Sprint("Hello ", i)))
			clockState(t, url, `{"advance":"7m"}`)
		}
		clockState(t, url, `{"advance":"2h"}`)
		for _, id := range ids {
			say("GET", "/api/conversations/"+id, "")
			say("GET", "/api/conversations/"+id+"/events?limit=100", "")
		}
		say("GET", "/api/conversations", "")
		return whole.String()
	}
	first, second := run(), run()
	if first != second {
		t.Errorf("the first run:\n%s\nthe second:\n%s", first, second)
	}
	if !strings.Contains(first, "done, Hello 2") {
		t.Errorf("the agent has not done: %s", first)
	}
}

// TestClockWakes: each of what waits by the clock is woken by it.
func TestClockWakes(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
	for why, tt := range map[string]struct {
		rule faults.Do
		what string // waits
		want string // when the event is stored
	}{
		"a delay":            {faults.Do{Delay: faults.Always(50 * time.Minute)}, "request with the fault it", "50m0s"},
		"a delay afterwards": {faults.Do{Delay: faults.Always(50 * time.Minute), At: faults.After}, "request with the fault it", "0s"},
		"bytes a second":     {faults.Do{BytesPerSecond: 1}, "request with the fault it", "0s"},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			s := servertest.NewServer(t, server.Config{})
			s.Clock.Freeze()
			start := s.Clock.Now()
			s.Faults.Add(faults.Rule{Name: "it", Match: faults.Match{Operation: "AddEvent"}, Do: tt.rule})
			answered := make(chan string, 1)
			go func() {
				status, body := sent(t, "POST", s.URL+"/api/conversations/c/events", stored("Hello"))
				answered <- fmt.Sprint(status, " ", body)
			}()
			eventually(t, "the request waits", func() bool {
				waiting := s.Clock.Waiting()
				return len(waiting) == 1 && waiting[0].What == tt.what
			})
			s.Clock.Advance(time.Hour)
			if got := <-answered; got != `200 {"success":true}` {
				t.Errorf("answered %s", got)
			}
			if got := said(t, s.URL, "c", start); !slices.Equal(got, []string{tt.want + " message"}) {
				t.Errorf("stored %q, want a message at %s", got, tt.want)
			}
		})
	}

	t.Run("the rate limit", func(t *testing.T) {
		t.Parallel()
		s := servertest.NewServer(t, server.Config{RateLimit: true})
		s.Clock.Freeze()
		counts := map[int]int{}
		get := func() int { status, _ := sent(t, "GET", s.URL+"/alive", ""); return status }
		for range 10 {
			counts[get()]++
		}
		held := make(chan int, 10)
		for range cap(held) {
			go func() { held <- get() }()
		}
		eventually(t, "ten wait", func() bool { return clockState(t, s.URL, "").Waiters == 10 }) // which is not limited
		if got := get(); got != http.StatusTooManyRequests {
			t.Errorf("the 21st request: %d, want 429", got)
		}
		s.Clock.Advance(time.Second)
		for range cap(held) {
			counts[<-held]++
		}
		if counts[http.StatusOK] != 20 {
			t.Errorf("statuses %v, want 200 twenty times", counts)
		}
		s.Clock.Advance(time.Millisecond)
		if got := get(); got != http.StatusOK {
			t.Errorf("a second later: %d, want 200", got)
		}
	})

	t.Run("messages of sockets", func(t *testing.T) {
		t.Parallel()
		s := servertest.NewServer(t, server.Config{Agent: "none"})
		start := s.Clock.Now()
		sent(t, "POST", s.URL+"/api/conversations/c/events", stored("zero"))
		l := listen(t, s.URL, "c")
		eventually(t, "the socket is let in", func() bool { return l.has(t, "40{") })
		eventually(t, "the start is sent", func() bool { return l.has(t, "awaiting_user_input") })
		s.Clock.Freeze()
		s.Faults.Add(faults.Rule{Match: faults.Match{Method: "oh_user_action"}, Do: faults.Do{Socket: faults.Hold, Delay: faults.Always(time.Minute)}},
			faults.Rule{Match: faults.Match{Method: "oh_event"}, Do: faults.Do{Socket: faults.Hold, Delay: faults.Always(10 * time.Second)}})
		if err := l.Write(t.Context(), websocket.MessageText, []byte(`42["oh_user_action",`+stored("held")+`]`)); err != nil {
			t.Fatal(err)
		}
		waits := func(what string) func() bool {
			return func() bool {
				return slices.ContainsFunc(s.Clock.Waiting(), func(w clock.Waiter) bool { return w.What == what })
			}
		}
		eventually(t, "the message waits", waits("message of a socket"))
		s.Clock.Advance(time.Minute)
		if got := said(t, s.URL, "c", start); got[len(got)-1] != "1m0s message" {
			t.Errorf("stored %q, want the message at 1m", got)
		}
		eventually(t, "the event waits", waits("message to a socket"))
		if l.has(t, "held") {
			t.Error("sent at once")
		}
		s.Clock.Advance(10 * time.Second)
		eventually(t, "the event is sent", func() bool { return l.has(t, "held") })
	})

	t.Run("STARTING", func(t *testing.T) {
		t.Parallel()
		moment := time.Hour
		s := servertest.NewServer(t, server.Config{Starting: &moment})
		s.Clock.Freeze()
		sent(t, "POST", s.URL+"/api/conversations/c/events", stored("Hello"))
		for _, step := range []struct {
			by   time.Duration
			want string
		}{{0, "STARTING"}, {time.Hour - 1, "STARTING"}, {1, "RUNNING"}} {
			s.Clock.Advance(step.by)
			if _, answer := sent(t, "GET", s.URL+"/api/conversations/c", ""); !strings.Contains(answer, `"status":"`+step.want+`"`) {
				t.Errorf("after %v more: %s, want %s", step.by, answer, step.want)
			}
		}
	})
}

// TestDelayedChain: what follows from a request that a fault delays has its times
// too, though one Advance passes all of it.
func TestDelayedChain(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations", "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
	s := servertest.NewServer(t, server.Config{Agent: hourly(t), Strict: true, SetConversationID: true})
	sent(t, "POST", s.URL+"/api/conversations", `{"conversation_id":"c"}`)
	s.Clock.Freeze()
	s.Faults.Add(faults.Rule{Match: faults.Match{Operation: "AddEvent"}, Do: faults.Do{Delay: faults.Always(5 * time.Minute)}})
	start, before := s.Clock.Now(), len(said(t, s.URL, "c", s.Clock.Now()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		sent(t, "POST", s.URL+"/api/conversations/c/events", stored("Hello"))
	}()
	eventually(t, "the request waits", func() bool { return len(s.Clock.Waiting()) == 1 })
	s.Clock.Advance(2 * time.Hour)
	<-done
	if got := said(t, s.URL, "c", start.Add(5*time.Minute))[before:]; !slices.Equal(got, wantHour) {
		t.Errorf("%q, five minutes later, want %q", got, wantHour)
	}
}

// TestClockPage: what /_local/clock answers and refuses.
func TestClockPage(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Clock: clock.New(clock.Options{})})
	state := clockState(t, s.URL, "")
	if off := time.Since(state.Now).Abs(); state.Frozen || off > time.Minute || state.Waiters != 0 || state.Waiting == nil {
		t.Errorf("at the start: %+v, want the machine's time", state)
	}
	if state = clockState(t, s.URL, `{"freeze":true}`); !state.Frozen {
		t.Errorf("frozen: %+v", state)
	}
	at := time.Date(2030, 2, 3, 4, 5, 6, 0, time.UTC)
	if state = clockState(t, s.URL, `{"set":"2030-02-03T04:05:06Z"}`); !state.Now.Equal(at) {
		t.Errorf("set: %+v, want %v", state, at)
	}
	if state = clockState(t, s.URL, `{"advance":"1h30m"}`); !state.Now.Equal(at.Add(90 * time.Minute)) {
		t.Errorf("advanced: %+v", state)
	}
	if state = clockState(t, s.URL, `{"set":"2020-01-01T00:00:00"}`); !state.Now.Equal(time.Date(2020, 1, 1, 0, 0, 0, 0, time.Local)) || !strings.HasPrefix(state.Offset, "-") {
		t.Errorf("set back: %+v", state)
	}
	if state = clockState(t, s.URL, `{"resume":true}`); state.Frozen {
		t.Errorf("resumed: %+v", state)
	}
	for _, way := range []struct{ method, path string }{{"DELETE", "/_local/clock"}, {"POST", "/_local/reset"}} {
		clockState(t, s.URL, `{"freeze":true}`)
		clockState(t, s.URL, `{"advance":"24h"}`)
		if status, answer := sent(t, way.method, s.URL+way.path, ""); status != http.StatusNoContent || answer != "" {
			t.Errorf("%s %s = %d %s", way.method, way.path, status, answer)
		}
		if state = clockState(t, s.URL, ""); state.Frozen || time.Since(state.Now).Abs() > time.Minute {
			t.Errorf("after %s %s: %+v, want the machine's time", way.method, way.path, state)
		}
	}
	for body, want := range map[string]string{
		``:                               "body.0: JSON decode error",
		`[]`:                             "body: Input should be a valid dictionary or object to extract fields from",
		`{}`:                             "body: Value error, want one of freeze, resume, advance, set",
		`{"freeze":true,"resume":true}`:  "body: Value error, want one of freeze, resume, advance, set",
		`{"freeze":false}`:               "body.freeze: Value error, want true",
		`{"resume":1}`:                   "body.resume: Value error, want true",
		`{"advance":3600}`:               "body.advance: Value error, want a duration such as 90s or 1h30m",
		`{"advance":"soon"}`:             "body.advance: Value error, want a duration such as 90s or 1h30m",
		`{"advance":"-1s"}`:              "body.advance: Value error, want a duration such as 90s or 1h30m",
		`{"set":"today"}`:                "body.set: Value error, want a time such as 2026-01-01T00:00:00Z, or 2026-01-01T00:00:00 of the server's zone",
		`{"set":null}`:                   "body.set: Value error, want a time such as 2026-01-01T00:00:00Z, or 2026-01-01T00:00:00 of the server's zone",
		`{"set":"0000-01-02T00:00:00Z"}`: "body.set: Value error, the clock goes from the year 1 to the year 9999",
		`{"stop":true}`:                  "body.stop: Extra inputs are not permitted",
	} {
		status, answer := sent(t, "POST", s.URL+"/_local/clock", body)
		if got := firstFault(t, answer); status != http.StatusUnprocessableEntity || !strings.HasPrefix(got, want) {
			t.Errorf("POST %s = %d %s, want 422 %s", body, status, got, want)
		}
	}
}

// TestClockStays: work that does not come to rest keeps the clock from being moved, and
// is named.
func TestClockStays(t *testing.T) {
	t.Parallel()
	c := clock.New(clock.Options{Frozen: true})
	s := servertest.NewServer(t, server.Config{Clock: c}.WithSettle(10*time.Millisecond))
	now, work := c.Now(), c.Begin("agent of nobody")
	status, answer := sent(t, "POST", s.URL+"/_local/clock", `{"advance":"1h"}`)
	if status != http.StatusConflict || !strings.Contains(answer, "agent of nobody has not come to rest") || !c.Now().Equal(now) {
		t.Errorf("POST = %d %s at %v, want 409 with the name at %v", status, answer, c.Now(), now)
	}
	work.End()
	clockState(t, s.URL, `{"advance":"1h"}`)
	if got := c.Now(); !got.Equal(now.Add(time.Hour)) {
		t.Errorf("Now = %v, want an hour after %v", got, now)
	}
}
