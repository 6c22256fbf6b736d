package engineio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	// upgradeTimeout is how long a client may take from the opening of a
	// second transport to the upgrade packet.
	upgradeTimeout = 10 * time.Second

	// farewellTimeout is how long a client may take to answer the closing
	// when the server shuts down, also one that was begun before. It has been told
	// by then.
	farewellTimeout = 250 * time.Millisecond
)

func asksForWebsocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// accept returns nil when it has refused the request. CheckOrigin has passed
// already.
func (s *Server) accept(w http.ResponseWriter, r *http.Request) *websocket.Conn {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil
	}
	c.SetReadLimit(int64(s.options.MaxPayload))
	return c
}

func (s *Server) openWebsocket(w http.ResponseWriter, r *http.Request) {
	c := s.accept(w, r)
	if c == nil {
		return
	}
	session := s.open(r, onWebsocket)
	session.rest = []Packet{session.handshake()}
	session.serveWebsocket(c)
}

// serveUpgrade opens a websocket beside polling, and moves the session to it
// when the client says so:
//
//	client 2probe, server 3probe, (polls get 6), client 5
//
// When anything else happens the websocket is closed and polling goes on. One
// too many is closed once it is open: the protocol's test suite wants no error.
func (s *Session) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	c := s.server.accept(w, r)
	if c == nil {
		return
	}
	if !s.moveTo(onPolling, claimed) {
		c.Close(websocket.StatusPolicyViolation, "session has a websocket")
		return
	}
	if err := s.upgrade(c); err != nil {
		if !s.moveTo(claimed, onPolling) {
			s.moveTo(probed, onPolling)
		}
		c.CloseNow()
		return
	}
	select {
	case s.taker <- struct{}{}: // from now on this goroutine's websocket
		s.serveWebsocket(c)
	case <-s.ctx.Done():
		c.CloseNow()
	}
}

func (s *Session) upgrade(c *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(s.ctx, upgradeTimeout)
	defer cancel()
	if err := expect(ctx, c, "2probe"); err != nil {
		return err
	}
	if err := c.Write(ctx, websocket.MessageText, []byte("3probe")); err != nil {
		return err
	}
	s.moveTo(claimed, probed)
	s.wakePoll()
	if err := expect(ctx, c, string(rune(typeUpgrade))); err != nil {
		return err
	}
	s.moveTo(probed, onWebsocket)
	close(s.upgraded)
	s.wakePoll()
	return nil
}

func (s *Session) wakePoll() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func expect(ctx context.Context, c *websocket.Conn, want string) error {
	switch _, got, err := c.Read(ctx); {
	case err != nil:
		return err
	case string(got) != want:
		return errMalformed
	}
	return nil
}

// serveWebsocket carries the session until it ends. The connection is closed
// by whoever ends the session, which breaks the read and the write in progress.
func (s *Session) serveWebsocket(c *websocket.Conn) {
	reading, breakOff := context.WithCancel(context.Background())
	defer breakOff()
	defer context.AfterFunc(s.server.stopping, func() { time.AfterFunc(farewellTimeout, breakOff) })()
	context.AfterFunc(s.ctx, func() { closeWebsocket(c, context.Cause(s.ctx)) })
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.end(s.writeWebsocket(c))
	}()
	s.end(s.readWebsocket(reading, c))
	<-written
}

func closeWebsocket(c *websocket.Conn, cause error) {
	switch {
	case errors.Is(cause, errSlow), errors.Is(cause, errCut): // a close frame would wait behind the rest, or say a word
		c.CloseNow()
	case errors.Is(cause, errShutdown):
		c.Close(websocket.StatusServiceRestart, "")
	default:
		c.Close(websocket.StatusNormalClosure, "")
	}
}

func (s *Session) readWebsocket(ctx context.Context, c *websocket.Conn) error {
	for {
		kind, data, err := c.Read(ctx)
		if err != nil {
			return fmt.Errorf("websocket: %w", err)
		}
		p := Packet{binary: true, wire: data}
		if kind == websocket.MessageText {
			if p, err = decodeText(data); err != nil {
				switch digit := len(data) > 0 && data[0] >= '0' && data[0] <= '9'; {
				case s.server.options.Dialect == Standard:
					return err
				case digit:
					continue // a type that does not exist
				}
				return fmt.Errorf("%w: %w", errCut, err)
			}
		}
		_ = s.receive(p)
	}
}

func (s *Session) writeWebsocket(c *websocket.Conn) error {
	packets := s.rest
	if s.closing && packets == nil {
		return errClosed
	}
	for {
		for _, p := range packets {
			if p.cut {
				return errCut
			}
			kind := websocket.MessageText
			if p.binary {
				kind = websocket.MessageBinary
			}
			if err := c.Write(context.Background(), kind, p.wire); err != nil {
				return fmt.Errorf("websocket: %w", err)
			}
		}
		select {
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-s.ping:
			packets = []Packet{pingPacket}
		case packets = <-s.out:
			if s.taken(packets) == nil {
				return errClosed
			}
		}
	}
}
