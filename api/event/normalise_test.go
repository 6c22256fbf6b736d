package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

var noon = event.Options{Timestamp: time.Date(2025, 3, 1, 12, 0, 0, 0, time.Local), Source: "user"}

func normalise(t *testing.T, body string, o event.Options) event.Event {
	t.Helper()
	e, err := event.Normalise([]byte(body), o)
	if err != nil {
		t.Fatalf("Normalise(%s): %v", body, err)
	}
	return e
}

func refuse(t *testing.T, body string, o event.Options) []fastapi.Error {
	t.Helper()
	e, err := event.Normalise([]byte(body), o)
	var invalid *fastapi.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("Normalise(%.200s) = %s, %v, want *Invalid", body, e.JSON, err)
	}
	return invalid.Errors
}

// TestRefusals has a body for each way in which one can be wrong.
func TestRefusals(t *testing.T) {
	args := func(kind, args string) string { return `{"action":"` + kind + `","args":` + args + `}` }
	extras := func(kind, extras string) string { return `{"observation":"` + kind + `","extras":` + extras + `}` }
	message := func(more string) string { return `{"action":"message","args":{"content":"x"},` + more + `}` }
	many := strings.Repeat("0,", 30_000) + "0"
	members := "{"
	for i := range 30_001 {
		members += fmt.Sprintf(`"%d":0,`, i)
	}
	members = members[:len(members)-1] + "}"
	for _, tt := range []struct {
		name, body, typ, loc, msg string // msg is part of the message
	}{
		{"empty", ``, "missing", `["body"]`, `Field required: a JSON body such as {"action":"message"`},
		{"no JSON", `{"é":}`, "json_invalid", `["body",5]`, "JSON decode error"},
		{"encoding", "\"\xff\"", "value_error", `["body"]`, "not valid text in UTF-8"},
		{"digits", strings.Repeat("9", 5000), "value_error", `["body"]`, "an integer of more than 4300 digits"},
		{"depth", strings.Repeat("[", 2000), "value_error", `["body"]`, "nested more than 1000 deep"},
		{"no object", `["action"]`, "model_attributes_type", `["body"]`, "Input should be an object"},
		{"NaN", args("message", `{"content":[1,NaN]}`), "value_error", `["body","args","content",1]`, "Input has NaN"},
		{"surrogate in a key", args("message", `{"\ud800":1}`), "value_error", `["body","args"]`, "A key has a lone surrogate"},
		{"no kind", `{"content":"x"}`, "missing", `["body","action"]`, "action or observation, such as"},
		{"V1 shape", `{"role":"user","content":[{"type":"text","text":"Hi"}]}`, "missing", `["body","action"]`, "V1 shape"},
		{"slip in the member", `{"acton":"message"}`, "missing", `["body","action"]`, `did you mean "action" for "acton"?`},
		{"slip in the other member", `{"observaton":"run"}`, "missing", `["body","observation"]`, `did you mean "observation" for "observaton"?`},
		{"kind of another type", `{"action":null}`, "string_type", `["body","action"]`, "name of an action"},
		{"slip in an action", `{"action":"mesage"}`, "value_error", `["body","action"]`, `name of an action; did you mean "message"?`},
		{"letters changed places", `{"action":"raed"}`, "value_error", `["body","action"]`, `did you mean "read"?`},
		{"slip in an observation", `{"observation":"browze"}`, "value_error", `["body","observation"]`, `name of an observation; did you mean "browse"?`},
		{"args no object", args("message", `[]`), "dict_type", `["body","args"]`, "Input should be an object"},
		{"extras no object", extras("run", `null`), "dict_type", `["body","extras"]`, "Input should be an object"},
		{"field missing", args("message", `{}`), "missing", `["body","args","content"]`, "the message action needs content"},
		{"slip in a field", args("message", `{"content":"x","image_url":[]}`), "extra_forbidden", `["body","args","image_url"]`, `no field "image_url"; did you mean "image_urls"?`},
		{"unknown field", args("message", `{"content":"x","zzzzzzz":1}`), "extra_forbidden", `["body","args","zzzzzzz"]`, "Known: content, file_urls, image_urls, wait_for_response, security_risk"},
		{"field of a kind without", args("null", `{"a":1}`), "extra_forbidden", `["body","args","a"]`, "The null action has no field \"a\"; it has none"},
		{"extras.content", extras("run", `{"command":"x","content":""}`), "extra_forbidden", `["body","extras","content"]`, "no field"},
		{"id", message(`"id":7`), "value_error", `["body","id"]`, "the server gives ids"},
		{"id of another type", message(`"id":[]`), "value_error", `["body","id"]`, "the server gives ids"},
		{"source", message(`"source":"human"`), "enum", `["body","source"]`, "'agent', 'user' or 'environment'"},
		{"cause with two signs", message(`"cause":"+-5"`), "int_type", `["body","cause"]`, "id of an event"},
		{"cause", message(`"cause":"x"`), "int_type", `["body","cause"]`, "id of an event"},
		{"timeout", message(`"timeout":"5"`), "float_type", `["body","timeout"]`, "number of seconds"},
		{"timeout too large", message(`"timeout":1` + strings.Repeat("0", 400)), "finite_number", `["body","timeout"]`, "finite"},
		{"outputs.reason", args("reject", `{"outputs":{"reason":1}}`), "string_type", `["body","args","outputs","reason"]`, "valid string"},
		{"outputs with reason", args("reject", `{"outputs":["reason"]}`), "dict_type", `["body","args","outputs"]`, "object"},
		{"outputs no container", args("reject", `{"outputs":null}`), "dict_type", `["body","args","outputs"]`, "object"},
		{"outputs a string", args("reject", `{"outputs":"no reason"}`), "dict_type", `["body","args","outputs"]`, "object"},
		{"query", args("recall", `{"recall_type":"knowledge","query":5}`), "string_type", `["body","args","query"]`, "valid string"},
		{"ids and range", args("condensation", `{"forgotten_event_ids":[],"forgotten_events_start_id":1,"forgotten_events_end_id":2}`), "value_error", `["body","args","forgotten_event_ids"]`, "not both"},
		{"no ids, no range", args("condensation", `{"forgotten_events_start_id":1}`), "value_error", `["body","args","forgotten_event_ids"]`, "or both"},
		{"summary without offset", args("condensation", `{"forgotten_event_ids":[],"summary":"x"}`), "value_error", `["body","args","summary"]`, "or neither"},
		{"range of another type", args("condensation", `{"forgotten_events_start_id":"1","forgotten_events_end_id":2}`), "int_type", `["body","args","forgotten_events_start_id"]`, "id of an event"},
		{"long range", args("condensation", `{"forgotten_events_start_id":1,"forgotten_events_end_id":99999999999999999999999}`), "value_error", `["body","args","forgotten_events_end_id"]`, "more than 100000 events"},
		{"content of run", `{"observation":"run","content":5,"extras":{"command":"x"}}`, "string_type", `["body","content"]`, "valid string"},
		{"long list", `{"observation":"run","content":[` + many + `],"extras":{"command":"x"}}`, "too_long", `["body","content"]`, "30000 items"},
		{"large object", `{"observation":"run","content":` + members + `,"extras":{"command":"x"}}`, "too_long", `["body","content"]`, "30000 members"},
		{"exit code", extras("run", `{"command":"x","metadata":{"exit_code":2.5}}`), "int_from_float", `["body","extras","metadata","exit_code"]`, "fractional"},
		{"pid", extras("run", `{"command":"x","metadata":{"pid":"x"}}`), "int_parsing", `["body","extras","metadata","pid"]`, "parse string"},
		{"pid null", extras("run", `{"command":"x","metadata":{"pid":null}}`), "int_type", `["body","extras","metadata","pid"]`, "valid integer"},
		{"prefix", extras("run", `{"command":"x","metadata":{"prefix":null}}`), "string_type", `["body","extras","metadata","prefix"]`, "valid string"},
		{"username", extras("run", `{"command":"x","metadata":{"username":1}}`), "string_type", `["body","extras","metadata","username"]`, "valid string"},
		{"url", extras("browse", `{"url":null,"trigger_by_action":"browse"}`), "string_type", `["body","extras","url"]`, "valid string"},
		{"recall_type", extras("recall", `{"recall_type":"all"}`), "enum", `["body","extras","recall_type"]`, "'workspace_context' or 'knowledge'"},
		{"microagent lacks", extras("recall", `{"recall_type":"knowledge","microagent_knowledge":["x",{"name":"n","trigger":"t"}]}`), "missing", `["body","extras","microagent_knowledge",1,"content"]`, "Field required"},
		{"microagent has more", extras("recall", `{"recall_type":"knowledge","microagent_knowledge":[{"name":"n","trigger":"t","content":"c","x":1}]}`), "extra_forbidden", `["body","extras","microagent_knowledge",0,"x"]`, "not permitted"},
		{"old code of another type", args("run", `{"command":"x","translated_ipython_code":1}`), "string_type", `["body","args","translated_ipython_code"]`, "valid string"},
		{"old code no dictionary", args("read", `{"path":"x","translated_ipython_code":"print(file_editor(**[1]))"}`), "dict_type", `["body","args","translated_ipython_code"]`, "dictionary"},
		{"old code no JSON", args("read", `{"path":"x","translated_ipython_code":"print(file_editor(**{'path': b'x'}))"}`), "value_error", `["body","args","translated_ipython_code"]`, "none that JSON has"},
		{"old code infinite", args("read", `{"path":"x","translated_ipython_code":"print(file_editor(**{'path': 1e999}))"}`), "value_error", `["body","args","translated_ipython_code"]`, "Infinity"},
		{"tool call null", message(`"tool_call_metadata":null`), "dict_type", `["body","tool_call_metadata"]`, "object"},
		{"tool call empty", message(`"tool_call_metadata":{"function_name":"f","tool_call_id":"1","model_response":{}}`), "missing", `["body","tool_call_metadata","total_calls_in_response"]`, "Field required"},
		{"model response", message(`"tool_call_metadata":{"function_name":"f","tool_call_id":"1","model_response":1,"total_calls_in_response":1}`), "model_type", `["body","tool_call_metadata","model_response"]`, "object"},
		{"cost below 0", message(`"llm_metrics":{"accumulated_cost":-1}`), "greater_than_equal", `["body","llm_metrics","accumulated_cost"]`, "greater"},
		{"cost a string", message(`"llm_metrics":{"accumulated_cost":"1"}`), "float_type", `["body","llm_metrics","accumulated_cost"]`, "number"},
		{"costs null", message(`"llm_metrics":{"costs":null}`), "list_type", `["body","llm_metrics","costs"]`, "list"},
		{"latency a word", message(`"llm_metrics":{"response_latencies":[{"model":"m","response_id":"r","latency":"0x1p4"}]}`), "float_parsing", `["body","llm_metrics","response_latencies",0,"latency"]`, "parse string"},
		{"latency null", message(`"llm_metrics":{"response_latencies":[{"model":"m","response_id":"r","latency":null}]}`), "float_type", `["body","llm_metrics","response_latencies",0,"latency"]`, "number"},
		{"latency too large", message(`"llm_metrics":{"response_latencies":[{"model":"m","response_id":"r","latency":1` + strings.Repeat("0", 400) + `}]}`), "float_type", `["body","llm_metrics","response_latencies",0,"latency"]`, "valid number"},
		{"usage null", message(`"llm_metrics":{"accumulated_token_usage":null}`), "dict_type", `["body","llm_metrics","accumulated_token_usage"]`, "object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			errs := refuse(t, tt.body, noon)
			e := errs[0]
			loc, err := json.Marshal(e.Loc)
			if err != nil {
				t.Fatal(err)
			}
			if len(errs) != 1 || e.Type != tt.typ || string(loc) != tt.loc || !strings.Contains(e.Msg, tt.msg) {
				t.Errorf("%d errors, the first %s %s %q, want %s %s %q", len(errs), e.Type, loc, e.Msg, tt.typ, tt.loc, tt.msg)
			}
		})
	}
}

