package conform

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func failing(t *testing.T) Report {
	t.Helper()
	report, _ := replayWith(t, "create_empty", "3", Options{Differences: []Difference{
		{"create_empty", "4", "/events/0/id", "no-escape"},
	}}, body("gui", `c\u0001i`))
	return report
}

func TestWriteText(t *testing.T) {
	var b bytes.Buffer
	if err := failing(t).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"FAIL create_empty step 3: GET /api/conversations/{{cid}}",
		"recorded from OpenHands 0.53.0, 2026-11-23",
		"curl -sS -i --path-as-is 'http://127.0.0.1:",
		"  /trigger\n    want gui\n",
		"EXPECTED",
		` "trigger": "gui",                                           |  "trigger": "c`,
		"5 recorded requests in 1 cases",
		"      1  failed",
		"declared, but no longer different: create_empty step 4 /events/0/id (no-escape)",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("WriteText lacks %q:\n%s", want, b.String())
		}
	}
}

func TestWriteJSON(t *testing.T) {
	var b bytes.Buffer
	report := failing(t)
	if err := report.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Steps != 5 || got.Counts[Held] != 4 || got.Counts[Failed] != 1 || len(got.Stale) != 1 || got.Cases[0].Recorded.Date != "2026-11-23" {
		t.Errorf("WriteJSON wrote %+v, want 5 steps, 4 held, 1 failed, 1 stale", got)
	}
}

