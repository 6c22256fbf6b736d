package live_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	exchanges "github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/key"
	"github.com/openhands-local/openhands-local/api/live"
	"github.com/openhands-local/openhands-local/api/live/engineio"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// host is a server under test.
type host struct {
	*testing.T
	store         store.Store
	conversations *conversation.Service
	live          *live.Server
	url           string
	// before, when set, is called before each read of events.
	before func(r store.Range)
	// stored, when set, is called after each event that was stored.
	stored func()
	// followed, when set, is called once the server follows a conversation.
	followed func()
	// fault, when set, is live.Config.Fault.
	fault func(live.Message) *live.Fault
	// done, when set, is live.Config.Done.
	done func(*exchanges.Exchange)
}

// A hooked store calls host.before, host.stored and host.followed.
type hooked struct {
	store.Store
	h *host
}

func (s hooked) Visit(ctx context.Context, id string, r store.Range, visit func(store.Event) bool) error {
	if s.h.before != nil {
		s.h.before(r)
	}
	return s.Store.Visit(ctx, id, r, visit)
}

func (s hooked) Watch(id string, wake func()) (stop func()) {
	if s.h.followed != nil {
		s.h.followed()
	}
	return s.Store.Watch(id, wake)
}

func (s hooked) Append(ctx context.Context, id string, e store.NewEvent) (int64, bool, error) {
	n, repeated, err := s.Store.Append(ctx, id, e)
	if s.h.stored != nil {
		s.h.stored()
	}
	return n, repeated, err
}

func newHost(t *testing.T, key string, strict bool, o engineio.Options) *host {
	t.Helper()
	return newHostWith(t, key, o, conversation.Config{Strict: strict})
}

func newHostWith(t *testing.T, said string, o engineio.Options, c conversation.Config) *host {
	t.Helper()
	h := &host{T: t, store: memstore.New()}
	h.setSettings(`{"llm_api_key":"k"}`)
	c.Store, c.Clock, c.NewID = hooked{h.store, h}, clock.New(clock.Options{}), func() string { return "c" }
	h.conversations = conversation.New(c)
	h.live = live.New(live.Config{Conversations: h.conversations, Key: key.Key(said), Log: slog.New(slog.DiscardHandler), Engine: o,
		Fault: func(m live.Message) *live.Fault {
			if h.fault == nil {
				return nil
			}
			return h.fault(m)
		},
		Done: func(x *exchanges.Exchange) {
			if h.done != nil {
				h.done(x)
			}
		},
	})
	web := httptest.NewServer(h.live)
	h.url = web.URL
	t.Cleanup(func() {
		if err := h.live.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		web.Close()
		h.conversations.Close()
	})
	return h
}

func (h *host) setSettings(text string) {
	h.Helper()
	err := h.store.UpdateRecord(h.Context(), conversation.SettingsRecord, func([]byte) ([]byte, error) {
		if text == "" {
			return nil, nil
		}
		return []byte(text), nil
	})
	if err != nil {
		h.Fatal(err)
	}
}

// settle makes a conversation that runs, has an agent, and has the recorded
// events of a first answer, 0 to 8.
func (h *host) settle(id string) {
	h.Helper()
	if _, err := h.store.Create(h.Context(), store.Conversation{ID: id, CreatedAt: time.Now(), UpdatedAt: time.Now()}); err != nil {
		h.Fatal(err)
	}
	if _, err := h.conversations.Start(h.Context(), id); err != nil { // writes nothing without an agent
		h.Fatal(err)
	}
	if _, err := h.store.Update(h.Context(), id, func(c *store.Conversation) error { c.Agent = true; return nil }); err != nil {
		h.Fatal(err)
	}
	for _, line := range lines(h.T, "testdata/conversation.jsonl") {
		stored := []byte("{" + strings.SplitN(line, ",", 2)[1]) // without the id, its first member
		if _, _, err := h.store.Append(h.Context(), id, store.NewEvent{JSON: stored, Flags: uint16(event.FlagsOf(stored))}); err != nil {
			h.Fatal(err)
		}
	}
}

