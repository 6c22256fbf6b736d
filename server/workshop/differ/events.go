package main

import (
	"regexp"
	"strings"
)

// A kind is one of an event, with the members of its args or extras.
type kind struct {
	of, name string
	members  string
}

var kinds = []kind{
	{"action", "browse", "url thought security_risk return_axtree"},
	{"action", "browse_interactive", "browser_actions thought browsergym_send_msg_to_user security_risk return_axtree"},
	{"action", "call_tool_mcp", "name arguments thought security_risk"},
	{"action", "change_agent_state", "agent_state thought"},
	{"action", "condensation", "forgotten_event_ids summary summary_offset forgotten_events_start_id forgotten_events_end_id"},
	{"action", "condensation_request", ""},
	{"action", "delegate", "agent inputs thought"},
	{"action", "edit", "path command file_text old_str new_str insert_line content start end thought security_risk impl_source translated_ipython_code"},
	{"action", "finish", "final_thought outputs thought task_completed"},
	{"action", "message", "content file_urls image_urls wait_for_response security_risk images_urls timestamp translated_ipython_code"},
	{"action", "null", "timestamp"},
	{"action", "read", "path start end thought security_risk impl_source view_range translated_ipython_code"},
	{"action", "recall", "recall_type query thought"},
	{"action", "reject", "outputs thought"},
	{"action", "run", "command is_input thought blocking is_static cwd hidden confirmation_state security_risk keep_prompt task_completed is_confirmed timestamp"},
	{"action", "run_ipython", "code thought include_extra confirmation_state security_risk kernel_init_code keep_prompt"},
	{"action", "system", "content tools openhands_version agent_class"},
	{"action", "think", "thought"},
	{"action", "write", "path content start end thought security_risk"},
	{"action", "push", ""}, {"action", "send_pr", ""}, {"action", "start", ""}, {"action", "pause", ""}, {"action", "resume", ""}, {"action", "stop", ""}, {"action", "task_tracking", ""},
	{"observation", "agent_state_changed", "agent_state reason"},
	{"observation", "browse", "url trigger_by_action screenshot screenshot_path set_of_marks error goal_image_urls open_pages_urls active_page_index dom_object axtree_object extra_element_properties last_browser_action last_browser_action_error focused_element_bid filter_visible_only"},
	{"observation", "condense", ""},
	{"observation", "delegate", "outputs"},
	{"observation", "download", "file_path"},
	{"observation", "edit", "path prev_exist old_content new_content impl_source diff _diff_cache"},
	{"observation", "error", "error_id"},
	{"observation", "mcp", "name arguments"},
	{"observation", "null", ""},
	{"observation", "read", "path impl_source"},
	{"observation", "recall", "recall_type repo_name repo_directory repo_branch repo_instructions runtime_hosts additional_agent_instructions date custom_secrets_descriptions conversation_instructions working_dir microagent_knowledge"},
	{"observation", "run", "command metadata hidden exit_code command_id formatted_output_and_error interpreter_details blocking"},
	{"observation", "run_ipython", "code image_urls"},
	{"observation", "success", ""}, {"observation", "think", ""}, {"observation", "user_rejected", ""}, {"observation", "write", "path"},
	{"observation", "agent_delegated", ""}, {"observation", "chat", ""}, {"observation", "task_tracking", ""},
}

// memberValues are values that a member takes; others take any.
var memberValues = map[string][]string{
	"path": {`"a.txt"`, `"b/c.txt"`}, "command": {`"true"`, `"echo hi"`, `""`}, "code": {`"1"`, `"print(1)"`}, "url": {`"https://a.test"`},
	"security_risk": {"-1", "0", "1", "2", `"1"`, "5", "1.0"}, "confirmation_state": {`"confirmed"`, `"rejected"`, `"awaiting_confirmation"`, `"x"`}, "is_confirmed": {`"confirmed"`, `"rejected"`, "true", `"x"`},
	"agent_state": {`"running"`, `"paused"`, `"awaiting_user_input"`, `"error"`, `"bogus"`}, "recall_type": {`"workspace_context"`, `"knowledge"`, `"x"`}, "impl_source": {`"oh_aci"`, `"default"`, `"llm_based_edit"`, `"x"`},
	"task_completed": {`"true"`, `"partial"`, `"false"`, `"x"`, "true", "1"}, "view_range": {"[1,20]", "[]", `["a"]`}, "start": {"0", "1", "5", "-1"}, "end": {"-1", "5"}, "insert_line": {"1", "0"},
	"thought": {`"t"`, `""`, "null"}, "content": {`"c"`, `""`, `"é\n"`}, "keep_prompt": {"true", "false", "null"}, "blocking": {"true", "false"}, "hidden": {"true", "false"},
	"image_urls": {"null", "[]", `["data:image/png;base64,AA"]`}, "forgotten_event_ids": {"[]", "[1,2]", "null"}, "forgotten_events_start_id": {"1", "7", "null"}, "forgotten_events_end_id": {"3", "null"},
	"summary": {`"S"`, "null"}, "summary_offset": {"0", "null"}, "metadata": {`{"exit_code":0,"pid":12}`, "{}", `{"exit_code":"x"}`, `{"bogus":1}`, "null", "[]"}, "microagent_knowledge": {"[]", `[{"name":"n","trigger":"t","content":"c"}]`, `[{}]`, `[{"name":"n","trigger":"t","content":"c","x":1}]`},
	"timestamp": {`"2001-01-01T00:00:00"`, "5", "null"}, "error_id": {`"E"`, `""`}, "outputs": {"{}", `{"a":1}`}, "inputs": {"{}", `{"task":"x"}`}, "arguments": {"{}", `{"a":1}`, "[]"}, "tools": {"[]", "null"},
}