func TestWriteJUnit(t *testing.T) {
	var b bytes.Buffer
	report := failing(t)
	report.NotDeleted = []string{"/api/conversations/a"}
	if err := report.WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Suites []struct {
			Name     string `xml:"name,attr"`
			Tests    int    `xml:"tests,attr"`
			Failures int    `xml:"failures,attr"`
			Cases    []struct {
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	if len(got.Suites) != 2 || got.Suites[0].Tests != 5 || got.Suites[0].Failures != 1 || got.Suites[1].Failures != 2 {
		t.Fatalf("WriteJUnit wrote %+v, want 5 tests with 1 failure, and 2 failures of the run", got)
	}
	if f := got.Suites[0].Cases[2].Failure; f == nil || !strings.HasPrefix(f.Message, "/trigger: want gui") {
		t.Errorf("failure of step 3 = %+v, want /trigger", f)
	}
}

// What no failure is, but no plain pass either, is told in each form of a report.
func TestLenientIsTold(t *testing.T) {
	report, _ := replayWith(t, "create_empty", "3", Options{}, func(a *replay) {
		a.status = 404
		a.headers["x-local-lenient"] = "why"
	})
	var text, xml bytes.Buffer
	if err := errors.Join(report.WriteText(&text), report.WriteJUnit(&xml)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n      1  more lenient", "\nlenient: create_empty step 3: why"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("WriteText lacks %q:\n%s", want, text.String())
		}
	}
	for _, want := range []string{`failures="0"`, `<property name="lenient" value="1"></property>`, "<system-out>lenient: why</system-out>"} {
		if !strings.Contains(xml.String(), want) {
			t.Errorf("WriteJUnit lacks %q:\n%s", want, xml.String())
		}
	}
}

func TestSummary(t *testing.T) {
	for want, c := range map[string]CaseResult{
		"ok 2":            {Steps: []StepResult{{Outcome: Held}, {Outcome: Part}, {Outcome: LeftOut}}},
		"FAILED 1 of 2":   {Steps: []StepResult{{Outcome: Failed}, {Outcome: Held}, {Outcome: NotApplicable}}},
		"needs a restart": {Reason: "needs a restart", Steps: []StepResult{{Outcome: NotApplicable}}},
	} {
		if got := c.Summary(); got != want {
			t.Errorf("Summary() = %q, want %q", got, want)
		}
	}
}

func TestSideBySide(t *testing.T) {
	side := func(lines ...string) string { return strings.Join(lines, "\n") }
	for why, tt := range map[string]struct{ want, got, written string }{
		"nothing to show": {"", "", ""},
		"equal lines stand side by side": {side("a", "gone", "b", "old", "c"), side("a", "b", "new", "more", "c"),
			side("EXPECTED GOT", "a a", "gone |", "b b", "old | new", "| more", "c c")},
		"what is far from a difference is left out": {side("1", "2", "3", "4", "5", "6", "7"), side("1", "2", "3", "4", "5", "6", "x"),
			side("EXPECTED GOT", "…", "5 5", "6 6", "7 | x")},
		"too much": {strings.Repeat("a\n", 60), strings.Repeat("b\n", 60), side("EXPECTED GOT") + strings.Repeat("\na | b", lines) + "\n… and more"},
	} {
		var b strings.Builder
		sideBySide(&b, tt.want, tt.got)
		var words []string
		for line := range strings.Lines(b.String()) {
			words = append(words, strings.Join(strings.Fields(line), " "))
		}
		if got := strings.Join(words, "\n"); got != tt.written {
			t.Errorf("%s:\n%s\nwant\n%s", why, got, tt.written)
		}
	}
}

func TestCurl(t *testing.T) {
	base, err := url.Parse("http://h:1")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		m    message
		s    Step
		want string
	}{
		{message{method: "GET", target: "/a//%zz"}, Step{}, `curl -sS -i --path-as-is 'http://h:1/a//%zz'`},
		{message{method: "HEAD", target: "/a"}, Step{}, `curl -sS -i --path-as-is -I 'http://h:1/a'`},
		{message{method: "GET", target: "/al ive"}, Step{}, `curl -sS -i --path-as-is --request-target '/al ive' 'http://h:1'`},
		{message{method: "OPTIONS", target: "*"}, Step{}, `curl -sS -i --path-as-is -X 'OPTIONS' --request-target '*' 'http://h:1'`},
		{message{method: "POST", target: "/a", headers: [][2]string{{"Content-Type", "x/y"}, {"Host", ""}}, body: []byte(`it's`), chunked: true}, Step{},
			`curl -sS -i --path-as-is -X 'POST' -H 'Content-Type: x/y' -H 'Host;' -H 'Transfer-Encoding: chunked' --data-binary 'it'\''s' 'http://h:1/a'`},
		{message{method: "POST", target: "/a", body: []byte{0}}, Step{BodyB64: "AA=="},
			`printf %s 'AA==' | base64 -d | curl -sS -i --path-as-is -X 'POST' --data-binary @- -H 'Content-Type:' 'http://h:1/a'`},
		{message{method: "POST", target: "/a", headers: [][2]string{{"Content-Type", "x/y"}}, body: []byte("pxxs")}, Step{BodyGen: &Repeated{"p", "x", "s", 2}},
			`{ printf %s 'p'; yes 'x' | head -n 2 | tr -d '\n'; printf %s 's'; } | curl -sS -i --path-as-is -X 'POST' -H 'Content-Type: x/y' --data-binary @- 'http://h:1/a'`},
	}
	for _, tt := range tests {
		if got := tt.m.curl(base, &tt.s); got != tt.want {
			t.Errorf("curl(%s %s) =\n%s, want\n%s", tt.m.method, tt.m.target, got, tt.want)
		}
	}
}

