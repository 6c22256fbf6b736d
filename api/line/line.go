// Package line tells what happens in a conversation as people read it: a line
// for an event, and one for what is told beside the events.
//
// It reads JSON as a server answers it, so that it serves for those of another
// machine too. What a [Line] has came from outside: whoever prints it sees to
// control characters (package printable).
package line

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Line is what people want to see of an event.
type Line struct {
	ID      int64  // of the event, -1 for what is none
	At      string // its time of day, as it is stored; "" for none
	Source  string // "user", "agent", "environment"
	Kind    string // of action or observation: "message"; or what is told: "title"
	Message string // one line of at most 160 characters and an ellipsis
}

// most characters of a message.
const most = 160

// Event is the line of a served event.
func Event(text []byte) (Line, error) {
	var v struct {
		ID          int64
		Timestamp   string
		Source      string
		Action      string
		Observation string
		Message     any
		Extras      struct {
			AgentState any `json:"agent_state"`
		}
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return Line{}, fmt.Errorf("event %.80s: %w", text, err)
	}
	_, at, _ := strings.Cut(v.Timestamp, "T")
	message := fmt.Sprint(v.Message)
	if v.Message == nil {
		message = ""
	}
	if v.Extras.AgentState != nil && message == "" {
		message = fmt.Sprint(v.Extras.AgentState)
	}
	message = strings.Join(strings.Fields(message), " ")
	if utf8.RuneCountInString(message) > most {
		message = string([]rune(message)[:most]) + "…"
	}
	return Line{v.ID, at, v.Source, cmp.Or(v.Action, v.Observation), message}, nil
}

// Notice is the line of what is told beside the events, a [feed.Notice]: the
// begin and end of a run, a status, a title.
func Notice(text []byte) (Line, error) {
	var n struct {
		Kind   string
		Update struct {
			ID, Message string
			Title       string `json:"conversation_title"`
		}
	}
	if err := json.Unmarshal(text, &n); err != nil {
		return Line{}, fmt.Errorf("notice %.80s: %w", text, err)
	}
	l := Line{ID: -1, Kind: "run " + n.Kind, Message: n.Update.Message}
	switch {
	case n.Update.Title != "":
		l.Kind, l.Message = "title", n.Update.Title
	case n.Kind == "update":
		l.Kind = cmp.Or(n.Update.ID, "update")
	}
	return l, nil
}