func TestInvalidJSON(t *testing.T) {
	err := &fastapi.Invalid{Errors: refuse(t, `{"action":`, noon)}
	got, jsonErr := json.Marshal(err)
	want := `{"detail":[{"type":"json_invalid","loc":["body",10],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting value"}}]}`
	if string(got) != want || jsonErr != nil {
		t.Errorf("JSON = %s, %v, want %s", got, jsonErr, want)
	}
	if want := "body.10: JSON decode error"; err.Error() != want {
		t.Errorf("Error = %s, want %s", err, want)
	}
}

// TestErrorsAreFew: all that is wrong is told, but not without end.
func TestErrorsAreFew(t *testing.T) {
	if errs := refuse(t, `{"action":"read","args":{"a":1,"b":2},"source":"me"}`, noon); len(errs) != 4 {
		t.Errorf("%d errors, want 4: %v", len(errs), errs)
	}
	var body strings.Builder
	body.WriteString(`{"action":"null","args":{"":0`)
	for i := range 100_000 {
		fmt.Fprintf(&body, `,"%d":0`, i)
	}
	if errs := refuse(t, body.String()+"}}", noon); len(errs) != 20 {
		t.Errorf("%d errors, want 20", len(errs))
	}
}

// TestLenientShapes: an unknown kind is kept as it came, but with members of
// the types that readers rely on.
func TestLenientShapes(t *testing.T) {
	for body, place := range map[string]string{
		`{"action":"frobnicate","observation":[1]}`: "observation",
		`{"action":"frobnicate","args":"x"}`:        "args",
		`{"observation":"frobnicate","extras":5}`:   "extras",
		`{"action":"frobnicate","llm_metrics":7}`:   "llm_metrics",
		`{"action":"frobnicate","source":false}`:    "source",
		`{"action":"frobnicate","cause":"x"}`:       "cause",
		`{"action":"frobnicate","timeout":{}}`:      "timeout",
		`{"action":"frobnicate","id":9}`:            "id",
	} {
		if errs := refuse(t, body, noon); len(errs) != 1 || errs[0].Loc[1] != place {
			t.Errorf("%s is refused with %+v, want one error at %s", body, errs, place)
		}
	}
}

