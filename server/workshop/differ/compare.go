package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// What differs from run to run, or by the speed of a server.
var volatile = []struct {
	form *regexp.Regexp
	text string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?`), "<time>"},
	{regexp.MustCompile(`"title":"Conversation [^"]*"`), `"title":"<title>"`},
	{regexp.MustCompile(`"(status|conversation_status)":"(STARTING|RUNNING)"`), `"$1":"<runs>"`},
	{regexp.MustCompile(`"runtime_status":(null|"[^"]*")`), `"runtime_status":"<any>"`},
	{regexp.MustCompile(`"content":"You are (OpenHands agent|a simulated agent)(\\.|[^"\\])*"`), `"content":"<system>"`},
	{regexp.MustCompile(`/[^" ]*/openhands_workspace_[^"/]*/`), "/"},
	{regexp.MustCompile(`"/workspace/`), `"/`},
	{regexp.MustCompile(`"timestamp":\d{10}\.\d+`), `"timestamp":"<time>"`},
	{regexp.MustCompile(`chatcmpl-[0-9a-f-]+`), "<completion>"},
	{regexp.MustCompile(`"(uptime|idle_time)":[0-9.]+`), `"$1":0`},
}

// plain is an answer without what differs from run to run.
func (s *side) plain(a answer) answer {
	for place, id := range s.ids {
		a.body = strings.ReplaceAll(a.body, id, place)
		if len(id) > 5 {
			a.body = strings.ReplaceAll(a.body, "Conversation "+id[:5], "Conversation <id>")
		}
	}
	a.body = strings.ReplaceAll(a.body, s.host, "<host>")
	for _, v := range volatile {
		a.body = v.form.ReplaceAllString(a.body, v.text)
	}
	if a.headers != nil {
		a.headers = a.headers.Clone()
		if at := a.headers.Get("Location"); at != "" {
			at = strings.ReplaceAll(at, s.host, "<host>")
			for place, id := range s.ids {
				at = strings.ReplaceAll(at, id, place)
			}
			a.headers.Set("Location", at)
		}
	}
	return a
}

// A difference is one that is made on purpose.
type difference struct {
	reason string
	covers func(q request, place string, real, ours answer) bool
}

func refused(a answer) bool { return a.status >= 400 && a.status < 500 }

