package engineio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/openhands-local/openhands-local/api/clock"
)

// Why sessions end, beside errShutdown, a transport's own error and what
// serve returned.
var (
	errClosed       = errors.New("session closed by the server")
	errClientClosed = errors.New("session closed by the client")
	errPingTimeout  = errors.New("ping timeout")
	errCut          = errors.New("cut by the server")
	errSlow         = errors.New("client too slow: its queue is full")
)

// inboxSize is how many messages may wait for Receive before the client has
// to wait; a packet of a polling payload or a websocket message each.
const inboxSize = 16

// transport is what carries a session. An upgrade goes through all of them in
// order, or falls back to polling.
type transport int

const (
	onPolling transport = iota
	claimed             // polling still; a websocket is open beside it
	probed              // polls are answered with a noop, so that the client can leave
	onWebsocket
)

// Session is one client, from its handshake until either side leaves. Its
// methods may be called from any goroutine.
type Session struct {
	server  *Server
	id      string
	request *http.Request
	ctx     context.Context // its cause is why the session ended
	cancel  context.CancelCauseFunc

	in   chan Message
	out  chan []Packet       // what was sent; nil asks to close after the rest
	room *semaphore.Weighted // bytes that may be added to it
	ping chan struct{}       // a ping is due
	wake chan struct{}       // the waiting poll has to return

	taker   chan struct{} // holds a token while a transport takes from out
	rest    []Packet      // taken, and too much for the last poll; the taker's
	closing bool          // the close was taken, and is to be sent yet; the taker's

	upgraded chan struct{} // closed once the session is on its second transport

	mu        sync.Mutex
	transport transport
	pinged    bool         // a ping is not answered yet
	next      *clock.Alarm // the next ping
	timeout   *time.Timer  // of what the client has to do; nil before its first
}