func TestLenient(t *testing.T) {
	for _, tt := range []struct{ body, want, kind string }{
		{`{"id":-1,"action":"task_tracking","timestamp":"x","source":"agent","message":"Plan","args":{"plan":[1.0]},"more":null}`,
			`{"timestamp":"2025-03-01T12:00:00","source":"user","action":"task_tracking","message":"Plan","args":{"plan":[1.0]},"more":null}`, "task_tracking"},
		{`{"observation":"loop_detection","content":"x"}`,
			`{"timestamp":"2025-03-01T12:00:00","source":"user","observation":"loop_detection","content":"x"}`, "loop_detection"},
	} {
		e := normalise(t, tt.body, noon)
		if string(e.JSON) != tt.want || e.Kind != tt.kind || !strings.Contains(e.Lenient, "unknown") || e.Flags != event.FlagsOf(e.JSON) {
			t.Errorf("Normalise(%s) = %s, %s, %q, want %s", tt.body, e.JSON, e.Kind, e.Lenient, tt.want)
		}
		strict := noon
		strict.Strict = true
		if errs := refuse(t, tt.body, strict); errs[0].Type != "value_error" || !strings.Contains(errs[0].Msg, ". Known: ") {
			t.Errorf("strictly, %s is refused with %+v", tt.body, errs[0])
		}
	}
	if e := normalise(t, `{"action":"message","args":{"content":"x"}}`, noon); e.Lenient != "" {
		t.Errorf("a known kind says %q", e.Lenient)
	}
}

