package server

import (
	"bytes"
	"net"
)

// plainListener lets upstream's words answer what is no HTTP (recorded
// misc_protocol, host_header_odd). net/http writes its own to the connection,
// before there is a request that a handler could see.
type plainListener struct{ net.Listener }

func (l plainListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		c = plainConn{tcp}
	}
	return c, err
}

type plainConn struct{ *net.TCPConn }

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
func (c plainConn) Write(b []byte) (int, error) {
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
