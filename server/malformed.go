package server

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
)

// plainConn answers what is no HTTP to net/http as upstream does, before there is
// a request that a handler could see. It words net/http's own answers (recorded
// misc_protocol, host_header_odd, add_event_chunked_expect), and mends the targets of requests: a percent
// sign that no two digits follow stands for itself (recorded get_events_odd_ids),
// and what begins with no slash is the path of nothing (recorded
// misc_protocol). Of requests that are sent before the answer to the one before,
// the first alone can be told from here: the others get upstream's words. TLS,
// whose first line net/http would wait for, is answered in the same words.
type plainConn struct {
	*net.TCPConn // has all that net/http looks for
	log          *slog.Logger
	begun        bool   // a request: the end of its first line was read
	ahead        []byte // of a first line, handed on before its end
	rest         []byte // of what was read, not handed on yet
}

// followConn is told by net/http, on the goroutine that reads a connection, what
// it does.
func followConn(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*plainConn)
	switch {
	case !ok:
	case state == http.StateIdle:
		c.begun = false
	case state == http.StateActive:
		c.begun = true
	}
}

func (c *plainConn) Read(b []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	n, err := c.TCPConn.Read(b)
	switch {
	case n == 0:
	case !c.begun:
		request := b[:n]
		if len(c.ahead) > 0 {
			request = slices.Concat(c.ahead, request)
		}
		if request[0] == tlsHandshake {
			c.log.Warn("refused: TLS was spoken to this port, which speaks http", "client", c.RemoteAddr().String())
			_, _ = c.TCPConn.Write([]byte(malformedAnswer))
			return 0, io.EOF
		}
		if len(request) < maxLine && !bytes.Contains(request, []byte("\n")) {
			c.ahead = bytes.Clone(request)
			break
		}
		if mended, ok := bytes.CutPrefix(mendTarget(request), c.ahead); ok && len(mended) > 0 {
			n = copy(b, mended)
			c.rest = mended[n:]
		}
		c.begun, c.ahead = true, nil
	case len(b) == 1: // net/http looks whether the client is still there
		c.ahead = []byte{b[0]}
	}
	return n, err
}

// tlsHandshake is the first byte of a connection by TLS, and of no request.
const tlsHandshake = 22

// maxLine is how much of a request is looked at for the end of its first line.
const maxLine = 4 << 10

// mendTarget returns a request with a target that net/http takes; nil if it has
// one.
func mendTarget(request []byte) []byte {
	line, _, whole := bytes.Cut(request, []byte("\r\n"))
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, ok := bytes.Cut(rest, []byte(" "))
	path, _, _ := bytes.Cut(target, []byte("?"))
	if !whole || !ok || !bytes.HasPrefix(version, []byte("HTTP/")) || len(path) == 0 || string(method) == http.MethodConnect {
		return nil
	}
	mended, replaced := path, len(path)
	switch {
	case path[0] != '/' && string(path) != "*" && !bytes.Contains(path, []byte("://")):
		mended, replaced = []byte("*"), len(target)
	case bytes.ContainsRune(path, '%'):
		mended = escapePercents(path)
	}
	if bytes.Equal(mended, path) {
		return nil
	}
	return slices.Concat(method, []byte(" "), mended, request[len(method)+1+replaced:])
}

// escapePercents writes each percent sign of a path that is no escape as one.
func escapePercents(path []byte) []byte {
	var literal []byte
	for i, c := range path {
		literal = append(literal, c)
		if c == '%' && !(i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2])) {
			literal = append(literal, "25"...)
		}
	}
	return literal
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// An answer of net/http's own is one Write of
//
//	HTTP/1.1 400 Bad Request[: reason]CRLF malformedHeaders 400 Bad Request[: reason]
//
// No handler's answer has these headers alone: there are X-Request-Id and Date.
const (
	malformedStatus  = "HTTP/1.1 400 Bad Request"
	malformedHeaders = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	malformedAnswer  = malformedStatus + malformedHeaders + "Invalid HTTP request received."
)

// Write writes b, or upstream's answer in its place.
func (c *plainConn) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(b, []byte(malformedStatus)) {
		return c.TCPConn.Write(b)
	}
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 || !bytes.HasPrefix(b[end:], []byte(malformedHeaders)) {
		return c.TCPConn.Write(b)
	}
	_, err := c.TCPConn.Write([]byte(malformedAnswer))
	return len(b), err
}