func TestSecretsOfUnknownKinds(t *testing.T) {
	o := noon
	o.Secrets = []event.Secret{{Name: "a", Value: "track"}, {Name: "b", Value: "key"}}
	e := normalise(t, `{"action":"task_tracking","key1":"a key","args":{"key":1,"track":["track"]}}`, o)
	want := `"action":"task_tracking","<secret_hidden>1":"a <secret_hidden>","args":{"<secret_hidden>":["<secret_hidden>"]}}`
	if !strings.HasSuffix(string(e.JSON), want) {
		t.Errorf("%s, want … %s", e.JSON, want)
	}
}

// TestSources: the source is that of the options, cause and metrics are kept.
func TestSources(t *testing.T) {
	body := `{"observation":"run","source":"user","cause":"5","content":"ok","extras":{"command":"ls"},"llm_metrics":{"accumulated_cost":1}}`
	for source, flags := range map[string]event.Flags{
		"user": 0, "agent": 0, "environment": event.IsEnvironment | event.IsLiveEnv,
	} {
		e := normalise(t, body, event.Options{Timestamp: noon.Timestamp, Source: source})
		v := decode(t, e.JSON)
		if got := get(v, "source").Text(); got != source || e.Flags != flags {
			t.Errorf("source = %s, flags %b, want %s, %b", got, e.Flags, source, flags)
		}
		if cause, cost := get(v, "cause").Text(), get(v, "llm_metrics", "accumulated_cost").Text(); cause != "5" || cost != "1" {
			t.Errorf("cause %s, cost %s, want 5, 1", cause, cost)
		}
	}
}

