package migration

// A row is a call of V0 and what replaces it.
type row struct {
	call string
	Successors
}

func calls(of ...string) []string { return of }

func to(agentServer, appServer []string, note string) Successors {
	return Successors{AgentServer: agentServer, AppServer: appServer, Note: note}
}

// table has the calls of V0, in the order of its document.
var table = []row{
	{"GET /alive", to(calls("GET /alive"), calls("GET /alive"), "")},
	{"POST /api/add-git-providers", to(nil, calls("POST /api/v1/secrets/git-providers"), "")},
	{"GET /api/conversations", to(calls("GET /api/conversations/search"), calls("GET /api/v1/app-conversations/search"), "GET /api/conversations of the agent server takes ids, and returns those")},
	{"POST /api/conversations", to(calls("POST /api/conversations"), calls("POST /api/v1/app-conversations", "GET /api/v1/app-conversations/start-tasks"),
		"the agent server asks for a workspace; the app server answers with a task, to be asked for until it is ready")},
	{"DELETE /api/conversations/{conversation_id}", to(calls("DELETE /api/conversations/{conversation_id}"), calls("DELETE /api/v1/app-conversations/{conversation_id}"), "")},
	{"GET /api/conversations/{conversation_id}", to(calls("GET /api/conversations/{conversation_id}"), calls("GET /api/v1/app-conversations"), "the app server takes ids, and returns a list")},
	{"PATCH /api/conversations/{conversation_id}", to(calls("PATCH /api/conversations/{conversation_id}"), calls("PATCH /api/v1/app-conversations/{conversation_id}"), "")},
	{"GET /api/conversations/{conversation_id}/config", to(nil, calls("GET /api/v1/app-conversations"), "a conversation has a sandbox_id there, and no session")},
	{"GET /api/conversations/{conversation_id}/events", to(calls("GET /api/conversations/{conversation_id}/events/search"), calls("GET /api/v1/conversation/{conversation_id}/events/search"),
		"ids are UUIDs, and pages go by page_id; events are of other kinds")},
	{"POST /api/conversations/{conversation_id}/events", to(
		calls("POST /api/conversations/{conversation_id}/events", "POST /api/conversations/{conversation_id}/run", "POST /api/conversations/{conversation_id}/pause",
			"POST /api/conversations/{conversation_id}/interrupt", "POST /api/conversations/{conversation_id}/events/respond_to_confirmation"),
		calls("POST /api/v1/app-conversations/{conversation_id}/send-message"),
		`the body is a message, {"role":"user","content":[{"type":"text","text":"…"}],"run":true}; what changed the agent's state are calls of their own`)},
	{"POST /api/conversations/{conversation_id}/exp-config", Successors{}},
	{"GET /api/conversations/{conversation_id}/git/changes", to(calls("GET /api/conversations/{runtime_conversation_id}/git/changes", "GET /api/git/changes"), calls("GET /api/v1/app-conversations/{conversation_id}/git/changes"), "")},
	{"GET /api/conversations/{conversation_id}/git/diff", to(calls("GET /api/conversations/{runtime_conversation_id}/git/diff", "GET /api/git/diff"), calls("GET /api/v1/app-conversations/{conversation_id}/git/diff"), "")},
	{"GET /api/conversations/{conversation_id}/list-files", to(calls("GET /api/file/search_subdirs"), nil, "of one folder, and of folders alone")},
	{"POST /api/conversations/{conversation_id}/message", to(calls("POST /api/conversations/{conversation_id}/events"), calls("POST /api/v1/app-conversations/{conversation_id}/send-message"),
		`the body is a message, {"role":"user","content":[{"type":"text","text":"…"}],"run":true}`)},
	{"GET /api/conversations/{conversation_id}/microagents", to(calls("POST /api/skills"), calls("GET /api/v1/app-conversations/{conversation_id}/skills"), "microagents are called skills")},
	{"GET /api/conversations/{conversation_id}/remember-prompt", Successors{Note: "POST /api/conversations/{conversation_id}/ask_agent of the agent server answers a question of one's own"}},
	{"GET /api/conversations/{conversation_id}/select-file", to(calls("GET /api/conversations/{conversation_id}/workspace/{file_path}", "GET /api/file/download"), calls("GET /api/v1/app-conversations/{conversation_id}/file"), "the answer is the file, not JSON")},
	{"POST /api/conversations/{conversation_id}/start", to(calls("POST /api/conversations/{conversation_id}/run"), calls("POST /api/v1/sandboxes/{sandbox_id}/resume"), "the app server resumes a sandbox, and with it its conversations")},
	{"POST /api/conversations/{conversation_id}/stop", to(calls("POST /api/conversations/{conversation_id}/pause", "POST /api/conversations/{conversation_id}/interrupt"), calls("POST /api/v1/sandboxes/{sandbox_id}/pause"), "the app server pauses a sandbox, and with it its conversations")},
	{"POST /api/conversations/{conversation_id}/submit-feedback", Successors{}},
	{"GET /api/conversations/{conversation_id}/trajectory", to(calls("GET /api/file/download-trajectory/{conversation_id}"), calls("GET /api/v1/app-conversations/{conversation_id}/download"), "the answer is a file")},
	{"POST /api/conversations/{conversation_id}/upload-files", to(calls("POST /api/conversations/{runtime_conversation_id}/file/upload", "POST /api/file/upload"), nil, "one file a request, and the query says where to")},
	{"GET /api/conversations/{conversation_id}/vscode-url", to(calls("GET /api/conversations/{runtime_conversation_id}/vscode/url", "GET /api/vscode/url"), calls("GET /api/v1/sandboxes"), "the app server has it among the exposed_urls of a sandbox")},
	{"GET /api/conversations/{conversation_id}/web-hosts", to(nil, calls("GET /api/v1/sandboxes"), "among the exposed_urls of a sandbox")},
	{"GET /api/conversations/{conversation_id}/zip-directory", to(calls("GET /api/conversations/{runtime_conversation_id}/file/archive", "GET /api/file/archive"), nil, "")},
	{"GET /api/options/agents", Successors{Note: "a new conversation brings its agent_settings"}},
	{"GET /api/options/config", to(nil, calls("GET /api/v1/web-client/config"), "")},
	{"GET /api/options/models", to(calls("GET /api/llm/models"), calls("GET /api/v1/config/models/search"), "")},
	{"GET /api/options/security-analyzers", Successors{Note: "POST /api/conversations/{conversation_id}/security_analyzer of the agent server sets one; none lists them"}},
	{"POST /api/reset-settings", Successors{}},
	{"GET /api/secrets", to(calls("GET /api/settings/secrets"), calls("GET /api/v1/secrets/search"), "")},
	{"POST /api/secrets", to(calls("PUT /api/settings/secrets"), calls("POST /api/v1/secrets"), "")},
	{"DELETE /api/secrets/{secret_id}", to(calls("DELETE /api/settings/secrets/{name}"), calls("DELETE /api/v1/secrets/{secret_id}"), "")},
	{"PUT /api/secrets/{secret_id}", to(calls("PUT /api/settings/secrets"), calls("PUT /api/v1/secrets/{secret_id}"), "")},
	{"GET /api/settings", to(calls("GET /api/settings"), calls("GET /api/v1/settings"), "")},
	{"POST /api/settings", to(calls("PATCH /api/settings"), calls("POST /api/v1/settings"), "the agent server takes what changes")},
	{"POST /api/unset-provider-tokens", to(nil, calls("DELETE /api/v1/secrets/git-providers"), "")},
	{"GET /api/user/info", to(nil, calls("GET /api/v1/users/git-info"), "")},
	{"GET /api/user/installations", to(nil, calls("GET /api/v1/git/installations/search"), "")},
	{"GET /api/user/repositories", to(calls("GET /api/git/repositories/search"), calls("GET /api/v1/git/repositories/search"), "")},
	{"GET /api/user/repository/branches", to(nil, calls("GET /api/v1/git/branches/search"), "")},
	{"GET /api/user/repository/{repository_name}/microagents", Successors{}},
	{"GET /api/user/repository/{repository_name}/microagents/content", Successors{}},
	{"GET /api/user/search/repositories", to(calls("GET /api/git/repositories/search"), calls("GET /api/v1/git/repositories/search"), "")},
	{"GET /api/user/suggested-tasks", to(nil, calls("GET /api/v1/git/suggested-tasks/search"), "")},
	{"GET /health", to(calls("GET /health"), calls("GET /health"), "")},
	{"GET /server_info", to(calls("GET /server_info"), calls("GET /server_info"), "")},
	{SocketIO, to(calls(EventsSocket), nil, "a plain websocket, and no Socket.IO; the app server tells of each conversation the agent server that it is on")},

	// Since 0.55.0.
	{"GET /api/microagent-management/conversations", to(nil, calls("GET /api/v1/app-conversations/search"), "")},
	{"GET /api/user/search/branches", to(nil, calls("GET /api/v1/git/branches/search"), "")},
}

// later are the calls of V0 that 0.53.0 does not have, with their version.
var later = map[string]string{
	"GET /api/microagent-management/conversations":      "0.55.0",
	"GET /api/user/search/branches":                     "0.55.0",
	"POST /api/conversations/{conversation_id}/message": "0.59.0",
}
