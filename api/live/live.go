// Package live is the Socket.IO face of the API: clients connect to one
// conversation, are sent its events, and send events of their own.
//
//	GET /socket.io/?conversation_id=…&latest_event_id=…&providers_set=…&session_api_key=…
//
// What a client that connects is sent, as oh_event (recorded connect_*,
// latest_event_id_*):
//
//	42["oh_event",{…}] …     the stored events after latest_event_id
//	40{"sid":"…"}            it is let in
//	42["oh_event",{…}] …     events as they are stored, statuses and titles
//	41                       the conversation was stopped or deleted
//
// Its own events are oh_user_action, or oh_action by an older name. One that
// is no event is dropped without a word and one that is gets its
// acknowledgement (recorded action_*).
//
// Each client follows the feed of its conversation (package feed): events once
// and in the order of their ids, whoever stored them, and what is told between
// them where everybody is told it. A client that does not keep up is cut off; it
// comes back with its latest_event_id. [Server.Shutdown] closes the connections without 41, so
// that clients come back by themselves.
//
// The files: connect.go lets clients in, replays and sends what happens,
// frames.go encodes it once for all of them, faulty.go lets go wrong what shall.
//
// differences.txt lists where the recorded frames of the real server are not
// met, and why.
package live

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/key"
	"github.com/openhands-local/openhands-local/api/live/engineio"
	"github.com/openhands-local/openhands-local/api/live/socketio"
)

// A Config says what a Server works with. Conversations and Log are required.
type Config struct {
	Conversations *conversation.Service
	// Key is what session_api_key in the query must be.
	Key key.Key
	// LoggedIn, when set, tells of a request that needs no key, since its
	// browser has shown it before.
	LoggedIn func(*http.Request) bool
	// Done, when set, takes the exchange of each message that a client has sent.
	Done func(*exchange.Exchange)
	// Sent, when set, takes that of each message that a client is sent, or would
	// have been but for a fault, with its text: the argument of an event, of a
	// refusal the object.
	Sent func(x *exchange.Exchange, text []byte)
	// Fault, when set, is asked for each message what goes wrong with it on
	// purpose; it returns nil for nothing.
	Fault func(Message) *Fault
	Log   *slog.Logger
	// Engine are the options of the connections. Its Dialect is set.
	Engine engineio.Options
}

// A Server is a handler for the path of Socket.IO. Make one with [New].
type Server struct {
	c         Config
	sockets   *socketio.Server
	clock     *clock.Clock
	frames    frames
	followers sync.WaitGroup
	kept      sync.Map // what comes after the next one: *socketio.Socket => late
}

// New returns a server. It needs a Shutdown.
func New(c Config) *Server {
	s := &Server{c: c, frames: frames{texts: c.Sent != nil}}
	c.Engine.Dialect = engineio.Python
	if s.clock = c.Engine.Clock; s.clock == nil {
		s.clock = clock.New(clock.Options{})
		c.Engine.Clock = s.clock
	}
	s.sockets = socketio.New(socketio.Options{
		Engine: c.Engine,
		Namespaces: map[string]socketio.Namespace{"/": {
			Connect: s.connect,
			Events:  map[string]func(*socketio.Socket, *socketio.Event){"oh_user_action": s.act, "oh_action": s.act},
		}},
	})
	return s
}

// ServeHTTP answers as [socketio.Server.ServeHTTP] does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.sockets.ServeHTTP(w, r) }

// Sessions returns how many clients are connected, over whichever transport.
func (s *Server) Sessions() int { return s.sockets.Sessions() }

// Cut cuts every connection, as [socketio.Server.Cut] does.
func (s *Server) Cut() { s.sockets.Cut() }

// Shutdown closes every connection, as [socketio.Server.Shutdown] does, and
// ends all work. It comes before the store is closed.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.sockets.Shutdown(ctx) // the contexts of all sockets end
	s.followers.Wait()
	return err
}

// begin begins the exchange of a message, either way.
func begin(socket *socketio.Socket, name string) *exchange.Exchange {
	r := socket.Request()
	x := exchange.New(exchange.Socket, name, r.URL.Path)
	x.Conversation, x.Connection = query(socket).first("conversation_id"), exchange.From(r.Context()).ID
	return x
}

// sent tells Config.Sent of a message that is no event: of a packet, by its name.
func (s *Server) sent(socket *socketio.Socket, name string, text []byte) {
	s.sentEvent(socket, name, outgoing{id: -1, text: text}, "")
}

// sentEvent tells Config.Sent of a message, if anybody wants to know, and why it
// was not sent after all, "" when it was.
func (s *Server) sentEvent(socket *socketio.Socket, name string, m outgoing, lost string) {
	if s.c.Sent == nil {
		return
	}
	x := begin(socket, name)
	x.Sent, x.EventID, x.Fault = true, m.id, m.fault
	if lost != "" {
		x.Refusal = &exchange.Refusal{Msg: lost}
	}
	s.c.Sent(x, m.text)
}

// take stores what a client sends, and ends its exchange.
func (s *Server) take(socket *socketio.Socket, e *socketio.Event, x *exchange.Exchange) {
	if why := s.store(socket, e, x); why != "" {
		x.Refusal = &exchange.Refusal{Msg: why}
	}
	s.done(x)
}

func (s *Server) done(x *exchange.Exchange) {
	if s.c.Done != nil {
		s.c.Done(x)
	}
}

// store stores what a client sends, or says why it does not. What is no event is
// not answered, as upstream has it.
func (s *Server) store(socket *socketio.Socket, e *socketio.Event, x *exchange.Exchange) (why string) {
	if len(e.Args) != 1 || len(e.Attachments) > 0 {
		return "want one argument"
	}
	x.Body = e.Args[0]
	added, err := s.c.Conversations.Act(x.Context(socket.Context()), x.Conversation, e.Args[0])
	if err != nil {
		return err.Error()
	}
	x.Lenient = added.Lenient
	if e.Ack(); e.WantsAck() {
		s.sent(socket, "ack", nil)
	}
	if added.Dropped {
		return "the settings' model is not known to see images"
	}
	x.EventID = added.ID
	return ""
}