func newSession(server *Server, r *http.Request, t transport) *Session {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	s := &Session{
		server:    server,
		id:        NewID(),
		request:   r.WithContext(ctx),
		ctx:       ctx,
		cancel:    cancel,
		in:        make(chan Message, inboxSize),
		out:       make(chan []Packet, server.options.QueueSize),
		room:      semaphore.NewWeighted(server.options.QueueBytes),
		ping:      make(chan struct{}, 1),
		wake:      make(chan struct{}, 1),
		taker:     make(chan struct{}, 1),
		upgraded:  make(chan struct{}),
		transport: t,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = server.options.Clock.KeepAlive("ping", server.options.PingInterval, s.beat)
	return s
}

// Request is the handshake's request. Its body is gone; its context is the
// session's.
func (s *Session) Request() *http.Request { return s.request }

// Context ends with the session; [context.Cause] tells why it ended.
func (s *Session) Context() context.Context { return s.ctx }

// Receive waits for the next message of the client. When the session has ended
// it returns what the client had sent before, then why the session ended.
func (s *Session) Receive() (Message, error) {
	select {
	case m := <-s.in:
		return m, nil
	case <-s.ctx.Done():
	}
	select {
	case m := <-s.in:
		return m, nil
	default:
		return Message{}, context.Cause(s.ctx)
	}
}

// Send queues packets, which go out together and in order. It never waits: a
// session whose queue is full is ended, since its client does not keep up. It
// tells whether the packets were queued.
func (s *Session) Send(packets ...Packet) bool {
	return len(packets) == 0 || s.push(packets)
}

func (s *Session) push(packets []Packet) bool {
	if s.ctx.Err() != nil {
		return false
	}
	if size := s.size(packets); s.room.TryAcquire(size) {
		select {
		case s.out <- packets:
			return true
		default:
			s.room.Release(size)
		}
	}
	s.end(errSlow)
	return false
}

// size is how much room packets take in the queue.
func (s *Session) size(packets []Packet) (n int64) {
	for _, p := range packets {
		n += int64(len(p.wire))
	}
	return min(n, s.server.options.QueueBytes)
}

// taken makes room for others once packets are out of the queue.
func (s *Session) taken(packets []Packet) []Packet {
	s.room.Release(s.size(packets))
	return packets
}

// Emit queues packets as Send does, but waits until there is room. Its error
// is that of ctx, or why the session ended.
func (s *Session) Emit(ctx context.Context, packets ...Packet) error {
	if len(packets) == 0 || s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	size := s.size(packets)
	if !s.room.TryAcquire(size) {
		either, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		if s.room.Acquire(either, size) != nil {
			return cmp.Or(ctx.Err(), context.Cause(s.ctx))
		}
	}
	select {
	case s.out <- packets:
		return nil
	case <-ctx.Done():
		s.room.Release(size)
		return ctx.Err()
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// Close ends the session once everything queued before has gone out. It does
// not wait for that.
func (s *Session) Close() { s.push(nil) }

// Cut ends the session once everything queued before has gone out, as if the
// connection was lost: without a word. It does not wait for that.
func (s *Session) Cut() { s.push([]Packet{cutPacket}) }

// end ends the session at once; the first cause counts.
func (s *Session) end(cause error) {
	s.cancel(cause)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport != onWebsocket && len(s.taker) == 0 && context.Cause(s.ctx) == errClientClosed {
		// The client's poll may still come, over another connection: it is
		// answered like one that waited.
		s.next.Stop()
		s.expect()
		return
	}
	s.next.Stop()
	s.unexpect()
	s.server.forget(s.id)
}

// beat pings the client.
func (s *Session) beat() {
	held := s.server.options.HoldPing != nil && s.server.options.HoldPing(s.request)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil || s.pinged:
	case held:
		s.next.Reset(s.server.options.PingInterval)
	default:
		s.pinged = true
		s.expect()
		select {
		case s.ping <- struct{}{}:
		default: // the last one still waits: the client answered without having it
		}
	}
}

// expect gives the client PingTimeout of real time, whatever the clock does: a
// client that is there would be taken for one that is gone when the clock is
// moved. s.mu is locked.
func (s *Session) expect() {
	s.unexpect()
	s.timeout = time.AfterFunc(s.server.options.PingTimeout, s.expire)
}

func (s *Session) unexpect() {
	if s.timeout != nil {
		s.timeout.Stop()
	}
}

// expire ends the session when the last ping was not answered, and forgets one that
// has ended.
func (s *Session) expire() {
	s.mu.Lock()
	dead := s.pinged
	s.mu.Unlock()
	if s.ctx.Err() != nil {
		s.server.forget(s.id)
	} else if dead {
		s.end(errPingTimeout)
	}
}

func (s *Session) pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pinged && s.ctx.Err() == nil {
		s.pinged = false
		s.unexpect()
		s.next.Reset(s.server.options.PingInterval)
	}
}

// receive acts on a packet of the client. An upgrade at the wrong time is ignored,
// and types that only servers send are errServers, which is ignored too where the
// protocol's test suite wants it.
func (s *Session) receive(p Packet) error {
	m := Message{Binary: p.binary, Data: p.wire}
	if !p.binary {
		switch p.wire[0] {
		case typeClose:
			s.end(errClientClosed)
			return nil
		case typePong:
			s.pong()
			return nil
		case typeMessage:
			m.Data = p.wire[1:]
		case typeUpgrade:
			return nil
		default:
			return errServers
		}
	}
	select {
	case s.in <- m:
	case <-s.ctx.Done():
	}
	return nil
}

// moveTo changes the transport if it is from, and tells whether it was.
func (s *Session) moveTo(from, to transport) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport != from {
		return false
	}
	s.transport = to
	return true
}

func (s *Session) currentTransport() transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport
}

// handshake is the packet that opens the session. The order of its keys is
// python-engineio's (recorded).
func (s *Session) handshake(upgrades ...string) Packet {
	o := s.server.options
	data, _ := json.Marshal(struct { // strings and integers always marshal
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingTimeout  int64    `json:"pingTimeout"`
		PingInterval int64    `json:"pingInterval"`
		MaxPayload   int      `json:"maxPayload"`
	}{s.id, append([]string{}, upgrades...), o.PingTimeout.Milliseconds(), o.PingInterval.Milliseconds(), o.MaxPayload})
	return Packet{wire: append([]byte{typeOpen}, data...)}
}