// event is the body of an Add Event: mostly an event.
func (g *generator) event() string {
	if len(g.bodies) > 0 && g.chance(60) {
		return g.mutated(pick(g, g.bodies))
	}
	k := pick(g, kinds)
	members := func(names string) string {
		var list []string
		for _, name := range strings.Fields(names) {
			if !g.chance(45) && name != "content" && name != "path" {
				continue
			}
			value := g.member(name)
			if k.name == "edit" && name == "command" && g.chance(80) {
				value = pick(g, []string{`"view"`, `"create"`, `"str_replace"`, `"insert"`, `"x"`})
			}
			list = append(list, quoted(name)+":"+value)
		}
		if g.chance(4) {
			list = append(list, pick(g, []string{`"bogus"`, `"id"`, `"source"`, `"cause"`, `"timestamp"`, `""`, `"translated_ipython_code"`, `"_x"`, `"tool_call_metadata"`, `"hidden"`})+":"+pick(g, odd))
		}
		g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return "{" + strings.Join(list, ",") + "}"
	}
	name := quoted(k.name)
	if g.chance(3) {
		name = pick(g, []string{`"bogus"`, `""`, "null", "5", `["run"]`, "{}", `"Run"`, "true", `"run "`})
	}
	all := []string{quoted(k.of) + ":" + name}
	details := "args"
	if k.of == "observation" {
		details = "extras"
		if !g.chance(8) {
			all = append(all, `"content":`+g.member("content"))
		}
	}
	switch n := g.IntN(100); {
	case n < 85:
		all = append(all, quoted(details)+":"+members(k.members))
	case n < 90:
		all = append(all, quoted(details)+":"+g.harmless())
	case n < 93:
		all = append(all, pick(g, []string{`"args"`, `"extras"`})+":"+members(k.members))
	}
	for g.chance(18) {
		top := pick(g, []string{"id", "source", "message", "cause", "timestamp", "timeout", "llm_metrics", "tool_call_metadata", "response_id", "bogus", "hidden", "content", "success", "action", "observation"})
		value := pick(g, odd)
		switch {
		case top == "source":
			value = pick(g, []string{`"user"`, `"agent"`, `"environment"`, `"x"`, "null", "5"})
		case top == "timestamp" && g.chance(70):
			value = pick(g, []string{`"2001-01-01T00:00:00"`, `"x"`, `"2001-01-01T00:00:00Z"`, `"2001-01-01"`})
		case top == "tool_call_metadata" && g.chance(70):
			value = pick(g, []string{`{"function_name":"f","tool_call_id":"t","model_response":{},"total_calls_in_response":1}`, "{}", `{"function_name":5}`})
		case top == "llm_metrics" && g.chance(70):
			value = pick(g, []string{`{"accumulated_cost":1.5}`, "{}", `{"accumulated_cost":-1}`, `{"accumulated_token_usage":{"model":"m"}}`, `{"costs":[],"response_latencies":[],"token_usages":[]}`})
		}
		all = append(all, quoted(top)+":"+value)
	}
	if g.chance(4) {
		all = all[1:] // of no kind
	}
	g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return "{" + strings.Join(all, ",") + "}"
}

// shown is an event that every answer can show.
func (g *generator) shown() string {
	for {
		if e := g.event(); !unservable.MatchString(e) {
			return e
		}
	}
}

var unservable = regexp.MustCompile(`NaN|Infinity|1e400|\\ud800`)

// member is a value of a member. A command and a path are only those of the
// list: the real server acts on them.
func (g *generator) member(name string) string {
	values, listed := memberValues[name]
	if listed && !g.chance(14) {
		return pick(g, values)
	}
	if name == "command" || name == "code" || name == "path" || name == "content" && g.chance(50) {
		return g.harmless()
	}
	return pick(g, odd)
}

// harmless is an odd value that is no text.
func (g *generator) harmless() string {
	for {
		if value := pick(g, odd); value[0] != '"' {
			return value
		}
	}
}
