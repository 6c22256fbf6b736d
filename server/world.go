package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/openhands-local/openhands-local/api"
	v1 "github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/archive"
	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/key"
	"github.com/openhands-local/openhands-local/api/live"
	"github.com/openhands-local/openhands-local/api/live/engineio"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server/agent"
	"github.com/openhands-local/openhands-local/server/faults"
	"github.com/openhands-local/openhands-local/server/journal"
	"github.com/openhands-local/openhands-local/server/page"
	"github.com/openhands-local/openhands-local/store"
)

// A world is what a server keeps, and what answers from it: all of the [Server]
// but its addresses and what it tells of itself. One has no name, and keeps what
// Config.Data says. The others (worlds.go) keep nothing on the disk.
type world struct {
	visits
	s     *Server
	log   *slog.Logger
	info  Info
	isNew bool
	store store.Store
	files *workspaces

	conversations *conversation.Service
	agentServer   *v1.Service // of the agent server's line
	player        *agent.Runner
	live          *live.Server
	faults        *faults.Set
	clock         *clock.Clock
	journal       *journal.Journal // nil for none
	operations    http.Handler
	lines         map[string]http.Handler // by exchange.Exchange.Line
	stopping      chan struct{}           // closed when no more requests are taken
}

// newWorld makes the world without a name.
func (s *Server) newWorld(ctx context.Context, data string) (*world, error) {
	d := &world{s: s, stopping: make(chan struct{})}
	if err := d.open(ctx, data); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// open opens data, and wires what works with it together.
func (d *world) open(ctx context.Context, data string) (err error) {
	c := d.s.c
	if d.log = c.Log; d.name != "" {
		d.log = c.Log.With("world", d.name)
	}
	if d.faults, err = c.newFaults(); err != nil {
		return err
	}
	var folder string
	if d.store, folder, err = openData(ctx, data, c.Key, d.log, d.s.metrics); err != nil {
		return err
	}
	d.isNew = isNew(ctx, d.store)
	if c.Import != "" {
		if err := c.importTo(ctx, d.store, d.log); err != nil {
			return err
		}
	}
	if d.isNew {
		if err := c.firstSettings(ctx, d.store); err != nil {
			return err
		}
	}
	if d.files, err = newWorkspaces(c.Workspace, folder); err != nil {
		return err
	}
	if d.files.passes && folder != Memory {
		d.log.Info("files of conversations are not in the database: they are gone when the server ends, unless --workspace DIR keeps them")
	}
	script, err := agent.ByName(c.agent())
	if err != nil {
		return err
	}
	d.player = &agent.Runner{Script: script, Log: d.log}
	if d.clock, err = d.newClock(ctx); err != nil {
		return err
	}
	d.conversations, d.agentServer = d.rules(), d.newAgentServer()
	d.journal = d.newJournal()
	d.live = live.New(live.Config{
		Conversations: d.conversations, Key: key.Key(c.Key), LoggedIn: d.s.login.has, Done: d.received, Sent: d.sent(), Fault: d.message, Log: d.log,
		Engine: engineio.Options{Clock: d.clock, HoldPing: d.faults.HoldsPing, CheckOrigin: c.Access.Check, AllowOrigin: c.Access.CORS},
	})
	d.info = Info{URL: d.url(""), AgentServer: d.url(v1.Line), World: d.name, PID: os.Getpid(), Data: folder, Version: c.Version, API: gen.Version, Recorded: api.Recorded, Strict: c.Strict}
	writeClaim(claim{d.info, d.s.token})
	d.operations = d.wrap(api.New(d.api()))
	d.lines = map[string]http.Handler{"": http.HandlerFunc(d.first)}
	if d.info.AgentServer != "" {
		d.lines[v1.Line] = d.second()
	}
	return nil
}

// rules are those of the conversations in the opened store.
func (d *world) rules() *conversation.Service {
	c := d.s.c
	return conversation.New(conversation.Config{
		Store: d.store, Clock: d.clock, NewID: c.newID(), Strict: c.Strict,
		Answers: d.player.Script != nil, Agent: d.player.Play, MaxRunning: c.maxRunning(), Starting: c.starting(), Removed: d.files.remove,
	})
}

// api is what the operations work with.
func (d *world) api() api.Config {
	c := api.Config{
		Conversations: d.conversations,
		Export: func(ctx context.Context, w io.Writer, o archive.ExportOptions) error {
			_, err := archive.Export(ctx, d.store, w, o)
			return err
		},
		Workspace:         d.files.open,
		Contract:          d.s.contract,
		Key:               key.Key(d.s.c.Key),
		LoggedIn:          d.s.login.has,
		Strict:            d.s.c.Strict,
		SetConversationID: d.s.c.SetConversationID,
		Started:           time.Now(),
		Info:              d.info,
		Token:             key.Key(d.s.token),
		Reset:             d.reset,
		Local:             d.local(),
		Before:            d.before,
		Stopping:          d.stopping,
		Log:               d.log,
	}
	if d.s.frontend != nil {
		c.Frontend = d.s.frontend
	}
	p := d.page()
	c.Page, c.Login = d.atHost(p), d.atHost(p.Login())
	if d.info.Data != Memory {
		c.Backup = d.backup
	}
	return c
}

// atHost sends who names the world by the base of its URL to its host: the links of
// pages begin at the root.
func (d *world) atHost(pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if exchange.From(r.Context()).Base == "" {
			pages.ServeHTTP(w, r)
			return
		}
		to := url.URL{Scheme: "http", Host: d.name + worldHost, Path: r.URL.Path, RawQuery: r.URL.RawQuery}
		if _, port, err := net.SplitHostPort(r.Host); err == nil {
			to.Host += ":" + port
		}
		http.Redirect(w, r, to.String(), http.StatusSeeOther)
	})
}

