package event

import (
	"fmt"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A kind is one action or observation of 0.53.0: its fields in the order in
// which they are written, and its message. The tables below say the same as
// upstream's classes.
type kind struct {
	name    string
	fields  []field
	message message
	check   func(*decoding, *instance) // after the fields are set; may change them
}

// A field is one of a kind's args or extras.
type field struct {
	name     string
	required bool
	def      pyjson.Value
	omitNull bool // left out when null
}

// A message makes the message of an event from its values. It may be of any
// JSON type; null is not written.
type message func(d *decoding, v values) pyjson.Value

// values are an event's fields by name; "content" of an observation too.
type values func(name string) pyjson.Value

// The tables are written with these: a required field, an optional one with
// its default, the risk that actions have, a message by template, and one that
// is a field's value.
func req(name string) field          { return field{name: name, required: true} }
func opt(name string, def any) field { return field{name: name, def: constant(def)} }
func risk() field                    { return field{name: "security_risk", omitNull: true} }
func text(template string) message   { return compile(template) }
func raw(name string) message        { return func(_ *decoding, v values) pyjson.Value { return v(name) } }

// A list or object that is empty by default.
type (
	list   struct{}
	object struct{}
)

// constant is a default as a value.
func constant(v any) pyjson.Value {
	switch v := v.(type) {
	case nil:
		return pyjson.Value{}
	case bool:
		return pyjson.BoolOf(v)
	case int:
		return pyjson.IntOf(int64(v))
	case string:
		return pyjson.StringOf(v)
	case list:
		return pyjson.ArrayOf()
	case object:
		return pyjson.ObjectOf()
	}
	panic(fmt.Sprintf("event: no constant of type %T", v))
}

var actions = index([]kind{
	{"null", nil, text("No action"), nil},
	{"run", []field{req("command"), opt("is_input", false), opt("thought", ""), opt("blocking", false), opt("is_static", false), opt("cwd", nil), opt("hidden", false), opt("confirmation_state", "confirmed"), risk()}, text("Running command: {command}"), nil},
	{"run_ipython", []field{req("code"), opt("thought", ""), opt("include_extra", true), opt("confirmation_state", "confirmed"), risk(), opt("kernel_init_code", "")}, text("Running Python code interactively: {code}"), nil},
	{"browse", []field{req("url"), opt("thought", ""), risk(), opt("return_axtree", false)}, text("I am browsing the URL: {url}"), nil},
	{"browse_interactive", []field{req("browser_actions"), opt("thought", ""), opt("browsergym_send_msg_to_user", ""), risk(), opt("return_axtree", false)}, text("I am interacting with the browser:\n```\n{browser_actions}\n```"), nil},
	{"read", []field{req("path"), opt("start", 0), opt("end", -1), opt("thought", ""), risk(), opt("impl_source", "default"), opt("view_range", nil)}, text("Reading file: {path}"), nil},
	{"write", []field{req("path"), req("content"), opt("start", 0), opt("end", -1), opt("thought", ""), risk()}, text("Writing file: {path}"), nil},
	{"edit", []field{req("path"), opt("command", ""), opt("file_text", nil), opt("old_str", nil), opt("new_str", nil), opt("insert_line", nil), opt("content", ""), opt("start", 1), opt("end", -1), opt("thought", ""), risk(), opt("impl_source", "oh_aci")}, text(""), nil},
	{"think", []field{opt("thought", "")}, text("I am thinking...: {thought}"), nil},
	{"finish", []field{opt("final_thought", ""), opt("outputs", object{}), opt("thought", "")}, finishMessage, nil},
	{"reject", []field{opt("outputs", object{}), opt("thought", "")}, rejectMessage, nil},
	{"delegate", []field{req("agent"), req("inputs"), opt("thought", "")}, text("I'm asking {agent} for help with this task."), nil},
	{"recall", []field{req("recall_type"), opt("query", ""), opt("thought", "")}, recallMessage, nil},
	{"change_agent_state", []field{req("agent_state"), opt("thought", "")}, text("Agent state changed to {agent_state}"), nil},
	{"message", []field{req("content"), opt("file_urls", nil), opt("image_urls", nil), opt("wait_for_response", false), risk()}, raw("content"), nil},
	{"system", []field{req("content"), opt("tools", nil), opt("openhands_version", Version), opt("agent_class", nil)}, raw("content"), nil},
	{"condensation", []field{opt("forgotten_event_ids", nil), opt("forgotten_events_start_id", nil), opt("forgotten_events_end_id", nil), opt("summary", nil), opt("summary_offset", nil)}, condensationMessage, checkCondensation},
	{"condensation_request", nil, text("Requesting a condensation of the conversation history."), nil},
	{"call_tool_mcp", []field{req("name"), opt("arguments", object{}), opt("thought", ""), risk()}, text("I am interacting with the MCP server with name:\n```\n{name}\n```\nand arguments:\n```\n{arguments}\n```"), nil},
})

var observations = index([]kind{
	{"null", nil, text("No observation"), nil},
	{"run", []field{req("command"), opt("metadata", object{}), opt("hidden", false)}, runMessage, checkRun},
	{"run_ipython", []field{req("code"), opt("image_urls", nil)}, text("Code executed in IPython cell."), nil},
	{"browse", []field{req("url"), req("trigger_by_action"), opt("screenshot", ""), opt("screenshot_path", nil), opt("set_of_marks", ""), opt("error", false), opt("goal_image_urls", list{}), opt("open_pages_urls", list{}), opt("active_page_index", -1), opt("dom_object", object{}), opt("axtree_object", object{}), opt("extra_element_properties", object{}), opt("last_browser_action", ""), opt("last_browser_action_error", ""), opt("focused_element_bid", ""), opt("filter_visible_only", false)}, browseMessage, nil},
	{"read", []field{req("path"), opt("impl_source", "default")}, text("I read the file {path}."), nil},
	{"write", []field{req("path")}, text("I wrote to the file {path}."), nil},
	{"edit", []field{opt("path", ""), opt("prev_exist", false), opt("old_content", nil), opt("new_content", nil), opt("impl_source", "llm_based_edit"), opt("diff", nil), opt("_diff_cache", nil)}, text("I edited the file {path}."), nil},
	{"delegate", []field{req("outputs")}, text(""), nil},
	{"success", nil, raw("content"), nil},
	{"error", []field{opt("error_id", "")}, raw("content"), nil},
	{"agent_state_changed", []field{req("agent_state"), opt("reason", "")}, text(""), nil},
	{"user_rejected", nil, raw("content"), nil},
	{"condense", nil, raw("content"), nil},
	{"think", nil, raw("content"), nil},
	{"recall", []field{req("recall_type"), opt("repo_name", ""), opt("repo_directory", ""), opt("repo_branch", ""), opt("repo_instructions", ""), opt("runtime_hosts", object{}), opt("additional_agent_instructions", ""), opt("date", ""), opt("custom_secrets_descriptions", object{}), opt("conversation_instructions", ""), opt("working_dir", ""), opt("microagent_knowledge", list{})}, recalledMessage, checkRecalled},
	{"mcp", []field{opt("name", ""), opt("arguments", object{})}, raw("content"), nil},
	{"download", []field{req("file_path")}, text("Downloaded the file at location: {file_path}"), nil},
})

// index makes a table of kinds by name.
func index(kinds []kind) map[string]*kind {
	m := make(map[string]*kind, len(kinds))
	for i := range kinds {
		m[kinds[i].name] = &kinds[i]
	}
	return m
}

// compile makes a message of a template: fields in braces are written as
// Python's str.
func compile(template string) message {
	type part struct{ text, field string }
	var parts []part
	for rest := template; rest != ""; {
		before, after, ok := strings.Cut(rest, "{")
		if !ok {
			parts = append(parts, part{text: rest})
			break
		}
		name, tail, _ := strings.Cut(after, "}")
		parts = append(parts, part{before, name})
		rest = tail
	}
	return func(_ *decoding, v values) pyjson.Value {
		var b strings.Builder
		for _, p := range parts {
			b.WriteString(p.text)
			if p.field != "" {
				b.WriteString(v(p.field).Str())
			}
		}
		return pyjson.StringOf(b.String())
	}
}
