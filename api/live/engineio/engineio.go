// Package engineio is the server side of the Engine.IO protocol, version 4: a
// session of messages between a browser or program and this server, over HTTP
// long-polling, a websocket, or the first upgraded to the second.
//
// A [Server] is an [http.Handler] for one path, with and without its trailing
// slash; it does not look at the path itself. For each session it runs the
// function given to [New], which takes messages with [Session.Receive] and
// sends with [Session.Send] (never waits) or [Session.Emit] (waits for room).
//
// What a session may hold is bounded: [Options.MaxPayload] bytes a request or
// websocket message, [Options.QueueSize] sends and [Options.QueueBytes] that the
// client has not taken.
// A session ends, and everything it held is freed, when a ping is not answered
// in time, so a client that vanished lives PingInterval + PingTimeout at most.
//
// The files: packet.go is the wire format; session.go is what both transports
// share; polling.go and websocket.go are the transports.
package engineio

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
)

// Dialect says whose habits a server has where the protocol document and
// python-engineio, which most servers written in Python run, differ.
//
//	                              Standard               Python
//	answer to a POST              ok                     OK
//	no transport parameter        400 Invalid transport  polling
//	a method that is not known    400                    405 Method Not Found
//	a malformed packet in a POST  ends the session: 400  drops the whole POST: 200
//	a servers' packet in a POST   is ignored             ends the session: 400
//	a malformed websocket packet  ends the session       cuts it, a type of 7 to 9 is ignored
type Dialect int

const (
	// Standard is what the protocol document and its test suite ask for.
	Standard Dialect = iota
	// Python is what python-engineio 4.12 answers (recorded
	// engineio_http_errors).
	Python
)

// Options of a [Server]. The zero value is a server that pages of its own
// origin may use.
type Options struct {
	// Clock is what pings go by; the machine's if nil. While it is frozen they go
	// by the machine's, which clients expect them by.
	Clock *clock.Clock
	// PingInterval is the time from the start, or from the last answered
	// ping, to the next ping; 25 s if zero.
	PingInterval time.Duration
	// PingTimeout is how long an answer to a ping may take, of the machine's
	// time: clients have no other. 20 s if zero.
	PingTimeout time.Duration
	// MaxPayload bounds a POST body and a websocket message, in bytes;
	// 4 MiB if zero.
	MaxPayload int
	// QueueSize is how many sends may wait for the client; 256 if zero.
	QueueSize int
	// QueueBytes is how many bytes they may have together; 64 MiB if zero. One
	// send that is longer waits alone.
	QueueBytes int64
	// Dialect is Standard if zero.
	Dialect Dialect
	// HoldPing, when set, is asked before each ping, with the request of the
	// handshake. One that is held is not sent, and no answer is waited for: the
	// client has to notice by itself that it hears nothing.
	HoldPing func(*http.Request) bool
	// CheckOrigin returns why a request is refused, nil when it may come in.
	// The refusal is a 403 with the error's text. If the field is nil, an
	// Origin header must name the host that was asked.
	CheckOrigin func(*http.Request) error
	// AllowOrigin tells whether the pages of an origin may read the answers
	// (the Access-Control-Allow-Origin header). If nil, those of others may
	// not.
	AllowOrigin func(origin string) bool
}

// Server is a handler of Engine.IO sessions. Make one with [New].
type Server struct {
	options Options
	serve   func(*Session) error
	running sync.WaitGroup // requests and serve functions

	stopping context.Context // ends with Shutdown
	stop     context.CancelFunc

	mu       sync.Mutex
	sessions map[string]*Session
	down     bool
}

// New returns a server that runs serve, on a goroutine of its own, for each
// session. When serve returns nil the session closes after what is queued has
// gone out, as by [Session.Close]; another error ends it at once.
func New(o Options, serve func(*Session) error) *Server {
	setDefault(&o.PingInterval, 25*time.Second)
	setDefault(&o.PingTimeout, 20*time.Second)
	setDefault(&o.MaxPayload, 4<<20)
	setDefault(&o.QueueSize, 256)
	setDefault(&o.QueueBytes, 64<<20)
	if o.Clock == nil {
		o.Clock = clock.New(clock.Options{})
	}
	if o.CheckOrigin == nil {
		o.CheckOrigin = sameOrigin
	}
	if o.AllowOrigin == nil {
		o.AllowOrigin = func(string) bool { return false }
	}
	s := &Server{options: o, serve: serve, sessions: map[string]*Session{}}
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func sameOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if u, err := url.Parse(origin); origin == "" || err == nil && strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	return fmt.Errorf("origin %q is not allowed", origin)
}

