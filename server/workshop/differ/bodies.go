package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// readBodies reads recorded bodies of Add Event, one {"input":…} a line, as
// api/event/testdata/events.jsonl has them. Lines without an input are left out.
func readBodies(file string) (bodies []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var line struct{ Input json.RawMessage }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if n := len(line.Input); n > 0 && n < 4000 && line.Input[0] == '{' {
			bodies = append(bodies, string(line.Input))
		}
	}
	return bodies, lines.Err()
}

const hole = "a hole"

// mutated is a body with one value of it replaced. What the real server would
// run is harmless.
func (g *generator) mutated(body string) string {
	var v map[string]any
	if decode(body, &v) != nil || len(v) == 0 {
		return body
	}
	holder, name := v, pick(g, slices.Sorted(maps.Keys(v)))
	for {
		inner, ok := holder[name].(map[string]any)
		if !ok || len(inner) == 0 || g.chance(15) {
			break
		}
		holder, name = inner, pick(g, slices.Sorted(maps.Keys(inner)))
	}
	value := pick(g, odd)
	if g.chance(25) {
		name, value = pick(g, []string{"id", "source", "timestamp", "cause", "message", "content", "thought", "extras", "args", "metadata", "hidden", "x", "security_risk", "tool_call_metadata", "llm_metrics"}), pick(g, odd)
	}
	holder[name] = hole
	if args, ok := v["args"].(map[string]any); ok {
		for name, safe := range map[string]string{"command": "true", "code": "1", "path": "a.txt"} {
			if text, isText := args[name].(string); isText && (text != hole || value[0] == '"') {
				args[name] = safe
			}
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return body
	}
	return strings.Replace(string(text), quoted(hole), value, 1)
}
