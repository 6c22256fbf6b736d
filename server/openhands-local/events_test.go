package main

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// TestEventsFollow: stored events come first, then each new one, and the
// command ends with the conversation.
func TestEventsFollow(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
	s := servertest.NewServer(t, server.Config{})
	send := func(path, body string) {
		t.Helper()
		resp, err := http.Post(s.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("POST %s answers %s", path, resp.Status)
		}
	}
	say := func(text string) {
		t.Helper()
		send("/api/conversations/c/events", `{"action":"message","args":{"content":"`+text+`"}}`)
	}
	say("one")
	say("two")
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(t.Context(), []string{"events", "--follow", "--start", "1", "--url", s.URL, "c"},
			func(string) (string, bool) { return "", false }, in, io.Discard)
		in.CloseWithError(io.EOF)
		done <- err
	}()
	lines := bufio.NewScanner(out)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || !strings.HasSuffix(lines.Text(), want) {
			t.Fatalf("line %q, want one that ends in %q", lines.Text(), want)
		}
	}
	next("two")
	say("three")
	next("three")
	send("/_local/reset", "")
	if err := <-done; err != nil {
		t.Errorf("the command ends with %v", err)
	}
}

// TestEventsFollowOverRestart: the command waits for a server that went away,
// says so, and goes on after the last event; what it may no longer read ends it.
func TestEventsFollowOverRestart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	first := servertest.NewServer(t, server.Config{Data: data})
	say := func(text string) {
		t.Helper()
		resp, err := http.Post(first.URL+"/api/conversations/c/events", "", strings.NewReader(`{"action":"message","args":{"content":"`+text+`"}}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	say("one")
	out, in := io.Pipe()
	errs, errsIn := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(t.Context(), []string{"events", "--follow", "--url", first.URL, "c"},
			func(string) (string, bool) { return "", false }, in, errsIn)
		in.CloseWithError(io.EOF)
		errsIn.CloseWithError(io.EOF)
		done <- err
	}()
	lines, told := bufio.NewScanner(out), bufio.NewScanner(errs)
	next := func(s *bufio.Scanner, want string) {
		t.Helper()
		if !s.Scan() || !strings.Contains(s.Text(), want) {
			t.Fatalf("line %q, want %q in it", s.Text(), want)
		}
	}
	again := func(c server.Config) {
		t.Helper()
		c.Addr, c.Data = strings.TrimPrefix(first.URL, "http://"), data
		s := servertest.NewServer(t, c)
		if s.URL != first.URL {
			t.Fatalf("the server is at %s, want %s", s.URL, first.URL)
		}
		first = s
	}
	next(lines, "one")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	next(told, "waiting for the server: ")
	again(server.Config{})
	next(told, "connected again, from event 1")
	say("two")
	next(lines, "two")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	next(told, "waiting for the server: ")
	again(server.Config{Key: "k"})
	if err := <-done; err == nil || !strings.Contains(err.Error(), "401 Unauthorized") {
		t.Errorf("the command ends with %v, want 401", err)
	}
}

// TestEventsFollowNotices: what is told beside the events is printed where it was
// told, when that is asked for.
func TestEventsFollowNotices(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Data: server.Memory})
	send := func(method, path, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("%s %s answers %s", method, path, resp.Status)
		}
	}
	send("POST", "/api/conversations/c/events", `{"action":"message","args":{"content":"one"}}`)
	out, in := io.Pipe()
	go func() {
		err := run(t.Context(), []string{"events", "--follow", "--notices", "--url", s.URL, "c"},
			func(string) (string, bool) { return "", false }, in, io.Discard)
		in.CloseWithError(err)
	}()
	lines := bufio.NewScanner(out)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || strings.Join(strings.Fields(lines.Text()), " ") != want {
			t.Fatalf("line %q, want %q", lines.Text(), want)
		}
	}
	if !lines.Scan() || !strings.HasSuffix(lines.Text(), "one") {
		t.Fatalf("line %q, want the event", lines.Text())
	}
	send("PATCH", "/api/conversations/c", `{"title":"Named"}`)
	next("- title Named")
	send("DELETE", "/api/conversations/c", "")
	next("- run ended")
	if lines.Scan() {
		t.Errorf("line %q after the end", lines.Text())
	}
}

// TestStreamFromBeforeTheFirst: an id before the first is the first, however
// it is said.
func TestStreamFromBeforeTheFirst(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events")
	s := servertest.NewServer(t, server.Config{})
	resp, err := http.Post(s.URL+"/api/conversations/c/events", "", strings.NewReader(`{"action":"null"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for query, last := range map[string]string{"": "", "?start_id=-5": "", "?start_id=0": "", "?start_id=7": "-1"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/_local/conversations/c/stream"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Last-Event-ID", last)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		resp.Body.Close()
		if line != "id: 0\n" || err != nil {
			t.Errorf("stream%s after %q begins with %q, %v, want id 0", query, last, line, err)
		}
	}
}
