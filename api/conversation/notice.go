package conversation

import (
	"encoding/json"
	"slices"
)

// A Notice tells a listener of a conversation what is no event of it.
type Notice struct {
	Conversation string
	Kind         NoticeKind
	// After, of a Began, is the id of the run's first event. What an agent
	// answers comes after it.
	After int64
	// Replay, of a Began, is what the agent plays before it answers; nil is
	// nothing.
	Replay *Replay
	// Update, of an Update, is a JSON object that its sockets are sent, and
	// that nothing stores.
	Update json.RawMessage
}

// A NoticeKind says what happened.
type NoticeKind int

// What happens to a conversation.
const (
	Began  NoticeKind = iota // an agent's run: its first events are stored
	Ended                    // stopped, or about to be deleted; the state that follows is for no socket
	Update                   // there is something to tell its sockets
)

// Listen has hear called with every Notice, after the listeners before it,
// until stop is called. hear is called within the method that makes the
// notice: it may wait for what does not wait for the Service, and of its
// methods may call only Inject, InjectState, Tell and SetTitle.
func (s *Service) Listen(hear func(Notice)) (stop func()) {
	l := &listener{hear}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(slices.Clip(s.listeners), l)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listeners = slices.DeleteFunc(slices.Clone(s.listeners), func(other *listener) bool { return other == l })
	}
}

type listener struct{ hear func(Notice) }

func (s *Service) notify(n Notice) {
	s.mu.RLock()
	listeners := s.listeners // never changed in place
	s.mu.RUnlock()
	for _, l := range listeners {
		l.hear(n)
	}
}

// Tell sends the sockets of a conversation a JSON object that is no event.
func (s *Service) Tell(id string, update json.RawMessage) {
	s.notify(Notice{Conversation: id, Kind: Update, Update: update})
}

// A StatusUpdate is what sockets are told of a conversation beside its events;
// they take it for one that is no event by its first key.
type StatusUpdate struct {
	StatusUpdate bool   `json:"status_update"` // always true
	Type         string `json:"type"`          // "info" or "error"
	ID           string `json:"id,omitempty"`  // "STATUS$ERROR", …; none with a title
	Message      string `json:"message"`       // the conversation's id with a title
	Title        string `json:"conversation_title,omitempty"`
}

// TellStatus sends the sockets of a conversation a status. u.StatusUpdate is
// set.
func (s *Service) TellStatus(id string, u StatusUpdate) {
	u.StatusUpdate = true
	text, _ := json.Marshal(u) // strings always marshal
	s.Tell(id, text)
}

// tellTitle tells the title that a conversation has now (recorded
// fresh_full_run).
func (s *Service) tellTitle(id, title string) {
	if title == "" {
		title = defaultTitle(id)
	}
	s.TellStatus(id, StatusUpdate{Type: "info", Message: id, Title: title})
}
