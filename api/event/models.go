package event

import (
	"fmt"
	"slices"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// The models within an event that upstream validates with pydantic: a field
// has a type, lax as pydantic's, and a default.

// A modelField is one field of a model. read takes its value, and its place
// for errors.
type modelField struct {
	name     string
	read     func(d *decoding, v pyjson.Value, loc []any) pyjson.Value
	def      pyjson.Value
	required bool
}

// maxEntries bounds the entries of an event's models. Each is written with all
// its defaults: without a bound a small body would become a huge event.
const maxEntries = 20_000

// fits tells whether a list of entries is within the bound.
func (d *decoding) fits(list pyjson.Value, loc ...any) bool {
	d.entries += len(list.Items())
	if d.entries > maxEntries {
		d.fail("too_long", null, fmt.Sprintf("An event should have at most %d such entries", maxEntries), loc...)
		return false
	}
	return true
}

// model reads an object by its fields: in their order, unknown ones dropped.
func (d *decoding) model(v pyjson.Value, fields []modelField, loc ...any) pyjson.Value {
	if v.Kind() != pyjson.Object {
		d.fail("dict_type", v, "Input should be an object", loc...)
		return v
	}
	members := make([]pyjson.Member, len(fields))
	for i, f := range fields {
		at := append(append([]any{}, loc...), f.name)
		x, ok := v.Get(f.name)
		switch {
		case ok:
			x = f.read(d, x, at)
		case f.required:
			d.refuse(fastapi.Missing, v, at...)
		default:
			x = f.def
		}
		members[i] = pyjson.Member{Key: f.name, Value: x}
	}
	return pyjson.ObjectOf(members...)
}

// read reads a scalar as pydantic does.
func (d *decoding) read(scalar func(pyjson.Value) (pyjson.Value, *fastapi.Fault), v pyjson.Value, loc []any) pyjson.Value {
	read, f := scalar(v)
	if f != nil {
		d.refuse(f, v, loc...)
		return v
	}
	return read
}

func stringValue(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
	return d.read(fastapi.String, v, loc)
}
func intValue(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
	return d.read(fastapi.Int, v, loc)
}
func floatValue(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
	return d.read(fastapi.Float, v, loc)
}

func stringOrNull(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
	if v.IsNull() {
		return v
	}
	return stringValue(d, v, loc)
}

var (
	null  = pyjson.Value{}
	empty = pyjson.StringOf("")
	zero  = pyjson.IntOf(0)
	minus = pyjson.IntOf(-1)
)

var commandMetadata = []modelField{
	{"exit_code", intValue, minus, false}, {"pid", intValue, minus, false},
	{"username", stringOrNull, null, false}, {"hostname", stringOrNull, null, false},
	{"working_dir", stringOrNull, null, false}, {"py_interpreter_path", stringOrNull, null, false},
	{"prefix", stringValue, empty, false}, {"suffix", stringValue, empty, false},
}

// runMetadata reads a command's metadata; what is no object gives defaults.
func (d *decoding) runMetadata(v pyjson.Value) pyjson.Value {
	if v.Kind() != pyjson.Object {
		v = pyjson.ObjectOf()
	}
	return d.model(v, commandMetadata, "extras", "metadata")
}

var tokenUsage = []modelField{
	{"model", stringValue, empty, false},
	{"prompt_tokens", intValue, zero, false}, {"completion_tokens", intValue, zero, false},
	{"cache_read_tokens", intValue, zero, false}, {"cache_write_tokens", intValue, zero, false},
	{"context_window", intValue, zero, false}, {"per_turn_token", intValue, zero, false},
	{"response_id", stringValue, empty, false},
}

var responseLatency = []modelField{
	{"model", stringValue, null, true}, {"latency", floatValue, null, true}, {"response_id", stringValue, null, true},
}

// callCost is one of the costs. Its time is the event's by default.
var callCost = []modelField{
	{"model", stringValue, null, true}, {"cost", floatValue, null, true}, {"timestamp", floatValue, null, false},
}

// llmMetrics reads the metrics of a model's calls. What is no object gives
// defaults.
func (d *decoding) llmMetrics(v pyjson.Value) pyjson.Value {
	const at = "llm_metrics"
	get := func(name string, def pyjson.Value) pyjson.Value {
		if x, ok := v.Get(name); ok {
			return x
		}
		return def
	}
	cost := get("accumulated_cost", pyjson.FloatOf(0))
	switch cost.Kind() {
	case pyjson.Int, pyjson.Float, pyjson.Bool:
		if cost.Float64() < 0 {
			d.fail("greater_than_equal", cost, "Input should be greater than or equal to 0", at, "accumulated_cost")
		}
	default:
		d.refuse(fastapi.FloatType, cost, at, "accumulated_cost")
	}
	usage, ok := v.Get("accumulated_token_usage")
	if !ok {
		usage = pyjson.ObjectOf(pyjson.Member{Key: "model", Value: pyjson.StringOf("default")})
	}
	costs := slices.Clone(callCost)
	costs[len(costs)-1].def = pyjson.FloatOf(float64(d.Timestamp.UnixMicro()) / 1e6)
	items := func(name string, fields []modelField) pyjson.Value {
		list := get(name, pyjson.ArrayOf())
		if !list.Truthy() && (list.Kind() == pyjson.Object || list.Kind() == pyjson.String) {
			list = pyjson.ArrayOf() // Python finds nothing in them either
		}
		if list.Kind() != pyjson.Array {
			d.refuse(fastapi.ListType, list, at, name)
			return list
		}
		if !d.fits(list, at, name) {
			return list
		}
		read := make([]pyjson.Value, len(list.Items()))
		for i, x := range list.Items() {
			if d.enough() {
				break
			}
			read[i] = d.model(x, fields, at, name, i)
		}
		return pyjson.ArrayOf(read...)
	}
	return pyjson.ObjectOf(
		pyjson.Member{Key: "accumulated_cost", Value: cost},
		pyjson.Member{Key: "max_budget_per_task", Value: get("max_budget_per_task", null)},
		pyjson.Member{Key: "accumulated_token_usage", Value: d.model(usage, tokenUsage, at, "accumulated_token_usage")},
		pyjson.Member{Key: "costs", Value: items("costs", costs)},
		pyjson.Member{Key: "response_latencies", Value: items("response_latencies", responseLatency)},
		pyjson.Member{Key: "token_usages", Value: items("token_usages", tokenUsage)},
	)
}

var toolCall = []modelField{
	{"function_name", stringValue, null, true}, {"tool_call_id", stringValue, null, true},
	{"model_response", modelResponse, null, true}, {"total_calls_in_response", intValue, null, true},
}

// toolCallMetadata reads which call of a tool an event belongs to.
func (d *decoding) toolCallMetadata(v pyjson.Value) pyjson.Value {
	return d.model(v, toolCall, "tool_call_metadata")
}
