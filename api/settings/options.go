package settings

// Models returns the answer to GET /api/options/models, sorted: the models of
// OpenHands' own provider, and a few that others name alike. Upstream adds
// what its LLM library knows, some 1,000 names.
func Models() []string {
	return []string{
		"claude-3-7-sonnet-20250219",
		"claude-opus-4-20250514",
		"claude-sonnet-4-20250514",
		"deepseek/deepseek-chat",
		"gemini/gemini-2.5-pro",
		"gpt-4o",
		"gpt-5-2025-08-07",
		"mistral/devstral-medium-2507",
		"o3",
		"o4-mini",
		"openhands/claude-opus-4-20250514",
		"openhands/claude-sonnet-4-20250514",
		"openhands/devstral-medium-2507",
		"openhands/devstral-small-2505",
		"openhands/devstral-small-2507",
		"openhands/gemini-2.5-pro",
		"openhands/gpt-5-2025-08-07",
		"openhands/kimi-k2-0711-preview",
		"openhands/o3",
		"openhands/o4-mini",
		"openhands/qwen3-coder-480b",
	}
}

// Agents returns the answer to GET /api/options/agents (recorded
// options_agents).
func Agents() []string {
	return []string{"BrowsingAgent", "CodeActAgent", "DummyAgent", "LocAgent", "ReadOnlyAgent", "VisualBrowsingAgent"}
}

// SecurityAnalyzers returns the answer to GET /api/options/security-analyzers
// (recorded options_security_analyzers).
func SecurityAnalyzers() []string { return []string{"invariant"} }

// Config returns the answer to GET /api/options/config (recorded
// options_config). Unlike upstream's, its POSTHOG_CLIENT_KEY is empty: with
// it the web UI sends no analytics.
func Config() []byte {
	return []byte(`{"APP_MODE":"oss","GITHUB_CLIENT_ID":"","POSTHOG_CLIENT_KEY":"","FEATURE_FLAGS":{"ENABLE_BILLING":false,"HIDE_LLM_SETTINGS":false,"HIDE_MICROAGENT_MANAGEMENT":true}}`)
}
