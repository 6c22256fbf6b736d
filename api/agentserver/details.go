package agentserver

import (
	"net/http"
	"time"

	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/refuse"
	gen "github.com/openhands-local/openhands-local/gen/agentserver"
)

var errNotDeferred = refuse.Text(http.StatusNotFound, "server is not running with deferred_init=True; the /api/init endpoint is not available")

// details are the handlers that tell of the server.
func (s *server) details() map[string]handler {
	fixed := func(body string) handler {
		return func(c *call) error { return write(c.w, c.r, http.StatusOK, []byte(body)) }
	}
	return map[string]handler{
		"Alive":                       fixed(`{"status":"ok"}`),
		"Health":                      fixed(`{"status":"ok"}`),
		"Ready":                       fixed(`{"status":"ready"}`),
		"GetServerInfo":               s.serverInfo,
		"GetServerInfoServerInfo":     s.serverInfo,
		"GetInitStatus":               func(*call) error { return errNotDeferred },
		"InitializeServer":            func(*call) error { return errNotDeferred },
		"ListAvailableTools":          fixed(`["file_editor","task_tracker","terminal"]`),
		"GetVscodeURL":                fixed(`{"url":null}`),
		"GetVscodeStatus":             fixed(`{"running":false,"enabled":false}`),
		"GetHooks":                    fixed(`{"hook_config":null}`),
		"GetSkills":                   fixed(`{"skills":[],"sources":{"sandbox":0,"registered_marketplaces":0,"sdk_base":0,"org":0,"project":0}}`),
		"ListInstalledSkillsEndpoint": fixed(`{"skills":[]}`),
		"ListWorkspaces":              fixed(`{"workspaces":[],"workspaceParents":[]}`),
	}
}

// seconds are whole ones, written as a float.
func seconds(d time.Duration) pyjson.Value { return pyjson.FloatOf(float64(int(d.Seconds()))) }

// serverInfo tells what serves. A field that has no like here is "unknown".
func (s *server) serverInfo(c *call) error {
	now := time.Now()
	return c.answer(http.StatusOK, struct {
		Uptime       pyjson.Value `json:"uptime"`
		Idle         pyjson.Value `json:"idle_time"`
		Title        string       `json:"title"`
		Version      string       `json:"version"`
		SDK          string       `json:"sdk_version"`
		Tools        string       `json:"tools_version"`
		Workspace    string       `json:"workspace_version"`
		SHA          string       `json:"build_git_sha"`
		Ref          string       `json:"build_git_ref"`
		Python       string       `json:"python_version"`
		Usable       []string     `json:"usable_tools"`
		IdleTimeout  *int         `json:"runtime_idle_timeout_seconds"`
		Runtime      string       `json:"conversation_runtime"`
		Runtimes     []string     `json:"available_conversation_runtimes"`
		Capabilities []string     `json:"capabilities"`
		Ingress      *string      `json:"app_backend_ingress_url"`
		Terminal     *int         `json:"max_foreground_terminal_timeout_seconds"`
		Docs         string       `json:"docs"`
		Redoc        string       `json:"redoc"`
	}{
		seconds(now.Sub(s.Started)), seconds(now.Sub(time.Unix(0, s.last.Load()))),
		"OpenHands Agent Server", gen.Version, gen.Version, gen.Version, "unknown", "unknown", "unknown", "unknown",
		[]string{"file_editor", "task_tracker", "terminal"}, nil, "local", []string{}, []string{"idempotent_conversation_create_v1"}, nil, nil, "/docs", "/redoc",
	})
}
