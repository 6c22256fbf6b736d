package main

import (
	"maps"
	"strings"

	"github.com/openhands-local/openhands-local/api/conform"
)

// longest is how many characters of a text are kept: longer ones are upstream's prose, or nobody's business.
const longest = 500

// kept tells what of an answer is no more than its kind, by a member's name or "parent.name".
var kept = map[string]string{
	// measured or of the machine
	"latency": "{{number}}", "uptime": "{{number}}", "idle_time": "{{number}}",
	"python_version": "{{text}}", "current_datetime": "{{any}}", "pid": "{{number}}", "forgotten_event_ids": "{{list}}", "py_interpreter_path": "{{any}}", "username": "{{any}}", "hostname": "{{any}}", "favorites": "{{list}}",
	"models": "{{any}}", "providers": "{{list}}",
	// upstream's documents and texts
	"paths": "{{object}}", "components": "{{object}}", "sections": "{{list}}", "agents": "{{list}}",
	"system_prompt.text": "{{text}}", "dynamic_context.text": "{{text}}", "function.description": "{{text}}", "tools.description": "{{text}}",
	"tools.parameters": "{{object}}", "function.parameters": "{{object}}", "tools.input_schema": "{{any}}", "description": "{{text}}",
}

// trimmed are long parts that every conversation has, kept whole in the cases called …_full.
var trimmed = map[string]string{
	"agent": "{{any}}", "tools": "{{list}}", "usage_to_metrics": "{{object}}", "tool_module_qualnames": "{{object}}",
	"agent_settings": "{{object}}",
}

// recorder is how a case is recorded.
func recorder(name, folder string) conform.Recorder {
	r := conform.Recorder{Kept: maps.Clone(kept), Longest: longest, Places: map[string]string{"root": folder}}
	if !strings.HasSuffix(name, "_full") {
		maps.Copy(r.Kept, trimmed)
	}
	return r
}
