package socketio

import (
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/openhands-local/openhands-local/api/live/engineio"
)

// client is one Engine.IO session and its sockets.
type client struct {
	server  *Server
	session *engineio.Session
	waiting *time.Timer // for the first namespace
	partial *packet     // its attachments are coming

	mu      sync.Mutex
	sockets map[string]*Socket // by namespace, from the CONNECT on
}

// serve handles the packets of a session.
func (s *Server) serve(session *engineio.Session) error {
	c := &client{server: s, session: session, sockets: map[string]*Socket{}}
	c.waiting = time.AfterFunc(s.options.ConnectTimeout, session.Close)
	defer c.waiting.Stop()
	for {
		m, err := session.Receive()
		if err != nil {
			return err
		}
		if err := c.receive(m); err != nil && s.options.Engine.Dialect == engineio.Standard {
			return err
		}
	}
}

// receive acts on a message: a packet's text, or an attachment.
func (c *client) receive(m engineio.Message) error {
	p := c.partial
	c.partial = nil
	switch {
	case m.Binary != (p != nil):
		return errMalformed
	case m.Binary:
		p.attachments = append(p.attachments, m.Data)
		p.missing--
	default:
		var err error
		if p, err = decode(m.Data); err != nil {
			return err
		}
	}
	if p.missing > 0 {
		c.partial = p
		return nil
	}
	c.handle(p)
	return nil
}

// handle acts on a complete packet. Packets for a namespace that the client is
// not in are ignored, and so are acknowledgements: nothing here asks for one.
func (c *client) handle(p *packet) {
	s := c.socket(p.namespace)
	switch {
	case p.kind == typeConnect && s == nil:
		c.connect(p)
	case p.kind == typeConnect && c.server.options.Engine.Dialect == engineio.Python:
		c.refuse(p.namespace, unable)
	case s == nil:
	case p.kind == typeDisconnect:
		c.remove(s, errClientLeft)
	case p.kind == typeEvent || p.kind == typeBinaryEvent:
		if handler := c.server.options.Namespaces[p.namespace].Events[p.name]; handler != nil {
			handler(s, &Event{Name: p.name, Args: p.args, Attachments: p.attachments, socket: s, id: p.id})
		}
	}
}

func (c *client) connect(p *packet) {
	namespace, known := c.server.options.Namespaces[p.namespace]
	if !known {
		data := []byte(`{"message":"Invalid namespace"}`)
		if c.server.options.Engine.Dialect == engineio.Python {
			data = unable
		}
		c.refuse(p.namespace, data)
		return
	}
	s := newSocket(c, p)
	c.mu.Lock()
	c.sockets[p.namespace] = s
	c.mu.Unlock()
	var err error
	if namespace.Connect != nil {
		err = namespace.Connect(s)
	}
	if err == nil {
		err = s.Accept()
	}
	if err != nil && s.accepted.Load() {
		s.Disconnect()
	}
	if err == nil || !c.remove(s, err) {
		return
	}
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
		data, err := json.Marshal(refusal)
		if err != nil {
			data, _ = json.Marshal(Refusal{Message: refusal.Message})
		}
		c.refuse(p.namespace, data)
	}
}

// unable is why python-socketio lets a client into no namespace that it does not
// know, and into none twice.
var unable = []byte(`"Unable to connect"`)

func (c *client) refuse(namespace string, why []byte) {
	c.session.Send(encode(typeConnectError, namespace, "", nil, why).packets...)
}

func (c *client) socket(namespace string) *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sockets[namespace]
}

// remove takes a socket out and ends it. It tells whether it was in.
func (c *client) remove(s *Socket, cause error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sockets[s.namespace] != s {
		return false
	}
	delete(c.sockets, s.namespace)
	s.cancel(cause)
	return true
}

func (c *client) empty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sockets) == 0
}
