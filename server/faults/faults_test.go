package faults_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/live"
	"github.com/openhands-local/openhands-local/server/faults"
)

func newSet() *faults.Set {
	return faults.New([]string{"AddEvent", "SearchEvents", "GetConversation", "GetTrajectory"})
}

// addEvent is an Add Event to a conversation.
func addEvent(conversation, body string) *exchange.Exchange {
	x := exchange.New(exchange.HTTP, "POST", "/api/conversations/"+conversation+"/events")
	x.Operation, x.Conversation, x.Body = "AddEvent", conversation, []byte(body)
	return x
}

// add adds rules of JSON.
func add(t *testing.T, s *faults.Set, text string) {
	t.Helper()
	if err := tryAdd(s, text); err != nil {
		t.Fatal(err)
	}
}

func tryAdd(s *faults.Set, text string) error {
	v, err := faults.DecodeJSON([]byte(text))
	if err != nil {
		return err
	}
	_, err = s.AddJSON(v)
	return err
}

// TestMatch: what a rule is for.
func TestMatch(t *testing.T) {
	t.Parallel()
	header := http.Header{"X-Client": {"a", "b"}}
	const body = `{"action":"message","args":{"content":"Hi","n":1.0,"list":[{"a/b":true}],"null":null}}`
	for match, want := range map[string]bool{
		`{}`:                                      true,
		`{"operation":"AddEvent"}`:                true,
		`{"operation":"SearchEvents"}`:            false,
		`{"conversation":"c"}`:                    true,
		`{"conversation":"d"}`:                    false,
		`{"method":"POST"}`:                       true,
		`{"method":"GET"}`:                        false,
		`{"path":"/api/conversations/c/events"}`:  true,
		`{"path":"/api/conversations/c"}`:         false,
		`{"path":"/api/*"}`:                       true,
		`{"path":"*/events"}`:                     true,
		`{"path":"/api/*/c/*"}`:                   true,
		`{"path":"/api/*/d/*"}`:                   false,
		`{"path":"*events*events"}`:               false,
		`{"header":{"x-client":"b"}}`:             true,
		`{"header":{"X-Client":"c"}}`:             false,
		`{"header":{"X-Other":"b"}}`:              false,
		`{"body":{"/args/content":"Hi"}}`:         true,
		`{"body":{"/args/content":"hi"}}`:         false,
		`{"body":{"/args/n":1}}`:                  true,
		`{"body":{"/args/n":true}}`:               false,
		`{"body":{"/args/list/0/a~1b":true}}`:     true,
		`{"body":{"/args/list/1":null}}`:          false,
		`{"body":{"/args/list":[{"a/b":true}]}}`:  true,
		`{"body":{"/args/null":null}}`:            true,
		`{"body":{"/args/none":null}}`:            false,
		`{"body":{"/action":"message","/x":"y"}}`: false,
		`{"status":200}`:                          false, // not before the answer
	} {
		s := newSet()
		add(t, s, `{"match":`+match+`,"do":{"status":503}}`)
		if got := s.Request(addEvent("c", body), header) != nil; got != want {
			t.Errorf("%s matches = %v, want %v", match, got, want)
		}
	}
	s := newSet()
	add(t, s, `{"match":{"body":{"/a":1}},"do":{"status":503}}`)
	for _, body := range []string{"", "{", `[]`, `"a"`, `null`} {
		if s.Request(addEvent("c", body), nil) != nil {
			t.Errorf("the body %q matches /a", body)
		}
	}
}