func lines(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		all = append(all, s.Text())
	}
	return all
}

// add posts a user's event.
func (h *host) add(id, body string) int64 {
	h.Helper()
	added, err := h.conversations.Add(h.Context(), id, []byte(body), "")
	if err != nil {
		h.Fatal(err)
	}
	return added.ID
}

// connections waits until a conversation has so many.
func (h *host) connections(id string, want int) {
	h.Helper()
	h.poll("connections", func() bool {
		i, err := h.conversations.Info(h.Context(), id)
		if err != nil {
			h.Fatal(err)
		}
		return i.Connections == want
	})
}

// poll waits until something holds.
func (h *host) poll(what string, holds func() bool) {
	h.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatalf("%s: not within 10 s", what)
		}
	}
}

// peer is a client. Its frames are what it was sent, without what the
// connection itself needs; they are closed with the connection.
type peer struct {
	*testing.T
	frames chan string
	ws     *websocket.Conn
	closed websocket.StatusCode // why, once frames are closed
	url    string               // of polls
}

// dial opens a connection with a query.
func (h *host) dial(query string) *peer {
	h.Helper()
	p := &peer{T: h.T, frames: make(chan string, 10_000), url: h.url + "/socket.io/?" + query}
	if strings.Contains(query, "transport=polling") {
		open := p.get(p.url)
		var handshake struct{ SID string }
		if len(open) == 0 || json.Unmarshal([]byte(open[0][1:]), &handshake) != nil {
			h.Fatalf("GET %s = %q", p.url, open)
		}
		p.url += "&sid=" + handshake.SID
		go func() {
			defer close(p.frames)
			for {
				packets := p.get(p.url)
				if packets == nil || packets[0] == "1" {
					return
				}
				for _, packet := range packets {
					if packet != "6" && packet != "1" {
						p.frames <- packet
					}
				}
			}
		}()
		return p
	}
	ws, _, err := websocket.Dial(h.Context(), p.url, nil)
	if err != nil {
		h.Fatal(err)
	}
	ws.SetReadLimit(8 << 20)
	p.ws = ws
	h.Cleanup(func() { ws.CloseNow() })
	if _, _, err := ws.Read(h.Context()); err != nil {
		h.Fatal(err)
	}
	go func() {
		defer close(p.frames)
		for {
			_, text, err := ws.Read(context.Background())
			if err != nil {
				p.closed = websocket.CloseStatus(err)
				return
			}
			p.frames <- string(text)
		}
	}()
	return p
}

// get is one poll; nil when the session is gone.
func (p *peer) get(url string) []string {
	r, err := http.Get(url)
	if err != nil {
		return nil
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		return nil
	}
	return strings.Split(string(text), "\x1e")
}

// connect is dial and CONNECT.
func (h *host) connect(query string) *peer {
	h.Helper()
	p := h.dial("EIO=4&transport=websocket&" + query)
	p.send("40")
	return p
}

// send sends packets. A client that leaves may find that the server did.
func (p *peer) send(packets ...string) {
	p.Helper()
	for _, packet := range packets {
		if p.ws != nil {
			if err := p.ws.Write(p.Context(), websocket.MessageText, []byte(packet)); err != nil && packet != "1" {
				p.Fatal(err)
			}
			continue
		}
		r, err := http.Post(p.url, "text/plain", strings.NewReader(packet))
		if err != nil {
			p.Fatal(err)
		}
		_ = r.Body.Close()
	}
}

// next is the next frame, "" when the connection is closed.
func (p *peer) next() string {
	p.Helper()
	select {
	case frame := <-p.frames:
		return frame
	case <-time.After(10 * time.Second):
		p.Fatal("no frame within 10 s")
		return ""
	}
}

// until collects frames up to one that begins so, or to the end.
func (p *peer) until(prefix string) (frames []string) {
	p.Helper()
	for {
		frame := p.next()
		if frame == "" {
			return frames
		}
		frames = append(frames, frame)
		if prefix != "" && strings.HasPrefix(frame, prefix) {
			return frames
		}
	}
}
