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
	typ      string // as upstream declares it, see Field; it holds nobody to it
	required bool
	def      pyjson.Value
	omitNull bool // left out when null
}

// A message makes the message of an event from its values. It may be of any
// JSON type; null is not written.
type message func(d *decoding, v values) pyjson.Value

// values are an event's fields by name; "content" of an observation too.
type values func(name string) pyjson.Value

// The tables are written with these: a required text, a required object, an
// optional field with its default, one that may be null too, the risk that
// actions have, a message by template, and one that is a field's value.
func req(name string) field  { return field{name: name, typ: "str", required: true} }
func dict(name string) field { return field{name: name, typ: "dict[str, Any]", required: true} }
func opt(name string, def any) field {
	v, typ := constant(def)
	return field{name: name, typ: typ, def: v}
}
func orNull(f field) field         { f.typ += " | None"; return f }
func risk() field                  { return field{name: "security_risk", typ: "int", omitNull: true} }
func text(template string) message { return compile(template) }
func raw(name string) message      { return func(_ *decoding, v values) pyjson.Value { return v(name) } }

// Defaults that do not tell the field's type alone: null instead of a value of
// the named type, an empty list or object of values of it, and an empty object
// that becomes a model.
type (
	none   string
	list   string
	object string
	model  string
)

// constant is a default as a value, and the type of what has it.
func constant(v any) (pyjson.Value, string) {
	switch v := v.(type) {
	case none:
		return pyjson.Value{}, string(v) + " | None"
	case bool:
		return pyjson.BoolOf(v), "bool"
	case int:
		return pyjson.IntOf(int64(v)), "int"
	case string:
		return pyjson.StringOf(v), "str"
	case list:
		return pyjson.ArrayOf(), "list[" + string(v) + "]"
	case object:
		return pyjson.ObjectOf(), "dict[str, " + string(v) + "]"
	case model:
		return pyjson.ObjectOf(), string(v)
	}
	panic(fmt.Sprintf("event: no constant of type %T", v))
}

var actionKinds = []kind{
	{"null", nil, text("No action"), nil},
	{"run", []field{req("command"), opt("is_input", false), opt("thought", ""), opt("blocking", false), opt("is_static", false), opt("cwd", none("str")), opt("hidden", false), opt("confirmation_state", "confirmed"), risk()}, text("Running command: {command}"), nil},
	{"run_ipython", []field{req("code"), opt("thought", ""), opt("include_extra", true), opt("confirmation_state", "confirmed"), risk(), opt("kernel_init_code", "")}, text("Running Python code interactively: {code}"), nil},
	{"browse", []field{req("url"), opt("thought", ""), risk(), opt("return_axtree", false)}, text("I am browsing the URL: {url}"), nil},
	{"browse_interactive", []field{req("browser_actions"), opt("thought", ""), opt("browsergym_send_msg_to_user", ""), risk(), opt("return_axtree", false)}, text("I am interacting with the browser:\n```\n{browser_actions}\n```"), nil},
	{"read", []field{req("path"), opt("start", 0), opt("end", -1), opt("thought", ""), risk(), opt("impl_source", "default"), opt("view_range", none("list[int]"))}, text("Reading file: {path}"), nil},
	{"write", []field{req("path"), req("content"), opt("start", 0), opt("end", -1), opt("thought", ""), risk()}, text("Writing file: {path}"), nil},
	{"edit", []field{req("path"), opt("command", ""), opt("file_text", none("str")), opt("old_str", none("str")), opt("new_str", none("str")), opt("insert_line", none("int")), opt("content", ""), opt("start", 1), opt("end", -1), opt("thought", ""), risk(), opt("impl_source", "oh_aci")}, text(""), nil},
	{"think", []field{opt("thought", "")}, text("I am thinking...: {thought}"), nil},
	{"finish", []field{opt("final_thought", ""), opt("outputs", object("Any")), opt("thought", "")}, finishMessage, nil},
	{"reject", []field{opt("outputs", object("Any")), opt("thought", "")}, rejectMessage, nil},
	{"delegate", []field{req("agent"), dict("inputs"), opt("thought", "")}, text("I'm asking {agent} for help with this task."), nil},
	{"recall", []field{req("recall_type"), opt("query", ""), opt("thought", "")}, recallMessage, nil},
	{"change_agent_state", []field{req("agent_state"), opt("thought", "")}, text("Agent state changed to {agent_state}"), nil},
	{"message", []field{req("content"), opt("file_urls", none("list[str]")), opt("image_urls", none("list[str]")), opt("wait_for_response", false), risk()}, raw("content"), nil},
	{"system", []field{req("content"), opt("tools", none("list[Any]")), orNull(opt("openhands_version", Version)), opt("agent_class", none("str"))}, raw("content"), nil},
	{"condensation", []field{opt("forgotten_event_ids", none("list[int]")), opt("forgotten_events_start_id", none("int")), opt("forgotten_events_end_id", none("int")), opt("summary", none("str")), opt("summary_offset", none("int"))}, condensationMessage, checkCondensation},
	{"condensation_request", nil, text("Requesting a condensation of the conversation history."), nil},
	{"call_tool_mcp", []field{req("name"), opt("arguments", object("Any")), opt("thought", ""), risk()}, text("I am interacting with the MCP server with name:\n```\n{name}\n```\nand arguments:\n```\n{arguments}\n```"), nil},
}

