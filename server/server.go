// Package server runs the API: listener, Host and Origin, limits, wiring,
// shutdown.
//
// [New] checks a [Config], binds its address, opens its data folder and wires
// the rooms together:
//
//	request ─▶ exchange, bounds ─┬▶ rate limit ─▶ cache headers ─▶ Host, Origin, CORS ─▶ login ─▶ api ─▶ ui
//	                             └▶ Host, Origin ─▶ api/live (Socket.IO)
//
// Before the handler in api, before the answer in bounds, and for each message in
// api/live, package faults is asked what shall go wrong (faulty.go).
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
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/archive"
	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/key"
	"github.com/openhands-local/openhands-local/api/live"
	"github.com/openhands-local/openhands-local/api/live/engineio"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server/agent"
	"github.com/openhands-local/openhands-local/server/faults"
	"github.com/openhands-local/openhands-local/server/journal"
	"github.com/openhands-local/openhands-local/server/ui"
	"github.com/openhands-local/openhands-local/store"
)

// drainTime is how long requests under way may take once the server stops.
const drainTime = 10 * time.Second

// socketPath is that of Socket.IO, with and without a slash at the end.
const socketPath = "/socket.io"

// A Server is a bound address and an open store. Use Run, or Close if it
// shall not run.
type Server struct {
	c         Config
	listeners []net.Listener
	store     store.Store
	files     *workspaces

	conversations *conversation.Service
	live          *live.Server
	frontend      *ui.UI // nil for none
	login         *login
	metrics       *metrics
	faults        *faults.Set
	journal       *journal.Journal // nil for none
	info          Info
	isNew         bool
	http          *http.Server
	contract      func() *contract.Contract
	stopping      chan struct{} // closed when no more requests are taken
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
	c.Access = c.Access.on(c.Addr)
	s := &Server{c: c, login: newLogin(key.Key(c.Key), c.Access), contract: loadOnce(c), metrics: newMetrics(c.Version), stopping: make(chan struct{})}
	var err error
	if s.faults, err = c.newFaults(); err != nil {
		return nil, err
	}
	if s.frontend, err = c.frontend(); err != nil {
		return nil, err
	}
	if s.listeners, err = listen(ctx, c.Addr, c.Key); err != nil {
		return nil, err
	}
	var folder string
	if s.store, folder, err = openData(ctx, c.Data, c.Key, c.Log, s.metrics); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.isNew = isNew(ctx, s.store)
	if c.Import != "" {
		if err := s.importFrom(ctx, c.Import); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if s.isNew {
		if err := s.firstSettings(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if s.files, err = newWorkspaces(c.Workspace, folder); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	script, err := agent.ByName(c.agent())
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	player := &agent.Runner{Script: script, Log: c.Log}
	if s.conversations, err = s.rules(ctx, player); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.journal = s.newJournal()
	s.live = live.New(live.Config{
		Conversations: s.conversations, Key: key.Key(c.Key), LoggedIn: s.login.has, Done: s.received, Sent: s.sent(), Fault: s.message, Log: c.Log,
		Engine: engineio.Options{HoldPing: s.faults.HoldsPing, CheckOrigin: c.Access.Check, AllowOrigin: c.Access.CORS},
	})
	s.metrics.gauge("agent_runs", "Conversations that have an agent at work.", player.Runs)
	s.metrics.gauge("followers", "Who is told what happens in conversations: sockets, agents at work, streams.", s.conversations.Followers)
	s.metrics.gauge("sockets", "Clients of Socket.IO that are connected.", s.live.Sessions)
	s.info = Info{URL: baseURL(s.listeners[0].Addr()), PID: os.Getpid(), Data: folder, Version: c.Version, API: gen.Version, Recorded: api.Recorded, Strict: c.Strict}
	token := hexID(rand.Read)
	writeClaim(claim{s.info, token})
	s.http = &http.Server{
		Handler:           s.handler(s.operations(key.Key(token))),
		ReadHeaderTimeout: c.bounds.header,
		IdleTimeout:       c.bounds.idle,
		MaxHeaderBytes:    maxHeader,
		ConnState:         followConn,

		DisableGeneralOptionsHandler: true, // OPTIONS * is an unknown path
		ErrorLog:                     slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
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

// rules are those of the conversations in the opened store.
func (s *Server) rules(ctx context.Context, player *agent.Runner) (*conversation.Service, error) {
	first := SeedStart
	if s.c.Seed != nil && s.c.Now == nil {
		stored, err := conversation.Latest(ctx, s.store)
		if err != nil {
			return nil, err
		}
		if !stored.Before(first) {
			first = stored.Add(clockStep)
		}
	}
	now, newID := s.c.sources(first)
	return conversation.New(conversation.Config{
		Store: s.store, Now: now, NewID: newID, Strict: s.c.Strict,
		Answers: player.Script != nil, Agent: player.Play, MaxRunning: s.c.maxRunning(), Starting: s.c.starting(), Removed: s.files.remove,
	}), nil
}

// operations are the API.
func (s *Server) operations(token key.Key) http.Handler {
	c := api.Config{
		Conversations: s.conversations,
		Export: func(ctx context.Context, w io.Writer, o archive.ExportOptions) error {
			_, err := archive.Export(ctx, s.store, w, o)
			return err
		},
		Workspace:         s.files.open,
		Contract:          s.contract,
		Key:               key.Key(s.c.Key),
		LoggedIn:          s.login.has,
		Strict:            s.c.Strict,
		SetConversationID: s.c.SetConversationID,
		Started:           time.Now(),
		Info:              s.info,
		Token:             token,
		Reset:             s.reset,
		Local:             s.local(),
		Before:            s.before,
		Stopping:          s.stopping,
		Log:               s.c.Log,
	}
	if s.frontend != nil {
		c.Frontend = s.frontend
	}
	if s.info.Data != Memory {
		c.Backup = s.backup
	}
	return api.New(c)
}

// local is what the server shows of itself, below /_local.
func (s *Server) local() map[string]api.Handler {
	plain := func(h http.Handler) api.Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			h.ServeHTTP(w, r)
			return nil
		}
	}
	pages := map[string]api.Handler{"GET /metrics": plain(s.metrics.handler())}
	maps.Copy(pages, s.requests())
	if s.c.Pprof {
		pages["GET /pprof/*"] = plain(http.HandlerFunc(profiles))
	}
	maps.Copy(pages, s.faultPages())
	return pages
}

// handler wires the rooms together.
func (s *Server) handler(operations http.Handler) http.Handler {
	h := s.login.wrap(operations)
	h = s.c.Access.wrap(h)
	h = cacheHeaders(h)
	h = noWebsocket(h)
	if s.c.RateLimit {
		h = new(rateLimiter).wrap(h)
	}
	rest := h
	h = s.exchanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != socketPath && r.URL.Path != socketPath+"/" {
			rest.ServeHTTP(w, r)
			return
		}
		x := exchange.From(r.Context())
		x.Operation, x.Waits = socketPath, exchange.WaitsForSocket
		if !s.before(w, r) {
			s.live.ServeHTTP(w, r)
		}
	}))
	if s.c.Wrap != nil {
		h = s.c.Wrap(h)
	}
	return h
}

