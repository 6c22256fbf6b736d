package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/line"
	"github.com/openhands-local/openhands-local/api/printable"
)

// eventsCmd prints a conversation, one readable line an event.
type eventsCmd struct {
	ID      string `arg:"" help:"The conversation."`
	Follow  bool   `help:"Go on with each new event, over restarts of the server, until the conversation is deleted." short:"f"`
	Start   int64  `help:"Id of the first event." placeholder:"N"`
	Notices bool   `help:"With --follow: what is told beside the events, too: the begin and end of a run, statuses, titles."`
	target
}

// Help names what is not a flag.
func (*eventsCmd) Help() string { return "SESSION_API_KEY is sent to a server that wants a key." }

func (c *eventsCmd) Run(e *env) error {
	conversation := "/conversations/" + url.PathEscape(c.ID)
	if c.Follow {
		return c.follow(e, conversation)
	}
	for start := c.Start; ; {
		answer, err := e.get(c.base(), fmt.Sprintf("/api%s/events?limit=100&start_id=%d", conversation, start), "")
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
			return fmt.Errorf("%s does not answer as OpenHands does: %w", c.base(), err)
		}
		for _, text := range page.Events {
			last, err := line.Event(text)
			if err != nil {
				return err
			}
			if err := show(e.stdout, last); err != nil {
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
		return e.get(c.base(), fmt.Sprintf("/_local%s/stream?notices=%v&start_id=%d", conversation, c.Notices, next), "")
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
	lines, kind := bufio.NewReader(stream), ""
	for {
		text, err := lines.ReadString('\n')
		if err != nil {
			return nil // an event that is cut is asked for again
		}
		name, text, _ := strings.Cut(strings.TrimSuffix(text, "\n"), ": ")
		switch {
		case name == "event":
			kind = text
		case name == "data":
			read := line.Event
			if kind == "notice" {
				read = line.Notice
			}
			told, err := read([]byte(text))
			if err != nil {
				return err
			}
			if err := show(w, told); err != nil {
				return err
			}
			if told.ID >= 0 {
				*next = told.ID + 1
			}
		case name == "":
			kind = ""
		}
	}
}

// show prints one line of the conversation: id, time, source, kind, message.
func show(w io.Writer, l line.Line) error {
	id := "-"
	if l.ID >= 0 {
		id = strconv.FormatInt(l.ID, 10)
	}
	_, err := fmt.Fprintln(w, printable.Line(fmt.Sprintf("%5s  %-12.12s  %-11s  %-20s  %s", id, l.At, l.Source, l.Kind, l.Message)))
	return err
}