func TestMessageBytes(t *testing.T) {
	tests := []struct {
		m    message
		want string
	}{
		{message{method: "get", target: "//"}, "get // HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"},
		{message{method: "POST", target: "/"}, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{message{method: "GET", target: "/", headers: [][2]string{{"Host", "a"}, {"Host", "b"}}}, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n"},
		{message{method: "GET", target: "/", headers: [][2]string{{"Connection", "Upgrade"}}}, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\r\n"},
		{message{method: "POST", target: "/", headers: [][2]string{{"Content-Length", "abc"}}, body: []byte("x")}, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: abc\r\nConnection: close\r\n\r\nx"},
		{message{method: "POST", target: "/", body: []byte("{}"), chunked: true}, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n"},
	}
	for _, tt := range tests {
		if got := string(tt.m.bytes("h")); got != tt.want {
			t.Errorf("bytes() = %q, want %q", got, tt.want)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	v := vars{"cid": "äbcdefg", "base": "10", "host": "h:1"}
	for in, want := range map[string]string{
		"/c/{{cid}}?a={{base+3}}&b={{base-3}}&c={{base}}": "/c/äbcdefg?a=13&b=7&c=10",
		"{{cid:5}} {{cid:50}} {{host}}":                   "äbcde äbcdefg h:1",
		"{{other}} {{}} {x}":                              "{{other}} {{}} {x}",
	} {
		if got, err := v.expand(in, nil); got != want || err != nil {
			t.Errorf("expand(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	if _, err := v.expand("{{late}}", map[string]bool{"late": true}); err == nil {
		t.Error("expand({{late}}) has no error, want one: it should have been captured")
	}
	if v.matches("{{ws}}/a {{ws}}", "/w/a /x") {
		t.Error("matches() takes two workspaces for one")
	}
	if !v.matches("in {{ws}}/a", "in /w/x/a") || v["ws"] != "/w/x" {
		t.Errorf("matches() learned %q, want /w/x", v["ws"])
	}
	if v.matches("{{ws}}/b", "/other/b") || !v.matches("{{ws}}/b", "/w/x/b") {
		t.Error("matches() does not hold on to the workspace")
	}
}

func TestParseDifferences(t *testing.T) {
	const good = "- {case: a, step: 0.10, what: 'header:allow', reason: full-allow}\n- {case: b, step: 3, what: /x/0, reason: web-ui}\n- {case: b, what: body, reason: no-names}\n"
	list, err := ParseDifferences([]byte(good))
	if err != nil || len(list) != 3 || list[0].Step != "0.10" || list[1].Step != "3" || list[2].Step != "" {
		t.Errorf("ParseDifferences(good) = %+v, %v, want three, of the steps 0.10, 3 and none", list, err)
	}
	for why, bad := range map[string]string{
		"not YAML":       "{",
		"unknown member": "- {case: a, what: body, reason: web-ui, because: x}",
		"no case":        "- {what: body, reason: web-ui}",
		"no what":        "- {case: a, reason: web-ui}",
		"upper case":     "- {case: a, what: 'header:Allow', reason: web-ui}",
		"no reason":      "- {case: a, what: body}",
		"new reason":     "- {case: a, what: body, reason: lazy}",
		"declared twice": "- {case: a, what: body, reason: web-ui}\n- {case: a, what: body, reason: no-names}",
	} {
		if _, err := ParseDifferences([]byte(bad)); err == nil {
			t.Errorf("ParseDifferences(%s) has no error", why)
		}
	}
	var b bytes.Buffer
	if err := WriteDifferences(&b, list); err != nil || !strings.Contains(b.String(), Reasons["full-allow"]) {
		t.Errorf("WriteDifferences wrote %q, %v, want the meaning of the reasons", b.String(), err)
	}
}

func TestDeclaredIsSound(t *testing.T) {
	if err := known(Declared(), Cases()); err != nil {
		t.Error(err)
	}
}

func TestRunRefuses(t *testing.T) {
	server := Target{URL: "http://127.0.0.1:1"}
	tests := []struct {
		why     string
		target  Target
		options Options
	}{
		{"no URL", Target{}, Options{}},
		{"no scheme", Target{URL: "localhost:3000"}, Options{}},
		{"a path", Target{URL: "http://localhost:3000/api"}, Options{}},
		{"unknown case", server, Options{Only: []string{"nope*"}}},
		{"bad pattern", server, Options{Only: []string{"["}}},
		{"difference of no case", server, Options{Differences: []Difference{{"nope", "0", "body", "web-ui"}}}},
		{"difference of no request", server, Options{Differences: []Difference{{"create_empty", "2", "body", "web-ui"}}}},
	}
	for _, tt := range tests {
		if report, err := Run(t.Context(), tt.target, tt.options); err == nil || report.Cases != nil {
			t.Errorf("Run with %s = %d cases, %v, want an error", tt.why, len(report.Cases), err)
		}
	}
}

func TestServerDoesNotStart(t *testing.T) {
	boom := errors.New("boom")
	target := Target{Start: func(context.Context, map[string]string) (Server, error) { return nil, boom }}
	report, err := Run(t.Context(), target, Options{})
	if !errors.Is(err, boom) || len(report.Cases) != 1 || report.OK() {
		t.Errorf("Run = %d cases, OK %v, %v, want 1, false, %v", len(report.Cases), report.OK(), err, boom)
	}
}

type unrestartable struct{ *replayer }

func (unrestartable) Restart(context.Context) error { return errors.New("stuck") }

func TestRestartFails(t *testing.T) {
	c := caseNamed(t, "seq_restart_delete")
	r := startReplayer(t, c, nil)
	target := Target{Start: func(context.Context, map[string]string) (Server, error) { return unrestartable{r}, nil }}
	report, err := run(t.Context(), target, Options{}, []Case{c})
	if err != nil || report.Counts[Held] == 0 || report.Counts[Failed] == 0 || report.Counts[Held]+report.Counts[Failed] != report.Steps {
		t.Errorf("run = %v, %v, want the requests before the restart held and those after it failed", report.Counts, err)
	}
}

// No request changes a conversation that the run did not make, whatever a case says.
func TestGuard(t *testing.T) {
	s := newSomebodys("work")
	server := httptest.NewServer(s)
	defer server.Close()
	before := s.state()
	s.onRequest = func(r *http.Request) {
		if r.Method != "GET" {
			t.Errorf("%s %s was sent", r.Method, r.URL)
		}
	}
	c, err := parseCase([]byte(`{"name":"evil","steps":[
		{"method":"GET","path":"/api/conversations","capture":{"cid":"/results/0/conversation_id"},"response":{"status":200}},
		{"method":"DELETE","path":"/api/conversations/{{cid}}","response":{"status":200}},
		{"method":"POST","path":"/api/conversations/{{cid}}/events","response":{"status":200}},
		{"op":"parallel","steps":[{"method":"PATCH","path":"/api/conversations/{{cid}}","response":{"status":200}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	report, err := run(t.Context(), Target{URL: server.URL}, Options{AllowHarm: true, AllowAgent: true, Fast: true}, []Case{c})
	if err != nil || report.OK() {
		t.Errorf("run = %v, %v, want failures", report.Counts, err)
	}
	if after := s.state(); after != before {
		t.Errorf("the data changed:\nbefore %s\nafter  %s", before, after)
	}
}

func TestParseCaseRefuses(t *testing.T) {
	for why, file := range map[string]string{
		"no JSON":        `{`,
		"unknown member": `{"name":"a","steps":[],"x":1}`,
		"unknown op":     `{"name":"a","steps":[{"op":"dance"}]}`,
		"no answer":      `{"name":"a","steps":[{"method":"GET","path":"/"}]}`,
		"no method":      `{"name":"a","steps":[{"op":"parallel","steps":[{"response":{"status":200}}]}]}`,
	} {
		if _, err := parseCase([]byte(file)); err == nil {
			t.Errorf("parseCase(%s) has no error", why)
		}
	}
}

// What does not answer fails, in every request.
func TestNoServer(t *testing.T) {
	var progress []string
	report, err := Run(t.Context(), Target{URL: "http://127.0.0.1:1"}, Options{Only: []string{"health"}, Fast: true,
		Progress: func(_, _ int, c CaseResult) { progress = append(progress, c.Name) }})
	if err != nil || report.Counts[Failed] != report.Steps || report.OK() {
		t.Errorf("Run = %v, %v, want all %d failed", report.Counts, err, report.Steps)
	}
	if len(progress) != 1 || progress[0] != "health" {
		t.Errorf("Progress was told %q, want health", progress)
	}
}
