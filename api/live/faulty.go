package live

import (
	"context"
	"net/http"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/live/socketio"
)

// A Message is what a client has sent or is sent, as [Config.Fault] is asked
// about it.
type Message struct {
	Request      *http.Request // that opened the connection
	Conversation string
	Name         string // of the event: "oh_event" is sent to clients, "oh_user_action" comes from them
	Body         []byte // its JSON; of a stored event without the id
}

// A Fault is what goes wrong with a message, on purpose.
type Fault struct {
	Name   string        // in the exchange of what a client has sent
	Action string        // one of Drop and so on
	Hold   time.Duration // with Hold
}

// What goes wrong with a message.
const (
	Drop    = "drop"    // it is lost
	Hold    = "hold"    // it waits, and those after it too
	Double  = "double"  // it comes twice
	Reorder = "reorder" // it comes after the next one
	Cut     = "cut"     // the connection is cut in its place, after what came before
)

// fault is what goes wrong with a message; nil for nothing.
func (s *Server) fault(socket *socketio.Socket, conversation, name string, body []byte) *Fault {
	if s.c.Fault == nil {
		return nil
	}
	return s.c.Fault(Message{socket.Request(), conversation, name, body})
}

// A sender sends a socket its messages in their order, but for faults.
type sender struct {
	s            *Server
	socket       *socketio.Socket
	conversation string
	waits        bool      // for room in the queue of a slow client, rather than cut it off
	kept         *outgoing // that comes after the next one

	work *clock.Work // from a message that is held to the last of those behind it
}

// rest tells the clock that there is nothing to send behind a message that was held.
func (o *sender) rest() {
	if o.work != nil {
		o.work.End()
		o.work = nil
	}
}

// outgoing is an oh_event.
type outgoing struct {
	id    int64  // of a stored event, -1 for none
	text  []byte // of the event in the frame; nil when nobody wants to know
	frame socketio.Frame
	fault string // the name of what goes wrong with it
}

// send sends a message, whose body a fault is asked for. Its error is that of
// [socketio.Socket.Emit].
func (o *sender) send(body []byte, m outgoing) error {
	if fault := o.s.fault(o.socket, o.conversation, "oh_event", body); fault != nil {
		m.fault = fault.Name
		switch fault.Action {
		case Drop:
			o.s.sentEvent(o.socket, "oh_event", m, "not sent")
			return nil
		case Hold:
			if o.work == nil {
				o.work = o.s.clock.Begin("message to a socket")
			}
			if ctx := o.socket.Context(); o.work.Sleep(ctx, fault.Hold, nil) != nil {
				return context.Cause(ctx)
			}
		case Double:
			if err := o.put(m); err != nil {
				return err
			}
		case Reorder:
			if o.kept == nil {
				o.kept = &m
				return nil
			}
		case Cut:
			o.s.sentEvent(o.socket, "oh_event", m, "not sent: the connection is cut")
			o.socket.Cut()
			return nil
		}
	}
	err := o.put(m)
	if kept := o.kept; kept != nil && err == nil {
		o.kept = nil
		err = o.put(*kept)
	}
	return err
}

func (o *sender) put(m outgoing) error {
	if o.waits {
		if err := o.socket.Emit(o.socket.Context(), m.frame); err != nil {
			return err
		}
	} else if !o.socket.Send(m.frame) {
		return nil // who is too slow is cut off
	}
	o.s.sentEvent(o.socket, "oh_event", m, "")
	return nil
}

// act takes what a client sends, in its order, but for faults.
func (s *Server) act(socket *socketio.Socket, e *socketio.Event) {
	var body []byte
	if len(e.Args) == 1 {
		body = e.Args[0]
	}
	x := begin(socket, e.Name)
	if fault := s.fault(socket, x.Conversation, e.Name, body); fault != nil {
		x.Fault = fault.Name
		switch fault.Action {
		case Hold:
			x.Waits = exchange.WaitsForFault
			work := s.clock.Begin("message of a socket")
			defer work.End()
			if work.Sleep(socket.Context(), fault.Hold, nil) != nil {
				return
			}
		case Double:
			twin := begin(socket, e.Name)
			twin.Fault = fault.Name
			s.take(socket, e, twin)
		case Reorder:
			if _, other := s.kept.LoadOrStore(socket, late{e, x}); !other {
				context.AfterFunc(socket.Context(), func() { s.kept.Delete(socket) })
				return
			}
		case Cut:
			socket.Cut()
			fallthrough
		case Drop:
			x.Body = body
			s.done(x)
			return
		}
	}
	s.take(socket, e, x)
	if kept, ok := s.kept.LoadAndDelete(socket); ok {
		s.take(socket, kept.(late).event, kept.(late).x)
	}
}

// late is what a client has sent that comes after the next one.
type late struct {
	event *socketio.Event
	x     *exchange.Exchange
}