var observationKinds = []kind{
	{"null", nil, text("No observation"), nil},
	{"run", []field{req("command"), opt("metadata", model("CmdOutputMetadata")), opt("hidden", false)}, runMessage, checkRun},
	{"run_ipython", []field{req("code"), opt("image_urls", none("list[str]"))}, text("Code executed in IPython cell."), nil},
	{"browse", []field{req("url"), req("trigger_by_action"), opt("screenshot", ""), opt("screenshot_path", none("str")), opt("set_of_marks", ""), opt("error", false), opt("goal_image_urls", list("str")), opt("open_pages_urls", list("str")), opt("active_page_index", -1), opt("dom_object", object("Any")), opt("axtree_object", object("Any")), opt("extra_element_properties", object("Any")), opt("last_browser_action", ""), opt("last_browser_action_error", ""), opt("focused_element_bid", ""), opt("filter_visible_only", false)}, browseMessage, nil},
	{"read", []field{req("path"), opt("impl_source", "default")}, text("I read the file {path}."), nil},
	{"write", []field{req("path")}, text("I wrote to the file {path}."), nil},
	{"edit", []field{opt("path", ""), opt("prev_exist", false), opt("old_content", none("str")), opt("new_content", none("str")), opt("impl_source", "llm_based_edit"), opt("diff", none("str")), opt("_diff_cache", none("str"))}, text("I edited the file {path}."), nil},
	{"delegate", []field{dict("outputs")}, text(""), nil},
	{"success", nil, raw("content"), nil},
	{"error", []field{opt("error_id", "")}, raw("content"), nil},
	{"agent_state_changed", []field{req("agent_state"), opt("reason", "")}, text(""), nil},
	{"user_rejected", nil, raw("content"), nil},
	{"condense", nil, raw("content"), nil},
	{"think", nil, raw("content"), nil},
	{"recall", []field{req("recall_type"), opt("repo_name", ""), opt("repo_directory", ""), opt("repo_branch", ""), opt("repo_instructions", ""), opt("runtime_hosts", object("int")), opt("additional_agent_instructions", ""), opt("date", ""), opt("custom_secrets_descriptions", object("str")), opt("conversation_instructions", ""), opt("working_dir", ""), opt("microagent_knowledge", list("MicroagentKnowledge"))}, recalledMessage, checkRecalled},
	{"mcp", []field{opt("name", ""), opt("arguments", object("Any"))}, raw("content"), nil},
	{"download", []field{req("file_path")}, text("Downloaded the file at location: {file_path}"), nil},
}

var actions, observations = index(actionKinds), index(observationKinds)

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
