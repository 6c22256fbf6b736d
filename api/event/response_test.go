package event_test

import (
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/event"
)

// TestModelResponse has what the real 0.53.0 makes of a model_response, whose
// id and time are given: an empty answer is a refusal.
func TestModelResponse(t *testing.T) {
	const (
		noUsage = `"usage":{"completion_tokens":0,"prompt_tokens":0,"total_tokens":0,"completion_tokens_details":null,"prompt_tokens_details":null}`
		noWords = `"message":{"content":null,"role":"assistant","tool_calls":null,"function_call":null}`
	)
	response := func(choices, more string) string {
		return `{"id":"i","created":1,"model":null,"object":"chat.completion","system_fingerprint":null,"choices":[` + choices + `],` + more + `}`
	}
	choice := func(reason, message, more string) string {
		return response(`{"finish_reason":"`+reason+`","index":0,`+message+more+`}`, noUsage)
	}
	message := func(tail string) string {
		return choice("stop", `"message":{"content":null,"role":"assistant",`+tail+`}`, "")
	}
	usage := func(text string) string { return response("", `"usage":{`+text+`}`) }
	for given, want := range map[string]string{
		// the response
		``:                       choice("stop", noWords, ""),
		`"choices":5`:            choice("stop", noWords, ""),
		`"choices":[]`:           response("", noUsage),
		`"choices":[5]`:          ``,
		`"choices":[],"usage":5`: response("", `"usage":5`),
		`"choices":[],"object":"x","stream":false,"hidden_params":{},"zz":{"_sb":1}`: response("", noUsage+`,"zz":{"_sb":1}`),
		`"choices":[],"model":5`:              ``,
		`"choices":[],"created":1e22`:         ``,
		`"choices":[],"system_fingerprint":1`: ``,
		// a choice
		`"choices":[{"finish_reason":"tool_use","zz":1,"enhancements":2,"provider_specific_fields":3}]`:    choice("tool_calls", noWords, `,"provider_specific_fields":3,"zz":1,"enhancements":2`),
		`"choices":[{"finish_reason":"MAX_TOKENS","logprobs":5}]`:                                          choice("length", noWords, `,"logprobs":5`),
		`"choices":[{"finish_reason":5}]`:                                                                  ``,
		`"choices":[{"message":5}]`:                                                                        ``,
		`"choices":[{"logprobs":{"content":[{"z":1,"logprob":"1","token":"t","top_logprobs":[]}],"x":2}}]`: choice("stop", noWords, `,"logprobs":{"content":[{"token":"t","bytes":null,"logprob":1.0,"top_logprobs":[],"z":1}],"x":2}`),
		`"choices":[{"logprobs":{"content":null}}]`:                                                        choice("stop", noWords, `,"logprobs":{"content":null}`),
		`"choices":[{"logprobs":{"content":[{"token":"t","logprob":1}]}}]`:                                 ``,
		`"choices":[{"logprobs":{"content":5}}]`:                                                           ``,
		// a message
		`"choices":[{"message":{"content":5}}]`:                                                                            ``,
		`"choices":[{"message":{"role":""}}]`:                                                                              choice("stop", noWords, ""),
		`"choices":[{"message":{"role":"bot"}}]`:                                                                           ``,
		`"choices":[{"message":{"tool_calls":{},"refusal":null}}]`:                                                         message(`"tool_calls":null,"function_call":null,"refusal":null`),
		`"choices":[{"message":{"tool_calls":5}}]`:                                                                         ``,
		`"choices":[{"message":{"tool_calls":[5]}}]`:                                                                       ``,
		`"choices":[{"message":{"tool_calls":[{"id":"c"}]}}]`:                                                              ``,
		`"choices":[{"message":{"tool_calls":[{"id":5,"type":7,"function":"f","x":1}]}}]`:                                  message(`"tool_calls":[{"x":1,"function":"f","id":5,"type":7}],"function_call":null`),
		`"choices":[{"message":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":{"a":"é"},"z":1}}]}}]`:          message(`"tool_calls":[{"function":{"arguments":"{\"a\": \"\\u00e9\"}","name":"f"},"id":"c","type":"function"}],"function_call":null`),
		`"choices":[{"message":{"tool_calls":[{"id":"c","function":{"parameters":{"q":1}}}]}}]`:                            message(`"tool_calls":[{"function":{"arguments":"{\"q\": 1}","name":null},"id":"c","type":"function"}],"function_call":null`),
		`"choices":[{"message":{"function_call":{"q":1,"arguments":"a"}}}]`:                                                message(`"tool_calls":null,"function_call":{"arguments":"a","name":null,"q":1}`),
		`"choices":[{"message":{"function_call":""}}]`:                                                                     ``,
		`"choices":[{"message":{"provider_specific_fields":{"a":1},"reasoning_content":"r","annotations":[],"name":"n"}}]`: message(`"tool_calls":null,"function_call":null,"reasoning_content":"r","annotations":[],"name":"n"`),
		`"choices":[{"message":{"annotations":5}}]`:                                                                        ``,
		`"choices":[{"message":{"audio":{"q":1,"transcript":"t","data":"d","expires_at":"5","id":"a"}}}]`:                  message(`"tool_calls":null,"function_call":null,"audio":{"id":"a","data":"d","expires_at":5,"transcript":"t","q":1}`),
		`"choices":[{"message":{"audio":{}}}]`:                                                                             ``,
		// the usage
		`"choices":[],"usage":{"prompt_tokens":"","total_tokens":"7","completion_tokens":2.0,"_x":1,"cost":1.5}`:  usage(`"completion_tokens":2,"prompt_tokens":0,"total_tokens":7,"completion_tokens_details":null,"prompt_tokens_details":null,"cost":1.5`),
		`"choices":[],"usage":{"reasoning_tokens":2,"completion_tokens":5}`:                                       usage(`"completion_tokens":5,"prompt_tokens":0,"total_tokens":0,"completion_tokens_details":{"accepted_prediction_tokens":null,"audio_tokens":null,"reasoning_tokens":2,"rejected_prediction_tokens":null},"prompt_tokens_details":null`),
		`"choices":[],"usage":{"completion_tokens_details":{"text_tokens":3,"zz":1},"prompt_tokens_details":[1]}`: usage(`"completion_tokens":0,"prompt_tokens":0,"total_tokens":0,"completion_tokens_details":{"accepted_prediction_tokens":null,"audio_tokens":null,"reasoning_tokens":null,"rejected_prediction_tokens":null,"zz":1},"prompt_tokens_details":null`),
		`"choices":[],"usage":{"prompt_tokens_details":{"image_count":2,"zz":1}}`:                                 usage(`"completion_tokens":0,"prompt_tokens":0,"total_tokens":0,"completion_tokens_details":null,"prompt_tokens_details":{"audio_tokens":null,"cached_tokens":null,"text_tokens":null,"image_tokens":null,"image_count":2,"zz":1}`),
		`"choices":[],"usage":{"cache_read_input_tokens":5,"server_tool_use":6}`:                                  usage(`"completion_tokens":0,"prompt_tokens":0,"total_tokens":0,"completion_tokens_details":null,"prompt_tokens_details":{"audio_tokens":null,"cached_tokens":5,"text_tokens":null,"image_tokens":null},"server_tool_use":6,"cache_read_input_tokens":5`),
		`"choices":[],"usage":{"prompt_tokens":"x"}`:                                                              ``,
	} {
		body := `{"action":"null","tool_call_metadata":{"function_name":"f","tool_call_id":"t","total_calls_in_response":1,"model_response":{"id":"i","created":1` + strings.TrimSuffix(","+given, ",") + `}}}`
		e, err := event.Normalise([]byte(body), noon)
		if want == "" {
			if err == nil {
				t.Errorf("Normalise(… {%s}) = %s, want an error", given, e.JSON)
			}
			continue
		}
		if err != nil {
			t.Errorf("Normalise(… {%s}): %v", given, err)
			continue
		}
		if got := get(decode(t, e.JSON), "tool_call_metadata", "model_response").Append(nil); string(got) != want {
			t.Errorf("Normalise(… {%s})\n  = %s\nwant %s", given, got, want)
		}
	}
}

