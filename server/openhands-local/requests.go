package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/printable"
	"github.com/openhands-local/openhands-local/server/journal"
)

// requestsCmd prints the journal of a server.
type requestsCmd struct {
	Follow       bool   `help:"Go on with each new one, over restarts of the server." short:"f"`
	HAR          string `name:"har" help:"Write them to this file as an HTTP Archive, which browsers' tools open." placeholder:"FILE"`
	Curl         bool   `help:"Print each as a command that asks again."`
	Explain      bool   `help:"Print below each which recordings stand behind its answer, and what replaces the call in OpenHands V1."`
	Operation    string `help:"Only this operation." placeholder:"NAME"`
	Conversation string `help:"Only of this conversation." placeholder:"ID"`
	Status       string `help:"Only with this status: 422, or 4xx for all of its class."`
	Method       string `help:"Only with this method, or these messages of sockets." placeholder:"NAME"`
	Path         string `help:"Only with this path; with * at its end, with what begins so."`
	target
}

// Help names what is not a flag.
func (*requestsCmd) Help() string { return "SESSION_API_KEY is sent to a server that wants a key." }

func (c *requestsCmd) Run(e *env) error {
	query := url.Values{}
	for name, value := range map[string]string{"operation": c.Operation, "conversation": c.Conversation, "status": c.Status, "method": c.Method, "path": c.Path} {
		if value != "" {
			query.Set(name, value)
		}
	}
	given := 0
	for _, b := range []bool{c.Follow, c.HAR != "", c.Curl} {
		if b {
			given++
		}
	}
	if given > 1 {
		return usage("requests: want one of --follow, --har and --curl")
	}
	if c.Explain && (c.HAR != "" || c.Curl) {
		return usage("requests: --explain is for lines: --har has it all, --curl has no place for it")
	}
	if c.Follow {
		return c.follow(e, query)
	}
	switch {
	case c.HAR != "":
		query.Set("format", "har")
		return replaceFile(c.HAR, func(w io.Writer) error { return c.copy(e, w, query) }, nil)
	case c.Curl:
		query.Set("format", "curl")
		return c.copy(e, e.stdout, query)
	}
	answer, err := e.get(c.base(), "/_local/requests?"+query.Encode(), "")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var page journal.Page
	if err := json.NewDecoder(answer.Body).Decode(&page); err != nil {
		return fmt.Errorf("%s: requests: %w", c.base(), err)
	}
	if page.Dropped > 0 {
		fmt.Fprintf(e.stderr, "openhands-local: %s before these gave way: a larger --journal keeps more\n", plural(page.Dropped, "request", "requests"))
	}
	for _, entry := range page.Entries {
		if err := c.show(e.stdout, entry); err != nil {
			return err
		}
	}
	return nil
}

func (c *requestsCmd) copy(e *env, w io.Writer, query url.Values) error {
	answer, err := e.get(c.base(), "/_local/requests?"+query.Encode(), "")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(w, answer.Body)
	return err
}

// follow prints what comes until the command is ended. A server that goes away is
// waited for. When it comes back it goes on where it was, and one that was started
// again begins with its first request.
func (c *requestsCmd) follow(e *env, query url.Values) error {
	answer, err := e.get(c.base(), "/_local/requests/stream?"+query.Encode(), "")
	if err != nil {
		return err
	}
	for {
		cursor, err := c.showEntries(e, answer.Body)
		if err != nil {
			return err
		}
		if cursor != "" {
			query.Set("after", cursor)
		}
		for told := false; ; told = true {
			select {
			case <-e.Done():
				return nil
			case <-time.After(retryAfter):
			}
			if answer, err = e.get(c.base(), "/_local/requests/stream?"+query.Encode(), ""); err == nil {
				fmt.Fprintln(e.stderr, "openhands-local: connected again")
				break
			}
			var refused *refusal
			if errors.As(err, &refused) && refused.status < http.StatusInternalServerError {
				return err
			}
			if !told && e.Err() == nil {
				fmt.Fprintf(e.stderr, "openhands-local: waiting for the server: %v\n", err)
			}
		}
	}
}

// showEntries prints what a stream tells until it breaks off, and returns how far
// it was, "" when it did not say.
func (c *requestsCmd) showEntries(e *env, stream io.ReadCloser) (cursor string, err error) {
	defer stream.Close()
	kind := ""
	for lines := bufio.NewReader(stream); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return cursor, nil
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case field == "id":
			cursor = value
		case field == "event":
			kind = value
		case field == "":
			kind = ""
		case field == "data" && kind == "missed":
			var gap struct{ Missed int64 }
			if err := json.Unmarshal([]byte(value), &gap); err != nil {
				return cursor, fmt.Errorf("stream: %w", err)
			}
			fmt.Fprintf(e.stderr, "openhands-local: %s gave way before they were shown: a larger --journal keeps more\n", plural(gap.Missed, "request", "requests"))
		case field == "data":
			var entry journal.Entry
			if err := json.Unmarshal([]byte(value), &entry); err != nil {
				return cursor, fmt.Errorf("stream: %w", err)
			}
			if err := c.show(e.stdout, &entry); err != nil {
				return cursor, err
			}
		}
	}
}

// show prints one line, and with --explain those below it.
func (c *requestsCmd) show(w io.Writer, entry *journal.Entry) error {
	lines := []string{entry.String()}
	if c.Explain {
		lines = append(lines, entry.Explanation()...)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, printable.Line(line)); err != nil {
			return err
		}
	}
	return nil
}
