// Package server runs the API: listener, Host and Origin, limits, wiring,
// shutdown.
//
// [New] checks a [Config], binds its address, opens its data folder and wires
// the rooms together:
//
//	request ─▶ request id, log ─▶ rate limit ─▶ cache headers ─▶ Host, Origin, CORS ─▶ body limit ─┬▶ api
//	                                                                                               └▶ /_local
//
// [Server.Run] serves until its context ends, then lets requests finish and
// closes the store. What is ours alone lives under /_local/, behind the same
// Host, Origin and key checks.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/store"
)

// Bounds of a connection. A body may take as long as bodyTime; an answer as
// long as the client reads.
const (
	headerTime = 10 * time.Second
	bodyTime   = 60 * time.Second
	idleTime   = 2 * time.Minute
	drainTime  = 10 * time.Second
	maxHeader  = 1 << 20
)

// A Server is a bound address and an open store. Use Run, or Close if it
// shall not run.
type Server struct {
	c         Config
	listeners []net.Listener
	store     store.Store
	files     *workspaces
	info      Info
	isNew     bool
	http      *http.Server
	contract  func() *contract.Contract
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
	s := &Server{c: c, contract: loadOnce(c.Log)}
	var err error
	if s.listeners, err = listen(ctx, c.Addr, c.Key); err != nil {
		return nil, err
	}
	var folder string
	if s.store, folder, s.isNew, err = openData(c.Data, c.Log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.firstSettings(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.files, err = newWorkspaces(c.Workspace, folder); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	operations, err := s.operations(ctx)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.info = Info{URL: "http://" + s.listeners[0].Addr().String(), PID: os.Getpid(), Data: folder, Version: c.Version, API: gen.Version}
	s.http = &http.Server{
		Handler:           s.handler(operations),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,

		DisableGeneralOptionsHandler: true, // OPTIONS * is an unknown path
		ErrorLog:                     slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// loadOnce loads the embedded contract when it is first asked for.
func loadOnce(log *slog.Logger) func() *contract.Contract {
	return sync.OnceValue(func() *contract.Contract {
		loaded, err := contract.Load(gen.OpenAPI)
		if err != nil {
			panic(fmt.Sprintf("the embedded contract does not load: %v", err)) // a test loads it
		}
		for _, pointer := range loaded.Unvalidated() {
			log.Warn("contract: not validated", "pointer", pointer)
		}
		return loaded
	})
}

// operations are the API on the opened store.
func (s *Server) operations(ctx context.Context) (http.Handler, error) {
	latest := seedStart.Add(-seedStep)
	if s.c.Seed != nil {
		stored, err := conversation.Latest(ctx, s.store)
		if err != nil {
			return nil, err
		}
		if stored.After(latest) {
			latest = stored
		}
	}
	now, newID := sources(s.c.Seed, latest)
	return api.New(api.Config{
		Conversations:     conversation.New(conversation.Config{Store: s.store, Now: now, NewID: newID, Strict: s.c.Strict}),
		Store:             s.store,
		Workspace:         s.files.open,
		RemoveWorkspace:   s.files.remove,
		Contract:          s.contract,
		Key:               s.c.Key,
		Strict:            s.c.Strict,
		SetConversationID: s.c.SetConversationID,
		Started:           time.Now(),
		Log:               s.c.Log,
	}), nil
}

// handler wires the rooms together.
func (s *Server) handler(operations http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_local/info", s.getInfo)
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isLocal(r) {
			mux.ServeHTTP(w, r)
			return
		}
		operations.ServeHTTP(w, r)
	})
	h = limitBody(h, s.c.MaxBody)
	h = s.c.Access.wrap(h, s.logForbidden)
	h = cacheHeaders(h)
	h = noWebsocket(h)
	if s.c.RateLimit {
		h = new(rateLimiter).wrap(h)
	}
	h = s.logRequests(h)
	if s.c.Wrap != nil {
		h = s.c.Wrap(h)
	}
	return h
}

// firstSettings stores what a new folder begins with.
func (s *Server) firstSettings(ctx context.Context) error {
	if !s.isNew {
		return nil
	}
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
// store open.
func (s *Server) Ready() string {
	kept := s.info.Data
	if s.isNew && kept != Memory {
		kept += " (new)"
	}
	return fmt.Sprintf("ready %s data=%s agent=none strict=%s key=%s api=%s operations=%d/%d",
		s.info.URL, kept, yes(s.c.Strict), yes(s.c.Key != ""), s.info.API, len(api.ContractStatus().Implemented), len(gen.Operations))
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
	go s.contract() // 25 ms that the first request need not wait for
	failed := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { failed <- s.http.Serve(l) }()
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.c.Log.Info("stopping: waiting for requests under way")
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if shut := s.http.Shutdown(drain); shut != nil {
		err = errors.Join(err, shut, s.http.Close())
	}
	return errors.Join(err, s.Close())
}

// Close releases the address and the store.
func (s *Server) Close() error {
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.files != nil {
		errs = append(errs, s.files.close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}