// TestRename has args and extras that name the kind again.
func TestRename(t *testing.T) {
	for body, want := range map[string]string{
		`{"action":"run","args":{"command":"c","action":"run"}}`:                           `Running command: c`,
		`{"action":"null","args":{"action":"think"}}`:                                      `I am thinking...: `,
		`{"observation":"null","content":"c","extras":{"observation":"success"}}`:          `c`,
		`{"observation":"success","content":"c","extras":{"observation":"null"}}`:          `No observation`,
		`{"action":"message","args":{"content":"c","action":"run"}}`:                       ``,
		`{"action":"null","args":{"action":"message"}}`:                                    ``,
		`{"action":"null","args":{"action":null}}`:                                         ``,
		`{"action":"null","args":{"action":"nil"}}`:                                        ``,
		`{"action":"reject","args":{"outputs":null,"action":"finish"}}`:                    ``,
		`{"observation":"run","content":"c","extras":{"command":"c","observation":"mcp"}}`: ``,
	} {
		if want == "" {
			refuse(t, body, noon)
			continue
		}
		if got := get(decode(t, normalise(t, body, noon).JSON), "message").Text(); got != want {
			t.Errorf("Normalise(%s): message %q, want %q", body, got, want)
		}
	}
}

// TestSecretsInKeys masks keys, but for the words of the event model, which an
// event cannot be read without.
func TestSecretsInKeys(t *testing.T) {
	o := noon
	o.Secrets = []event.Secret{{Name: "a", Value: "pid"}, {Name: "b", Value: "k3y"}}
	e := normalise(t, `{"observation":"run","content":"pid","extras":{"command":"c","metadata":{"pid":5}}}`, o)
	v := decode(t, e.JSON)
	if pid, content := get(v, "extras", "metadata", "pid").Text(), get(v, "content").Text(); pid != "5" || content != event.Hidden {
		t.Errorf("pid %s, content %s, want 5, %s", pid, content, event.Hidden)
	}
	for secret, want := range map[string]string{
		"k3y": `{"<secret_hidden>":["<secret_hidden>"],"b":1}`,
		"":    `{"k3y":["k3y"],"b":1}`, // an empty one breaks no key and no list, as upstream
	} {
		o.Secrets = []event.Secret{{Name: "a", Value: secret}}
		e := normalise(t, `{"action":"call_tool_mcp","args":{"name":"n","arguments":{"k3y":["k3y"],"b":1}}}`, o)
		if got := get(decode(t, e.JSON), "args", "arguments").Append(nil); string(got) != want {
			t.Errorf("secret %q: arguments %s, want %s", secret, got, want)
		}
	}
}