// differences are all that differ on purpose, beside those of the conformance
// cases.
var differences = []difference{
	{"a failure of the real server is a refusal here", func(_ request, _ string, real, ours answer) bool {
		return real.status >= 500 && refused(ours)
	}},
	{"a digit is one of ASCII", func(q request, _ string, real, ours answer) bool {
		return real.status == 200 && ours.status == 422 && strings.Contains(q.body, "١") && strings.Contains(ours.body, `"cause"`)
	}},
	{"the real server hangs", func(_ request, _ string, real, ours answer) bool {
		return real.body == "no answer in time" && (refused(ours) || ours.status == 200)
	}},
	{"NaN, Infinity and lone surrogates are refused: no answer could show them", func(q request, _ string, real, ours answer) bool {
		return (real.status < 300 || real.status == 422) && ours.status == 422 && unservable.MatchString(q.body) && (strings.Contains(ours.body, "string_unicode") || strings.Contains(ours.body, "cannot be stored") || strings.Contains(ours.body, "no JSON answer can carry"))
	}},
	{"a task needs no provider here: the web UI offers it", func(q request, _ string, real, ours answer) bool {
		return q.op == newConversation && strings.Contains(q.body, `"suggested_task":{`) && real.status == 500
	}},
	{"nothing is sent to anyone, and an editor and helpers of the runtime are not missed", func(q request, _ string, real, ours answer) bool {
		return real.status == 500 && ours.status == 200 && (strings.Contains(q.target, "/submit-feedback") || strings.Contains(q.target, "/vscode-url") || strings.Contains(q.target, "/git/changes"))
	}},
	{"the web UI asks for changes of a folder that is no repository", func(q request, _ string, real, ours answer) bool {
		return strings.Contains(q.target, "/git/changes") && real.status == 404 && strings.Contains(real.body, "Not a git") && ours.body == "[]"
	}},
	{"the real server counts folders that hold no conversation", func(q request, place string, real, ours answer) bool {
		return place == "/next_page_id" && strings.HasPrefix(real.body, `{"results":[],`) && strings.HasPrefix(ours.body, `{"results":[],`)
	}},
	{"a page of our own", func(q request, _ string, real, ours answer) bool {
		return real.status == ours.status && (q.target == "/redoc" || q.target == "/docs")
	}},
	{"a range is answered whole", func(_ request, _ string, real, ours answer) bool {
		return real.status == 206 && ours.status == 200
	}},
	{"files of a conversation that is stopped can be read", func(q request, _ string, real, ours answer) bool {
		return real.status == 500 && ours.status == 200 && (strings.Contains(q.target, "/list-files") || strings.Contains(q.target, "/zip-directory") || strings.Contains(q.target, "/select-file"))
	}},
	{"the real server's prompt to remember by is a file that its working folder lacks", func(q request, _ string, real, ours answer) bool {
		return real.status == 500 && ours.status == 200 && strings.Contains(q.target, "/remember-prompt")
	}},
	{"the system message and its tools are our own", func(_ request, place string, real, ours answer) bool {
		return real.status == ours.status && strings.Contains(place, "/args/tools")
	}},
	{"words of a refusal that name a product", func(q request, place string, real, ours answer) bool {
		return strings.HasPrefix(q.target, "/mcp/mcp/") && place == "/error/message" && real.status == 400
	}},
	{"the real server reads a conversation's record while it writes it", func(q request, _ string, real, ours answer) bool {
		return real.status == 500 && ours.status == 200 && (q.method == "DELETE" || q.method == "PATCH" && strings.Contains(real.body, "Expecting value") || q.op == "GET /api/conversations/{conversation_id}")
	}},
	{"the real server's list lacks a conversation whose record it writes", func(q request, place string, real, ours answer) bool {
		return q.op == "GET /api/conversations" && real.status == 200 && ours.status == 200 && (place == "/results/* (number)" || place == "/results/*/conversation_id")
	}},
	{"a title by a model", func(_ request, place string, real, ours answer) bool {
		return strings.HasSuffix(place, "/title") && strings.Contains(ours.body, `"title":"<title>"`)
	}},
	{"an id is refused also of a message that the real server drops for its images", func(_ request, _ string, real, ours answer) bool {
		return real.status == 200 && ours.status == 422 && strings.Contains(ours.body, "the server gives ids")
	}},
	{"an archive's bytes are another packer's", func(q request, place string, real, ours answer) bool {
		return strings.Contains(q.target, "/zip-directory") && place == "body" && strings.HasPrefix(real.body, "PK") && strings.HasPrefix(ours.body, "PK")
	}},
	{"the real runtime leaves its own script in the workspace", func(q request, _ string, real, _ answer) bool {
		return strings.Contains(q.target, "/list-files") && strings.Contains(real.body, "git_")
	}},
	{"a name, a list or a figure of the machine", func(q request, place string, real, ours answer) bool {
		return slices.Contains([]string{"/server_info", "/api/options/models", "/api/options/config"}, strings.SplitN(q.target, "?", 2)[0]) && real.status == ours.status && strings.HasPrefix(place, "/")
	}},
}

// talkDifferences are those in what is said on a connection of Socket.IO: each
// covers the first packet that differs.
var talkDifferences = []difference{
	{"a provider that is not known is told; the real server says nothing", func(q request, _ string, real, ours answer) bool {
		return strings.Contains(q.target, "providers_set=nosuch") && strings.Contains(ours.body, "providers_set")
	}},
	{"auth is told to be not taken; the real server says nothing, and lets nobody try again", func(q request, _ string, real, ours answer) bool {
		return strings.Contains(ours.body, "auth is not taken")
	}},
	{"a client that says that it goes is let go; the real server keeps the connection until its next ping", func(q request, _ string, _, _ answer) bool {
		return slices.Contains(strings.Split(q.body, "\n"), "1")
	}},
	{"an event named as one of the protocol's own is ignored; the real server calls its own handler", func(q request, _ string, _, _ answer) bool {
		return strings.Contains(q.body, `42["disconnect"]`) || strings.Contains(q.body, `42["connect"]`)
	}},
	{"a CONNECT whose auth is no object is malformed", func(q request, _ string, _, _ answer) bool {
		return strings.HasPrefix(q.body, "40null") || strings.HasPrefix(q.body, "40[]")
	}},
	{"a binary event without its number of attachments is malformed; the real server waits for one", func(q request, _ string, _, _ answer) bool {
		return slices.Contains(strings.Split(q.body, "\n"), "45")
	}},
	{"a digit is one of ASCII", func(q request, _ string, _, _ answer) bool {
		return strings.Contains(q.target, "%D9%A9")
	}},
	{"a socket creates no conversation", func(q request, _ string, _, ours answer) bool {
		return strings.Contains(q.target, "conversation_id=nosuch") && strings.Contains(ours.body, "Conversation not found")
	}},
}

// A cluster is what differs at one place of one operation.
type cluster struct {
	name    string
	count   int
	q       request
	fill    func(string) string
	example [2]string
}

// A report is what came of it.
type report struct {
	requests, events int
	sockets          int // connections
	declared         map[string]int
	clusters         map[string]*cluster
	operations       map[string]int
}

func newReport() *report {
	return &report{declared: map[string]int{}, clusters: map[string]*cluster{}, operations: map[string]int{}}
}

