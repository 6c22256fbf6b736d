package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// TestWithheldBody: what is refused before its body is read is answered at
// once, as on the real server, whatever has come of the body: nothing, since
// the client waits to be told to go on; a part; all. Where the client sends the
// rest, the connection is used again.
func TestWithheldBody(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{Key: "k", MaxBody: 1 << 20}.WithBounds(ever, ever, ever, ever))
	type refusal struct {
		line, host string
		status     int
	}
	refusals := []refusal{
		{"POST /nowhere", "localhost", 404},
		{"PUT /alive", "localhost", 405},
		{"POST /alive/", "localhost", 307},
		{"POST /mcp", "localhost", 307},
		{"POST /alive", "evil.example", 403},
		{"POST /_local/reset", "localhost", 401},
		{"POST /_local/conversations/c/events", "localhost", 401},
		{"GET /_local/login?key=wrong", "localhost", 401},
	}
	for _, op := range gen.Operations {
		if op.Secured {
			path := strings.NewReplacer("{", "", "}", "").Replace(op.Path)
			refusals = append(refusals, refusal{op.Method + " " + path, "localhost", 401})
		}
	}
	const alive = "GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, tt := range []struct{ why, headers, sent, rest string }{
		{"withheld", "Expect: 100-continue\r\nContent-Length: 9", "", ""},
		{"withheld, of unknown length", "Expect: 100-continue\r\nTransfer-Encoding: chunked", "", ""},
		{"half of it", "Content-Length: 9", "{\"a\"", ": \"b\"" + alive},
		{"half of it, in chunks", "Transfer-Encoding: chunked", "4\r\n{\"a\"\r\n", ""},
		{"half of a large one", "Content-Length: 1000000", "{\"a\"", ""},
		{"all", "Content-Length: 9", "{\"a\":\"b\"}", alive},
	} {
		for _, refused := range refusals {
			c := dialRaw(t, s.URL, fmt.Sprintf("%s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n%s", refused.line, refused.host, tt.headers, tt.sent))
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			r := bufio.NewReader(c)
			if got, err := readStatus(r); err != nil || got.StatusCode != refused.status || tt.rest == "" && !got.Close {
				t.Errorf("%s, %s: %v (%v), want %d, and the end of the connection where no more comes", refused.line, tt.why, got, err, refused.status)
				break
			}
			if tt.rest == "" {
				continue
			}
			if _, err := io.WriteString(c, tt.rest); err != nil {
				t.Fatal(err)
			}
			if got, err := readStatus(r); err != nil || got.StatusCode != 200 {
				t.Errorf("after %s, %s: %v (%v), want 200", refused.line, tt.why, got, err)
			}
		}
	}
}

// TestExpectedBody: a client that waits is told to go on where its body is
// wanted, and its connection is used again.
func TestExpectedBody(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	c := dialRaw(t, s.URL, "")
	r := bufio.NewReader(c)
	for range 2 {
		for _, step := range []struct {
			send   string
			status int
		}{
			{fmt.Sprintf("POST /api/conversations/c/events HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(hello)), 100},
			{hello, 200},
		} {
			if _, err := io.WriteString(c, step.send); err != nil {
				t.Fatal(err)
			}
			if got, err := readStatus(r); err != nil || got.StatusCode != step.status {
				t.Fatalf("after %q: %v (%v), want %d", step.send, got, err, step.status)
			}
		}
	}
}

// readStatus reads an answer and leaves its body.
func readStatus(r *bufio.Reader) (*http.Response, error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}
