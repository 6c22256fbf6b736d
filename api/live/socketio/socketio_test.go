package socketio

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
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/api/live/engineio"
)

// host is a server under test.
type host struct {
	*testing.T
	server *Server
	url    string
}

func newHost(t *testing.T, o Options) *host {
	server := New(o)
	h := httptest.NewServer(server)
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		h.Close()
	})
	return &host{t, server, h.URL + "/socket.io/?EIO=4"}
}

// in is a server with one handling of its main namespace.
func in(t *testing.T, n Namespace) *host {
	return newHost(t, Options{Namespaces: map[string]Namespace{"/": n}})
}

// peer is a websocket client. What it reads has the ids replaced by ID.
type peer struct {
	*testing.T
	c *websocket.Conn
}

// dial opens a session, and sends packets.
func (h *host) dial(packets ...string) *peer {
	h.Helper()
	c, _, err := websocket.Dial(h.Context(), "ws"+strings.TrimPrefix(h.url, "http")+"&transport=websocket&conversation=7", nil)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { c.CloseNow() })
	if _, _, err := c.Read(h.Context()); err != nil {
		h.Fatal(err)
	}
	p := &peer{h.T, c}
	p.write(packets...)
	return p
}

func (p *peer) write(packets ...string) {
	p.Helper()
	for _, text := range packets {
		if err := p.c.Write(p.Context(), websocket.MessageText, []byte(text)); err != nil {
			p.Fatal(err)
		}
	}
}

var sid = regexp.MustCompile(`"sid":"[A-Za-z0-9_-]{20}"`)

func (p *peer) expect(want ...string) {
	p.Helper()
	for _, want := range want {
		_, got, err := p.c.Read(p.Context())
		if got := sid.ReplaceAllString(string(got), `"sid":ID`); err != nil || got != want {
			p.Fatalf("read %q, %v, want %q", got, err, want)
		}
	}
}

func (p *peer) expectClose(want websocket.StatusCode) {
	p.Helper()
	if _, data, err := p.c.Read(p.Context()); websocket.CloseStatus(err) != want {
		p.Errorf("Read = %q, %v, want close code %d", data, err, want)
	}
}

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

const connected = `40{"sid":ID}`

// TestReplay: what Connect sends comes before the answer, and what is sent
// after Accept comes after it (recorded connect_settled_minus1).
func TestReplay(t *testing.T) {
	event := func(n int) Frame { return EncodeEvent("/", "event", fmt.Append(nil, n)) }
	h := in(t, Namespace{Connect: func(s *Socket) error {
		if got := s.Request().URL.Query().Get("conversation"); got != "7" {
			return fmt.Errorf("conversation = %q, want 7", got)
		}
		for n := range 1000 { // more than the queue holds
			if err := s.Emit(s.Context(), event(n)); err != nil {
				return err
			}
		}
		if err := s.Accept(); err != nil {
			return err
		}
		s.Send(event(1000))
		return s.Accept() // is not sent again
	}})
	p := h.dial("40")
	for n := range 1000 {
		p.expect(fmt.Sprintf(`42["event",%d]`, n))
	}
	p.expect(connected, `42["event",1000]`)
	p.write("40") // a second time
	p.write(`420["none"]`, "41")
	if err := p.c.Ping(p.c.CloseRead(t.Context())); err != nil {
		t.Errorf("Ping = %v: something was sent", err)
	}
}

func TestRefusal(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string // "" for no answer
	}{
		{"message", &Refusal{Message: "No conversation_id in query params"}, `44{"message":"No conversation_id in query params"}`},
		{"data", &Refusal{"Settings not found", map[string]string{"msg_id": "A$B"}}, `44{"message":"Settings not found","data":{"msg_id":"A$B"}}`},
		{"wrapped", fmt.Errorf("connect: %w", &Refusal{Message: "no"}), `44{"message":"no"}`},
		{"data without JSON", &Refusal{"no", make(chan int)}, `44{"message":"no"}`},
		{"another error", errors.New("fails"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sockets := make(chan *Socket, 2)
			tries := 0
			h := in(t, Namespace{Connect: func(s *Socket) error {
				sockets <- s
				if tries++; tries == 1 {
					return test.err
				}
				return nil
			}})
			p := h.dial("40")
			if test.want != "" {
				p.expect(test.want)
			}
			s := receive(t, sockets)
			<-s.Context().Done()
			if err := context.Cause(s.Context()); err != test.err {
				t.Errorf("the socket ended with %v, want %v", err, test.err)
			}
			if s.Send(EncodeEvent("/", "late")) {
				t.Error("Send = true for a refused socket")
			}
			p.write("40") // the session is still there
			p.expect(connected)
		})
	}
}