func TestAgentState(t *testing.T) {
	for body, want := range map[string]string{
		`{"action":"change_agent_state","args":{"agent_state":"paused"}}`:           "paused",
		`{"action":"change_agent_state","args":{"agent_state":5}}`:                  "",
		`{"action":"change_agent_state","args":{"agent_state":""}}`:                 "",
		`{"action":"message","args":{"content":"paused"}}`:                          "",
		`{"observation":"agent_state_changed","extras":{"agent_state":"paused"}}`:   "",
		`{"observation":"success","content":{"change_agent_state":"is the value"}}`: "",
	} {
		if got, ok := normalise(t, body, noon).AgentState(); got != want || ok != (want != "") {
			t.Errorf("AgentState of %s = %q, %v, want %q", body, got, ok, want)
		}
	}
}

func TestTime(t *testing.T) {
	zone := time.FixedZone("", 3*3600)
	for stored, want := range map[string]time.Time{
		`{"timestamp":"2025-03-01T10:07:00.012345","source":"user"}`: time.Date(2025, 3, 1, 10, 7, 0, 12345000, zone),
		`{"timestamp":"2025-03-01T10:07:00","source":"user"}`:        time.Date(2025, 3, 1, 10, 7, 0, 0, zone),
		`{"source":"user","timestamp":"2025-03-01T10:07:00"}`:        {},
		`{"timestamp":"yesterday"}`:                                  {},
		``:                                                           {},
	} {
		if got, ok := event.Time([]byte(stored), zone); !got.Equal(want) || ok == want.IsZero() {
			t.Errorf("Time(%s) = %v, %v, want %v", stored, got, ok, want)
		}
	}
	o := noon
	o.Timestamp = o.Timestamp.Add(1999 * time.Nanosecond)
	if e := normalise(t, `{"action":"null"}`, o); !strings.HasPrefix(string(e.JSON), `{"timestamp":"2025-03-01T12:00:00.000001"`) {
		t.Errorf("the time of %s is not cut to microseconds", e.JSON)
	}
}

func TestFlagsOfNoEvent(t *testing.T) {
	for _, text := range []string{``, `[]`, `{}`, `{"observatio`} {
		if got := event.FlagsOf([]byte(text)); got != 0 {
			t.Errorf("FlagsOf(%q) = %b, want 0", text, got)
		}
	}
}