// TestDue: which of those that match go wrong.
func TestDue(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		`{"do":{"status":500}}`:                                           "xxxxxxxx",
		`{"times":2,"do":{"status":500}}`:                                 "xx......",
		`{"match":{"nth":3},"do":{"status":500}}`:                         "..x.....",
		`{"match":{"nth":3},"times":2,"do":{"status":500}}`:               "..xx....",
		`{"match":{"chance":0.5,"seed":1},"do":{"status":500}}`:           "x.xx..xx",
		`{"match":{"chance":0.5,"seed":2},"do":{"status":500}}`:           "..xxxx..",
		`{"match":{"chance":0.5,"seed":1},"times":3,"do":{"status":500}}`: "x.xx....",
		`{"match":{"chance":1},"do":{"status":500}}`:                      "xxxxxxxx",
	} {
		for range 2 { // the same each time
			s := newSet()
			add(t, s, rule)
			got := ""
			for range 8 {
				if s.Request(addEvent("c", ""), nil) != nil {
					got += "x"
				} else {
					got += "."
				}
			}
			if r := s.List()[0]; got != want || r.Offered != 8 || r.Used != strings.Count(want, "x") {
				t.Errorf("%s: %s, offered %d, used %d, want %s", rule, got, r.Offered, r.Used, want)
			}
		}
	}
}

// TestOrder: the first rule that is due is used, and those after it are not
// asked.
func TestOrder(t *testing.T) {
	t.Parallel()
	s := newSet()
	add(t, s, `[{"name":"a","times":1,"do":{"status":500}},{"name":"b","match":{"nth":2},"do":{"status":501}},{"name":"c","do":{"status":502}}]`)
	var got []string
	for range 4 {
		got = append(got, s.Request(addEvent("c", ""), nil).Name)
	}
	for _, r := range s.List() {
		got = append(got, fmt.Sprint(r.Name, r.Offered, r.Used))
	}
	if want := "[a c b c a4 1 b3 1 c2 2]"; fmt.Sprint(got) != want {
		t.Errorf("used, and counts = %v, want %s", got, want)
	}
	if s.Delete("b"); s.Delete("b") || len(s.List()) != 2 {
		t.Errorf("rules = %+v, want a and c", s.List())
	}
	if s.Clear(); s.Request(addEvent("c", ""), nil) != nil {
		t.Error("a rule is left that was taken out")
	}
}

// TestAnswer: a rule with a status is asked before the answer alone.
func TestAnswer(t *testing.T) {
	t.Parallel()
	s := newSet()
	add(t, s, `{"match":{"status":422},"do":{"status":500}}`)
	x := addEvent("c", "")
	if s.Request(x, nil) != nil || s.Answer(x, nil, 200) != nil {
		t.Error("goes wrong before it is answered 422")
	}
	if f := s.Answer(x, nil, 422); f == nil || f.At != faults.After {
		t.Errorf("fault = %+v, want one after the event", f)
	}
}

// TestLocal: what is ours alone never goes wrong.
func TestLocal(t *testing.T) {
	t.Parallel()
	s := newSet()
	add(t, s, `[{"do":{"status":500}},{"match":{"status":200},"do":{"status":500}}]`)
	for _, path := range []string{"/_local", "/_local/faults", "/_local/reset"} {
		x := exchange.New(exchange.HTTP, "GET", path)
		if s.Request(x, nil) != nil || s.Answer(x, nil, 200) != nil {
			t.Errorf("%s goes wrong", path)
		}
	}
	if s.Request(exchange.New(exchange.HTTP, "GET", "/_locality"), nil) == nil {
		t.Error("/_locality does not go wrong")
	}
}

// TestDelay: delays are within what was asked, vary, and repeat.
func TestDelay(t *testing.T) {
	t.Parallel()
	for text, within := range map[string][2]time.Duration{
		`"30ms"`:                             {30 * time.Millisecond, 30 * time.Millisecond},
		`{"min":"10ms","max":"20ms"}`:        {10 * time.Millisecond, 20 * time.Millisecond},
		`{"mean":"10ms","deviation":"20ms"}`: {0, time.Second},
	} {
		var draws [2]string
		different := map[time.Duration]bool{}
		for i := range draws {
			s := newSet()
			add(t, s, `{"match":{"seed":7},"do":{"delay":`+text+`}}`)
			for range 50 {
				wait := s.Request(addEvent("c", ""), nil).Wait
				if wait < within[0] || wait > within[1] {
					t.Errorf("%s: %v, want within %v", text, wait, within)
				}
				different[wait] = true
				draws[i] += wait.String() + " "
			}
		}
		if draws[0] != draws[1] {
			t.Errorf("%s: %s, then %s, want the same of the same seed", text, draws[0], draws[1])
		}
		if varies := text[0] == '{'; (len(different) > 10) != varies {
			t.Errorf("%s: %d different delays", text, len(different))
		}
	}
}