func TestUnknownNamespace(t *testing.T) {
	for dialect, want := range map[engineio.Dialect]string{
		engineio.Standard: `44/other,{"message":"Invalid namespace"}`,
		engineio.Python:   `44/other,"Unable to connect"`, // recorded namespace_other
	} {
		h := newHost(t, Options{Engine: engineio.Options{Dialect: dialect}, Namespaces: map[string]Namespace{"/": {}}})
		p := h.dial("40/other,")
		p.expect(want)
		p.write("40")
		p.expect(connected)
	}
}

// TestSecondConnect: python-socketio lets nobody in twice, and the socket that is
// in stays.
func TestSecondConnect(t *testing.T) {
	for dialect, told := range map[engineio.Dialect][]string{engineio.Standard: nil, engineio.Python: {`44"Unable to connect"`}} {
		h := newHost(t, Options{Engine: engineio.Options{Dialect: dialect}, Namespaces: map[string]Namespace{"/": echo}})
		p := h.dial("40")
		p.expect(connected, `42["auth",{}]`)
		p.write("40/", `42["message",1]`)
		p.expect(append(told, `42["message-back",1]`)...)
	}
}

func TestEvents(t *testing.T) {
	h := newHost(t, Options{Namespaces: map[string]Namespace{"/": echo, "/chat": echo}})
	p := h.dial(`42["message","before CONNECT"]`, "40", `42["message",1]`)
	p.expect(connected, `42["auth",{}]`, `42["message-back",1]`)
	p.write(`42["unknown",1]`, `421["unknown",1]`, `432["ack of nothing"]`, `42/chat,["message","not in"]`)
	p.write(`420["message-with-ack"]`, `42["message-with-ack",2]`)
	p.expect("430[]") // and none for the second
	p.write(`40/chat,{"a":1}`, `42/chat,5["message-with-ack",3]`)
	p.expect(`40/chat,{"sid":ID}`, `42/chat,["auth",{"a":1}]`, "43/chat,5[3]")
	p.write(`451-["message",{"_placeholder":true,"num":0}]`)
	if err := p.c.Write(t.Context(), websocket.MessageBinary, []byte("bin")); err != nil {
		t.Fatal(err)
	}
	p.expect(`451-["message-back",{"_placeholder":true,"num":0}]`, "bin")
}

func TestClientLeaves(t *testing.T) {
	sockets := make(chan *Socket, 2)
	h := in(t, Namespace{
		Connect: func(s *Socket) error { sockets <- s; return nil },
		Events:  echo.Events,
	})
	p := h.dial("40")
	p.expect(connected)
	first := receive(t, sockets)
	p.write("41", `42["message","not in"]`, "40")
	p.expect(connected)
	if err := context.Cause(first.Context()); !errors.Is(err, errClientLeft) {
		t.Errorf("the socket ended with %v, want %v", err, errClientLeft)
	}
	if err := first.Accept(); !errors.Is(err, errClientLeft) {
		t.Errorf("Accept = %v, want %v", err, errClientLeft)
	}
	second := receive(t, sockets)
	if first.ID() == second.ID() {
		t.Errorf("both sockets have the id %s", first.ID())
	}
	p.c.CloseNow()
	<-second.Context().Done()
	if err := second.Emit(t.Context(), EncodeEvent("/", "late")); err == nil {
		t.Error("Emit = nil after the connection is gone")
	}
	first.Disconnect() // is nothing
}

func TestMalformed(t *testing.T) {
	for _, text := range []string{"4abc", "42{}", `42abc["message"]`, "4", `44"no"`} {
		h := newHost(t, Options{Namespaces: map[string]Namespace{"/": echo}})
		p := h.dial("40")
		p.expect(connected, `42["auth",{}]`)
		p.write(text)
		p.expectClose(websocket.StatusNormalClosure)

		h = newHost(t, Options{Engine: engineio.Options{Dialect: engineio.Python}, Namespaces: map[string]Namespace{"/": echo}})
		p = h.dial("40", text, `42["message",1]`)
		p.expect(connected, `42["auth",{}]`, `42["message-back",1]`)
	}
	t.Run("attachments", func(t *testing.T) {
		h := newHost(t, Options{Namespaces: map[string]Namespace{"/": echo}})
		p := h.dial(`451-["message"]`, `42["message"]`)
		p.expectClose(websocket.StatusNormalClosure)
		p = h.dial()
		if err := p.c.Write(t.Context(), websocket.MessageBinary, []byte{1}); err != nil {
			t.Fatal(err)
		}
		p.expectClose(websocket.StatusNormalClosure)
	})
}