func TestMatcherOfNoEvent(t *testing.T) {
	source := "user"
	if (event.Filter{Source: &source}).Matcher()(1, []byte(`{"source":"us`), 0) {
		t.Error("a torn event matches")
	}
}

func TestMessage(t *testing.T) {
	for _, tt := range []struct {
		content string
		images  []string
		want    string
	}{
		{`say "Hi"`, nil, `{"action":"message","args":{"content":"say \"Hi\"","image_urls":[]}}`},
		{"", []string{"data:a", "b"}, `{"action":"message","args":{"content":"","image_urls":["data:a","b"]}}`},
	} {
		if got := event.Message(tt.content, tt.images); string(got) != tt.want {
			t.Errorf("Message(%q, %v) = %s, want %s", tt.content, tt.images, got, tt.want)
		}
	}
}

func TestReplayStops(t *testing.T) {
	flags := func(f event.Flags) event.Flags { return f }
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		events []event.Flags
		err    error // behind the events
		most   int   // wanted by the consumer
		want   []event.Flags
	}{
		{"error", []event.Flags{event.IsStateChange, event.IsAction}, broken, 9, []event.Flags{event.IsAction}},
		{"consumer", []event.Flags{event.IsStateChange, event.IsAction, event.IsAction}, nil, 1, []event.Flags{event.IsAction}},
		{"nothing", nil, nil, 9, nil},
		{"last state", []event.Flags{event.IsStateChange, event.IsStateChange | event.IsHidden, event.IsNull}, nil, 9, []event.Flags{event.IsStateChange | event.IsHidden}},
	} {
		var all iter.Seq2[event.Flags, error] = func(yield func(event.Flags, error) bool) {
			for _, f := range tt.events {
				if !yield(f, nil) {
					return
				}
			}
			if tt.err != nil {
				yield(0, tt.err)
			}
		}
		var got []event.Flags
		var last error
		for f, err := range event.Replay(all, flags) {
			if last = err; err != nil {
				break
			}
			if got = append(got, f); len(got) == tt.most {
				break
			}
		}
		if !slices.Equal(got, tt.want) || last != tt.err {
			t.Errorf("%s: Replay = %v, %v, want %v, %v", tt.name, got, last, tt.want, tt.err)
		}
	}
}

// TestModelDefaults are the values of pydantic's models that no recorded event
// has.
func TestModelDefaults(t *testing.T) {
	e := normalise(t, `{"action":"null","llm_metrics":{"costs":[{"model":"m","cost":"1_0.5"}]},"tool_call_metadata":{"function_name":"f","tool_call_id":"1","total_calls_in_response":" 1_0.00 ",
		"model_response":{"choices":[{"message":{"tool_calls":[{"id":"c","function":{}}]}}]}}}`, noon)
	v := decode(t, e.JSON)
	for want, got := range map[string]pyjson.Value{
		`{"model":"m","cost":10.5,"timestamp":` + string(pyjson.FloatOf(float64(noon.Timestamp.Unix())).Append(nil)) + `}`: get(v, "llm_metrics", "costs").Items()[0],
		`10`: get(v, "tool_call_metadata", "total_calls_in_response"),
		`[{"finish_reason":"stop","index":0,"message":{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"","name":null},"id":"c","type":"function"}],"function_call":null}}]`: get(v, "tool_call_metadata", "model_response", "choices"),
	} {
		if string(got.Append(nil)) != want {
			t.Errorf("%s, want %s", got.Append(nil), want)
		}
	}
}