// reset begins as on an empty folder.
func (s *Server) reset(ctx context.Context) error {
	s.faults.Restart()
	return s.conversations.Reset(ctx, func(ctx context.Context) error {
		return errors.Join(s.files.removeAll(), s.firstSettings(ctx))
	})
}

// firstSettings stores what a new folder begins with.
func (s *Server) firstSettings(ctx context.Context) error {
	text, err := s.c.settings()
	if err != nil || text == nil {
		return err
	}
	return s.store.UpdateRecord(ctx, conversation.SettingsRecord, func(old []byte) ([]byte, error) {
		if old != nil {
			return old, nil
		}
		return text, nil
	})
}

// Info tells where the server is and what it keeps.
func (s *Server) Info() Info { return s.info }

// Ready is the line that says so: written once the port is bound and the
// store open. It counts the operations of the contract's version. With a
// frontend it ends with the address to open, where the key is for the reader
// to put in.
func (s *Server) Ready() string {
	kept := s.info.Data
	if s.isNew && kept != Memory {
		kept += " (new)"
	}
	status := api.ContractStatus()
	line := fmt.Sprintf("ready %s data=%s agent=%s strict=%s key=%s api=%s operations=%d/%d",
		s.info.URL, kept, s.c.agent(), yes(s.c.Strict), yes(s.c.Key != ""), api.Versions(), len(status.Implemented), status.Operations())
	if s.frontend == nil {
		return line
	}
	line += fmt.Sprintf(" frontend=%s open=%s", s.frontend.Dir(), s.info.URL)
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
	failed := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { failed <- s.http.Serve(plainListener{l, s.c.Log}) }()
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.c.Log.Info("stopping: waiting for requests under way")
	}
	close(s.stopping)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err = errors.Join(err, s.live.Shutdown(drain)) // first: its requests would keep the others waiting
	if shut := s.http.Shutdown(drain); shut != nil {
		err = errors.Join(err, shut, s.http.Close())
	}
	return errors.Join(err, s.Close())
}

// Warm loads the contract, so that the first request does not wait for it, and
// returns when that is done. Run does it too.
func (s *Server) Warm() { s.contract() }

// Close releases the address and the store.
func (s *Server) Close() error {
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.conversations != nil {
		s.conversations.Close()
	}
	if s.files != nil {
		errs = append(errs, s.files.close())
	}
	removeClaim(s.info)
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}