func TestDisconnect(t *testing.T) {
	sockets := make(chan *Socket, 2)
	keep := Namespace{Connect: func(s *Socket) error { sockets <- s; return nil }}
	h := newHost(t, Options{Namespaces: map[string]Namespace{"/": keep, "/chat": keep}})
	p := h.dial("40", "40/chat,")
	p.expect(connected, `40/chat,{"sid":ID}`)
	main, chat := receive(t, sockets), receive(t, sockets)
	chat.Send(EncodeEvent("/chat", "last"))
	chat.Disconnect()
	chat.Disconnect() // is sent once
	p.expect(`42/chat,["last"]`, "41/chat,")
	main.Send(EncodeEvent("/", "still in"))
	p.expect(`42["still in"]`)
	main.Disconnect()
	p.expect("41")
	p.expectClose(websocket.StatusNormalClosure)
	for _, s := range []*Socket{main, chat} {
		if err := s.Emit(t.Context(), EncodeEvent("/", "late")); !errors.Is(err, errDisconnected) {
			t.Errorf("Emit = %v, want %v", err, errDisconnected)
		}
	}
}

// TestDisconnectPolling: the close is not in one answer with the disconnect
// (recorded deleted_while_connected).
func TestDisconnectPolling(t *testing.T) {
	h := in(t, Namespace{Connect: func(s *Socket) error {
		if err := s.Accept(); err != nil {
			return err
		}
		s.Disconnect()
		return nil
	}})
	request := func(method, query, body string) string {
		r, err := http.NewRequestWithContext(t.Context(), method, h.url+"&transport=polling"+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(request("GET", "", "")[1:]), &open); err != nil {
		t.Fatal(err)
	}
	request("POST", "&sid="+open.SID, "40")
	var got string
	for !strings.HasSuffix(got, "41") {
		got += " " + sid.ReplaceAllString(request("GET", "&sid="+open.SID, ""), `"sid":ID`)
	}
	if got = strings.ReplaceAll(got, "\x1e", " "); got != " "+connected+" 41" {
		t.Errorf("polled %q, want the answer and the disconnect", got)
	}
	if got := request("GET", "&sid="+open.SID, ""); got != "1" {
		t.Errorf("polled %q after the disconnect, want the close", got)
	}
}

// TestDisconnectWhileConnecting: whoever deletes what is being replayed.
func TestDisconnectWhileConnecting(t *testing.T) {
	h := in(t, Namespace{Connect: func(s *Socket) error {
		s.Disconnect()
		if err := s.Emit(t.Context(), EncodeEvent("/", "late")); !errors.Is(err, errDisconnected) {
			t.Errorf("Emit = %v, want %v", err, errDisconnected)
		}
		return nil
	}})
	p := h.dial("40")
	p.expect("41")
	p.expectClose(websocket.StatusNormalClosure)
}

// TestErrorAfterAccept: the client is in already, so it is put out.
func TestErrorAfterAccept(t *testing.T) {
	h := in(t, Namespace{Connect: func(s *Socket) error {
		if err := s.Accept(); err != nil {
			return err
		}
		return &Refusal{Message: "too late"}
	}})
	p := h.dial("40")
	p.expect(connected, "41")
	p.expectClose(websocket.StatusNormalClosure)
}

func TestFaultNoConnect(t *testing.T) {
	h := newHost(t, Options{ConnectTimeout: 50 * time.Millisecond, Namespaces: map[string]Namespace{"/": {}}})
	in := h.dial("40")
	in.expect(connected)
	h.dial().expectClose(websocket.StatusNormalClosure)
	in.write("41", "40") // is let in once more, long after the time
	in.expect(connected)
}

// TestShutdown: no 41, or clients would not come back (recorded
// server_sigterm).
func TestShutdown(t *testing.T) {
	ended := make(chan error, 1)
	h := in(t, Namespace{Connect: func(s *Socket) error {
		context.AfterFunc(s.Context(), func() { ended <- context.Cause(s.Context()) })
		return nil
	}})
	p := h.dial("40")
	p.expect(connected)
	down := make(chan error, 1)
	go func() { down <- h.server.Shutdown(t.Context()) }()
	p.expectClose(websocket.StatusServiceRestart)
	if err := receive(t, down); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if err := receive(t, ended); err == nil {
		t.Error("the socket ended without a cause")
	}
}

// TestFaultSlowMember: Send cuts off who does not read, and nobody else.
func TestFaultSlowMember(t *testing.T) {
	sockets := make(chan *Socket, 2)
	h := newHost(t, Options{
		Engine:     engineio.Options{QueueSize: 4},
		Namespaces: map[string]Namespace{"/": {Connect: func(s *Socket) error { sockets <- s; return nil }}},
	})
	h.dial("40")
	slow := receive(t, sockets)
	quick := h.dial("40")
	quick.expect(connected)
	other := receive(t, sockets)
	big := EncodeEvent("/", "big", append(append([]byte{'"'}, bytes.Repeat([]byte{'x'}, 8<<20)...), '"'))
	for slow.Send(big) {
	}
	<-slow.Context().Done()
	other.Send(EncodeEvent("/", "small"))
	quick.expect(`42["small"]`)
}