// TestCounters are exact, however many ask at once.
func TestCounters(t *testing.T) {
	t.Parallel()
	s := newSet()
	add(t, s, `[{"name":"few","match":{"conversation":"a"},"times":100,"do":{"status":500}},{"name":"some","match":{"chance":0.3},"do":{"status":500}}]`)
	const goroutines, each = 16, 200
	var used [2]atomic.Int64
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			x := addEvent([]string{"a", "b"}[i%2], `{}`)
			for range each {
				if f := s.Request(x, nil); f != nil {
					used[map[string]int{"few": 0, "some": 1}[f.Name]].Add(1)
				}
				if i == 0 {
					_ = s.List()
				}
			}
		})
	}
	all.Wait()
	r := s.List()
	if r[0].Offered != goroutines*each/2 || r[0].Used != 100 || used[0].Load() != 100 {
		t.Errorf("few: %+v, %d seen, want %d offered and 100 used", r[0], used[0].Load(), goroutines*each/2)
	}
	if r[1].Offered != goroutines*each-100 || int64(r[1].Used) != used[1].Load() {
		t.Errorf("some: %+v, %d seen, want %d offered and as many used", r[1], used[1].Load(), goroutines*each-100)
	}
}

// TestUnusedCostsNothing: a set without rules allocates nothing.
func TestUnusedCostsNothing(t *testing.T) {
	s, x, r := newSet(), addEvent("c", "{}"), &http.Request{}
	m := live.Message{Request: r, Name: "oh_event"}
	if n := testing.AllocsPerRun(100, func() {
		if s.Request(x, nil) != nil || s.Answer(x, nil, 200) != nil || s.Message(m) != nil || s.HoldsPing(r) {
			t.Error("goes wrong without a rule")
		}
	}); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// TestRefused: what is wrong with a rule is told with its place, and nothing of
// it is added.
func TestRefused(t *testing.T) {
	t.Parallel()
	const event = `"do":{"status":500}`
	deep := strings.Repeat("[", 2000)
	for text, want := range map[string]string{
		`5`:                               "body: Input should be a valid dictionary",
		`null`:                            "body: Input should be a valid dictionary",
		`[[]]`:                            "body.0: Input should be a valid dictionary",
		`{}`:                              "body.do: Value error, nothing goes wrong",
		`{`:                               "body.1: JSON decode error",
		deep:                              "body: Value error, nested more than",
		"\"\xff\"":                        "body: Value error, not valid text",
		`{"faults":5}`:                    "body.faults: Input should be a valid list",
		`{` + event + `,"frob":1}`:        "body.frob: Extra inputs are not permitted",
		`{` + event + `,"name":"a\r\nb"}`: "body.name: Value error, want up to 64 letters",
		`{` + event + `,"name":""}`:       "body.name: Value error, want up to 64 letters",
		`{` + event + `,"name":"` + deep[:65] + `"}`:                             "body.name: Value error, want up to 64 letters",
		`{` + event + `,"times":0}`:                                              "body.times: Value error, want a number from 1",
		`{` + event + `,"times":99999999999999999999999}`:                        "body.times: Value error, want a number from 1",
		`{` + event + `,"match":[]}`:                                             "body.match: Input should be a valid dictionary",
		`{` + event + `,"match":{"operation":"Frob"}}`:                           "body.match.operation: Value error, there is no operation of this name: openhands-local contract status",
		`{` + event + `,"match":{"path":"api"}}`:                                 "body.match.path: Value error, want a path",
		`{` + event + `,"match":{"path":"/` + strings.Repeat("*", 1<<14) + `"}}`: "body.match.path: Value error, want up to 8192 bytes",
		`{` + event + `,"match":{"header":{"a":1}}}`:                             "body.match.header.a: Input should be a valid string",
		`{` + event + `,"match":{"body":{"a":1}}}`:                               "body.match.body.a: Value error, want a JSON pointer",
		`{` + event + `,"match":{"body":{"/a":NaN}}}`:                            "body.match.body./a: Value error, has",
		`{` + event + `,"match":{"chance":2}}`:                                   "body.match.chance: Value error, want a number above 0",
		`{` + event + `,"match":{"chance":NaN}}`:                                 "body.match.chance: Input should be a finite number",
		`{` + event + `,"match":{"nth":-1}}`:                                     "body.match.nth: Value error, want a number from 1",
		`{` + event + `,"preset":"frob"}`:                                        "body.preset: Input should be 'rate-limit', ",
		`{"do":{"status":100}}`:                                                  "body.do.status: Value error, want a number from 200 to 599",
		`{"do":{"status":500,"headers":{"a b":"c"}}}`:                            "body.do.headers.a b: Value error, is no name of a header",
		`{"do":{"status":500,"headers":{"a":"c\r\nd:e"}}}`:                       "body.do.headers.a: Value error, is no value of a header",
		`{"do":{"status":500,"headers":{"content-length":"5"}}}`:                 "body.do.headers.content-length: Value error, cannot be set",
		`{"do":{"status":500,"body":"\ud800"}}`:                                  "body.do.body: Input should be a valid string",
		`{"do":{"status":500,"body":[1e999]}}`:                                   "body.do.body: Value error, has",
		`{"do":{"status":500,"body":"` + strings.Repeat("a", 1<<20+1) + `"}}`:    "body.do.body: Value error, want up to",
		`{"do":{"status":204,"body":"a"}}`:                                       "body.do: Value error, an answer of 204 has no body",
		`{"do":{"body":"a"}}`:                                                    "body.do: Value error, body and headers go with a status",
		`{"do":{"delay":"1 s"}}`:                                                 "body.do.delay: Value error, want a time",
		`{"do":{"delay":5}}`:                                                     "body.do.delay: Value error, want a time",
		`{"do":{"delay":"-1s"}}`:                                                 "body.do.delay: Value error, want a time",
		`{"do":{"delay":"9000h"}}`:                                               "body.do.delay: Value error, want a time",
		`{"do":{"delay":{"min":"2s","max":"1s"}}}`:                               "body.do.delay: Value error, want min and max",
		`{"do":{"delay":{"mean":"2s","max":"1s"}}}`:                              "body.do.delay: Value error, want min and max",
		`{"do":{"delay":{}}}`:                                                    "body.do.delay: Value error, want min and max",
		`{"do":{"at":"now","status":500}}`:                                       "body.do.at: Input should be 'before' or 'after'",
		`{"do":{"at":"after"}}`:                                                  "body.do: Value error, nothing goes wrong",
		`{"do":{"cut":-1}}`:                                                      "body.do.cut: Value error, want a number from 0",
		`{"do":{"bytes_per_second":0}}`:                                          "body.do.bytes_per_second: Value error, want a number from 1",
		`{"do":{"connection":"cut"}}`:                                            "body.do.connection: Input should be 'close' or 'reset'",
		`{"do":{"connection":"close","status":500}}`:                             "body.do: Value error, connection is in the place of an answer",
		`{"do":{"set":{"/a":1},"status":500}}`:                                   "body.do: Value error, set changes the answer",
		`{"do":{"status":500,"at":"before"},"match":{"status":200}}`:             "body.do: Value error, the status is known after",
		`{"do":{"socket":"frob"}}`:                                               "body.do.socket: Input should be 'drop', ",
		`{"do":{"socket":"drop","status":500}}`:                                  "body.do: Value error, socket stands alone",
		`{"do":{"socket":"hold"}}`:                                               "body.do: Value error, hold goes with a delay",
		`{"do":{"socket":"drop","delay":"1s"}}`:                                  "body.do: Value error, hold goes with a delay",
		`{"do":{"socket":"drop"},"match":{"operation":"AddEvent"}}`:              "body.do: Value error, a socket's message has no operation",
		`{"do":{"socket":"hold pings"},"match":{"method":"oh_event"}}`:           "body.do: Value error, a ping has no method",
		`[{` + event + `,"name":"a"},{` + event + `,"name":"a"}]`:                "body.1.name: Value error, there is a rule of this name",
		`{` + event + `,"name":"there"}`:                                         "body.name: Value error, there is a rule of this name",
		`[` + strings.Repeat(`{`+event+`},`, 1000) + `{` + event + `}]`:          "body: Value error, there are 1000 rules at most",
	} {
		s := newSet()
		add(t, s, `{"name":"there","do":{"status":500}}`)
		err := tryAdd(s, text)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.120s: %v, want %s…", text, err, want)
		}
		if len(s.List()) != 1 {
			t.Errorf("%.120s: something of it was added", text)
		}
	}
	if err := newSet().Add(faults.Rule{Do: faults.Do{Status: 500, Body: func() {}}}); err == nil {
		t.Error("a function is taken for a body")
	}
}