// compare compares two answers to a request.
func (r *report) compare(q request, fill func(string) string, real, ours answer) {
	if !strings.HasPrefix(q.op, "read back") {
		r.requests++
		r.operations[strings.TrimSuffix(q.op, "*")]++
	}
	place, a, b := differing(real, ours)
	if place == "" {
		return
	}
	for _, x := range differences {
		if x.covers(q, place, real, ours) {
			r.declared[x.reason]++
			return
		}
	}
	r.note(q, fill, place, a, b)
}

// note adds to a cluster.
func (r *report) note(q request, fill func(string) string, place, real, ours string) {
	name := q.op + " " + place
	c := r.clusters[name]
	if c == nil {
		ids := fill("{cid}\x00{cid2}") // those of this round
		first, second, _ := strings.Cut(ids, "\x00")
		c = &cluster{name: name, q: q, example: [2]string{real, ours},
			fill: strings.NewReplacer("{cid}", first, "{cid2}", second).Replace}
		r.clusters[name] = c
	}
	c.count++
}

var comparedHeaders = []string{"Content-Type", "Location", "Access-Control-Allow-Origin", "Cache-Control"}

// differing is the first place at which two answers differ, "" for none, and
// what is there. A place of a list stands for all of it.
func differing(real, ours answer) (place, a, b string) {
	if real.status != ours.status {
		return fmt.Sprintf("status %d, not %d%s", ours.status, real.status, faults(ours.body)), clip(real.body), clip(ours.body)
	}
	if real.body != ours.body {
		var x, y any
		if decode(real.body, &x) != nil || decode(ours.body, &y) != nil {
			return "body", clip(real.body), clip(ours.body)
		}
		if place, a, b := inside("", x, y); place != "" {
			return place + faults(real.body) + faults(ours.body), a, b
		}
		return "/ (order or form)" + faults(real.body), clip(real.body), clip(ours.body)
	}
	for _, name := range comparedHeaders {
		if a, b := real.headers.Get(name), ours.headers.Get(name); a != b {
			return fmt.Sprintf("header %s of %d", name, real.status), a, b
		}
	}
	return "", "", ""
}

func decode(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return d.Decode(v)
}

// faults names the kinds of faults of a 422 answer.
func faults(body string) string {
	var invalid struct{ Detail []struct{ Type string } }
	if json.Unmarshal([]byte(body), &invalid) != nil || len(invalid.Detail) == 0 {
		return ""
	}
	var types []string
	for _, d := range invalid.Detail {
		if !slices.Contains(types, d.Type) {
			types = append(types, d.Type)
		}
	}
	slices.Sort(types)
	return " [" + strings.Join(types[:min(len(types), 2)], " ") + "]"
}

func inside(at string, x, y any) (place, a, b string) {
	switch x := x.(type) {
	case map[string]any:
		y, ok := y.(map[string]any)
		if !ok {
			break
		}
		for _, name := range slices.Sorted(maps.Keys(x)) {
			v, ok := y[name]
			if !ok {
				return at + "/" + name, text(x[name]), "(none)"
			}
			if place, a, b := inside(at+"/"+name, x[name], v); place != "" {
				return place, a, b
			}
		}
		for _, name := range slices.Sorted(maps.Keys(y)) {
			if _, ok := x[name]; !ok {
				return at + "/" + name, "(none)", text(y[name])
			}
		}
		return "", "", ""
	case []any:
		y, ok := y.([]any)
		if !ok {
			break
		}
		for i := range min(len(x), len(y)) {
			if place, a, b := inside(at+"/*", x[i], y[i]); place != "" {
				return place, a, b
			}
		}
		if len(x) == len(y) {
			return "", "", ""
		}
		return at + "/* (number)", text(x), text(y)
	}
	if text(x) == text(y) {
		return "", "", ""
	}
	return at, text(x), text(y)
}

func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return clip(strings.TrimSpace(b.String()))
}

func clip(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// write tells the clusters, the largest first.
func (r *report) write(w io.Writer, base string) {
	list := slices.SortedFunc(maps.Values(r.clusters), func(a, b *cluster) int {
		return cmp.Or(b.count-a.count, strings.Compare(a.name, b.name))
	})
	for _, c := range list {
		fmt.Fprintf(w, "%d × %s\n  real: %s\n  ours: %s\n  %s\n", c.count, c.name, c.example[0], c.example[1], c.q.curl(base, c.fill))
	}
	fmt.Fprintf(w, "%d requests of %d operations, %d events read back, %d connections of sockets, %d clusters\n", r.requests, len(r.operations), r.events, r.sockets, len(list))
	for _, reason := range slices.Sorted(maps.Keys(r.declared)) {
		fmt.Fprintf(w, "%6d declared: %s\n", r.declared[reason], reason)
	}
}
