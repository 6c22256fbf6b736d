package event

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// What the tables cannot say.

func finishMessage(_ *decoding, v values) pyjson.Value {
	if t := v("thought"); t.Kind() != pyjson.String || t.Text() != "" {
		return t
	}
	return pyjson.StringOf("All done! What's next on the agenda?")
}

func rejectMessage(d *decoding, v values) pyjson.Value {
	const text = "Task is rejected by the agent."
	outputs := v("outputs")
	var has bool
	switch outputs.Kind() {
	case pyjson.Object:
		reason, ok := outputs.Get("reason")
		if !ok {
			return pyjson.StringOf(text)
		}
		if reason.Kind() == pyjson.String {
			return pyjson.StringOf(text + " Reason: " + reason.Text())
		}
		d.refuse(fastapi.StringType, reason, "args", "outputs", "reason")
		return pyjson.Value{}
	case pyjson.Array:
		has = slices.ContainsFunc(outputs.Items(), func(x pyjson.Value) bool { return x.Kind() == pyjson.String && x.Text() == "reason" })
	case pyjson.String:
		has = strings.Contains(outputs.Text(), "reason")
	default:
		has = true // no container at all
	}
	if has {
		d.fail("dict_type", outputs, "Input should be an object", "args", "outputs")
	}
	return pyjson.StringOf(text)
}

func recallMessage(d *decoding, v values) pyjson.Value {
	const most = 50
	query := v("query")
	switch query.Kind() {
	case pyjson.String:
		text, n := query.Text(), 0
		for i := range text {
			if n == most {
				text = text[:i]
				break
			}
			n++
		}
		return pyjson.StringOf("Retrieving content for: " + text)
	case pyjson.Array:
		items := query.Items()
		return pyjson.StringOf("Retrieving content for: " + pyjson.ArrayOf(items[:min(most, len(items))]...).Str())
	}
	d.refuse(fastapi.StringType, query, "args", "query")
	return pyjson.Value{}
}

// checkCondensation: the forgotten events are a list of ids or a range.
func checkCondensation(d *decoding, in *instance) {
	ids, start, end := !in.at("forgotten_event_ids").IsNull(), !in.at("forgotten_events_start_id").IsNull(), !in.at("forgotten_events_end_id").IsNull()
	summary, offset := !in.at("summary").IsNull(), !in.at("summary_offset").IsNull()
	switch {
	case ids && start && end:
		d.fail("value_error", *in.at("forgotten_event_ids"), "Give forgotten_event_ids, or forgotten_events_start_id and forgotten_events_end_id, not both", "args", "forgotten_event_ids")
	case !ids && !(start && end):
		d.fail("value_error", *in.at("forgotten_event_ids"), "Give forgotten_event_ids, or both forgotten_events_start_id and forgotten_events_end_id", "args", "forgotten_event_ids")
	case summary != offset:
		d.fail("value_error", *in.at("summary"), "Give both summary and summary_offset, or neither", "args", "summary")
	}
}

// maxForgotten bounds the ids that a message spells out: a range may name any
// numbers, and the work must not follow them.
const maxForgotten = 100_000

func condensationMessage(d *decoding, v values) pyjson.Value {
	if s := v("summary"); s.Truthy() {
		return pyjson.StringOf("Summary: " + s.Str())
	}
	ids := v("forgotten_event_ids")
	if ids.IsNull() {
		var ok [2]bool
		var ends [2]*big.Int
		for i, name := range []string{"forgotten_events_start_id", "forgotten_events_end_id"} {
			x := v(name)
			if ok[i] = x.Kind() == pyjson.Int || x.Kind() == pyjson.Bool; !ok[i] {
				d.fail("int_type", x, "Input should be the id of an event", "args", name)
				continue
			}
			n, _ := pyInt(x)
			ends[i], _ = new(big.Int).SetString(n, 10)
		}
		if !ok[0] || !ok[1] {
			return pyjson.Value{}
		}
		if width := new(big.Int).Sub(ends[1], ends[0]); width.Cmp(big.NewInt(maxForgotten)) >= 0 {
			d.fail("value_error", v("forgotten_events_end_id"), "The range has more than "+strconv.Itoa(maxForgotten)+" events", "args", "forgotten_events_end_id")
			return pyjson.Value{}
		}
		var items []pyjson.Value
		for n := ends[0]; n.Cmp(ends[1]) <= 0; n = new(big.Int).Add(n, big.NewInt(1)) {
			items = append(items, pyjson.IntOfDigits(n.String()))
		}
		ids = pyjson.ArrayOf(items...)
	}
	return pyjson.StringOf("Condenser is dropping the events: " + ids.Str() + ".")
}