// page is what the server shows to people.
func (d *world) page() *page.Page {
	c := d.s.c
	return page.New(page.Config{
		Facts: []page.Fact{
			{Name: "Address", Value: d.info.URL}, {Name: "API", Value: api.Versions()}, {Name: "Program", Value: d.info.Version},
			{Name: "Data", Value: d.info.Data}, {Name: "Agent", Value: c.agent()}, {Name: "Strict", Value: yes(c.Strict)}, {Name: "Key", Value: yes(c.Key != "")},
		},
		Operations: d.faults.Operations(), Conversations: d.conversations, Journal: d.journal, Faults: d.faults,
		Clock: d.clock, Move: d.moveClock, World: d.name, Worlds: d.s.worldsPage(), Reset: d.reset, LogIn: d.s.login.logIn, Stopping: d.stopping,
	})
}

// local is what the server shows of itself, below /_local.
func (d *world) local() map[string]api.Handler {
	plain := func(h http.Handler) api.Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			h.ServeHTTP(w, r)
			return nil
		}
	}
	pages := map[string]api.Handler{"GET /metrics": plain(d.s.metrics.handler())}
	maps.Copy(pages, d.requests())
	if d.s.c.Pprof {
		pages["GET /pprof/*"] = plain(http.HandlerFunc(profiles))
	}
	maps.Copy(pages, d.faultPages())
	maps.Copy(pages, d.clockPages())
	if d.name == "" {
		maps.Copy(pages, d.s.worldPages())
	}
	return pages
}

// wrap puts around the operations what every request to them passes.
func (d *world) wrap(h http.Handler) http.Handler {
	h = d.s.login.wrap(h)
	h = d.s.c.Access.wrap(h)
	h = cacheHeaders(h)
	h = noWebsocket(h)
	if d.s.c.RateLimit {
		h = (&rateLimiter{clock: d.clock}).wrap(h)
	}
	return h
}

// socketPath is that of Socket.IO, with and without a slash at the end.
const socketPath = "/socket.io"

func isSocket(r *http.Request) bool {
	return r.URL.Path == socketPath || r.URL.Path == socketPath+"/"
}

// ServeHTTP answers a request that has an exchange.
func (d *world) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.lines[exchange.From(r.Context()).Line].ServeHTTP(w, r)
}

// first answers in the line of OpenHands 0.53.0.
func (d *world) first(w http.ResponseWriter, r *http.Request) {
	if !isSocket(r) {
		d.operations.ServeHTTP(w, r)
		return
	}
	x := exchange.From(r.Context())
	x.Operation, x.Waits = socketPath, exchange.WaitsForSocket
	if !d.before(w, r) {
		answerOf(w).settle() // what it waits for now is the socket's
		d.live.ServeHTTP(w, r)
	}
}

// reset begins as on an empty folder.
func (d *world) reset(ctx context.Context) error {
	d.faults.Restart()
	d.clock.Reset()
	return d.empty(ctx, func(ctx context.Context) error {
		return errors.Join(d.files.removeAll(), d.s.c.firstSettings(ctx, d.store))
	})
}

// empty ends all runs of both lines and empties the store; begin makes what it
// begins with, before anything else can happen in it.
func (d *world) empty(ctx context.Context, begin func(context.Context) error) error {
	return d.agentServer.Reset(ctx, func(ctx context.Context) error {
		return d.conversations.Reset(ctx, begin)
	})
}

// stop ends what has no end of its own: streams, waits, and the connections of
// sockets.
func (d *world) stop(ctx context.Context) error {
	close(d.stopping)
	return d.live.Shutdown(ctx)
}

// close ends all runs and closes the store, once no request is under way.
func (d *world) close() error {
	if d.conversations != nil {
		d.agentServer.Close()
		d.conversations.Close()
	}
	var errs []error
	if d.files != nil {
		errs = append(errs, d.files.close())
	}
	removeClaim(d.info)
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	return errors.Join(errs...)
}
