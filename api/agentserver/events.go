package agentserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// events are the handlers of a conversation's events.
func (s *server) events() map[string]handler {
	return map[string]handler{
		"SendMessage":                s.send,
		"RespondToConfirmation":      s.respond,
		"GetConversationEvent":       s.event,
		"BatchGetConversationEvents": s.severalEvents,
		"SearchConversationEvents":   s.searchEvents,
		"CountConversationEvents":    s.countEvents,
	}
}

// A newMessage is what a client sends.
type newMessage struct {
	Role    string                 `json:"role"`
	Content []conversation.Content `json:"content"`
	Run     bool                   `json:"run"`
}

// send stores a message of the user, and runs the conversation if the message
// says so.
func (s *server) send(c *call) error {
	q := newMessage{Role: "user"}
	if err := c.decode(&q); err != nil {
		return err
	}
	return c.done(s.Conversations.Send(c.r.Context(), c.id, q.Role, q.Content, q.Run))
}

func (s *server) respond(c *call) error {
	q := struct {
		Accept bool   `json:"accept"`
		Reason string `json:"reason"`
	}{Reason: "User rejected the action."}
	if err := c.decode(&q); err != nil {
		return err
	}
	return c.done(s.Conversations.Respond(c.r.Context(), c.id, q.Accept, q.Reason))
}

func (s *server) event(c *call) error {
	text, err := s.Conversations.Event(c.r.Context(), c.id, c.params["event_id"])
	if err != nil {
		return err
	}
	full, err := whole(text)
	if err != nil {
		return err
	}
	return write(c.w, c.r, http.StatusOK, full)
}

// whole is an event with the fields that are null: a page, a socket and the store
// leave them out (recorded events_get).
func whole(text json.RawMessage) (json.RawMessage, error) {
	v, err := pyjson.Decode(text)
	if err != nil {
		return nil, err
	}
	return Contract().Fill("Event", v).Append(nil), nil
}

// severalEvents answers events by their ids, null for one that there is not.
func (s *server) severalEvents(c *call) error {
	var ids []string
	if err := json.Unmarshal(c.body.JSON, &ids); err != nil {
		return err
	}
	events := make([]json.RawMessage, len(ids))
	for i, id := range ids {
		text, err := s.Conversations.Event(c.r.Context(), c.id, id)
		if errors.Is(err, conversation.ErrNoEvent) {
			continue
		}
		if err == nil {
			events[i], err = whole(text)
		}
		if err != nil {
			return err
		}
	}
	return c.answer(http.StatusOK, events)
}

// filter is that of the query.
func (s *server) filter(c *call) (f conversation.Filter, err error) {
	f = conversation.Filter{Kind: c.has("kind"), Source: c.has("source"), Body: c.has("body")}
	for name, to := range map[string]**string{"timestamp__gte": &f.From, "timestamp__lt": &f.Before} {
		if text := c.has(name); text != nil {
			at, err := s.Conversations.Time(*text)
			if err != nil {
				return f, err
			}
			*to = &at
		}
	}
	return f, nil
}

func (s *server) searchEvents(c *call) error {
	f, err := s.filter(c)
	if err != nil {
		return err
	}
	limit := 100
	if text := c.has("limit"); text != nil {
		if limit, err = strconv.Atoi(*text); err != nil {
			return err
		}
	}
	page, err := s.Conversations.Search(c.r.Context(), c.id, f, c.query.Get("page_id"), limit, c.query.Get("sort_order") == "TIMESTAMP_DESC")
	if err != nil {
		return err
	}
	text := []byte(`{"items":[`)
	for i, e := range page.Items {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, e...)
	}
	text = append(text, `],"next_page_id":`...)
	if page.Next == nil {
		text = append(text, "null}"...)
	} else {
		text = append(strconv.AppendQuote(text, *page.Next), '}')
	}
	return write(c.w, c.r, http.StatusOK, text)
}

func (s *server) countEvents(c *call) error {
	f, err := s.filter(c)
	if err != nil {
		return err
	}
	n, err := s.Conversations.Count(c.r.Context(), c.id, f)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, n)
}