// TestRoundTrip: what is listed can be added again, and is the same then.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	s := newSet()
	add(t, s, `[{"times":2,"match":{"operation":"AddEvent","conversation":"c","method":"POST","path":"/*","header":{"A":"b"},"body":{"/a":{"b":[null]}},"nth":2,"chance":0.5,"seed":-3},
		"do":{"delay":{"min":"1s","max":"2s"},"status":500,"headers":{"A":"b"},"body":{"a":"<"},"cut":0,"bytes_per_second":5,"connection":"reset"}},
		{"do":{"delay":{"mean":"1s","deviation":"0s"},"set":{"/a":null}}},{"do":{"socket":"hold","delay":"1s"}}]`)
	for _, p := range faults.Presets {
		if err := s.Add(faults.Rule{Preset: p.Name}); err != nil {
			t.Errorf("preset %s: %v", p.Name, err)
		}
	}
	again := newSet()
	for _, r := range s.List() {
		if err := again.Add(r.Rule); err != nil {
			t.Errorf("%+v: %v", r.Rule, err)
		}
	}
	before, _ := json.Marshal(s.List())
	after, _ := json.Marshal(again.List())
	if string(before) != string(after) {
		t.Errorf("rules = %s, want %s", after, before)
	}
	for _, r := range s.List()[3:] {
		if r.Cites == "" {
			t.Errorf("preset %s cites nothing", r.Preset)
		}
	}
}

