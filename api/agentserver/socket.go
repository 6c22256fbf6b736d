package agentserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/refuse"
	"github.com/openhands-local/openhands-local/store"
)

// socketPath is that of a conversation's websocket, before its id.
const socketPath = "/sockets/events/"

// Codes that a socket is closed with.
const (
	closedAuth    = 4001
	closedUnknown = 4004
)

// authTime is how long a client may take to say the key.
const authTime = 10 * time.Second

// maxFrame is the most bytes of a client's message.
const maxFrame = 16 << 20

// beat is how often a client is asked whether it is there.
const beat = 20 * time.Second

var errHandshake = refuse.With(http.StatusForbidden, nil)

// socket serves the websocket of a conversation: the whole state first, then
// stored events as far as they are asked for (resend_mode: all, since), then
// each new one. A message of the client is stored and run.
//
// A parameter or a key that is wrong refuses the handshake with 403. Who says no
// key has to say it in the first message (recorded ws_*).
func (s *server) socket(w http.ResponseWriter, r *http.Request, id string) error {
	ctx := r.Context()
	after, f, err := s.resend(r)
	uuid, fault := fastapi.UUID(pyjson.StringOf(id))
	said, says := r.Header.Get(keyHeader), len(r.Header.Values(keyHeader)) > 0
	if q := r.URL.Query(); q.Has("session_api_key") { // the query comes first, also an empty one
		said, says = q.Get("session_api_key"), true
	}
	known := s.Key.Is(said) || s.LoggedIn(r)
	if err != nil || fault != nil || !known && says {
		return refuseHandshake(w)
	}
	id = uuid.Text()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // Origin is checked by the server
	if err != nil {
		return nil // it has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxFrame)
	if !known && !s.authenticates(ctx, conn) {
		return conn.Close(closedAuth, "Authentication failed")
	}
	last, err := s.Conversations.Last(ctx, id)
	var follower *feed.Follower
	if err == nil {
		follower, err = s.Conversations.Follow(ctx, id, last)
	}
	if errors.Is(err, store.ErrNotFound) {
		return conn.Close(closedUnknown, "Conversation not found")
	}
	if err != nil {
		return conn.Close(websocket.StatusInternalError, "")
	}
	defer follower.Close()
	state, err := s.Conversations.FullState(ctx, id)
	if err != nil {
		return conn.Close(websocket.StatusInternalError, "")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	send := func(text json.RawMessage) error { return s.push(ctx, conn, text) }
	if err := send(state); err != nil {
		return nil
	}
	if after {
		if err := s.Conversations.Since(ctx, id, f, last, send); err != nil {
			return nil
		}
	}
	go func() {
		defer cancel()
		s.listen(ctx, conn, r.URL.Path, id)
	}()
	return s.follow(ctx, conn, follower, send)
}

// refuseHandshake refuses a websocket, without a word.
func refuseHandshake(w http.ResponseWriter) error {
	w.Header().Del("Vary")
	w.WriteHeader(http.StatusForbidden)
	return nil
}

// resend reads what of the stored events is to be sent.
func (s *server) resend(r *http.Request) (any bool, f conversation.Filter, err error) {
	q := r.URL.Query()
	mode := q.Get("resend_mode")
	all, fault := fastapi.Bool(pyjson.StringOf(q.Get("resend_all")))
	at, badTime := fastapi.DateTime(pyjson.StringOf(q.Get("after_timestamp")))
	switch {
	case q.Has("resend_all") && fault != nil, q.Has("after_timestamp") && badTime != nil, q.Has("resend_mode") && mode != "all" && mode != "since":
		return false, f, errHandshake
	case mode == "all", mode == "" && all.Bool():
		return true, f, nil
	case mode == "since" && q.Has("after_timestamp"):
		from, err := s.Conversations.Time(at.Text())
		f.From = &from
		return true, f, err
	}
	return false, f, nil
}

// authenticates reads the first message, which has to say the key.
func (s *server) authenticates(ctx context.Context, conn *websocket.Conn) bool {
	said := make(chan bool, 1)
	go func() { // a Read whose context ends takes the connection with it, and the reason is not told
		_, text, err := conn.Read(ctx)
		var m struct {
			Type string `json:"type"`
			Key  string `json:"session_api_key"`
		}
		said <- err == nil && json.Unmarshal(text, &m) == nil && m.Type == "auth" && s.Key.Is(m.Key)
	}()
	limit := time.NewTimer(authTime)
	defer limit.Stop()
	select {
	case ok := <-said:
		return ok
	case <-limit.C:
		return false
	}
}

// push sends a frame. A client that does not read is left.
func (s *server) push(ctx context.Context, conn *websocket.Conn, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, text)
}

// follow sends what happens until the client or the conversation is gone.
func (s *server) follow(ctx context.Context, conn *websocket.Conn, f *feed.Follower, send func(json.RawMessage) error) error {
	ping := time.NewTicker(beat)
	defer ping.Stop()
	for {
		item, ok, err := f.Next(ctx)
		switch damaged := new(store.DamagedEvent); {
		case errors.As(err, &damaged):
			s.Log.Error("stored data is damaged: left out of a socket", "event", damaged.ID)
			continue
		case err != nil:
			return conn.Close(websocket.StatusNormalClosure, "")
		case ok && item.Notice == nil:
			err = send(item.Event.JSON)
		case ok && item.Notice.Kind == feed.Update:
			err = send(item.Notice.Update)
		case !ok:
			select {
			case <-f.Changed():
			case <-ctx.Done():
				return nil
			case <-s.Stopping:
				return conn.Close(websocket.StatusServiceRestart, "")
			case <-ping.C:
				err = conn.Ping(ctx)
			}
		}
		if err != nil {
			return nil
		}
	}
}

// listen takes the messages of a client until it is gone.
func (s *server) listen(ctx context.Context, conn *websocket.Conn, path, id string) {
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return
		}
		x := exchange.New(exchange.Socket, "message", path)
		x.Operation, x.Conversation, x.Body = socketPath+"{conversation_id}", id, text
		err = s.take(x.Context(ctx), id, text)
		if refused := (*problem)(nil); err != nil {
			if !errors.As(err, &refused) {
				refused = &problem{"Exception", err.Error()}
			}
			x.Refusal = &exchange.Refusal{Msg: refused.detail, Body: s.loggedBody(x)}
			var frame json.RawMessage
			if frame, err = s.Conversations.ServerError(ctx, id, refused.code, refused.detail); err == nil {
				err = s.push(ctx, conn, frame)
			}
		}
		s.Done(x)
		if err != nil {
			return
		}
	}
}

