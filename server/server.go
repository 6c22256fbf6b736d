// Package server runs the API: listener, Host and Origin, limits, wiring,
// shutdown.
//
// [New] checks a [Config], binds its address, opens its data folder and wires
// the rooms together:
//
//	request ─▶ exchange, bounds ─▶ world ─┬▶ rate limit ─▶ cache headers ─▶ Host, Origin, CORS ─▶ login ─▶ api ─▶ ui
//	                                      └▶ Host, Origin ─▶ api/live (Socket.IO)
//
// A second line of contract, the agent server's, has an address of its own and
// the same way: only the last handlers are others (lines.go).
//
// What it keeps, and the handlers over it, are a world (world.go). A request may be
// for another than the first one (worlds.go).
//
// Before the handler in api, before the answer in bounds, and for each message in
// api/live, package faults is asked what shall go wrong (faulty.go).
//
// What waits for a time, and tells one, goes by the world's clock (clock.go); what a
// connection may take is real time.
//
// When it is answered, log, metrics and Config.Observe are told of the
// [exchange.Exchange].
//
// [Server.Run] serves until its context ends, then lets requests finish and
// closes the store. What is ours alone lives under /_local/, behind the same
// Host, Origin and key checks.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/agentserver"
	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/key"
	v1 "github.com/openhands-local/openhands-local/gen/agentserver"
	"github.com/openhands-local/openhands-local/server/ui"
)

// drainTime is how long requests under way may take once the server stops.
const drainTime = 10 * time.Second

// A Server is a bound address and a [world] behind it. Use Run, or Close if it
// shall not run.
type Server struct {
	c        Config
	lines    []*line
	frontend *ui.UI // nil for none
	login    *login
	metrics  *metrics
	contract func() *contract.Contract
	token    string // that the data folder keeps
	world    *world // without a name
	worlds   worlds // the others
}

// New binds the address, then opens the data. All that is wrong with the
// Config is told in one error, before either.
func New(ctx context.Context, c Config) (*Server, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.bounds == (bounds{}) {
		c.bounds = defaultBounds
	}
	for _, l := range c.lines() {
		c.Access = c.Access.on(l.addr)
	}
	s := &Server{c: c, login: newLogin(key.Key(c.Key), c.Access), contract: loadOnce(c), metrics: newMetrics(c.Version), token: hexID(rand.Read)}
	var err error
	if s.frontend, err = c.frontend(); err != nil {
		return nil, err
	}
	for _, l := range c.lines() {
		if l.listeners, err = listen(ctx, l.addr, c.Key); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.lines = append(s.lines, &l)
	}
	if s.world, err = s.newWorld(ctx, c.Data); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	gauge := func(name, help string, of func(*world) int) {
		s.metrics.gauge(name, help, func() int { return s.sum(of) })
	}
	gauge("agent_runs", "Conversations that have an agent at work.", func(d *world) int { return d.player.Runs() + d.agentServer.Running() })
	gauge("followers", "Who is told what happens in conversations: sockets, agents at work, streams.", func(d *world) int { return d.conversations.Followers() + d.agentServer.Followers() })
	gauge("sockets", "Clients of Socket.IO that are connected.", func(d *world) int { return d.live.Sessions() })
	s.metrics.gauge("worlds", "Worlds that have a name.", func() int { return len(s.all()) - 1 })
	for _, l := range s.lines {
		h := s.exchanges(l.name)
		if c.Wrap != nil && l.name == "" {
			h = c.Wrap(h)
		}
		l.http = &http.Server{
			Handler:           h,
			ReadHeaderTimeout: c.bounds.header,
			IdleTimeout:       c.bounds.idle,
			MaxHeaderBytes:    maxHeader,
			ConnState:         followConn,

			DisableGeneralOptionsHandler: true, // OPTIONS * is an unknown path
			ErrorLog:                     slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		}
	}
	return s, nil
}

// loadOnce loads the embedded contract when it is first asked for.
func loadOnce(c Config) func() *contract.Contract {
	load := api.Contract
	if c.Strict && !c.SetConversationID {
		load = api.NoIDContract
	}
	return sync.OnceValue(func() *contract.Contract {
		loaded := load()
		if n := len(loaded.Unvalidated()); n > 0 {
			c.Log.Info("contract: not validated, as contract status lists", "constructs", n)
		}
		return loaded
	})
}

// Info tells where the server is and what it keeps.
func (s *Server) Info() Info { return s.world.info }

// Ready is the line that says so: written once the port is bound and the
// store open. It counts the operations of the contract's version. With a
// frontend it ends with the address to open, where the key is for the reader
// to put in.
func (s *Server) Ready() string {
	kept := s.world.info.Data
	if s.world.isNew && kept != Memory {
		kept += " (new)"
	}
	status := api.ContractStatus()
	line := fmt.Sprintf("ready %s data=%s agent=%s strict=%s key=%s api=%s operations=%d/%d",
		s.world.info.URL, kept, s.c.agent(), yes(s.c.Strict), yes(s.c.Key != ""), api.Versions(), len(status.Implemented), status.Operations())
	if s.world.info.AgentServer != "" {
		served := agentserver.ContractStatus()
		line += fmt.Sprintf(" agent-server=%s api=%s operations=%d/%d", s.world.info.AgentServer, v1.Version, len(served.Implemented), len(v1.Operations))
	}
	if s.frontend == nil {
		return line
	}
	line += fmt.Sprintf(" frontend=%s open=%s", s.frontend.Dir(), s.world.info.URL)
	if s.c.Key == "" {
		return line + "/"
	}
	return line + loginPath + "?key=$SESSION_API_KEY"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Run serves until ctx ends, then takes no more requests, waits up to ten
// seconds for those under way, and closes the store.
func (s *Server) Run(ctx context.Context) error {
	go s.Warm()
	failed := make(chan error, 2*len(s.lines))
	for _, line := range s.lines {
		for _, l := range line.listeners {
			go func() { failed <- line.http.Serve(plainListener{l, s.c.Log}) }()
		}
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.c.Log.Info("stopping: waiting for requests under way")
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err = errors.Join(err, s.stop(drain)) // first: its requests would keep the others waiting
	for _, l := range s.lines {
		if shut := l.http.Shutdown(drain); shut != nil {
			err = errors.Join(err, shut, l.http.Close())
		}
	}
	return errors.Join(err, s.Close())
}

// Warm loads the contract, so that the first request does not wait for it, and
// returns when that is done. Run does it too.
func (s *Server) Warm() { s.contract() }

// Close releases the address and the store.
func (s *Server) Close() error {
	var errs []error
	for _, line := range s.lines {
		for _, l := range line.listeners {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if s.world != nil {
		for _, d := range s.all() {
			errs = append(errs, d.close())
		}
	}
	return errors.Join(errs...)
}
