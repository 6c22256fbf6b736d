package event

import (
	"slices"
	"strconv"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A model's response within tool_call_metadata, as upstream's model library
// reads it: known members first, in its order and with its defaults, then
// every other member as it came.

// given are the members of an object, taken one by one. Few are taken, so each
// is looked for: an object may have very many.
type given struct {
	members []pyjson.Member
	taken   []bool
}

func givenBy(v pyjson.Value) *given {
	return &given{v.Members(), make([]bool, len(v.Members()))}
}

// find is the place of a key, -1 when it is absent.
func (g *given) find(key string) int {
	for i := range g.members {
		if g.members[i].Key == key {
			return i
		}
	}
	return -1
}

// take returns the value of a key, null when it is absent.
func (g *given) take(key string) pyjson.Value {
	i := g.find(key)
	if i < 0 {
		return null
	}
	g.taken[i] = true
	return g.members[i].Value
}

// orElse returns the value of a key, def when it is null or absent.
func (g *given) orElse(key string, def pyjson.Value) pyjson.Value {
	if v := g.take(key); !v.IsNull() {
		return v
	}
	return def
}

// addRest adds what was not taken, in order.
func (g *given) addRest(b *ordered) {
	*b = slices.Grow(*b, len(g.members))
	for i, m := range g.members {
		if !g.taken[i] {
			b.add(m.Key, m.Value)
		}
	}
}

// ordered are the members of an object that is made, whose keys differ.
type ordered []pyjson.Member

func (o *ordered) add(key string, v pyjson.Value) { *o = append(*o, pyjson.Member{Key: key, Value: v}) }

// addGiven adds a member unless it is null.
func (o *ordered) addGiven(key string, v pyjson.Value) {
	if !v.IsNull() {
		o.add(key, v)
	}
}

// inside is a place within a place.
func inside(loc []any, more ...any) []any { return append(append([]any{}, loc...), more...) }

// generated is an id for what has none, told by the event's time.
func (d *decoding) generated(prefix string) pyjson.Value {
	return pyjson.StringOf(prefix + strconv.FormatInt(d.Timestamp.UnixNano(), 16))
}

func modelResponse(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
	if v.Kind() != pyjson.Object {
		d.fail("model_type", v, "Input should be an object", loc...)
		return v
	}
	g := givenBy(v)
	for _, dropped := range []string{"object", "stream", "stream_options", "response_ms", "hidden_params", "_response_headers"} {
		g.take(dropped)
	}
	var b ordered
	b.add("id", stringValue(d, g.orElse("id", d.generated("chatcmpl-")), inside(loc, "id")))
	b.add("created", intValue(d, g.orElse("created", pyjson.IntOf(d.Timestamp.Unix())), inside(loc, "created")))
	b.add("model", stringOrNull(d, g.take("model"), inside(loc, "model")))
	b.add("object", pyjson.StringOf("chat.completion"))
	b.add("system_fingerprint", stringOrNull(d, g.take("system_fingerprint"), inside(loc, "system_fingerprint")))
	choices := g.take("choices")
	if choices.Kind() != pyjson.Array {
		choices = pyjson.ArrayOf(pyjson.ObjectOf())
	}
	b.add("choices", d.each(choices, inside(loc, "choices"), choice))
	usage := g.orElse("usage", pyjson.ObjectOf())
	if usage.Kind() == pyjson.Object {
		usage = d.usage(usage, inside(loc, "usage"))
	}
	b.add("usage", usage)
	g.addRest(&b)
	return pyjson.ObjectOf(b...)
}

// each reads the items of an array, which are objects.
func (d *decoding) each(list pyjson.Value, loc []any, read func(*decoding, pyjson.Value, []any) pyjson.Value) pyjson.Value {
	if !d.fits(list, loc...) {
		return list
	}
	items := make([]pyjson.Value, len(list.Items()))
	for i, x := range list.Items() {
		if d.enough() {
			break
		}
		if at := inside(loc, i); x.Kind() == pyjson.Object {
			items[i] = read(d, x, at)
		} else {
			d.fail("model_type", x, "Input should be an object", at...)
		}
	}
	return pyjson.ArrayOf(items...)
}

// finishReasons are those of other providers, by upstream's name.
var finishReasons = map[string]string{
	"stop_sequence": "stop", "COMPLETE": "stop", "ERROR": "stop", "eos_token": "stop",
	"FINISH_REASON_UNSPECIFIED": "stop", "STOP": "stop", "end_turn": "stop",
	"MAX_TOKENS": "length", "max_tokens": "length", "tool_use": "tool_calls",
	"ERROR_TOXIC": "content_filter", "SAFETY": "content_filter", "RECITATION": "content_filter", "content_filtered": "content_filter",
}

func choice(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
	g := givenBy(v)
	var b ordered
	reason := stringValue(d, g.orElse("finish_reason", pyjson.StringOf("stop")), inside(loc, "finish_reason"))
	if name := finishReasons[reason.Text()]; name != "" {
		reason = pyjson.StringOf(name)
	}
	b.add("finish_reason", reason)
	b.add("index", intValue(d, g.orElse("index", zero), inside(loc, "index")))
	b.add("message", d.responseMessage(g.orElse("message", pyjson.ObjectOf()), inside(loc, "message")))
	b.addGiven("logprobs", d.logprobs(g.take("logprobs"), inside(loc, "logprobs")))
	b.addGiven("provider_specific_fields", g.take("provider_specific_fields"))
	enhancements := g.take("enhancements")
	g.addRest(&b)
	b.addGiven("enhancements", enhancements)
	return pyjson.ObjectOf(b...)
}

func (d *decoding) responseMessage(v pyjson.Value, loc []any) pyjson.Value {
	if v.Kind() != pyjson.Object {
		d.fail("model_type", v, "Input should be an object", loc...)
		return v
	}
	g := givenBy(v)
	g.take("provider_specific_fields")
	var b ordered
	b.add("content", stringOrNull(d, g.take("content"), inside(loc, "content")))
	role := g.take("role")
	if !role.Truthy() {
		role = pyjson.StringOf("assistant")
	}
	switch role.Text() {
	case "assistant", "user", "system", "tool", "function":
	default:
		d.refuse(fastapi.Literal("assistant", "user", "system", "tool", "function"), role, inside(loc, "role")...)
	}
	b.add("role", role)
	calls := g.take("tool_calls")
	switch at := inside(loc, "tool_calls"); {
	case calls.Kind() == pyjson.Array && calls.Truthy():
		calls = d.each(calls, at, toolCallOf)
	case calls.IsNull(), !calls.Truthy() && (calls.Kind() == pyjson.Array || calls.Kind() == pyjson.Object || calls.Kind() == pyjson.String):
		calls = null
	default:
		d.refuse(fastapi.ListType, calls, at...)
	}
	b.add("tool_calls", calls)
	call := g.take("function_call")
	if !call.IsNull() {
		call = d.openModel(call, functionCall, inside(loc, "function_call"))
	}
	b.add("function_call", call)
	if audio := g.take("audio"); !audio.IsNull() {
		if id, ok := audio.Get("id"); audio.Kind() == pyjson.Object && (!ok || id.IsNull()) {
			var withID pyjson.Builder
			withID.Set("id", d.generated("audio-"))
			for _, m := range audio.Members() {
				if m.Key != "id" {
					withID.Set(m.Key, m.Value)
				}
			}
			audio = withID.Object()
		}
		b.add("audio", d.openModel(audio, responseAudio, inside(loc, "audio")))
	}
	b.addGiven("reasoning_content", stringOrNull(d, g.take("reasoning_content"), inside(loc, "reasoning_content")))
	for _, name := range []string{"thinking_blocks", "annotations"} {
		list := g.take(name)
		if !list.IsNull() && list.Kind() != pyjson.Array {
			d.refuse(fastapi.ListType, list, inside(loc, name)...)
		}
		b.addGiven(name, list)
	}
	g.addRest(&b)
	return pyjson.ObjectOf(b...)
}

// toolCallOf is one call of a tool: its function, id and type come last.
func toolCallOf(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
	g := givenBy(v)
	if g.find("function") < 0 {
		d.refuse(fastapi.Missing, v, inside(loc, "function")...)
	}
	function := g.take("function")
	if function.Kind() == pyjson.Object {
		function = d.function(function, inside(loc, "function"))
	}
	id, kind := g.orElse("id", d.generated("call-")), g.orElse("type", pyjson.StringOf("function"))
	var b ordered
	g.addRest(&b)
	b.add("function", function)
	b.add("id", id)
	b.add("type", kind)
	return pyjson.ObjectOf(b...)
}

// function reads which function is called; arguments that are an object
// become JSON text.
func (d *decoding) function(v pyjson.Value, loc []any) pyjson.Value {
	g := givenBy(v)
	arguments := g.take("arguments")
	if parameters := g.take("parameters"); arguments.IsNull() && parameters.Kind() == pyjson.Object {
		arguments = parameters
	}
	switch arguments.Kind() {
	case pyjson.Null:
		arguments = empty
	case pyjson.Object:
		arguments = pyjson.StringOf(string(arguments.AppendASCII(nil)))
	}
	return pyjson.ObjectOf(
		pyjson.Member{Key: "arguments", Value: stringValue(d, arguments, inside(loc, "arguments"))},
		pyjson.Member{Key: "name", Value: stringOrNull(d, g.take("name"), inside(loc, "name"))})
}

// openModel reads an object by its fields and keeps its other members after
// them.
func (d *decoding) openModel(v pyjson.Value, fields []modelField, loc []any) pyjson.Value {
	var b ordered
	for _, m := range d.model(v, fields, loc...).Members() {
		b.add(m.Key, m.Value)
	}
	g := givenBy(v)
	for _, f := range fields {
		g.take(f.name)
	}
	g.addRest(&b)
	return pyjson.ObjectOf(b...)
}

var functionCall = []modelField{{"arguments", stringValue, null, true}, {"name", stringOrNull, null, false}}

var responseAudio = []modelField{
	{"id", stringValue, null, true}, {"data", stringValue, null, true},
	{"expires_at", intValue, null, true}, {"transcript", stringValue, null, true},
}

var topLogprob = []modelField{
	{"token", stringValue, null, true}, {"bytes", intsOrNull, null, false}, {"logprob", floatValue, null, true},
}

func intsOrNull(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
	if v.IsNull() {
		return v
	}
	if v.Kind() != pyjson.Array {
		d.refuse(fastapi.ListType, v, loc...)
	}
	items := make([]pyjson.Value, len(v.Items()))
	for i, x := range v.Items() {
		items[i] = intValue(d, x, inside(loc, i))
	}
	return pyjson.ArrayOf(items...)
}

// logprobs reads the probabilities of a choice's tokens; what is no object
// stays as it is.
func (d *decoding) logprobs(v pyjson.Value, loc []any) pyjson.Value {
	if v.Kind() != pyjson.Object {
		return v
	}
	list := func(of []modelField) func(*decoding, pyjson.Value, []any) pyjson.Value {
		return func(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
			if v.Kind() != pyjson.Array {
				d.refuse(fastapi.ListType, v, loc...)
			}
			return d.each(v, loc, func(d *decoding, x pyjson.Value, at []any) pyjson.Value { return d.openModel(x, of, at) })
		}
	}
	token := append(topLogprob[:len(topLogprob):len(topLogprob)], modelField{"top_logprobs", list(topLogprob), null, true})
	return d.openModel(v, []modelField{{"content", func(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
		if v.IsNull() {
			return v
		}
		return list(token)(d, v, loc)
	}, null, false}}, loc)
}

func intOrNull(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
	if v.IsNull() {
		return v
	}
	return intValue(d, v, loc)
}

func floatOrNull(d *decoding, v pyjson.Value, loc []any) pyjson.Value {
	if v.IsNull() {
		return v
	}
	return floatValue(d, v, loc)
}

var completionDetails = []modelField{
	{"accepted_prediction_tokens", intOrNull, null, false}, {"audio_tokens", intOrNull, null, false},
	{"reasoning_tokens", intOrNull, null, false}, {"rejected_prediction_tokens", intOrNull, null, false},
	{"text_tokens", intOrNull, null, false}, // read and not written
}

var promptDetails = []modelField{
	{"audio_tokens", intOrNull, null, false}, {"cached_tokens", intOrNull, null, false},
	{"text_tokens", intOrNull, null, false}, {"image_tokens", intOrNull, null, false},
	{"web_search_requests", intOrNull, null, false}, {"character_count", intOrNull, null, false}, // these four only if given
	{"image_count", intOrNull, null, false}, {"video_length_seconds", floatOrNull, null, false},
}

// usage reads the counts of tokens. Providers' own counts of cached and
// reasoned ones go into the details too.
func (d *decoding) usage(v pyjson.Value, loc []any) pyjson.Value {
	g := givenBy(v)
	count := func(name string) pyjson.Value {
		n := g.take(name)
		if !n.Truthy() {
			return zero
		}
		return intValue(d, n, inside(loc, name))
	}
	var b ordered
	for _, name := range []string{"completion_tokens", "prompt_tokens", "total_tokens"} {
		b.add(name, count(name))
	}
	completion := g.take("completion_tokens_details")
	if reasoning := g.take("reasoning_tokens"); reasoning.Truthy() {
		completion = pyjson.ObjectOf(pyjson.Member{Key: "reasoning_tokens", Value: reasoning})
	}
	b.add("completion_tokens_details", d.details(completion, completionDetails, inside(loc, "completion_tokens_details"), func(key string, _ pyjson.Value) bool { return key == "text_tokens" }))
	prompt := g.take("prompt_tokens_details")
	for _, name := range []string{"prompt_cache_hit_tokens", "cache_read_input_tokens"} {
		i := g.find(name)
		if i < 0 || g.members[i].Value.Kind() != pyjson.Int && g.members[i].Value.Kind() != pyjson.Bool {
			continue
		}
		prompt = withMember(prompt, "cached_tokens", g.members[i].Value)
	}
	b.add("prompt_tokens_details", d.details(prompt, promptDetails, inside(loc, "prompt_tokens_details"), func(key string, v pyjson.Value) bool {
		switch key {
		case "web_search_requests", "character_count", "image_count", "video_length_seconds":
			return v.IsNull()
		}
		return false
	}))
	b.addGiven("server_tool_use", g.take("server_tool_use"))
	for i, m := range g.members {
		if !g.taken[i] && m.Key[:min(1, len(m.Key))] != "_" {
			b.add(m.Key, m.Value)
		}
	}
	return pyjson.ObjectOf(b...)
}

// details reads the parts of a count; what is empty or no object has none.
func (d *decoding) details(v pyjson.Value, fields []modelField, loc []any, drop func(string, pyjson.Value) bool) pyjson.Value {
	if v.Kind() != pyjson.Object || !v.Truthy() {
		return null
	}
	var b ordered
	for _, m := range d.openModel(v, fields, loc).Members() {
		if !drop(m.Key, m.Value) {
			b.add(m.Key, m.Value)
		}
	}
	return pyjson.ObjectOf(b...)
}

// withMember returns an object with one member set; of what is no object, an
// object of it alone.
func withMember(v pyjson.Value, key string, x pyjson.Value) pyjson.Value {
	var b pyjson.Builder
	for _, m := range v.Members() {
		b.Set(m.Key, m.Value)
	}
	b.Set(key, x)
	return b.Object()
}
