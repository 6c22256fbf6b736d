package engineio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/api/clock"
)

// echo sends back what it receives.
func echo(s *Session) error {
	for {
		m, err := s.Receive()
		if err != nil {
			return err
		}
		s.Send(m.Encode())
	}
}

func text(s string) Packet { return Message{Data: []byte(s)}.Encode() }

// host is a server under test, and what clients do to it.
type host struct {
	*testing.T
	server *Server
	url    string // ends in ?EIO=4
}

func newHost(t *testing.T, o Options, serve func(*Session) error) *host {
	server := New(o, serve)
	mux := http.NewServeMux()
	mux.Handle("/engine.io/", server)
	mux.Handle("/engine.io", server)
	h := httptest.NewServer(mux)
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		h.Close()
	})
	return &host{t, server, h.URL + "/engine.io/?EIO=4"}
}

// sessions returns a serve function that echoes, and a channel of the sessions
// it is given and one of the errors that end them.
func sessions() (func(*Session) error, chan *Session, chan error) {
	opened, ended := make(chan *Session, 100), make(chan error, 100)
	return func(s *Session) error {
		opened <- s
		err := echo(s)
		ended <- err
		return err
	}, opened, ended
}

func (h *host) do(method, query, body string, header ...string) (*http.Response, string) {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), method, h.url+query, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.Fatal(err)
	}
	return resp, string(b)
}

func (h *host) expect(method, query, body string, status int, want string) {
	h.Helper()
	resp, got := h.do(method, query, body)
	if resp.StatusCode != status || got != want {
		h.Errorf("%s %s %q = %d %q, want %d %q", method, query, body, resp.StatusCode, got, status, want)
	}
}

// poll opens a polling session and returns the query that names it.
func (h *host) poll() string {
	h.Helper()
	_, body := h.do("GET", "&transport=polling", "")
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(body, "0")), &open); err != nil {
		h.Fatalf("handshake %q: %v", body, err)
	}
	return "&transport=polling&sid=" + open.SID
}

// pending starts a GET and returns its status and body when they come.
func (h *host) pending(query string) chan string {
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get(h.url + query)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- fmt.Sprint(resp.StatusCode, " ", string(body))
	}()
	return answer
}

// waitForPoll returns when a poll of the session waits.
func (h *host) waitForPoll(query string) {
	h.Helper()
	s := h.server.session(query[strings.LastIndexByte(query, '=')+1:])
	h.until(func() bool { return len(s.taker) == 1 })
}

func (h *host) until(done func() bool) {
	h.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			h.Fatal("did not happen within 10 s")
		}
	}
}

type socket struct {
	*testing.T
	c *websocket.Conn
}

func (h *host) dial(query string) *socket {
	h.Helper()
	c, _, err := websocket.Dial(h.Context(), "ws"+strings.TrimPrefix(h.url, "http")+query, nil)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { c.CloseNow() })
	return &socket{h.T, c}
}

// open dials a websocket session and reads its handshake.
func (h *host) open() *socket {
	h.Helper()
	s := h.dial("&transport=websocket")
	if _, data, err := s.c.Read(h.Context()); err != nil || data[0] != '0' {
		h.Fatalf("handshake = %q, %v", data, err)
	}
	return s
}

func (s *socket) write(text string) {
	s.Helper()
	if err := s.c.Write(s.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.Fatal(err)
	}
}

