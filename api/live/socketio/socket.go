package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/openhands-local/openhands-local/api/live/engineio"
)

// Why sockets end, beside the end of their session.
var (
	errClientLeft   = errors.New("client left the namespace")
	errDisconnected = errors.New("disconnected by the server")
)

// Socket is a client in a namespace. Its methods may be called from any
// goroutine.
type Socket struct {
	client    *client
	id        string
	namespace string
	auth      json.RawMessage
	ctx       context.Context
	cancel    context.CancelCauseFunc
	accepted  atomic.Bool
}

func newSocket(c *client, p *packet) *Socket {
	ctx, cancel := context.WithCancelCause(c.session.Context())
	return &Socket{client: c, id: engineio.NewID(), namespace: p.namespace, auth: p.data, ctx: ctx, cancel: cancel}
}

// ID is what the client knows itself by: 20 characters of [A-Za-z0-9_-], not
// those of the Engine.IO session.
func (s *Socket) ID() string { return s.id }

// Namespace is the name of the socket's namespace, "/" for the main one.
func (s *Socket) Namespace() string { return s.namespace }

// Auth is the object that the client sent to be let in, empty if none.
func (s *Socket) Auth() json.RawMessage { return s.auth }

// Request is the request that opened the session below: its query and headers
// are the client's. Its body is gone.
func (s *Socket) Request() *http.Request { return s.client.session.Request() }

// Context ends when the socket is disconnected, by either side, or refused, or
// when its connection is lost; [context.Cause] tells why.
func (s *Socket) Context() context.Context { return s.ctx }

// Accept lets the client in: it sends the answer to CONNECT, 40{"sid":…}, once
// however often it is called. It is for a Connect that has more to send after
// the answer. Its error is why the socket ended.
func (s *Socket) Accept() error {
	if s.accepted.Swap(true) {
		return s.closed()
	}
	s.client.waiting.Stop()
	return s.Emit(s.ctx, encode(typeConnect, s.namespace, "", nil, []byte(`{"sid":"`+s.id+`"}`)))
}

// Emit sends a frame, and waits while the client's queue is full. Its error is
// that of ctx, or why the socket ended.
func (s *Socket) Emit(ctx context.Context, f Frame) error {
	if err := s.closed(); err != nil {
		return err
	}
	return s.client.session.Emit(ctx, f.packets...)
}

// Send sends a frame without waiting: a client whose queue is full is cut off.
// It tells whether the frame was queued.
func (s *Socket) Send(f Frame) bool {
	return s.closed() == nil && s.client.session.Send(f.packets...)
}

// Disconnect puts the client out of the namespace: it sends 41, after what was
// sent before, and closes the connection if it serves no other namespace.
// Clients do not come back from that by themselves.
func (s *Socket) Disconnect() {
	if !s.client.remove(s, errDisconnected) {
		return
	}
	s.client.session.Send(encode(typeDisconnect, s.namespace, "", nil, nil).packets...)
	if s.client.empty() {
		s.client.session.Close()
	}
}

// Cut cuts the connection after what was sent before, as [engineio.Session.Cut]
// does: clients come back. What the client still sends is not taken.
func (s *Socket) Cut() {
	if s.client.remove(s, errDisconnected) {
		s.client.session.Cut()
	}
}

func (s *Socket) closed() error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

// Event is what a client emitted.
type Event struct {
	Name string
	// Args are the arguments. An attachment's place is held by an object,
	// {"_placeholder":true,"num":0} for the first.
	Args        []json.RawMessage
	Attachments [][]byte

	socket *Socket
	id     string
}

// Ack answers an event, as [Socket.Send] does, if the client asked for it. To
// answer once is up to the caller.
func (e *Event) Ack(args ...json.RawMessage) { e.AckBinary(nil, args...) }

// WantsAck tells whether the client asked for an answer.
func (e *Event) WantsAck() bool { return e.id != "" }

// AckBinary is Ack with attachments: see [EncodeBinaryEvent].
func (e *Event) AckBinary(attachments [][]byte, args ...json.RawMessage) {
	if e.WantsAck() {
		e.socket.Send(encodeArgs(typeAck, e.socket.namespace, e.id, attachments, args))
	}
}