// TestTranslatedCode has literals beside the recorded ones.
func TestTranslatedCode(t *testing.T) {
	for literal, want := range map[string]string{
		`{'path': '/b'}`:        `"/b"`,
		`[['path', '/b']]`:      `"/b"`,
		`[['path', '/b'], 'x']`: `"/b"`, // upstream stops at what is no pair, and keeps the rest
		`'text'`:                `"/a"`,
		`[]`:                    `"/a"`,
		`[5]`:                   ``,
		`['ab']`:                ``,
		`5`:                     ``,
		`None`:                  ``,
		`{'path': 1e400}`:       ``,
	} {
		body := `{"action":"read","args":{"path":"/a","translated_ipython_code":"print(file_editor(**` + literal + `))"}}`
		if want == "" {
			refuse(t, body, noon)
		} else if got := get(decode(t, normalise(t, body, noon).JSON), "args", "path").Append(nil); string(got) != want {
			t.Errorf("%s: path %s, want %s", literal, got, want)
		}
	}
	for _, wrong := range []string{"0", "false", "[]", "{}"} {
		refuse(t, `{"action":"read","args":{"path":"/a","translated_ipython_code":`+wrong+`}}`, noon)
	}
}

// TestModelNumbers has what pydantic takes for numbers.
func TestModelNumbers(t *testing.T) {
	run := func(code string) string {
		return `{"observation":"run","extras":{"command":"c","metadata":{"exit_code":` + code + `}}}`
	}
	cost := func(n string) string {
		return `{"action":"null","llm_metrics":{"costs":[{"model":"m","cost":` + n + `,"timestamp":1}]}}`
	}
	for _, wrong := range []string{run(`"+-1"`), run(`1e19`), run(`-9223372036854775808.0`), cost(`"1__0"`), cost(`"_1"`), cost(`"1_"`)} {
		refuse(t, wrong, noon)
	}
	for given, want := range map[string]string{`"1_0.5"`: "10.5", `"1_.5"`: "1.5", `".5"`: "0.5", `true`: "1.0"} {
		if got := get(decode(t, normalise(t, cost(given), noon).JSON), "llm_metrics", "costs").Items()[0]; get(got, "cost").Text() != want {
			t.Errorf("cost %s = %s, want %s", given, got.Append(nil), want)
		}
	}
	for _, none := range []string{`""`, `{}`} {
		if got := get(decode(t, normalise(t, `{"action":"null","llm_metrics":{"costs":`+none+`}}`, noon).JSON), "llm_metrics", "costs").Append(nil); string(got) != "[]" {
			t.Errorf("costs %s = %s, want []", none, got)
		}
	}
}

// TestLongNames are cut: they go into a header and into a sentence.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("é", 1000)
	if e := normalise(t, `{"action":"`+long+`"}`, noon); len(e.Lenient) > 200 || len(e.Kind) != len(long) {
		t.Errorf("Lenient has %d bytes, Kind %d", len(e.Lenient), len(e.Kind))
	}
	if errs := refuse(t, `{"action":"null","args":{"`+long+`":1}}`, noon); len(errs[0].Msg) > 200 {
		t.Errorf("Msg has %d bytes", len(errs[0].Msg))
	}
}

// TestManyEntries are refused: each would be written with all its defaults.
func TestManyEntries(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("{},", 20_001), ",")
	for _, body := range []string{
		`{"action":"null","llm_metrics":{"token_usages":[` + many + `]}}`,
		`{"action":"null","tool_call_metadata":{"function_name":"f","tool_call_id":"t","total_calls_in_response":1,"model_response":{"choices":[` + many + `]}}}`,
	} {
		if errs := refuse(t, body, noon); errs[0].Type != "too_long" {
			t.Errorf("Type = %s, want too_long", errs[0].Type)
		}
	}
}
