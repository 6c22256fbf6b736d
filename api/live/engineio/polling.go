package engineio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxBatch is how many packets one poll is answered with: python-engineio's
// client refuses more.
const maxBatch = 16

var errPollLost = errors.New("the client left while it polled")

func (s *Server) openPolling(w http.ResponseWriter, r *http.Request) {
	session := s.open(r, onPolling)
	session.answerPoll(w, r, session.handshake("websocket"))
}

// noopDelay is how long a poll waits for an upgrade that has begun. The upgrade
// packet may have been sent before the poll, over the other connection.
const noopDelay = 50 * time.Millisecond

// servePoll answers a GET with what is queued, or waits for something. A
// second one at a time ends the session, as the protocol asks.
func (s *Session) servePoll(w http.ResponseWriter, r *http.Request) {
	if s.currentTransport() == probed {
		select {
		case <-s.upgraded:
		case <-time.After(noopDelay):
			s.answerPoll(w, r, noopPacket)
			return
		}
	}
	if s.currentTransport() == onWebsocket {
		refuse(w, http.StatusBadRequest, "Invalid transport")
		return
	}
	select {
	case s.taker <- struct{}{}:
	default:
		s.end(errors.New("two polls at a time"))
		refuse(w, http.StatusBadRequest, "Invalid poll: another one waits")
		return
	}
	packets := s.takeBatch(r)
	if s.ctx.Err() != nil {
		s.server.forget(s.id)
	}
	lost := false
	if i := slices.IndexFunc(packets, func(p Packet) bool { return p.cut }); i >= 0 {
		packets, lost = packets[:i], i == 0
		s.end(errCut)
	}
	// Before the answer: the client may poll again as soon as it has read it.
	<-s.taker
	if lost {
		panic(http.ErrAbortHandler) // net/http closes the connection
	}
	s.answerPoll(w, r, packets...)
}

// takeBatch waits for packets and takes up to maxBatch of them. The close comes
// in an answer of its own: socket.io-client acts on a close before the
// disconnect packet that stands in front of it, and would connect again.
func (s *Session) takeBatch(r *http.Request) []Packet {
	var batch []Packet
	if s.rest == nil && !s.closing {
		select {
		case <-s.ctx.Done():
			return []Packet{s.lastPacket()}
		case <-r.Context().Done():
			s.end(errPollLost)
			return nil
		case <-s.wake:
			return []Packet{noopPacket}
		case <-s.ping:
			batch = append(batch, pingPacket)
		case packets := <-s.out:
			s.rest = s.taken(packets)
			s.closing = s.rest == nil
		}
	}
	if s.closing && s.rest == nil {
		s.end(errClosed)
		return []Packet{closePacket}
	}
	for {
		n := min(maxBatch-len(batch), len(s.rest))
		batch = append(batch, s.rest[:n]...)
		if s.rest = s.rest[n:]; len(s.rest) > 0 {
			return batch
		}
		select {
		case packets := <-s.out:
			s.rest = s.taken(packets)
			s.closing = s.rest == nil
		default:
			s.rest = nil
		}
		if s.rest == nil {
			return batch
		}
	}
}

// lastPacket is the answer to the poll that waits when the session ends. A
// client that left by itself, or shall come back, gets no close packet: its
// next poll fails, which every client takes for a lost connection.
func (s *Session) lastPacket() Packet {
	cause := context.Cause(s.ctx)
	if errors.Is(cause, errClientClosed) || errors.Is(cause, errShutdown) || errors.Is(cause, errCut) {
		return noopPacket
	}
	return closePacket
}

// answerPoll writes packets; a client that does not take them has lost them,
// so its session ends.
func (s *Session) answerPoll(w http.ResponseWriter, r *http.Request, packets ...Packet) {
	body := encodePayload(packets)
	if j, _ := jsonpIndex(r.URL.Query()); j >= 0 {
		var text strings.Builder
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		_ = e.Encode(string(body)) // a string always encodes
		body = fmt.Appendf(nil, "___eio[%d](%s);", j, strings.TrimSpace(text.String()))
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.server.options.PingTimeout))
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	if _, err := w.Write(body); err != nil {
		s.end(errPollLost)
	}
}

// servePost takes the packets of a POST.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request) {
	o := s.server.options
	if s.currentTransport() == onWebsocket || s.ctx.Err() != nil {
		refuse(w, http.StatusBadRequest, "Invalid transport")
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(o.PingInterval + o.PingTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(o.MaxPayload)))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		s.end(fmt.Errorf("payload over %d bytes", o.MaxPayload))
		refuse(w, http.StatusRequestEntityTooLarge, "Payload too large")
		return
	}
	if err == nil {
		var packets []Packet
		packets, err = decodePayload(body)
		for _, p := range packets {
			if s.receive(p) != nil && o.Dialect == Python {
				s.Close()
				refuse(w, http.StatusBadRequest, "Bad Request")
				return
			}
		}
	}
	answer := "ok"
	if o.Dialect == Python {
		answer = "OK"
	} else if err != nil {
		s.end(err)
		refuse(w, http.StatusBadRequest, errMalformed.Error())
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprint(w, answer)
}
