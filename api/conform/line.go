package conform

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Line is a contract with recordings and differences of its own.
type Line string

// The lines. V0 is the API of OpenHands 0.53.0, AgentServer that of the package openhands-agent-server.
const (
	V0          Line = ""
	AgentServer Line = "agent"
)

// recordings tells where each line's cases and differences are, and what server they were recorded from.
var recordings = map[Line]struct{ folder, differences, server string }{
	V0:          {"cases", "differences.yaml", "OpenHands 0.53.0"},
	AgentServer: {"agentserver", "differences-agentserver.yaml", "openhands-agent-server 1.58.2"},
}

// Recorded names the server, and its version, that the line's cases were recorded from.
func (l Line) Recorded() string { return recordings[l].server }

// Cases returns the embedded cases in the order of their names. The result is the caller's; the steps are shared and must not be changed.
func (l Line) Cases() []Case { return slices.Clone(loadCases()[l]) }

// Declared returns the declared differences of this project's server, run strictly and without settings.
func (l Line) Declared() []Difference {
	name := recordings[l].differences
	text, err := declared.ReadFile(name)
	if err != nil {
		panic(err) // embedded
	}
	d, err := ParseDifferences(text)
	if err != nil {
		panic(name + ": " + err.Error()) // part of the program; a test reads it
	}
	return d
}

// agentServerSettings are the paths of the agent server below which is what all conversations share.
var agentServerSettings = []string{"/api/settings", "/api/profiles", "/api/agent-profiles", "/api/meta-profiles", "/api/workspaces",
	"/api/skills/", "/api/plugins/", "/api/canvas-extensions", "/api/llm/"}

// machine matches the paths of the agent server that change files or run commands on its machine.
var machine = regexp.MustCompile(`\A/api/(conversations/[^/]+/)?(file|bash)/|\A/api/init`)

// agentServerGroup is the group of a case of AgentServer that has s, besides Env, Restart, Fresh and Agent; "" if s asks for
// no leave: it reads, or was refused, which changes nothing.
func (s *Step) agentServerGroup() Group {
	switch path, _, _ := strings.Cut(s.Path, "?"); {
	case !s.writes() || s.Answer.Status/100 == 4 && s.Answer.Status != http.StatusUnauthorized:
		return ""
	case slices.ContainsFunc(agentServerSettings, func(prefix string) bool { return strings.HasPrefix(path, prefix) }):
		return Settings
	case machine.MatchString(path):
		return Harm
	}
	return ""
}

// works tells whether a tool is called that changes files or runs commands on the server's machine.
func (r Reply) works() bool {
	return slices.ContainsFunc(r.Calls, func(c Call) bool { return c.Name == "terminal" || c.Name == "file_editor" })
}

// made returns the ids, as in a path, of the conversations that the answer to st says were made.
func (s *scenario) made(st *Step, a Answer) (ids []string) {
	body, err := parseJSON(a.Body)
	if err != nil || a.Status/100 != 2 || st.Method != http.MethodPost {
		return nil
	}
	member := "conversation_id"
	if _, operation, _ := conversation(st.Path); s.c.Line == AgentServer && (st.creates() || operation == "fork") {
		member = "id"
	} else if !st.creates() && operation != "children" {
		return nil
	}
	if id := body.str(member); id != "" {
		ids = append(ids, url.PathEscape(id))
	}
	return ids
}

// agentServerListed is the view of a list of AgentServer that has entries of other people's, on a server that the run did
// not start.
func (s *scenario) agentServerListed(st *Step) view {
	switch path, _, _ := strings.Cut(st.Path, "?"); path {
	case "/api/conversations/search":
		return view{list: "/items", ignore: []string{"/next_page_id"}, own: func(v value) bool {
			id := v.str("id")
			return strings.HasPrefix(id, "{{") || s.mine[id]
		}}
	case "/api/conversations/count":
		return view{format: map[string]string{"": "int"}}
	}
	return view{}
}

// OwnServer tells whether c must have a server that no other case uses: it restarts it, needs an environment, or no data.
func (c *Case) OwnServer() bool {
	return len(c.Env) > 0 || c.Fresh || slices.ContainsFunc(c.Steps, func(s Step) bool { return s.Op == "restart" })
}

// floating is 1 for the agent server's update of a conversation's statistics. It comes some time after a call of the
// model: between which other events, and so what its parent is, differs from run to run.
func (v value) floating() int {
	if v.kind == '{' && v.str("kind") == "ConversationStateUpdateEvent" && v.str("key") == "stats" {
		return 1
	}
	return 0
}

// without is an object without a member.
func (v value) without(key string) value {
	i := slices.Index(v.keys, key)
	if i < 0 {
		return v
	}
	v.keys, v.list = slices.Concat(v.keys[:i], v.keys[i+1:]), slices.Concat(v.list[:i], v.list[i+1:])
	return v
}
