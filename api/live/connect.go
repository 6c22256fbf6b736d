package live

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/live/socketio"
	"github.com/openhands-local/openhands-local/store"
)

// params are those of the request that opened a connection.
type params url.Values

func query(s *socketio.Socket) params { return params(s.Request().URL.Query()) }

// first is the first value that is not empty: upstream does not see the
// others.
func (p params) first(name string) string { return cmp.Or(p[name]...) }

// providers are the names that providers_set may have.
var providers = []string{"github", "gitlab", "bitbucket", "enterprise_sso"}

// admit returns why a client is refused whatever is stored, in upstream's
// order. Where upstream says nothing, so that a client waits forever, the
// client is told: an auth object, a provider that is unknown, a key that is
// missing.
func (s *Server) admit(socket *socketio.Socket) *socketio.Refusal {
	q := query(socket)
	var auth map[string]json.RawMessage
	if len(socket.Auth()) > 0 && (json.Unmarshal(socket.Auth(), &auth) != nil || len(auth) > 0) {
		return &socketio.Refusal{Message: "auth is not taken: say session_api_key in the query"}
	}
	for _, list := range q["providers_set"] {
		for name := range strings.SplitSeq(list, ",") {
			if name != "" && !slices.Contains(providers, name) {
				return &socketio.Refusal{Message: fmt.Sprintf("providers_set: unknown provider %q: want %s", name, strings.Join(providers, ", "))}
			}
		}
	}
	if q.first("conversation_id") == "" {
		return &socketio.Refusal{Message: "No conversation_id in query params"}
	}
	if !s.hasKey(socket) {
		return &socketio.Refusal{Message: "invalid_session_api_key"}
	}
	return nil
}

// hasKey tells whether a client said the key, or need not.
func (s *Server) hasKey(socket *socketio.Socket) bool {
	return s.c.Key.Is(query(socket).first("session_api_key")) || s.c.LoggedIn != nil && s.c.LoggedIn(socket.Request())
}

// latestEventID is the id after which a replay begins, as Python's int reads
// it ("7", " +7 ", "1_0"); -1 when it is no integer ("", "undefined", "3.5").
func latestEventID(text string) int64 {
	text = strings.TrimSpace(text)
	if !pythonInt.MatchString(text) {
		return -1
	}
	n, _ := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64) // beyond its range the nearest
	return min(n, store.MaxID)                                          // one below 0 is as good as -1
}

var pythonInt = regexp.MustCompile(`^[+-]?[0-9]+(_[0-9]+)*$`)

// connect lets a client in, or tells it why not.
func (s *Server) connect(socket *socketio.Socket) error {
	err := s.answer(socket)
	if refusal, ok := err.(*socketio.Refusal); ok && s.c.Sent != nil {
		text, _ := json.Marshal(refusal) // of strings
		s.sent(socket, "connect_error", text)
	}
	return err
}

// answer lets a client in, or returns the refusal.
func (s *Server) answer(socket *socketio.Socket) error {
	if refusal := s.admit(socket); refusal != nil {
		return refusal
	}
	err := s.letIn(socket)
	switch {
	case err == nil || socket.Context().Err() != nil:
		return err
	case errors.Is(err, store.ErrNotFound):
		return &socketio.Refusal{Message: "Conversation not found"}
	case errors.Is(err, conversation.ErrNoSettings):
		return &socketio.Refusal{Message: "Settings not found", Data: map[string]string{"msg_id": "CONFIGURATION$SETTINGS_NOT_FOUND"}}
	default:
		s.c.Log.Error("socket: not let in", "conversation", query(socket).first("conversation_id"), "error", err.Error())
		return &socketio.Refusal{Message: "Internal Server Error"}
	}
}