// TestFile: YAML and JSON, errors with their lines.
func TestFile(t *testing.T) {
	t.Parallel()
	write := func(text string) string {
		name := filepath.Join(t.TempDir(), "faults.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, text := range []string{
		"faults:\n- name: a\n  do: {status: 500}\n- preset: rate-limit\n  times: 2\n",
		"- {name: a, do: {status: 500}}\n- {preset: rate-limit}\n",
		`{"faults":[{"name":"a","do":{"status":500}},{"preset":"rate-limit"}]}`,
	} {
		s := newSet()
		if err := s.AddFile(write(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := fmt.Sprint(s.Unused()); got != "[a fault-1]" {
			t.Errorf("%s: unused %s, want both", text, got)
		}
		s.Request(addEvent("c", ""), nil)
		add(t, s, `{"name":"later","do":{"status":500}}`)
		if got := fmt.Sprint(s.Unused()); got != "[fault-1]" {
			t.Errorf("%s: unused %s, want those of the file that were not used", text, got)
		}
		if s.Restart(); len(s.List()) != 2 {
			t.Errorf("%s: %+v, want the file's after a reset", text, s.List())
		}
	}
	for text, want := range map[string]string{
		"":           "line 1: Input should be a valid dictionary",
		"faults: [":  "line 1: ",
		"a: 1\na: 2": "line 2: mapping key \"a\" already defined",
		"- do:\n    status: 500\n- do:\n    status: x\n":      "line 4: 1.do.status: Input should be a valid integer",
		"faults:\n- match:\n    frob: 1\n  do: {status: 500}": "line 3: faults.0.match.frob: Extra inputs",
		"do: {status: 500, body: .nan}":                       "unsupported value: NaN",
		"do: {1: 2}":                                          "unsupported type",
		"a: &a [*a]":                                          "anchor 'a' value contains itself",
		"do: {status: 500}\ntimes: 0\nname: ''":               "line 2: times: want a number",
	} {
		err := newSet().AddFile(write(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want …%s", text, err, want)
		}
	}
	if err := newSet().AddFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there is taken")
	}
}
