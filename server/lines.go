package server

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/agentserver"
	v1 "github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/key"
	"github.com/openhands-local/openhands-local/server/agent"
)

// A line is a contract that is served at an address of its own: the paths of the
// agent server's collide with those of OpenHands 0.53.0.
type line struct {
	name string // of its exchanges; see exchange.Exchange
	flag string // that says the address
	addr string

	listeners []net.Listener
	http      *http.Server
}

// lines are those that are served, the first of which tells where the server is.
func (c Config) lines() (lines []line) {
	if c.Addr != "" || c.AgentServer == "" {
		lines = append(lines, line{name: "", flag: "addr", addr: c.Addr})
	}
	if c.AgentServer != "" {
		lines = append(lines, line{name: v1.Line, flag: "agent server", addr: c.AgentServer})
	}
	return lines
}

// url is where a line is served, "" when it is not. The first line has one
// always: what is ours alone is the same at each.
func (s *Server) url(name string) string {
	for _, l := range s.lines {
		if l.name == name {
			return baseURL(l.listeners[0].Addr())
		}
	}
	if name == "" {
		return baseURL(s.lines[0].listeners[0].Addr())
	}
	return ""
}

// url is where the world's line is, "" when it is not served.
func (d *world) url(line string) string {
	if base := d.s.url(line); base != "" {
		return base + exchange.BaseOf(d.name)
	}
	return ""
}

// leastRun is how long a run takes at least in the agent server's line. That of a
// real server, which asks a model, takes longer.
const leastRun = 100 * time.Millisecond

// newAgentServer has the rules of the agent server's conversations in the opened
// store.
func (d *world) newAgentServer() *v1.Service {
	c := v1.Config{Store: d.store, Clock: d.clock, NewID: d.s.c.newID(), MaxRunning: d.s.c.maxRunning(), Least: leastRun, Removed: d.files.remove}
	if d.player.Script != nil {
		c.Agent = (&agent.Turns{Script: d.player.Script, Log: d.log}).Play
	}
	return v1.New(c)
}

// second answers in the agent server's line, and below /_local as the first does.
func (d *world) second() http.Handler {
	h := agentserver.New(agentserver.Config{
		Conversations: d.agentServer, Key: key.Key(d.s.c.Key), LoggedIn: d.s.login.has, Before: d.before, Done: d.received,
		Workspace: d.files.open, Stopping: d.stopping, Started: time.Now(), Log: d.log,
	})
	h = d.s.c.Access.wrap(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_local/") {
			d.operations.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}
