// Package migration knows which calls of OpenHands' later contracts, V1, replace
// those of 0.53.0, V0, and which V1 calls a server of V0 is asked by mistake.
//
//	s, known := migration.Of("POST /api/conversations/{conversation_id}/events")
//	s.AgentServer      // [POST /api/conversations/{conversation_id}/events POST /api/conversations/{conversation_id}/run …]
//	hint := migration.Hint("POST", "/api/conversations/1/run", nil, served)
//
// A call is a method and a path with its parameters in braces. The calls of the
// two V1 lines are those of their published documents, a file each in lines/, and
// what a document of OpenAPI cannot have, websockets. Which call replaces which
// nobody has published: the table is ours. It names a successor where one does
// what the old call does, by the names, parameters and answers of both
// documents, and says in a note what is different.
package migration

import (
	_ "embed"
	"slices"
	"strings"
)

// A Line is a contract that evolves by itself.
type Line struct {
	Name    string // "agent server"
	Version string // that the calls are of
	Where   string // where it is served, by default
	calls   []string
}

var (
	//go:embed lines/agent-server-1.58.2.txt
	agentServerCalls string
	//go:embed lines/app-server-1.11.0.txt
	appServerCalls string
)

// EventsSocket is the websocket of the agent server that tells the events of a
// conversation. It is no operation of its document.
const EventsSocket = "GET /sockets/events/{conversation_id}"

// SocketIO is V0's: no operation of its document either.
const SocketIO = "GET /socket.io/"

// The lines of V1.
var (
	AgentServer = &Line{
		Name: "agent server", Version: "1.58.2", Where: "openhands-agent-server serves it, on port 8000 by default, and openhands-local with --agent-server localhost:8000",
		calls: append(strings.Split(strings.TrimSpace(agentServerCalls), "\n"), EventsSocket),
	}
	AppServer = &Line{
		Name: "app server", Version: "1.11.0", Where: "OpenHands 1.7 and later serve it, on port 3000 by default",
		calls: strings.Split(strings.TrimSpace(appServerCalls), "\n"),
	}
)

// Calls are those of a line.
func (l *Line) Calls() []string { return slices.Clone(l.calls) }

// Successors are what replaces a call of V0.
type Successors struct {
	// AgentServer and AppServer begin with the call that does nearly the same. The
	// others take what is left of the old one.
	AgentServer []string `json:"agent_server,omitempty"`
	AppServer   []string `json:"app_server,omitempty"`
	Note        string   `json:"note,omitempty"` // what is different
	None        bool     `json:"none,omitempty"` // nothing replaces the call
}

// String is one line.
func (s Successors) String() string {
	var parts []string
	for _, l := range []struct {
		*Line
		calls []string
	}{{AgentServer, s.AgentServer}, {AppServer, s.AppServer}} {
		if len(l.calls) > 0 {
			parts = append(parts, l.Name+": "+strings.Join(l.calls, ", "))
		}
	}
	if s.None {
		parts = append(parts, "no successor")
	}
	if s.Note != "" {
		parts = append(parts, s.Note)
	}
	return strings.Join(parts, "; ")
}

// Of returns what replaces a call of V0; known tells whether the table has the
// call: it has all of 0.53.0, and those that V0 got later.
func Of(call string) (s Successors, known bool) {
	i := slices.IndexFunc(table, func(r row) bool { return r.call == call })
	if i < 0 {
		return Successors{}, false
	}
	s = table[i].Successors
	s.None = len(s.AgentServer)+len(s.AppServer) == 0
	return s, true
}

// Calls are those of V0 that the table has, in its order.
func Calls() []string {
	calls := make([]string, len(table))
	for i, r := range table {
		calls[i] = r.call
	}
	return calls
}

// predecessors are the calls of V0 that one of V1 replaces.
func predecessors(call string) (calls []string) {
	for _, r := range table {
		if slices.Contains(r.AgentServer, call) || slices.Contains(r.AppServer, call) {
			calls = append(calls, r.call)
		}
	}
	return calls
}
