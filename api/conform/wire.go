package conform

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// message is a request byte for byte: nothing of it is cleaned up, because much of what is recorded is malformed.
type message struct {
	method  string
	target  string // what stands between the method and HTTP/1.1
	headers [][2]string
	body    []byte
	chunked bool
}

// Answer is what came back. Status is 0 if nothing did, then Err tells why.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Err    string
}

// maxAnswer bounds what is read of one answer's body.
const maxAnswer = 64 << 20

func (m message) has(header string) bool {
	return slices.ContainsFunc(m.headers, func(h [2]string) bool { return strings.EqualFold(h[0], header) })
}

// bytes is the request as it goes out, Host, Content-Length and "Connection: close" added unless they are listed.
func (m message) bytes(host string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", m.method, m.target)
	line := func(k, v string) { b.WriteString(k + ": " + v + "\r\n") }
	if !m.has("Host") {
		line("Host", host)
	}
	for _, h := range m.headers {
		line(h[0], h[1])
	}
	switch {
	case m.chunked:
		line("Transfer-Encoding", "chunked")
	case !m.has("Content-Length") && (len(m.body) > 0 || m.method == "POST" || m.method == "PUT" || m.method == "PATCH"):
		line("Content-Length", strconv.Itoa(len(m.body)))
	}
	if !m.has("Connection") {
		line("Connection", "close")
	}
	b.WriteString("\r\n")
	if m.chunked {
		if len(m.body) > 0 {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(m.body), m.body)
		}
		b.WriteString("0\r\n\r\n")
	} else {
		b.Write(m.body)
	}
	return b.Bytes()
}

// send opens a connection to base, writes m and reads one answer, all of it within timeout.
// A server may answer and close before it has read the whole request, so writing and reading go on side by side.
func send(ctx context.Context, base *url.URL, m message, timeout time.Duration) Answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := dial(ctx, base)
	if err != nil {
		return Answer{Err: err.Error()}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	go conn.Write(m.bytes(base.Host)) // an error shows in the reading; Close ends it

	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: m.method})
	for err == nil && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(r, &http.Request{Method: m.method})
	}
	if err != nil {
		if ctx.Err() != nil {
			return Answer{Err: fmt.Sprintf("no answer within %v", timeout)}
		}
		return Answer{Err: "no answer: " + err.Error()}
	}
	defer resp.Body.Close()
	a := Answer{Status: resp.StatusCode, Header: resp.Header}
	if n := resp.Header.Get("Content-Length"); n == "" && len(resp.TransferEncoding) > 0 {
		a.Header.Set("Transfer-Encoding", strings.Join(resp.TransferEncoding, ", "))
	}
	if a.Status == http.StatusSwitchingProtocols {
		return a
	}
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Answer{Err: "answer cut short: " + err.Error()}
	}
	return a
}

func dial(ctx context.Context, base *url.URL) (net.Conn, error) {
	address := base.Host
	if base.Port() == "" {
		address = net.JoinHostPort(base.Hostname(), map[string]string{"http": "80", "https": "443"}[base.Scheme])
	}
	if base.Scheme == "https" {
		return (&tls.Dialer{}).DialContext(ctx, "tcp", address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// header returns the field's values in one line, and whether it is there at all.
func (a Answer) header(name string) (string, bool) {
	v, ok := a.Header[textproto.CanonicalMIMEHeaderKey(name)]
	return strings.Join(v, ", "), ok
}

// has tells whether an answer has these values: JSON pointer => value.
func (a Answer) has(until map[string]json.RawMessage) bool {
	if len(until) == 0 {
		return true
	}
	body, err := parseJSON(a.Body)
	return err == nil && body.has(until)
}
