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
// frames.go encodes it once for all of them.
//
// differences.txt lists where the recorded frames of the real server are not
// met, and why.
package live

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/live/engineio"
	"github.com/openhands-local/openhands-local/api/live/socketio"
)

// A Config says what a Server works with. Conversations and Log are required.
type Config struct {
	Conversations *conversation.Service
	// Key is what session_api_key in the query must be; empty asks for none.
	Key string
	// LoggedIn, when set, tells of a request that needs no key, since its
	// browser has shown it before.
	LoggedIn func(*http.Request) bool
	// Lenient, when set, is told of each event that is stored and that
	// OpenHands 0.53.0 would have refused.
	Lenient func()
	Log     *slog.Logger
	// Engine are the options of the connections. Its Dialect is set.
	Engine engineio.Options
}

// A Server is a handler for the path of Socket.IO. Make one with [New].
type Server struct {
	c         Config
	sockets   *socketio.Server
	frames    frames
	followers sync.WaitGroup
}

// New returns a server. It needs a Shutdown.
func New(c Config) *Server {
	s := &Server{c: c}
	c.Engine.Dialect = engineio.Python
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

// Shutdown closes every connection, as [socketio.Server.Shutdown] does, and
// ends all work. It comes before the store is closed.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.sockets.Shutdown(ctx) // the contexts of all sockets end
	s.followers.Wait()
	return err
}

// act stores what a client sends. What is no event is not answered, as
// upstream has it.
func (s *Server) act(socket *socketio.Socket, e *socketio.Event) {
	id := query(socket).first("conversation_id")
	if len(e.Args) != 1 || len(e.Attachments) > 0 {
		s.c.Log.Warn("socket: event dropped", "conversation", id, "name", e.Name, "reason", "want one argument")
		return
	}
	added, err := s.c.Conversations.Act(socket.Context(), id, e.Args[0])
	if err != nil {
		s.c.Log.Warn("socket: event dropped", "conversation", id, "name", e.Name, "reason", err.Error())
		return
	}
	if added.Dropped {
		s.c.Log.Warn("socket: event dropped", "conversation", id, "name", e.Name, "reason", "the settings' model is not known to see images")
	}
	if len(added.Lenient) > 0 && s.c.Lenient != nil {
		s.c.Lenient()
	}
	for _, lenient := range added.Lenient {
		s.c.Log.Warn("socket: event taken", "conversation", id, "lenient", lenient)
	}
	e.Ack()
}
