package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/printable"
)

// eventsCmd prints a conversation, one readable line an event.
type eventsCmd struct {
	ID      string `arg:"" help:"The conversation."`
	Follow  bool   `help:"Go on with each new event, over restarts of the server, until the conversation is deleted." short:"f"`
	Start   int64  `help:"Id of the first event." placeholder:"N"`
	Notices bool   `help:"With --follow: what is told beside the events, too: the begin and end of a run, statuses, titles."`
	URL     string `default:"http://localhost:3000" help:"Base URL of the server."`
}

// Help names what is not a flag.
func (*eventsCmd) Help() string { return "SESSION_API_KEY is sent to a server that wants a key." }

// shownEvent is what a line tells of an event.
type shownEvent struct {
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

func (c *eventsCmd) Run(e *env) error {
	conversation := "/conversations/" + url.PathEscape(c.ID)
	if c.Follow {
		return c.follow(e, conversation)
	}
	for start := c.Start; ; {
		answer, err := e.get(c.URL, fmt.Sprintf("/api%s/events?limit=100&start_id=%d", conversation, start), "")
		if err != nil {
			return err
		}
		var page struct {
			Events  []json.RawMessage `json:"events"`
			HasMore bool              `json:"has_more"`
		}
		err = json.NewDecoder(answer.Body).Decode(&page)
		answer.Body.Close()
		if err != nil {
			return fmt.Errorf("%s does not answer as OpenHands does: %w", c.URL, err)
		}
		for _, text := range page.Events {
			if err := show(e.stdout, text); err != nil {
				return err
			}
			var last shownEvent
			if err := json.Unmarshal(text, &last); err != nil {
				return err
			}
			start = last.ID + 1
		}
		if !page.HasMore || len(page.Events) == 0 {
			return nil
		}
	}
}

// follow prints what is stored and then each new event, until the conversation
// is gone or the command is ended. A server that goes away is waited for.
func (c *eventsCmd) follow(e *env, conversation string) error {
	next := c.Start
	stream := func() (*http.Response, error) {
		return e.get(c.URL, fmt.Sprintf("/_local%s/stream?notices=%v&start_id=%d", conversation, c.Notices, next), "")
	}
	answer, err := stream()
	if err != nil {
		return err
	}
	for {
		if err := showStream(e.stdout, answer.Body, &next); err != nil {
			return err
		}
		for told := false; ; told = true {
			select {
			case <-e.Done():
				return nil
			case <-time.After(retryAfter):
			}
			answer, err = stream()
			if err == nil {
				fmt.Fprintf(e.stderr, "openhands-local: connected again, from event %d\n", next)
				break
			}
			var refused *refusal
			switch {
			case !errors.As(err, &refused) || refused.status >= http.StatusInternalServerError:
			case refused.status == http.StatusNotFound:
				return nil
			default:
				return err
			}
			if !told && e.Err() == nil {
				fmt.Fprintf(e.stderr, "openhands-local: waiting for the server: %v\n", err)
			}
		}
	}
}

// retryAfter is the time before each look for a server that went away.
const retryAfter = 200 * time.Millisecond

// showStream prints what a stream tells until it breaks off, and counts the next
// event.
func showStream(w io.Writer, stream io.ReadCloser, next *int64) error {
	defer stream.Close()
	lines, id, kind := bufio.NewReader(stream), int64(0), ""
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil // an event that is cut is asked for again
		}
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case name == "id":
			if id, err = strconv.ParseInt(text, 10, 64); err != nil {
				return fmt.Errorf("stream: %w", err)
			}
		case name == "event":
			kind = text
		case name == "data" && kind == "notice":
			if err := showNotice(w, []byte(text)); err != nil {
				return err
			}
		case name == "data":
			if err := show(w, []byte(text)); err != nil {
				return err
			}
			*next = id + 1
		case name == "":
			kind = ""
		}
	}
}

// showNotice prints what is told beside the events: the begin and end of a run, a
// status, a title.
func showNotice(w io.Writer, text []byte) error {
	var n struct {
		Kind   string
		Update struct {
			ID, Message string
			Title       string `json:"conversation_title"`
		}
	}
	if err := json.Unmarshal(text, &n); err != nil {
		return fmt.Errorf("notice %.80s: %w", text, err)
	}
	what, message := "run "+n.Kind, n.Update.Message
	switch {
	case n.Update.Title != "":
		what, message = "title", n.Update.Title
	case n.Kind == "update":
		what = cmp.Or(n.Update.ID, "update")
	}
	return row(w, "-", "", "", what, message)
}

// row prints one line of the conversation.
func row(w io.Writer, id any, at, source, kind, message string) error {
	_, err := fmt.Fprintln(w, printable.Line(fmt.Sprintf("%5v  %-12.12s  %-11s  %-20s  %s", id, at, source, kind, message)))
	return err
}

// show prints one event: id, time, source, kind, message.
func show(w io.Writer, text []byte) error {
	var v shownEvent
	if err := json.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("event %.80s: %w", text, err)
	}
	_, at, _ := strings.Cut(v.Timestamp, "T")
	kind, message := v.Action, fmt.Sprint(v.Message)
	if kind == "" {
		kind = v.Observation
	}
	if v.Message == nil {
		message = ""
	}
	if v.Extras.AgentState != nil && message == "" {
		message = fmt.Sprint(v.Extras.AgentState)
	}
	const most = 160
	message = strings.Join(strings.Fields(message), " ")
	if utf8.RuneCountInString(message) > most {
		message = string([]rune(message)[:most]) + "…"
	}
	return row(w, v.ID, at, v.Source, kind, message)
}
