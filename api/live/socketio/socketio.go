// Package socketio is the server side of the Socket.IO protocol, version 5,
// over package engineio: clients connect to namespaces, and events go both
// ways, with acknowledgements of the client's and with binary attachments.
//
//	server := socketio.New(socketio.Options{
//		Namespaces: map[string]socketio.Namespace{"/": {
//			Connect: func(s *socketio.Socket) error { … },
//			Events:  map[string]func(*socketio.Socket, *socketio.Event){"say": …},
//		}},
//	})
//	http.Handle("/socket.io/", server)
//
// A [Socket] is a client in a namespace. An event is encoded once, by
// [EncodeEvent], and the [Frame] sent to any number of sockets, by
// [Socket.Emit], which waits for a slow client, or [Socket.Send], which cuts
// it off.
//
// Handlers of one client never overlap: they run in the order of its packets.
// What has to be done when a socket is gone hangs on its context:
//
//	context.AfterFunc(s.Context(), func() { leave(s) })
//
// The files: packet.go is the wire format, socket.go a client in a namespace,
// client.go the packets of one Engine.IO session.
package socketio

import (
	"context"
	"net/http"
	"time"

	"github.com/openhands-local/openhands-local/api/live/engineio"
)

// Options of a [Server].
type Options struct {
	// Engine are the options of the sessions below. Its Dialect counts here
	// too, where python-socketio differs from the protocol's test suite:
	//
	//	                    Standard                           Python
	//	unknown namespace   44{"message":"Invalid namespace"}  44"Unable to connect"
	//	a second CONNECT    is ignored                         44"Unable to connect"
	//	a malformed packet  ends the session                   is dropped
	Engine engineio.Options
	// ConnectTimeout is how long a session may last that has connected to no
	// namespace yet; 45 s if zero.
	ConnectTimeout time.Duration
	// Namespaces are those that clients may connect to, by name. "/" is the
	// main one.
	Namespaces map[string]Namespace
}

// Namespace is what happens to the sockets of one namespace.
type Namespace struct {
	// Connect decides on a client that asks to be let in. What it sends comes
	// before the answer, which is sent when it returns nil, or by
	// [Socket.Accept] if something has to come after. A [*Refusal] is told to
	// the client. With any other error the client hears nothing, as from
	// python-socketio when a handler fails: it may ask again until
	// ConnectTimeout. If Connect is nil everybody is let in.
	Connect func(*Socket) error
	// Events are the handlers of what clients emit, by the event's name.
	// Other events are ignored.
	Events map[string]func(*Socket, *Event)
}

// Refusal is the error of a Connect that tells the client why: the arguments
// of its connect_error, {"message":…,"data":…}.
type Refusal struct {
	Message string `json:"message"`
	// Data is left out if nil, or if it has no JSON.
	Data any `json:"data,omitempty"`
}

func (r *Refusal) Error() string { return r.Message }

// Server is a handler for the path of Socket.IO. Make one with [New].
type Server struct {
	options Options
	engine  *engineio.Server
}

// New returns a server.
func New(o Options) *Server {
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 45 * time.Second
	}
	s := &Server{options: o}
	s.engine = engineio.New(o.Engine, s.serve)
	return s
}

// ServeHTTP answers as [engineio.Server.ServeHTTP] does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.engine.ServeHTTP(w, r) }

// Sessions returns how many clients there are, as [engineio.Server.Sessions].
func (s *Server) Sessions() int { return s.engine.Sessions() }

// Cut cuts every connection, as [engineio.Session.Cut] does.
func (s *Server) Cut() { s.engine.Cut() }

// Shutdown closes every connection, as [engineio.Server.Shutdown] does. It
// sends no disconnect packets: clients that get one never come back.
func (s *Server) Shutdown(ctx context.Context) error { return s.engine.Shutdown(ctx) }
