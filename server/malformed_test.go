package server_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// TestTLS: a client that speaks TLS, which sends no line, is answered at once,
// and the port goes on.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{}.WithBounds(ever, ever, ever, ever))
	for _, hello := range []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x16\x03\x01\n\r\n\r\n"} {
		c := dialRaw(t, s.URL, hello)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 Bad Request\r\n") || !strings.HasSuffix(string(answer), "\r\n\r\nInvalid HTTP request received.") {
			t.Errorf("%q: answered %q (%v), want a 400 in upstream's words", hello, answer, err)
		}
	}
	if _, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "http://"), &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("TLS is spoken")
	}
	if resp := send(t, "GET", s.URL+"/alive", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %s", resp.Status)
	}
}

// TestMalformed: what is no HTTP is answered in upstream's words (recorded
// misc_protocol, host_header_odd, add_event_chunked_expect), whatever came
// before it on the connection; a handler's 400 is its own.
func TestMalformed(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	const alive = "GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, tt := range []struct{ why, request, want string }{
		{"a blank in the target", "GET /al ive HTTP/1.1\r\nHost: localhost\r\n\r\n", "Invalid HTTP request received."},
		{"a blank in a header's name", "GET /alive HTTP/1.1\r\nHost: localhost\r\nA b: c\r\n\r\n", "Invalid HTTP request received."},
		{"two hosts", "GET /alive HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "Invalid HTTP request received."},
		{"a length that is no number", "POST /alive HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n", "Invalid HTTP request received."},
		{"the second of a connection", alive + "x\r\n\r\n", "Invalid HTTP request received."},
		{"a percent sign on its own", "GET /api/conversations/%/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", `{"detail":"Conversation % not found"}`},
		{"percent signs before no digits", "GET /api/conversations/%zz%4%C3%A9%/events?a=%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", `{"detail":"Conversation %zz%4é% not found"}`},
		{"a long path of them", "GET /" + strings.Repeat("%", 4000) + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", `{"detail":"Not Found"}`},
		{"percent signs in a request that waits for no answer", alive + "GET /% HTTP/1.1\r\nHost: localhost\r\n\r\n", "Invalid HTTP request received."},
		{"no slash before a path", "GET alive?a=%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", `{"detail":"Not Found"}`},
		{"a handler's refusal", "GET /api/conversations/x/events?limit=101 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", `{"detail":"Conversation x not found"}`},
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, tt.request); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		var resp *http.Response
		var body []byte
		for range strings.Count(tt.request, "\r\n\r\n") {
			if resp, err = http.ReadResponse(r, nil); err == nil {
				body, err = io.ReadAll(resp.Body)
			}
			if err != nil {
				t.Fatalf("%s: %v", tt.why, err)
			}
		}
		if got := strings.TrimSpace(string(body)); got != tt.want {
			t.Errorf("%s: answered %d %q, want %q", tt.why, resp.StatusCode, got, tt.want)
		}
		if tt.want == "Invalid HTTP request received." && (resp.StatusCode != 400 || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" || !resp.Close) {
			t.Errorf("%s: answered %d %v, want 400, plain text, and the connection's end", tt.why, resp.StatusCode, resp.Header)
		}
	}
}

// TestMalformedLater: the requests of a connection are mended, whichever they
// are, when each waits for the answer before; also one that begins to arrive
// while the one before is answered. A body stays as it is, also one that looks
// like a request and comes on its own after a head that came early.
func TestMalformedLater(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	write := func(text string) {
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	const alive = "GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, tt := range []struct{ method, target, body, want string }{
		{"GET", "/alive", "", `{"status":"ok"}`},
		{"GET", "/api/conversations/%/events", "", `{"detail":"Conversation % not found"}`},
		{"POST", "/api/conversations/mine/events", `{"action":"message","args":{"content":"GET /% HTTP/1.1\r\n"}}`, `{"success":true}`},
		{"GET", "/api/conversations/%zz/events", "", `{"detail":"Conversation %zz not found"}`},
		{"GET", "alive", "", `{"detail":"Not Found"}`},
		{"GET", "/alive?a=%", "", `{"status":"ok"}`},
	} {
		request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", tt.method, tt.target, len(tt.body), tt.body)
		for why, writes := range map[string][]string{
			"on its own":            {alive, "", request},
			"begun with the other":  {alive + request[:1], "", request[1:]},
			"begun after the other": {alive, request[:1], request[1:]},
		} {
			for range 10 {
				write(writes[0])
				write(writes[1])
				read()
				write(writes[2])
				if got := read(); got != tt.want {
					t.Fatalf("%s %s, %s: answered %q, want %q", tt.method, tt.target, why, got, tt.want)
				}
			}
		}
	}
	body := "\"GET /% HTTP/1.1\r\n"
	head := fmt.Sprintf("POST /api/conversations/mine/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(body))
	write(head + body)
	want := read()
	write(alive + head)
	read()
	write(body)
	if got := read(); got != want {
		t.Errorf("a body on its own: answered %s, want %s", got, want)
	}
}
