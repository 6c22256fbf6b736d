package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"
)

// eventsCmd prints a conversation, one readable line an event.
type eventsCmd struct {
	ID     string `arg:"" help:"The conversation."`
	Follow bool   `help:"Go on with each new event." short:"f"`
	Start  int64  `help:"Id of the first event." placeholder:"N"`
	URL    string `default:"http://localhost:3000" help:"Base URL of the server."`
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
		answer, err := e.get(c.URL, fmt.Sprintf("/_local%s/stream?start_id=%d", conversation, c.Start), "")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		lines := bufio.NewReader(answer.Body)
		for {
			line, err := lines.ReadString('\n')
			if text, ok := strings.CutPrefix(line, "data: "); ok {
				if err := show(e.stdout, []byte(text)); err != nil {
					return err
				}
			}
			if err == io.EOF || e.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
		}
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
			return err
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
	_, err := fmt.Fprintf(w, "%5d  %.12s  %-11s  %-20s  %s\n", v.ID, at, v.Source, kind, message)
	return err
}
