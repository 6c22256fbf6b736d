package live

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
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
	return s.c.Key == "" || subtle.ConstantTimeCompare([]byte(query(socket).first("session_api_key")), []byte(s.c.Key)) == 1 ||
		s.c.LoggedIn != nil && s.c.LoggedIn(socket.Request())
}

// latestEventID is the id after which a replay begins, as Python's int reads
// it; -1 when it is no integer ("", "undefined", "3.5").
func latestEventID(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return -1
	}
	return min(n, store.MaxID) // one below 0 is as good as -1
}

// connect lets a client in, or tells it why not.
func (s *Server) connect(socket *socketio.Socket) error {
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
	at, err := s.replay(ctx, socket, c.ID, latestEventID(q.first("latest_event_id")))
	if err != nil {
		return err
	}
	if noSettings {
		return conversation.ErrNoSettings // after the replay, as upstream
	}
	if err := socket.Accept(); err != nil {
		return err
	}
	if err := s.join(socket, c.ID, at); err != nil {
		return err
	}
	closed, failure, err := s.c.Conversations.Open(ctx, c)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, closed)
	if failure != nil {
		socket.Send(frame(failure))
	}
	return nil
}

// replay sends the stored events after an id, and returns the id of the last
// one that was stored.
func (s *Server) replay(ctx context.Context, socket *socketio.Socket, id string, after int64) (at int64, err error) {
	at = -1
	err = s.c.Store.Visit(ctx, id, store.Range{To: store.MaxID, Reverse: true}, func(last store.Event) bool {
		at = last.ID
		return false
	})
	var damaged *store.DamagedEvent
	if errors.As(err, &damaged) {
		at = damaged.ID
	} else if err != nil {
		return at, err
	}
	events := store.Scan(ctx, s.c.Store, id, store.Range{From: after + 1, To: at})
	for e, err := range event.Replay(events, func(e store.Event) event.Flags { return event.Flags(e.Flags) }) {
		if s.leftOut(id, err) {
			continue
		}
		if err != nil {
			return at, err
		}
		// No flags: what GET /events leaves out is sent.
		if err := socket.Emit(ctx, frame(event.AppendServed(nil, e.ID, e.JSON, 0))); err != nil {
			return at, err
		}
	}
	return at, nil
}

// join sends what was stored after the replay and makes the socket a member of
// its room, under the lock that says nothing more was.
func (s *Server) join(socket *socketio.Socket, id string, at int64) error {
	for {
		to := s.attach(socket, id, at)
		if to <= at {
			return nil
		}
		for e, err := range store.Scan(socket.Context(), s.c.Store, id, store.Range{From: at + 1, To: to}) {
			if s.leftOut(id, err) {
				continue
			}
			if err != nil {
				return err
			}
			if f, sent := live(e); sent {
				if err := socket.Emit(socket.Context(), f); err != nil {
					return err
				}
			}
		}
		at = to
	}
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

// live is the frame of an event for sockets that are connected; sent is false
// when there is none.
func live(e store.Event) (f socketio.Frame, sent bool) {
	text, sent := event.AppendLive(nil, e.ID, e.JSON, event.Flags(e.Flags))
	if !sent {
		return socketio.Frame{}, false
	}
	return frame(text), true
}