// NewID returns 20 random characters of [A-Za-z0-9_-].
func NewID() string {
	var b [15]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ServeHTTP answers one request of either transport. What is refused is
// answered with a text, as JSON string (recorded engineio_http_errors): 400
// for a request that breaks the protocol or names no session, 403 for an
// origin, 413 for a POST over MaxPayload (which ends its session), 503 while
// the server shuts down.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.writeCORS(w.Header(), r)
	if !s.enter() {
		refuse(w, http.StatusServiceUnavailable, errShutdown.Error())
		return
	}
	defer s.running.Done()
	if err := s.options.CheckOrigin(r); err != nil {
		refuse(w, http.StatusForbidden, err.Error())
		return
	}
	q := r.URL.Query()
	sid, transport := q.Get("sid"), q.Get("transport")
	if transport == "" && s.options.Dialect == Python {
		transport = "polling"
	}
	switch _, err := jsonpIndex(q); {
	case transport != "polling" && transport != "websocket":
		refuse(w, http.StatusBadRequest, "Invalid transport")
	case sid == "" && q.Get("EIO") != "4":
		refuse(w, http.StatusBadRequest, "The client is using an unsupported version of the Socket.IO or Engine.IO protocols")
	case err != nil:
		refuse(w, http.StatusBadRequest, "Invalid JSONP index number")
	case r.Method == http.MethodGet && transport == "websocket" && !asksForWebsocket(r):
		refuse(w, http.StatusBadRequest, "Invalid websocket upgrade")
	case r.Method == http.MethodGet && sid == "" && transport == "polling":
		s.openPolling(w, r)
	case r.Method == http.MethodGet && sid == "":
		s.openWebsocket(w, r)
	case r.Method == http.MethodGet || r.Method == http.MethodPost:
		session := s.session(sid)
		switch {
		case session == nil && sid == "":
			refuse(w, http.StatusBadRequest, "Invalid session None")
		case session == nil:
			refuse(w, http.StatusBadRequest, "Invalid session "+sid)
		case r.Method == http.MethodPost:
			session.servePost(w, r)
		case transport == "polling":
			session.servePoll(w, r)
		default:
			session.serveUpgrade(w, r)
		}
	case r.Method == http.MethodOptions:
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "OK")
	case s.options.Dialect == Python:
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusMethodNotAllowed)
		fmt.Fprint(w, "Method Not Found")
	default:
		refuse(w, http.StatusBadRequest, "Bad handshake method")
	}
}

// enter counts a request as running, unless the server shuts down.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.down {
		s.running.Add(1)
	}
	return !s.down
}

// writeCORS also keeps browsers from running an answer as a script: a page of
// another site may load one with a script element, which sends no Origin.
func (s *Server) writeCORS(h http.Header, r *http.Request) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Credentials", "true")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	if s.options.AllowOrigin(origin) {
		h.Set("Access-Control-Allow-Origin", origin)
	}
	if r.Method != http.MethodOptions {
		h.Add("Vary", "Origin")
	} else { // no cache keeps an answer to OPTIONS (RFC 9110, section 9.3.7)
		h.Set("Access-Control-Allow-Methods", "OPTIONS, GET, POST")
		if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
			h.Set("Access-Control-Allow-Headers", asked)
		}
	}
}

// jsonpIndex is the number of the callback that a JSONP request wants, -1 for
// other requests.
func jsonpIndex(q url.Values) (int, error) {
	if !q.Has("j") {
		return -1, nil
	}
	return strconv.Atoi(q.Get("j"))
}

func refuse(w http.ResponseWriter, status int, text string) {
	body, _ := json.Marshal(text) // a string always marshals
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	w.Write(body)
}

// open starts a session, whose transport is the caller. While the server shuts
// down the session is over already.
func (s *Server) open(r *http.Request, t transport) *Session {
	session := newSession(s, r, t)
	s.mu.Lock()
	s.sessions[session.id] = session
	down := s.down
	s.mu.Unlock()
	s.running.Go(func() {
		if err := s.serve(session); err != nil {
			session.end(err)
		} else {
			session.Close()
		}
	})
	if down {
		session.end(errShutdown)
	}
	return session
}

// Sessions returns how many there are.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// session returns the one with the id, nil if it ended or never was.
func (s *Server) session(id string) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

func (s *Server) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, id)
}

// Cut cuts every session, as [Session.Cut] does.
func (s *Server) Cut() {
	s.mu.Lock()
	sessions := slices.Collect(maps.Values(s.sessions))
	s.mu.Unlock()
	for _, session := range sessions {
		session.Cut()
	}
}

var errShutdown = errors.New("server shuts down")

// Shutdown ends every session so that its client connects again elsewhere or
// later: websockets are closed with code 1012 (service restart), waiting polls
// are answered, new requests are refused. It waits for requests and serve
// functions to return until ctx ends, whose error it returns then. A websocket
// whose client does not answer the closing is given 250 ms.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.down = true
	sessions := slices.Collect(maps.Values(s.sessions))
	s.mu.Unlock()
	for _, session := range sessions {
		session.end(errShutdown)
	}
	s.stop()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
