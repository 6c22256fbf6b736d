package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A request is sent as it is, with {cid} and {cid2} in its target and body
// filled in by each side.
type request struct {
	op      string // the operationId, or what else it is of
	method  string
	target  string
	headers [][2]string
	body    string
	hasBody bool
}

// An answer is what came. Status 0 is none, and body says why.
type answer struct {
	status  int
	headers http.Header
	body    string
}

// A side is one of the two servers.
type side struct {
	base    string
	host    string
	timeout time.Duration
	ids     map[string]string // of conversations, by their place: {cid} => id
	events  []string          // of the round: the places of those that were posted and their ids, in turns
	conn    net.Conn
	r       *bufio.Reader
}

func newSide(base string, timeout time.Duration) (*side, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" || u.Port() == "" {
		return nil, fmt.Errorf("%q: want http://host:port", base)
	}
	return &side{base: strings.TrimSuffix(base, "/"), host: u.Host, timeout: timeout, ids: map[string]string{}}, nil
}

// fill puts the side's ids into a text.
func (s *side) fill(text string) string {
	for place, id := range s.ids {
		text = strings.ReplaceAll(text, place, id)
	}
	return text
}

// send sends a request and reads the answer. A connection that the server has
// closed meanwhile is opened again, once.
func (s *side) send(ctx context.Context, q request) answer {
	text := s.text(q)
	for range 2 {
		fresh := s.conn == nil
		a, err := s.exchange(ctx, q.method, text)
		if err == nil {
			return a
		}
		s.hangUp()
		var slow net.Error
		if errors.As(err, &slow) && slow.Timeout() {
			return answer{body: "no answer in time"}
		}
		if fresh {
			return answer{body: err.Error()}
		}
	}
	return answer{body: "connection closed"}
}

func (s *side) text(q request) []byte {
	var b bytes.Buffer
	body := s.fill(q.body)
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", q.method, s.fill(q.target), s.host)
	for _, h := range q.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	if q.hasBody {
		b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

func (s *side) exchange(ctx context.Context, method string, text []byte) (answer, error) {
	if s.conn == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.host)
		if err != nil {
			return answer{}, err
		}
		s.conn, s.r = conn, bufio.NewReader(conn)
	}
	if err := s.conn.SetDeadline(time.Now().Add(s.timeout)); err != nil {
		return answer{}, err
	}
	if _, err := s.conn.Write(text); err != nil {
		return answer{}, err
	}
	resp, err := http.ReadResponse(s.r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	if resp.Close {
		s.hangUp()
	}
	return answer{resp.StatusCode, resp.Header, string(body)}, nil
}

func (s *side) hangUp() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.conn, s.r = nil, nil
}

// curl is the request as a line for a shell, sent to a server.
func (q request) curl(base string, fill func(string) string) string {
	quote := func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
	line := "curl -g --path-as-is -i -X " + q.method + " " + quote(base+fill(q.target))
	for _, h := range q.headers {
		line += " -H " + quote(h[0]+": "+h[1])
	}
	if q.hasBody {
		line += " --data-binary " + quote(fill(q.body))
	}
	return line
}