// letIn is connect for a client that [Server.admit] has nothing against. After
// the 40 an error puts the client out.
func (s *Server) letIn(socket *socketio.Socket) error {
	ctx, q := socket.Context(), query(socket)
	c, err := s.c.Conversations.CanOpen(ctx, q.first("conversation_id"))
	noSettings := errors.Is(err, conversation.ErrNoSettings)
	if err != nil && !noSettings {
		return err
	}
	out := &sender{s: s, socket: socket, conversation: c.ID, waits: true}
	at, err := s.replay(ctx, out, latestEventID(q.first("latest_event_id")))
	if err != nil {
		return err
	}
	if noSettings {
		return conversation.ErrNoSettings // after the replay, as upstream
	}
	if err := socket.Accept(); err != nil {
		return err
	}
	s.sent(socket, "connect", nil)
	out.waits = false
	if err := s.follow(out, at); err != nil {
		return err
	}
	closed, failure, err := s.c.Conversations.Open(ctx, c)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, closed)
	if failure != nil {
		socket.Send(frame(failure))
		s.sent(socket, "oh_event", failure)
	}
	return nil
}

// replay sends the stored events after an id, and returns the id of the last
// one that was stored.
func (s *Server) replay(ctx context.Context, out *sender, after int64) (at int64, err error) {
	events, at, err := s.c.Conversations.Replay(ctx, out.conversation, after)
	if err != nil {
		return at, err
	}
	defer out.rest()
	for e, err := range events {
		if s.leftOut(out.conversation, err) {
			continue
		}
		if err != nil {
			return at, err
		}
		// No flags: what GET /events leaves out is sent.
		text := event.AppendServed(nil, e.ID, e.JSON, 0)
		if err := out.send(e.JSON, outgoing{id: e.ID, text: text, frame: frame(text)}); err != nil {
			return at, err
		}
	}
	return at, nil
}

// follow begins to send a socket what happens after an event.
func (s *Server) follow(out *sender, after int64) error {
	f, err := s.c.Conversations.Follow(out.socket.Context(), out.conversation, after)
	if err != nil {
		return err
	}
	s.followers.Go(func() {
		defer f.Close()
		s.send(out, f)
	})
	return nil
}

// send sends a socket what its follower is told, and puts it out when the
// conversation's run ends: 41, and it does not come back by itself.
func (s *Server) send(out *sender, f *feed.Follower) {
	defer out.rest()
	socket, id := out.socket, out.conversation
	for item, err := range f.All(socket.Context()) {
		switch {
		case s.leftOut(id, err):
		case socket.Context().Err() != nil || errors.Is(err, store.ErrClosed):
			return // 41 would keep clients from coming back
		case err != nil:
			if !errors.Is(err, store.ErrNotFound) {
				s.c.Log.Error("socket: cannot follow", "conversation", id, "error", err.Error())
			}
			s.disconnect(socket)
			return
		case item.Notice == nil:
			if text, f, sent := s.frames.of(item); sent {
				_ = out.send(item.Event.JSON, outgoing{id: item.Event.ID, text: text, frame: f}) // who is too slow is cut off
			}
		case item.Notice.Kind == feed.Ended:
			s.disconnect(socket)
			return
		case item.Notice.Kind == feed.Update:
			_ = out.send(item.Notice.Update, outgoing{id: -1, text: item.Notice.Update, frame: frame(item.Notice.Update)})
		}
		if !f.Pending() {
			out.rest()
		}
	}
}

// disconnect puts a socket out.
func (s *Server) disconnect(socket *socketio.Socket) {
	socket.Disconnect()
	s.sent(socket, "disconnect", nil)
}

// leftOut tells whether an error is of a damaged event alone, and writes the
// record of it: clients are sent the others.
func (s *Server) leftOut(id string, err error) bool {
	var damaged *store.DamagedEvent
	if !errors.As(err, &damaged) {
		return false
	}
	s.c.Log.Error("socket: stored data is damaged: not sent", "conversation", id, "event", damaged.ID)
	return true
}

// frame is an oh_event.
func frame(json []byte) socketio.Frame { return socketio.EncodeEvent("/", "oh_event", json) }