func runMessage(_ *decoding, v values) pyjson.Value {
	code, _ := v("metadata").Get("exit_code")
	return pyjson.StringOf("Command `" + v("command").Str() + "` executed with exit code " + code.Str() + ".")
}

// The content of a run observation is cut in the middle.
const (
	maxRunContent = 30_000 // characters
	truncated     = "\n[... Observation truncated due to length ...]\n"
)

func checkRun(d *decoding, in *instance) {
	switch in.content.Kind() {
	case pyjson.String:
		if text := in.content.Text(); len(text) > maxRunContent {
			in.content = pyjson.StringOf(truncate(text))
		}
	case pyjson.Array:
		if len(in.content.Items()) > maxRunContent {
			d.fail("too_long", pyjson.Value{}, "Input should have at most 30000 items", "content")
		}
	case pyjson.Object:
		if len(in.content.Members()) > maxRunContent {
			d.fail("too_long", pyjson.Value{}, "Input should have at most 30000 members", "content")
		}
	default:
		d.refuse(fastapi.StringType, in.content, "content")
	}
	*in.at("metadata") = d.runMetadata(*in.at("metadata"))
}

func truncate(text string) string {
	if utf8.RuneCountInString(text) <= maxRunContent {
		return text
	}
	const half = maxRunContent / 2
	head, tail := 0, len(text)
	for range half {
		_, n := utf8.DecodeRuneInString(text[head:])
		head += n
		_, n = utf8.DecodeLastRuneInString(text[:tail])
		tail -= n
	}
	return text[:head] + truncated + text[tail:]
}

func browseMessage(d *decoding, v values) pyjson.Value {
	url := v("url")
	if url.Kind() != pyjson.String {
		d.refuse(fastapi.StringType, url, "extras", "url")
	}
	return pyjson.StringOf("Visited " + url.Text())
}

func recalledMessage(_ *decoding, v values) pyjson.Value {
	if v("recall_type").Text() == "workspace_context" {
		return pyjson.StringOf("Added workspace context")
	}
	return pyjson.StringOf("Added microagent knowledge")
}

// knowledge are the fields of an item of microagent_knowledge, which are texts.
var knowledge = []string{"name", "trigger", "content"}

func checkRecalled(d *decoding, in *instance) {
	if t := in.value("recall_type"); t.Kind() != pyjson.String || t.Text() != "workspace_context" && t.Text() != "knowledge" {
		d.refuse(fastapi.Enum("workspace_context", "knowledge"), t, "extras", "recall_type")
	}
	given := in.at("microagent_knowledge")
	if given.Kind() != pyjson.Array {
		return
	}
	items := slices.Clone(given.Items())
	for i, item := range items {
		if d.enough() {
			return
		}
		if item.Kind() != pyjson.Object {
			continue
		}
		var ordered []pyjson.Member
		for _, name := range knowledge {
			v, ok := item.Get(name)
			if !ok {
				d.refuse(fastapi.Missing, item, "extras", "microagent_knowledge", i, name)
			}
			ordered = append(ordered, pyjson.Member{Key: name, Value: v})
		}
		for _, m := range item.Members() {
			if !slices.Contains(knowledge, m.Key) {
				d.refuse(fastapi.ExtraForbidden, m.Value, "extras", "microagent_knowledge", i, m.Key)
			}
		}
		items[i] = pyjson.ObjectOf(ordered...)
	}
	*given = pyjson.ArrayOf(items...)
}