// A problem is why a message of a client was not taken.
type problem struct{ code, detail string }

func (p *problem) Error() string { return p.code + ": " + p.detail }

// take takes a message of a client: an auth message again changes nothing.
func (s *server) take(ctx context.Context, id string, text []byte) error {
	v, err := pyjson.Decode(text)
	if syntax := new(pyjson.SyntaxError); errors.As(err, &syntax) {
		line, column := 1, syntax.Offset+1
		return &problem{"JSONDecodeError", fmt.Sprintf("%s: line %d column %d (char %d)", syntax.Msg, line, column, syntax.Offset)}
	} else if err != nil {
		return &problem{"JSONDecodeError", err.Error()}
	}
	if kind, _ := v.Get("type"); kind.Text() == "auth" {
		return nil
	}
	read, err := Contract().Read("SendMessageRequest", text)
	if err != nil {
		return &problem{"ValidationError", err.Error()}
	}
	if _, ok := v.Get("role"); !ok {
		return &problem{"ValidationError", fastapi.Missing.Msg + ": role"}
	}
	var m newMessage
	if err := json.Unmarshal(read, &m); err != nil {
		return err
	}
	err = s.Conversations.Send(ctx, id, m.Role, m.Content, true)
	if errors.Is(err, conversation.ErrNotUser) {
		return &problem{"AssertionError", "Only user messages are allowed to be sent to the agent."}
	}
	return err
}