func (s *socket) expect(want string) {
	s.Helper()
	if _, got, err := s.c.Read(s.Context()); err != nil || string(got) != want {
		s.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

func (s *socket) expectClose(want websocket.StatusCode) {
	s.Helper()
	for {
		if _, _, err := s.c.Read(s.Context()); err != nil {
			if got := websocket.CloseStatus(err); got != want {
				s.Errorf("websocket ended with %v (code %d), want code %d", err, got, want)
			}
			return
		}
	}
}

// receive fails the test when nothing comes within 10 s.
func receive[T any](t *testing.T, c chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came within 10 s")
		panic("unreachable")
	}
}

// TestAnswers holds the answers without a session to those recorded in
// engineio_http_errors, and to the protocol's test suite.
func TestAnswers(t *testing.T) {
	const version = `"The client is using an unsupported version of the Socket.IO or Engine.IO protocols"`
	tests := []struct {
		name, method, query string
		want                string // Python
		standard            string // if it differs
	}{
		{"EIO=3", "GET", "?EIO=3&transport=polling", "400 " + version, ""},
		{"no EIO", "GET", "?transport=polling", "400 " + version, ""},
		{"unknown transport", "GET", "?EIO=4&transport=carrier", `400 "Invalid transport"`, ""},
		{"no transport", "GET", "?EIO=4", "200 open", `400 "Invalid transport"`},
		{"unknown session, GET", "GET", "?EIO=4&transport=polling&sid=nosuch", `400 "Invalid session nosuch"`, ""},
		{"unknown session, POST", "POST", "?EIO=4&transport=polling&sid=nosuch", `400 "Invalid session nosuch"`, ""},
		{"no session", "POST", "?EIO=4&transport=polling", `400 "Invalid session None"`, ""},
		{"PUT", "PUT", "?EIO=4&transport=polling", "405 Method Not Found", `400 "Bad handshake method"`},
		{"OPTIONS", "OPTIONS", "?EIO=4&transport=polling", "200 OK", ""},
		{"no upgrade", "GET", "?EIO=4&transport=websocket", `400 "Invalid websocket upgrade"`, ""},
		{"JSONP", "GET", "?EIO=4&transport=polling&j=0", "200 ___eio[0](open);", ""},
		{"JSONP without number", "GET", "?EIO=4&transport=polling&j=x", `400 "Invalid JSONP index number"`, ""},
		{"good", "GET", "?EIO=4&transport=polling", "200 open", ""},
	}
	open := regexp.MustCompile(`"?0\{\\?"sid.*\}"?`)
	for _, dialect := range []Dialect{Standard, Python} {
		h := newHost(t, Options{Dialect: dialect}, echo)
		for _, path := range []string{"/engine.io/", "/engine.io"} {
			for _, test := range tests {
				h.url = strings.Split(h.url, "/engine.io")[0] + path
				resp, body := h.do(test.method, test.query, "")
				got := fmt.Sprint(resp.StatusCode, " ", open.ReplaceAllString(body, "open"))
				want := test.want
				if dialect == Standard && test.standard != "" {
					want = test.standard
				}
				if got != want {
					t.Errorf("dialect %d, %s, %s: %s, want %s", dialect, path, test.name, got, want)
				}
				kind := "text/plain"
				if strings.Contains(want, "open") {
					kind += "; charset=UTF-8"
				}
				if got := resp.Header.Get("Content-Type"); got != kind {
					t.Errorf("%s: Content-Type = %q, want %q", test.name, got, kind)
				}
				if got := resp.Header.Get("Access-Control-Allow-Credentials"); got != "true" {
					t.Errorf("%s: Access-Control-Allow-Credentials = %q, want true", test.name, got)
				}
			}
		}
	}
}

func TestHandshake(t *testing.T) {
	h := newHost(t, Options{}, echo)
	const want = `0{"sid":"ID","upgrades":[%s],"pingTimeout":20000,"pingInterval":25000,"maxPayload":4194304}`
	id := regexp.MustCompile(`"[A-Za-z0-9_-]{20}"`)
	_, got := h.do("GET", "&transport=polling", "")
	if got, want := id.ReplaceAllString(got, `"ID"`), fmt.Sprintf(want, `"websocket"`); got != want {
		t.Errorf("polling: %s, want %s", got, want)
	}
	_, data, err := h.dial("&transport=websocket").c.Read(t.Context())
	if got, want := id.ReplaceAllString(string(data), `"ID"`), fmt.Sprintf(want, ""); err != nil || got != want {
		t.Errorf("websocket: %s, %v, want %s", got, err, want)
	}
}

func TestOrigin(t *testing.T) {
	only := func(allowed string) func(*http.Request) error {
		return func(r *http.Request) error {
			if o := r.Header.Get("Origin"); o != allowed {
				return fmt.Errorf("origin %q is not on the list", o)
			}
			return nil
		}
	}
	tests := []struct {
		name    string
		options Options
		origin  string
		status  int
		allow   string
	}{
		{"default, none", Options{}, "", 200, ""},
		{"default, foreign", Options{}, "http://evil.example", 403, ""},
		{"default, null", Options{}, "null", 403, ""},
		{"default, own", Options{}, "own", 200, ""},
		{"refused", Options{CheckOrigin: only("http://a")}, "http://b", 403, ""},
		{"let in, not to be read", Options{CheckOrigin: only("http://a")}, "http://a", 200, ""},
		{"let in", Options{CheckOrigin: only("http://a"), AllowOrigin: func(o string) bool { return o == "http://a" }}, "http://a", 200, "http://a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t, test.options, echo)
			if test.origin == "own" {
				test.origin = strings.Split(h.url, "/engine.io")[0]
			}
			var header []string
			if test.origin != "" {
				header = []string{"Origin", test.origin}
			}
			resp, body := h.do("GET", "&transport=polling", "", header...)
			if resp.StatusCode != test.status || resp.Header.Get("Access-Control-Allow-Origin") != test.allow {
				t.Errorf("GET = %d %q, allowed %q; want %d, %q", resp.StatusCode, body, resp.Header.Get("Access-Control-Allow-Origin"), test.status, test.allow)
			}
			if got := resp.Header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options = %q, want nosniff", got)
			}
			c, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(h.url, "http")+"&transport=websocket",
				&websocket.DialOptions{HTTPHeader: http.Header{"Origin": {test.origin}}})
			if err == nil {
				c.CloseNow()
			}
			if (err == nil) != (test.status == 200) || err != nil && resp.StatusCode != test.status {
				t.Errorf("Dial = %v, %v; want status %d", resp.Status, err, test.status)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	h := newHost(t, Options{CheckOrigin: func(*http.Request) error { return nil }, AllowOrigin: func(string) bool { return true }}, echo)
	resp, _ := h.do("OPTIONS", "&transport=polling", "", "Origin", "http://a", "Access-Control-Request-Headers", "x-a")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  "http://a",
		"Access-Control-Allow-Methods": "OPTIONS, GET, POST",
		"Access-Control-Allow-Headers": "x-a",
		"Vary":                         "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestEcho(t *testing.T) {
	h := newHost(t, Options{}, echo)
	t.Run("polling", func(t *testing.T) {
		q := h.poll()
		h.expect("POST", q, "4hello\x1ebAQIDBA==\x1e6\x1e42", 200, "ok")
		var got []string
		for len(got) < 3 {
			_, body := h.do("GET", q, "")
			got = append(got, strings.Split(body, "\x1e")...)
		}
		if got := strings.Join(got, " "); got != "4hello bAQIDBA== 42" {
			t.Errorf("polled %q, want the three messages sent", got)
		}
	})
	t.Run("JSONP", func(t *testing.T) {
		q := h.poll()
		h.expect("POST", q, `4"<b>\`, 200, "ok")
		h.expect("GET", q+"&j=7", "", 200, `___eio[7]("4\"<b>\\");`)
	})
	t.Run("websocket", func(t *testing.T) {
		s := h.open()
		s.write("4hello")
		s.expect("4hello")
		if err := s.c.Write(t.Context(), websocket.MessageBinary, []byte{1, 2}); err != nil {
			t.Fatal(err)
		}
		if kind, data, err := s.c.Read(t.Context()); err != nil || kind != websocket.MessageBinary || !bytes.Equal(data, []byte{1, 2}) {
			t.Errorf("Read = %v %v, %v; want the two bytes", kind, data, err)
		}
	})
}

// TestBatch: one poll is answered with at most 16 packets, even if they were
// sent together.
func TestBatch(t *testing.T) {
	ready := make(chan bool)
	h := newHost(t, Options{}, func(s *Session) error {
		<-ready
		for range 10 {
			s.Send(text("a"))
		}
		s.Send(letters2packets("bcdefghijklmnopqrstuvwxyz")...)
		s.Send(text("z"))
		close(ready)
		return echo(s)
	})
	q := h.poll()
	ready <- true
	<-ready
	h.expect("GET", q, "", 200, joined("aaaaaaaaaabcdefg"))
	h.expect("GET", q, "", 200, joined("hijklmnopqrstuvw"))
	h.expect("GET", q, "", 200, joined("xyzz"))
}

func letters2packets(letters string) []Packet {
	var packets []Packet
	for _, l := range letters {
		packets = append(packets, text(string(l)))
	}
	return packets
}

func joined(letters string) string { return string(encodePayload(letters2packets(letters))) }

func TestUpgrade(t *testing.T) {
	serve, opened, _ := sessions()
	h := newHost(t, Options{}, serve)
	q := h.poll()
	session := receive(t, opened)
	waiting := h.pending(q)
	h.waitForPoll(q)

	s := h.dial(strings.Replace(q, "polling", "websocket", 1))
	s.write("2probe")
	s.expect("3probe")
	if got := receive(t, waiting); got != "200 6" {
		t.Errorf("the waiting poll = %s, want 200 6", got)
	}
	session.Send(text("queued"))
	h.expect("GET", q, "", 200, "6")
	h.expect("POST", q, "4posted", 200, "ok")
	s.write("5")
	s.expect("4queued")
	s.expect("4posted")
	s.write("4hello")
	s.expect("4hello")

	h.expect("GET", q, "", 400, `"Invalid transport"`)
	h.expect("POST", q, "4x", 400, `"Invalid transport"`)
	h.dial(strings.Replace(q, "polling", "websocket", 1)).expectClose(websocket.StatusPolicyViolation)
	s.write("4still here")
	s.expect("4still here")
}

// TestUpgradeOverPoll: a client that does not wait for its poll to end still
// gets everything.
func TestUpgradeOverPoll(t *testing.T) {
	h := newHost(t, Options{}, echo)
	q := h.poll()
	s := h.dial(strings.Replace(q, "polling", "websocket", 1))
	s.write("2probe")
	s.expect("3probe")
	s.write("5")
	s.write("4hello")
	s.expect("4hello")
}

// TestBadWebsocketHandshake: the refusal is coder/websocket's.
func TestBadWebsocketHandshake(t *testing.T) {
	h := newHost(t, Options{}, echo)
	q := h.poll()
	for _, query := range []string{"&transport=websocket", strings.Replace(q, "polling", "websocket", 1)} {
		resp, body := h.do("GET", query, "", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13")
		if resp.StatusCode != 400 {
			t.Errorf("GET %s without key = %d %q, want 400", query, resp.StatusCode, body)
		}
	}
	h.expect("POST", q, "4hello", 200, "ok")
	h.expect("GET", q, "", 200, "4hello")
}

// TestServerTimeouts: those of the HTTP server do not end a poll or a websocket.
func TestServerTimeouts(t *testing.T) {
	server := New(Options{PingInterval: 300 * time.Millisecond}, echo)
	ts := httptest.NewUnstartedServer(server)
	ts.Config.ReadTimeout, ts.Config.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	ts.Start()
	defer ts.Close()
	defer server.Shutdown(context.Background())
	h := &host{t, server, ts.URL + "/?EIO=4"}
	h.expect("GET", h.poll(), "", 200, "2")
	s := h.open()
	s.expect("2")
	s.c.CloseNow()
}

func TestFailedUpgrade(t *testing.T) {
	for name, steps := range map[string][]string{
		"leaves":              nil,
		"wrong probe":         {"2prob"},
		"leaves after probe":  {"2probe", "3probe"},
		"no upgrade":          {"2probe", "3probe", "4hello"},
		"websocket too large": {"2" + strings.Repeat("p", 200)},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, Options{MaxPayload: 100}, echo)
			q := h.poll()
			session := h.server.session(q[len("&transport=polling&sid="):])
			s := h.dial(strings.Replace(q, "polling", "websocket", 1))
			h.until(func() bool { return session.currentTransport() == claimed })
			for i, step := range steps {
				if i == 1 {
					s.expect(step)
				} else {
					s.write(step)
				}
			}
			s.c.CloseNow()
			h.until(func() bool { return session.currentTransport() == onPolling })
			h.expect("POST", q, "4hello", 200, "ok")
			if _, body := h.do("GET", q, ""); body == "6" { // left over from the probe
				h.expect("GET", q, "", 200, "4hello")
			} else if body != "4hello" {
				t.Errorf("GET = %q, want 4hello", body)
			}
		})
	}
}

func TestFaultNoPong(t *testing.T) {
	serve, _, ended := sessions()
	h := newHost(t, Options{PingInterval: 20 * time.Millisecond, PingTimeout: 300 * time.Millisecond}, serve)
	t.Run("websocket", func(t *testing.T) {
		s := h.open()
		for range 3 {
			s.expect("2")
			s.write("3")
		}
		s.expect("2")
		s.expectClose(websocket.StatusNormalClosure)
		if err := receive(t, ended); !errors.Is(err, errPingTimeout) {
			t.Errorf("ended with %v, want %v", err, errPingTimeout)
		}
	})
	t.Run("polling", func(t *testing.T) {
		q := h.poll()
		for range 3 {
			h.expect("GET", q, "", 200, "2")
			h.expect("POST", q, "3", 200, "ok")
		}
		h.expect("GET", q, "", 200, "2")
		h.expect("GET", q, "", 200, "1") // the poll that waits when the time is over
		h.expect("GET", q, "", 400, `"Invalid session `+q[len("&transport=polling&sid="):]+`"`)
		if err := receive(t, ended); !errors.Is(err, errPingTimeout) {
			t.Errorf("ended with %v, want %v", err, errPingTimeout)
		}
	})
	t.Run("vanished", func(t *testing.T) {
		h.poll()
		if err := receive(t, ended); !errors.Is(err, errPingTimeout) {
			t.Errorf("ended with %v, want %v", err, errPingTimeout)
		}
		h.until(func() bool { h.server.mu.Lock(); defer h.server.mu.Unlock(); return len(h.server.sessions) == 0 })
	})
	t.Run("answers before it is asked", func(t *testing.T) {
		q := h.poll()
		session := h.server.session(q[len("&transport=polling&sid="):])
		for range 3 { // pings that no poll has taken
			h.until(func() bool { session.mu.Lock(); defer session.mu.Unlock(); return session.pinged })
			h.expect("POST", q, "3\x1e3", 200, "ok")
		}
		h.expect("GET", q, "", 200, "2")
		session.end(errClosed)
		receive(t, ended)
	})
}

// TestClock: pings go by the clock, but a client that answers them stays, whatever the
// clock does: it is pinged while the clock stands, and has time to answer when the
// clock was moved by more than that.
func TestClock(t *testing.T) {
	c := clock.New(clock.Options{Frozen: true})
	t.Run("standing", func(t *testing.T) {
		h := newHost(t, Options{Clock: c, PingInterval: 5 * time.Millisecond}, echo)
		s := h.open()
		for range 3 {
			s.expect("2")
			s.write("3")
		}
	})
	t.Run("moved", func(t *testing.T) {
		serve, opened, _ := sessions()
		h := newHost(t, Options{Clock: c}, serve)
		s := h.open()
		session := receive(t, opened)
		for range 3 {
			if err := c.Advance(t.Context(), 100*time.Hour); err != nil {
				t.Fatal(err)
			}
			s.expect("2")
			s.write("3")
			h.until(func() bool { session.mu.Lock(); defer session.mu.Unlock(); return !session.pinged })
		}
		s.write("4hello")
		s.expect("4hello")
	})
}

func TestMalformed(t *testing.T) {
	t.Run("POST", func(t *testing.T) {
		serve, _, ended := sessions()
		h := newHost(t, Options{}, serve)
		for _, body := range []string{"abc", "", "4good\x1e", "b?", "4good\x1e9"} {
			q := h.poll()
			h.expect("POST", q, body, 400, `"malformed packet"`)
			if err := receive(t, ended); !errors.Is(err, errMalformed) {
				t.Errorf("POST %q ended the session with %v, want %v", body, err, errMalformed)
			}
		}
	})
	t.Run("POST, Python", func(t *testing.T) {
		h := newHost(t, Options{Dialect: Python}, echo)
		q := h.poll()
		h.expect("POST", q, "4lost\x1ezzz", 200, "OK")
		h.expect("POST", q, "4hello", 200, "OK")
		h.expect("GET", q, "", 200, "4hello")
	})
	t.Run("a server's packet, Python", func(t *testing.T) {
		serve, _, ended := sessions()
		h := newHost(t, Options{Dialect: Python}, serve)
		for _, body := range []string{"6", "2x", "0"} {
			q := h.poll()
			h.expect("POST", q, body, 400, `"Bad Request"`)
			h.expect("GET", q, "", 200, "1")
			if err := receive(t, ended); !errors.Is(err, errClosed) {
				t.Errorf("POST %q ended the session with %v, want %v", body, err, errClosed)
			}
		}
	})
	for dialect, want := range map[Dialect]websocket.StatusCode{Standard: websocket.StatusNormalClosure, Python: -1} {
		h := newHost(t, Options{Dialect: dialect}, echo)
		s := h.open()
		if dialect == Python {
			s.write("8no such type")
			s.write("0 a server's")
			s.write("4hello")
			s.expect("4hello")
		}
		s.write("abc")
		s.expectClose(want)
	}
}

// TestUpgradeOfClosing: the close that no poll has had yet closes the websocket.
func TestUpgradeOfClosing(t *testing.T) {
	serve, opened, _ := sessions()
	h := newHost(t, Options{}, serve)
	q := h.poll()
	session := receive(t, opened)
	session.Send(text("a"))
	session.Close()
	h.expect("GET", q, "", 200, "4a")
	s := h.dial(strings.Replace(q, "polling", "websocket", 1))
	s.write("2probe")
	s.expect("3probe")
	s.write("5")
	s.expectClose(websocket.StatusNormalClosure)
}

func TestClientCloses(t *testing.T) {
	serve, _, ended := sessions()
	h := newHost(t, Options{}, serve)
	q := h.poll()
	waiting := h.pending(q)
	h.waitForPoll(q)
	h.expect("POST", q, "1", 200, "ok")
	if got := receive(t, waiting); got != "200 6" {
		t.Errorf("the waiting poll = %s, want 200 6", got)
	}
	s := h.open()
	s.write("1")
	s.expectClose(websocket.StatusNormalClosure)
	for range 2 {
		if err := receive(t, ended); !errors.Is(err, errClientClosed) {
			t.Errorf("ended with %v, want %v", err, errClientClosed)
		}
	}
}

// TestLastWords: what a client said before it left is received.
func TestLastWords(t *testing.T) {
	got := make(chan string, 1)
	h := newHost(t, Options{}, func(s *Session) error {
		<-s.Context().Done()
		m, _ := s.Receive()
		got <- string(m.Data)
		_, err := s.Receive()
		return err
	})
	s := h.open()
	s.write("4bye")
	s.write("1")
	if got := receive(t, got); got != "bye" {
		t.Errorf("received %q, want bye", got)
	}
}

func TestServerCloses(t *testing.T) {
	fail := errors.New("fails")
	for name, test := range map[string]struct {
		result error
		want   string // over polling
	}{
		"nil sends the rest": {nil, "4a\x1e4b"},
		"error":              {fail, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, Options{}, func(s *Session) error {
				if _, err := s.Receive(); err != nil {
					return err
				}
				if test.result == nil {
					s.Send(text("a"), text("b"))
				}
				return test.result
			})
			s := h.open()
			s.write("4go")
			if test.result == nil {
				s.expect("4a")
				s.expect("4b")
			}
			s.expectClose(websocket.StatusNormalClosure)

			q := h.poll()
			waiting := h.pending(q)
			h.waitForPoll(q)
			h.expect("POST", q, "4go", 200, "ok")
			if got := receive(t, waiting); got != "200 "+test.want {
				t.Errorf("polled %q, want %q", got, test.want)
			}
			if test.result == nil {
				h.expect("GET", q, "", 200, "1")
			}
		})
	}
}

// TestLatePoll: the poll that a client sends beside its close packet may come
// after it.
func TestLatePoll(t *testing.T) {
	h := newHost(t, Options{PingTimeout: 50 * time.Millisecond}, echo)
	q := h.poll()
	h.expect("POST", q, "1", 200, "ok")
	h.expect("POST", q, "4x", 400, `"Invalid transport"`)
	h.expect("GET", q, "", 200, "6")
	h.expect("GET", q, "", 400, `"Invalid session `+q[len("&transport=polling&sid="):]+`"`)
	h.expect("POST", h.poll(), "1", 200, "ok") // and never polls
	h.until(func() bool { h.server.mu.Lock(); defer h.server.mu.Unlock(); return len(h.server.sessions) == 0 })
}

func TestPollsAtOnce(t *testing.T) {
	serve, _, ended := sessions()
	h := newHost(t, Options{}, serve)
	q := h.poll()
	first := h.pending(q)
	h.waitForPoll(q)
	h.expect("GET", q, "", 400, `"Invalid poll: another one waits"`)
	if got := receive(t, first); got != "200 1" {
		t.Errorf("the first poll = %s, want 200 1", got)
	}
	receive(t, ended)
}

func TestLostPoll(t *testing.T) {
	serve, _, ended := sessions()
	h := newHost(t, Options{}, serve)
	q := h.poll()
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "GET", h.url+q, nil)
	go http.DefaultClient.Do(r)
	h.waitForPoll(q)
	cancel()
	if err := receive(t, ended); !errors.Is(err, errPollLost) {
		t.Errorf("ended with %v, want %v", err, errPollLost)
	}
}

// TestFaultSlowSocket: who does not take what it is sent is cut off by Send, and
// waited for by Emit.
func TestFaultSlowSocket(t *testing.T) {
	serve, opened, ended := sessions()
	h := newHost(t, Options{QueueSize: 4}, serve)
	t.Run("Send", func(t *testing.T) {
		s := h.open() // and does not read
		session := receive(t, opened)
		big := Message{Data: bytes.Repeat([]byte{'x'}, 8<<20)}.Encode() // more than the connection holds
		for session.Send(big) {
		}
		if err := receive(t, ended); !errors.Is(err, errSlow) {
			t.Errorf("ended with %v, want %v", err, errSlow)
		}
		if session.Send(big) {
			t.Error("Send = true after the end")
		}
		s.expectClose(-1)
	})
	t.Run("bytes", func(t *testing.T) {
		h := newHost(t, Options{QueueBytes: 10}, serve)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		q := h.poll()
		session := receive(t, opened)
		for _, sent := range []string{"longer than it all", "345", "678", "9"} {
			if !session.Send(text(sent)) {
				t.Fatalf("Send of %q = false", sent)
			}
			if sent == "longer than it all" { // it waits alone
				if err := session.Emit(over, text("")); !errors.Is(err, context.Canceled) {
					t.Errorf("Emit = %v, want %v", err, context.Canceled)
				}
				h.do("GET", q, "")
			}
		}
		if err := session.Emit(over, text("")); !errors.Is(err, context.Canceled) {
			t.Errorf("Emit to a full queue = %v, want %v", err, context.Canceled)
		}
		if session.Send(text("")) {
			t.Error("Send to a full queue = true")
		}
		if err := receive(t, ended); !errors.Is(err, errSlow) {
			t.Errorf("ended with %v, want %v", err, errSlow)
		}
	})
	t.Run("Emit", func(t *testing.T) {
		q := h.poll()
		session := receive(t, opened)
		for range 4 {
			if err := session.Emit(t.Context(), text("a")); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := session.Emit(ctx, text("b")); !errors.Is(err, context.Canceled) {
			t.Errorf("Emit = %v, want %v", err, context.Canceled)
		}
		emitted := make(chan error)
		go func() { emitted <- session.Emit(t.Context(), text("c")) }()
		var got string
		for !strings.HasSuffix(got, "c") {
			_, body := h.do("GET", q, "")
			got += strings.ReplaceAll(strings.ReplaceAll(body, "4", ""), "\x1e", "")
		}
		if err := <-emitted; err != nil || got != "aaaac" {
			t.Errorf("Emit = %v, polled %q; want nil, aaaac", err, got)
		}
		for range 4 {
			session.Send(text("a"))
		}
		go func() { emitted <- session.Emit(t.Context(), text("d")) }()
		session.end(errClosed)
		if err := <-emitted; !errors.Is(err, errClosed) {
			t.Errorf("Emit = %v, want %v", err, errClosed)
		}
		if !session.Send() {
			t.Error("Send of nothing = false")
		}
		if err := session.Emit(t.Context(), text("e")); !errors.Is(err, errClosed) {
			t.Errorf("Emit = %v, want %v", err, errClosed)
		}
	})
}

func TestFaultEndlessPost(t *testing.T) {
	serve, _, ended := sessions()
	h := newHost(t, Options{MaxPayload: 1 << 20}, serve)
	fits, large := "4"+strings.Repeat("x", 1<<20-1), "4"+strings.Repeat("x", 1<<20)
	q := h.poll()
	h.expect("POST", q, fits, 200, "ok")
	h.expect("POST", q, large, 413, `"Payload too large"`)
	receive(t, ended)
	resp, _ := h.do("POST", q, "4x")
	if resp.StatusCode != 400 {
		t.Errorf("POST after the large one = %d, want 400", resp.StatusCode)
	}

	s := h.open()
	s.c.SetReadLimit(-1)
	s.write(fits)
	s.expect(fits)
	s.write(large)
	s.expectClose(websocket.StatusMessageTooBig)
	receive(t, ended)
}

// TestFaultCutPost: a POST that breaks off may have lost packets, so it ends the
// session.
func TestFaultCutPost(t *testing.T) {
	serve, _, ended := sessions()
	h := newHost(t, Options{}, serve)
	q := h.poll()
	body, w := io.Pipe()
	r, _ := http.NewRequestWithContext(t.Context(), "POST", h.url+q, body)
	go http.DefaultClient.Do(r)
	io.WriteString(w, "4hal")
	w.CloseWithError(errors.New("gone"))
	if err := receive(t, ended); err == nil {
		t.Error("ended with nil, want the error of the read")
	}
}

// TestFaultStalledPost: a body that does not end is not waited for longer than its
// client would live.
func TestFaultStalledPost(t *testing.T) {
	h := newHost(t, Options{PingInterval: 50 * time.Millisecond, PingTimeout: 50 * time.Millisecond}, echo)
	body, w := io.Pipe()
	defer w.Close()
	r, _ := http.NewRequestWithContext(t.Context(), "POST", h.url+h.poll(), body)
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	receive(t, done)
}

func TestShutdown(t *testing.T) {
	serve, _, ended := sessions()
	h := newHost(t, Options{}, serve)
	s := h.open()
	q := h.poll()
	waiting := h.pending(q)
	h.waitForPoll(q)
	down := make(chan error)
	go func() { down <- h.server.Shutdown(t.Context()) }()
	s.expectClose(websocket.StatusServiceRestart)
	if got := receive(t, waiting); got != "200 6" {
		t.Errorf("the waiting poll = %s, want 200 6", got)
	}
	if err := receive(t, down); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	for range 2 {
		if err := receive(t, ended); !errors.Is(err, errShutdown) {
			t.Errorf("ended with %v, want %v", err, errShutdown)
		}
	}
	h.expect("GET", "&transport=polling", "", 503, `"server shuts down"`)
	h.server.open(httptest.NewRequest("GET", "/", nil), onPolling) // of a request that came just before
	if err := receive(t, ended); !errors.Is(err, errShutdown) {
		t.Errorf("ended with %v, want %v", err, errShutdown)
	}
}

// TestShutdownOfDeaf: a client that does not answer the closing, since it
// reads nothing, does not hold the shutdown up, nor one that was closed before.
func TestShutdownOfDeaf(t *testing.T) {
	serve, opened, ended := sessions()
	h := newHost(t, Options{}, serve)
	before := h.open()
	receive(t, opened).Close()
	receive(t, ended)
	s := h.open()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // the library alone waits 5 s
	defer cancel()
	if err := h.server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	s.expectClose(websocket.StatusServiceRestart)
	before.expectClose(websocket.StatusNormalClosure)
}

func TestShutdownGivesUp(t *testing.T) {
	release := make(chan bool)
	h := newHost(t, Options{}, func(*Session) error { <-release; return nil })
	h.poll()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown = %v, want %v", err, context.Canceled)
	}
	close(release)
}

// TestRequest: a session keeps the request it began with.
func TestRequest(t *testing.T) {
	serve, opened, _ := sessions()
	h := newHost(t, Options{}, serve)
	h.dial("&transport=websocket&conversation=7")
	r := receive(t, opened).Request()
	if got := r.URL.Query().Get("conversation"); got != "7" || r.Context().Err() != nil {
		t.Errorf("conversation = %q, context %v; want 7, nil", got, r.Context().Err())
	}
}

// TestNothingLeaks: clients that leave in every way leave no goroutine.
func TestNothingLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("clients", func(t *testing.T) {
		h := newHost(t, Options{PingInterval: 50 * time.Millisecond, PingTimeout: 50 * time.Millisecond}, echo)
		for range 10 {
			h.poll()                                                                  // vanishes
			h.dial("&transport=websocket").c.CloseNow()                               // leaves during the handshake
			h.open()                                                                  // answers no ping
			h.dial(strings.Replace(h.poll(), "polling", "websocket", 1))              // never probes
			h.dial(strings.Replace(h.poll(), "polling", "websocket", 1)).c.CloseNow() // leaves before the probe
			s := h.dial(strings.Replace(h.poll(), "polling", "websocket", 1))
			s.write("2probe")
			s.expect("3probe")
			s.write("5") // upgraded, then silent
		}
		h.until(func() bool { h.server.mu.Lock(); defer h.server.mu.Unlock(); return len(h.server.sessions) == 0 })
	})
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			var stacks [1 << 16]byte
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks[:], true)])
		}
	}
}