// TestCause has what Python's int takes.
func TestCause(t *testing.T) {
	for given, want := range map[string]string{
		`5`: `5`, `"5"`: `5`, `" -1_0 "`: `-10`, `"+007"`: `7`, `1.9`: `1`, `-1.9`: `-1`, `1e20`: `100000000000000000000`,
		`true`: `1`, `false`: `0`, `-0`: `0`, `null`: ``,
	} {
		e := normalise(t, `{"action":"null","cause":`+given+`}`, noon)
		if cause := get(decode(t, e.JSON), "cause"); cause.Text() != want {
			t.Errorf("cause %s = %s, want %s", given, cause.Text(), want)
		}
	}
	for _, wrong := range []string{`""`, `"_1"`, `"1_"`, `"1__0"`, `"+_1"`, `"1.0"`, `"0x1"`, `[]`, `{}`, `"` + strings.Repeat("9", 4301) + `"`} {
		refuse(t, `{"action":"null","cause":`+wrong+`}`, noon)
	}
}

// TestRunContent: characters count, not bytes.
func TestRunContent(t *testing.T) {
	const most = 30_000
	for n, want := range map[int]int{most: most, most + 1: most + len("\n[... Observation truncated due to length ...]\n")} {
		e := normalise(t, `{"observation":"run","content":"`+strings.Repeat("é", n)+`","extras":{"command":"x"}}`, noon)
		if got := len([]rune(get(decode(t, e.JSON), "content").Text())); got != want {
			t.Errorf("%d characters become %d, want %d", n, got, want)
		}
	}
}

// TestMessageRules checks the templates of all kinds against the recorded
// ones, on fields that hold their own names.
func TestMessageRules(t *testing.T) {
	for _, side := range document(t, "message-rules.json").Members() {
		if side.Key == "placeholder_rule" {
			continue
		}
		fieldsKey := map[string]string{"action": "args", "observation": "extras"}[side.Key]
		for _, rule := range side.Value.Members() {
			template := get(rule.Value, "template")
			if template.IsNull() {
				continue // told by cases, which the recorded events have
			}
			fields := pyjson.Builder{}
			body := func() []byte {
				return pyjson.ObjectOf(
					pyjson.Member{Key: side.Key, Value: pyjson.StringOf(rule.Key)},
					pyjson.Member{Key: "content", Value: pyjson.StringOf("content!")},
					pyjson.Member{Key: fieldsKey, Value: fields.Object()}).Append(nil)
			}
			e, err := event.Normalise(body(), noon)
			if invalid := (*fastapi.Invalid)(nil); errors.As(err, &invalid) {
				for _, missing := range invalid.Errors {
					name := missing.Loc[2].(string)
					value := name + "!"
					if name == "recall_type" {
						value = "knowledge"
					}
					fields.Set(name, pyjson.StringOf(value))
				}
				e, err = event.Normalise(body(), noon)
			}
			if err != nil {
				t.Errorf("%s %s: %v", side.Key, rule.Key, err)
				continue
			}
			v := decode(t, e.JSON)
			want := template.Text()
			for _, m := range append(get(v, fieldsKey).Members(), pyjson.Member{Key: "content", Value: get(v, "content")}) {
				want = strings.ReplaceAll(want, "{"+m.Key+"}", m.Value.Str())
			}
			exitCode, hidden := get(v, "extras", "metadata", "exit_code"), "{metadata.exit_code}"
			want = strings.ReplaceAll(want, hidden, exitCode.Str())
			if rule.Key == "recall" && side.Key == "action" {
				want = "Retrieving content for: "
			}
			if got := get(v, "message").Str(); got != want {
				t.Errorf("message of %s %s = %q, want %q", side.Key, rule.Key, got, want)
			}
		}
	}
}

