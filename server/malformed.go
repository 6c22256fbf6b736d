package server

import (
	"bytes"
	"net"
)

// plainListener makes connections answer what is no HTTP to net/http as
// upstream answers it. There is no request yet that a handler could see.
type plainListener struct{ net.Listener }

func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		c = &plainConn{TCPConn: tcp}
	}
	return c, err
}

// plainConn words net/http's own answers as upstream does (recorded
// misc_protocol, host_header_odd), and lets a percent sign stand for itself in
// the path of the connection's first request, where no two digits follow
// (recorded get_events_odd_ids). Later requests have no place that could be
// told from here: they get upstream's words.
type plainConn struct {
	*net.TCPConn
	begun bool
	rest  []byte // of what was first read, not handed on yet
}

func (c *plainConn) Read(b []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	n, err := c.TCPConn.Read(b)
	if !c.begun && n > 0 {
		c.begun = true
		if literal := escapePercents(b[:n]); literal != nil {
			n = copy(b, literal)
			c.rest = literal[n:]
		}
	}
	return n, err
}

// escapePercents returns a request with each percent sign of its path that is
// no escape written as one; nil if there is none. It takes a request line that
// came in one piece, as nearly all do.
func escapePercents(request []byte) []byte {
	line, _, whole := bytes.Cut(request, []byte("\r\n"))
	_, target, _ := bytes.Cut(line, []byte(" "))
	path, _, _ := bytes.Cut(target, []byte("?"))
	if !whole || !bytes.ContainsRune(path, '%') {
		return nil
	}
	var literal []byte
	done := 0
	for i := len(line) - len(target); i < len(line)-len(target)+len(path); i++ {
		if line[i] == '%' && !(i+2 < len(line) && isHex(line[i+1]) && isHex(line[i+2])) {
			literal = append(append(literal, request[done:i]...), "%25"...)
			done = i + 1
		}
	}
	if literal == nil {
		return nil
	}
	return append(literal, request[done:]...)
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
	malformedText    = "Invalid HTTP request received."
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
	_, err := c.TCPConn.Write([]byte(malformedStatus + malformedHeaders + malformedText))
	return len(b), err
}