// Large bodies must take time in proportion to their length. The bound is far
// above what they take, far below what a square would.
func TestNormaliseIsLinear(t *testing.T) {
	const size = 2 << 20
	var keys strings.Builder
	for i := 0; keys.Len() < size; i++ {
		fmt.Fprintf(&keys, `"%d":0,`, i)
	}
	object := "{" + keys.String() + `"":0}`
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	secrets := make([]event.Secret, 50)
	for i := range secrets {
		secrets[i] = event.Secret{Value: fmt.Sprintf("secret%d", i)}
	}
	for name, body := range map[string]string{
		"text":           `{"action":"message","args":{"content":"` + fill("many words ") + `"}}`,
		"object":         `{"action":"delegate","args":{"agent":"a","inputs":` + object + `}}`,
		"unknown fields": `{"action":"message","args":` + object + `}`,
		"unknown extras": `{"observation":"run","extras":{"command":"x","hidden":` + object + `}}`,
		"dropped extras": `{"observation":"run","extras":{` + keys.String() + `"command":"x"}}`,
		"old code":       `{"action":"read","args":{"path":"x","translated_ipython_code":"print(file_editor(**{` + strings.ReplaceAll(keys.String(), `"`, "'") + `}))"}}`,
		"old extras":     `{"observation":"run","extras":{"exit_code":1,"command":"x","metadata":` + object + `}}`,
		"response":       `{"action":"null","tool_call_metadata":{"function_name":"f","tool_call_id":"1","total_calls_in_response":1,"model_response":{"choices":[{"message":` + object + `}]}}}`,
		"microagents":    `{"observation":"recall","extras":{"recall_type":"knowledge","microagent_knowledge":[` + fill(`{"name":0,"content":0,"trigger":0},`) + `1]}}`,
		"wrong":          `{"observation":"recall","extras":{"recall_type":"knowledge","microagent_knowledge":[` + fill(`{},`) + `1]}}`,
		"top level":      `{"action":"task_tracking",` + keys.String() + `"":0}`,
		"no kind":        object,
		"run":            `{"observation":"run","content":"` + fill("é") + `","extras":{"command":"x"}}`,
		"exported":       `{"observation":"browse","extras":{"url":"x","trigger_by_action":"x","dom_object":` + object + `}}`,
	} {
		o := noon
		o.Secrets = secrets
		start := time.Now()
		e, err := event.Normalise([]byte(body), o)
		if err == nil {
			event.AppendTrajectory(nil, 1, e.JSON, e.Flags)
		}
		took := time.Since(start)
		if took > 10*time.Second {
			t.Errorf("%s: %v for %d bytes", name, took, len(body))
		}
		t.Logf("%s: %v, %.60v", name, took, err)
	}
}

// FuzzNormalise posts an event again as it was stored, which must change
// nothing. A refusal must say what is wrong.
func FuzzNormalise(f *testing.F) {
	for _, line := range lines(f, "events.jsonl") {
		f.Add(get(line, "input").Append(nil), false)
	}
	f.Add([]byte(`{"action":"task_tracking","args":{}}`), true)
	f.Fuzz(func(t *testing.T, body []byte, strict bool) {
		o := noon
		o.Strict = strict
		e, err := event.Normalise(body, o)
		if err != nil {
			var invalid *fastapi.Invalid
			if !errors.As(err, &invalid) || len(invalid.Errors) == 0 {
				t.Fatalf("Normalise(%q): %v", body, err)
			}
			for _, e := range invalid.Errors {
				if e.Type == "" || e.Msg == "" || len(e.Loc) == 0 || e.Loc[0] != "body" {
					t.Errorf("Normalise(%q): %+v", body, e)
				}
			}
			return
		}
		if got := event.FlagsOf(e.JSON); got != e.Flags {
			t.Errorf("FlagsOf(%s) = %b, want %b", e.JSON, got, e.Flags)
		}
		if compact := decode(t, e.JSON).Append(nil); !bytes.Equal(compact, e.JSON) {
			t.Errorf("%q is stored as %q, which reads as %q", body, e.JSON, compact)
		}
		decode(t, event.AppendServed(nil, 1, e.JSON, e.Flags))
		decode(t, event.AppendTrajectory(nil, 1, e.JSON, e.Flags))
		again, err := event.Normalise(e.JSON, o)
		if err != nil || !bytes.Equal(again.JSON, e.JSON) || again.Flags != e.Flags {
			t.Errorf("%q is stored as %q, and then as %q, %v", body, e.JSON, again.JSON, err)
		}
	})
}
