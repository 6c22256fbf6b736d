package conform

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// configurable is a server that makes conversations only once settings with a key are stored, as the recorded one does.
type configurable struct {
	mu       sync.Mutex
	settings map[string]any // nil: none were ever stored
	key      string
	secrets  []string
	asked    []string // method and path of every request
	answer   func(w http.ResponseWriter, r *http.Request) bool
}

// requests are those that were sent so far.
func (s *configurable) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *configurable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	if s.answer != nil && s.answer(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	say := func(status int, format string, args ...any) {
		w.WriteHeader(status)
		fmt.Fprintf(w, format, args...)
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /api/settings":
		if s.settings == nil {
			say(404, `{"error":"Settings not found"}`)
			return
		}
		shown := maps.Clone(s.settings)
		shown["llm_api_key_set"] = s.key != ""
		shown["secrets_store"] = map[string]any{"provider_tokens": map[string]any{}}
		text, _ := json.Marshal(shown)
		say(200, "%s", text)
	case "POST /api/settings":
		var posted map[string]any
		json.Unmarshal(body, &posted)
		now := map[string]any{"llm_model": nil, "llm_base_url": nil, "language": nil, "user_consents_to_analytics": nil}
		for name := range now {
			now[name] = posted[name]
			if posted[name] == nil && name != "language" {
				now[name] = s.settings[name]
			}
		}
		if key, ok := posted["llm_api_key"].(string); ok {
			s.key = key
		}
		s.settings = now
		say(200, `{"message":"Settings stored"}`)
	case "POST /api/conversations":
		switch {
		case s.settings == nil:
			say(400, `{"status":"error","message":"Settings not found","msg_id":"CONFIGURATION$SETTINGS_NOT_FOUND"}`)
		case s.key == "":
			say(400, `{"status":"error","message":"no key","msg_id":"STATUS$ERROR_LLM_AUTHENTICATION"}`)
		default:
			say(200, `{"status":"ok","conversation_id":"made","message":null,"conversation_status":"STARTING"}`)
		}
	case "GET /api/secrets":
		say(200, `{"custom_secrets":[{"name":%q}]}`, strings.Join(s.secrets, " "))
	case "DELETE /api/conversations/made":
		say(200, "true")
	default:
		say(404, `{"detail":"Not Found"}`)
	}
}

// withConfigurable runs one case, given as a file of cases/, and returns its only result.
func withConfigurable(t *testing.T, s *configurable, options Options, file string) (Report, CaseResult) {
	t.Helper()
	c, err := parseCase([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	options.Fast, options.clock = true, new(fakeClock).clock()
	report, err := run(t.Context(), Target{URL: server.URL}, options, []Case{c})
	if err != nil || len(report.Cases) != 1 {
		t.Fatalf("run = %d cases, %v, want one", len(report.Cases), err)
	}
	return report, report.Cases[0]
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

var (
	storing = `{"method":"POST","path":"/api/settings","body_raw":` + quoted(recorderSettings) + `,"response":` + document200 + `}`
	making  = `{"method":"POST","path":"/api/conversations","body_raw":"{}","capture":{"cid":"/conversation_id"},"response":` + document200 + `}`
)

const document200 = `{"status":200,"headers":{"content-type":"application/json"}}`

// A case whose ground is missing is left out, and no failure; the flag that brings the ground is named.
func TestNoGround(t *testing.T) {
	tests := []struct {
		why      string
		settings map[string]any
		lacks    string
	}{
		{"no settings", nil, "settings"},
		{"settings without a key", map[string]any{"llm_model": "m"}, "a key for a model in its settings"},
	}
	for _, tt := range tests {
		s := &configurable{settings: tt.settings}
		var told []string
		options := Options{Notice: func(what string) { told = append(told, what) }}
		report, c := withConfigurable(t, s, options, `{"name":"makes","steps":[`+storing+`,`+making+`,
			{"method":"GET","path":"/api/conversations/{{cid}}","response":{"status":200}}]}`)
		if report.Counts[LeftOut] != 3 || c.Reason != "makes a conversation, and the server has not got "+tt.lacks ||
			!slices.Equal(report.LeftOut[Settings], []string{"makes"}) || report.NotSent[c.Reason] != 3 {
			t.Errorf("%s: %v, %q, left out %v, want 3 left out for want of %s", tt.why, report.Counts, c.Reason, report.LeftOut, tt.lacks)
		}
		if len(told) != 1 || !strings.Contains(told[0], "1 cases are left out; --allow-settings") {
			t.Errorf("%s: was told %q, want how many cases, and the flag", tt.why, told)
		}
		if want := []string{"POST /api/conversations"}; !slices.Equal(s.requests(), want) {
			t.Errorf("%s: asked %q, want %q", tt.why, s.requests(), want)
		}
		var text strings.Builder
		report.WriteText(&text)
		for _, want := range []string{"not sent, by reason:\n      3  makes a conversation", "left out without --allow-settings: 1 cases\n",
			"FAILED: nothing was sent; 0 of 3 recorded requests were sent"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: WriteText lacks %q:\n%s", tt.why, want, text.String())
			}
		}
	}
}

// A server that has the ground makes a conversation when it is asked, which is deleted.
func TestGround(t *testing.T) {
	s := &configurable{settings: map[string]any{}, key: "k"}
	report, _ := withConfigurable(t, s, Options{}, `{"name":"makes","steps":[`+storing+`,`+making+`]}`)
	if report.Counts[LeftOut] != 1 || report.NotSent["the recorder's settings are not stored"] != 1 {
		t.Errorf("%v, %v, want the recorder's settings left out alone", report.Counts, report.NotSent)
	}
	made, deleted := 0, 0
	for _, request := range s.requests() {
		switch request {
		case "POST /api/conversations":
			made++
		case "DELETE /api/conversations/made":
			deleted++
		}
	}
	if made != 2 || deleted != 2 {
		t.Errorf("asked %q, want 2 conversations made and deleted", s.requests())
	}
}

// Settings that a run stored are followed by the old ones; what no request can put back is told.
func TestSettingsArePutBack(t *testing.T) {
	tests := []struct {
		why     string
		before  map[string]any
		key     string
		after   map[string]any
		keyIs   string
		remains []string
	}{
		{"no settings", nil, "", map[string]any{"llm_model": "", "llm_base_url": "", "language": nil, "user_consents_to_analytics": nil}, "",
			[]string{"settings: there were none; there are some without a model and a key now, for no request removes them"}},
		{"no key, no address", map[string]any{"llm_model": "m", "llm_base_url": nil, "language": "no", "user_consents_to_analytics": true}, "",
			map[string]any{"llm_model": "m", "llm_base_url": "", "language": "no", "user_consents_to_analytics": true}, "", nil},
		{"a key", map[string]any{"llm_model": "m", "llm_base_url": "u", "language": "no", "user_consents_to_analytics": false}, "mine",
			map[string]any{"llm_model": "m", "llm_base_url": "u", "language": "no", "user_consents_to_analytics": false}, "sk-x",
			[]string{"settings: llm_api_key is not the old one, which no answer tells: store it again"}},
		{"consent that cannot be taken back", map[string]any{"llm_model": "m", "llm_base_url": "u", "language": "no", "user_consents_to_analytics": nil}, "",
			map[string]any{"llm_model": "m", "llm_base_url": "u", "language": "no", "user_consents_to_analytics": true}, "",
			[]string{"settings: user_consents_to_analytics was null, is true"}},
	}
	for _, tt := range tests {
		s := &configurable{settings: tt.before, key: tt.key}
		report, _ := withConfigurable(t, s, Options{AllowSettings: true}, `{"name":"stores","steps":[`+storing+`,`+making+`,
			{"method":"POST","path":"/api/settings","body_raw":"{\"user_consents_to_analytics\":true}","response":`+document200+`}]}`)
		if tt.before == nil {
			tt.after["user_consents_to_analytics"] = true
		}
		if report.Counts[Held] != 3 || !maps.Equal(s.settings, tt.after) || s.key != tt.keyIs || !slices.Equal(report.Remains, tt.remains) {
			t.Errorf("%s: %v, settings %v, key %q, remains %q, want 3 held, %v, %q, %q", tt.why, report.Counts, s.settings, s.key, report.Remains,
				tt.after, tt.keyIs, tt.remains)
		}
		var text strings.Builder
		report.WriteText(&text)
		for _, what := range tt.remains {
			if !strings.Contains(text.String(), "not as it was before: "+what+"\n") {
				t.Errorf("%s: WriteText lacks %q:\n%s", tt.why, what, text.String())
			}
		}
	}
}

// Settings that are not told are not overwritten by none.
func TestUnknownSettings(t *testing.T) {
	asked := 0
	s := &configurable{settings: map[string]any{"language": "no"}, key: "mine", answer: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "GET" && r.URL.Path == "/api/settings" {
			asked++
			w.WriteHeader(500)
			return true
		}
		return false
	}}
	report, _ := withConfigurable(t, s, Options{AllowSettings: true}, `{"name":"stores","steps":[`+storing+`]}`)
	want := []string{"settings: those of the run are stored, for the question for the old ones was answered by 500 Internal Server Error"}
	if asked != 1 || s.key != "sk-x" || !slices.Equal(report.Remains, want) {
		t.Errorf("asked %d times, key %q, remains %q, want once, the run's, %q", asked, s.key, report.Remains, want)
	}
}

// Where somebody's secret stands in an answer by chance, a server in use hides it.
func TestHides(t *testing.T) {
	tests := []struct {
		got, want string
		hides     bool
	}{
		{"e<secret_hidden>1", "ev1", true},
		{"<secret_hidden>", "a\nb", true},
		{"a<secret_hidden>b<secret_hidden>", "axbyz", true},
		{"e<secret_hidden>1", "e1", false},
		{"e<secret_hidden>1", "ev2", false},
		{"ev1", "ev1", false},
		{"<secret_hidden>", "a <secret_hidden> b", false},
	}
	for _, tt := range tests {
		if got := hides(tt.got, tt.want); got != tt.hides {
			t.Errorf("hides(%q, %q) = %v, want %v", tt.got, tt.want, got, tt.hides)
		}
	}
	document := func(text string) Answer {
		return Answer{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`"` + text + `"`)}
	}
	recorded := &Recorded{Status: 200, Headers: map[string]string{"content-type": "application/json"}, Body: []byte(`"ev1"`)}
	for foreign, n := range map[bool]int{true: 0, false: 1} {
		if diffs := compare("GET", recorded, document("e<secret_hidden>1"), vars{}, view{foreign: foreign}); len(diffs) != n {
			t.Errorf("foreign %v: %v, want %d differences", foreign, diffs, n)
		}
	}
}

// A secret that was there before is no case's to change.
func TestSomebodysSecret(t *testing.T) {
	file := `{"name":"secret","steps":[{"method":"PUT","path":"/api/secrets/A","body_raw":"{\"name\":\"B\"}","response":{"status":404,"headers":{"content-type":"application/json"}}}]}`
	for have, want := range map[string]Outcome{"A": NotApplicable, "B": NotApplicable, "C": Held} {
		report, c := withConfigurable(t, &configurable{secrets: []string{have}}, Options{AllowSettings: true}, file)
		if report.Counts[want] != 1 || (want == NotApplicable) != (c.Reason == "secret "+have+" may be somebody's") {
			t.Errorf("with secret %s: %v, %q, want %s", have, report.Counts, c.Reason, want)
		}
	}
}

// A server that hangs, as the recorded one did, is asked no more, and what could not be cleaned is told.
func TestHung(t *testing.T) {
	cases := make([]Case, 2)
	for i, file := range []string{
		`{"name":"a hangs","steps":[` + storing + `,` + making + `,{"method":"GET","path":"/hang","response":{"status":0}}]}`,
		`{"name":"b","steps":[{"method":"GET","path":"/nope","response":{"status":404,"headers":{"content-type":"application/json"}}}]}`,
	} {
		var err error
		if cases[i], err = parseCase([]byte(file)); err != nil {
			t.Fatal(err)
		}
	}
	cases = append(cases, cases[0])
	cases[2].Name = "c hangs"
	s := &configurable{answer: func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/hang" {
			panic(http.ErrAbortHandler)
		}
		return false
	}}
	server := httptest.NewServer(s)
	defer server.Close()
	report, err := run(t.Context(), Target{URL: server.URL}, Options{AllowSettings: true, AllowHarm: true, Fast: true, clock: new(fakeClock).clock()}, cases)
	if err != nil {
		t.Fatal(err)
	}
	if report.Counts[Held] != 4 || report.NotSent["the server hangs since a hangs step 2, as the recorded one did"] != 3 || !report.OK() {
		t.Errorf("%v, not sent %v, OK %v, want 4 held, the second hanging case not sent, OK", report.Counts, report.NotSent, report.OK())
	}
	if order := []string{report.Cases[0].Name, report.Cases[1].Name, report.Cases[2].Name}; !slices.Equal(order, []string{"b", "a hangs", "c hangs"}) {
		t.Errorf("ran %q, want what hangs last", order)
	}
	asked := s.requests()
	want := []string{"/api/conversations/made: made, and not deleted, for the server hangs", "settings: those of the run are stored, for the server hangs"}
	if !slices.Equal(report.Remains, want) || asked[len(asked)-1] != "GET /hang" {
		t.Errorf("remains %q, last asked %q, want %q and nothing asked after the request that hung", report.Remains, asked[len(asked)-1], want)
	}
}

// What the recorded server does only at times, or only where it was recorded, is no failure of a server in use; anything
// else in its place is.
func TestNoFalseAlarm(t *testing.T) {
	status := func(n int, body string) func(http.ResponseWriter, int) {
		return func(w http.ResponseWriter, _ int) { w.WriteHeader(n); io.WriteString(w, body) }
	}
	first := func(n, status int) func(http.ResponseWriter, int) {
		return func(w http.ResponseWriter, i int) {
			if i < n {
				w.WriteHeader(status)
			}
		}
	}
	long := strings.Repeat("x", 256)
	get := func(path, response string) string {
		return `{"method":"GET","path":"` + path + `","response":` + response + `}`
	}
	tests := []struct {
		why    string
		step   string
		answer func(http.ResponseWriter, int)
		want   Outcome
	}{
		{"an event that is being written", get("/api/conversations/x/events", `{"status":200}`), first(1, 500), Held},
		{"an event that stays unreadable", get("/api/conversations/x/events", `{"status":200}`), first(2, 500), Failed},
		{"a conversation that is being written", get("/api/conversations/x", `{"status":200}`), first(1, 500), Held},
		{"a conversation that starts while it is written", `{"method":"POST","path":"/api/conversations/x/start","response":{"status":200}}`, first(1, 404), Held},
		{"another answer to start", `{"method":"POST","path":"/api/conversations/x/start","response":{"status":200}}`, first(1, 409), Failed},
		{"another failure", get("/api/conversations/x/config", `{"status":200}`), first(1, 500), Failed},
		{"a long id", get("/api/conversations/"+long, `{"status":200}`), first(9, 500), NotApplicable},
		{"a page from the end", get("/api/conversations?page_id=LTE=", `{"status":200}`), first(9, 500), NotApplicable},
		{"a page", get("/api/conversations?page_id=MQ==", `{"status":200}`), first(9, 500), Failed},
		{"an id that is not too long", get("/api/conversations/"+long[1:], `{"status":200}`), first(9, 500), Failed},
		{"another version of mcp", `{"method":"POST","path":"/mcp/mcp/","response":{"status":415}}`, status(400, ""), Theirs},
		{"another refusal below mcp", `{"method":"POST","path":"/mcp/mcp/","response":{"status":415}}`, status(404, ""), Failed},
		{"another refusal of a later version", `{"method":"POST","path":"/mcp/mcp/","response":{"status":406}}`, status(400, ""), Failed},
		{"a failure below mcp", `{"method":"POST","path":"/mcp/mcp/","response":{"status":415}}`, status(500, ""), Failed},
		{"no refusal below mcp", `{"method":"POST","path":"/mcp/mcp/","response":{"status":415}}`, status(200, ""), Failed},
		{"no feedback service", `{"method":"POST","path":"/api/conversations/x/submit-feedback","response":{"status":200}}`,
			status(500, `{"error":"Failed to submit feedback"}`), Theirs},
		{"another failure of feedback", `{"method":"POST","path":"/api/conversations/x/submit-feedback","response":{"status":200}}`, status(500, "{}"), Failed},
		{"the runtime's git", get("/api/conversations/x/git/diff?path=a", `{"status":200}`), status(500, ""), Theirs},
		{"a failure of two recorded alike", get("/api/conversations/x/git/changes", `{"status":200}`), status(500, ""), Failed},
	}
	for _, tt := range tests {
		n := 0
		s := &configurable{answer: func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(tt.step, `{"method":"POST"`) && r.Method == "GET" {
				return false // the run asks whether anybody has the conversation
			}
			tt.answer(w, n)
			n++
			return true
		}}
		racy := ""
		if strings.Contains(tt.step, "git/diff") {
			racy = `"racy_steps":[0],`
		}
		report, c := withConfigurable(t, s, Options{AllowHarm: true}, `{"name":"one",`+racy+`"steps":[`+tt.step+`]}`)
		if report.Counts[tt.want] != 1 {
			t.Errorf("%s: %+v, want %s", tt.why, c.Steps, tt.want)
		}
		if note := c.Steps[0].Note; note == "" && tt.want != Failed {
			t.Errorf("%s: no note", tt.why)
		}
	}
}

// A list that leaves out a conversation which is being written is asked for again.
func TestListWhileWriting(t *testing.T) {
	for lists, want := range map[int]Outcome{1: Part, 2: Failed} {
		n := 0
		s := &configurable{settings: map[string]any{}, key: "k", answer: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != "GET" || r.URL.Path != "/api/conversations" {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			if n++; n <= lists {
				io.WriteString(w, `{"results":[],"next_page_id":null}`)
			} else {
				io.WriteString(w, `{"results":[{"conversation_id":"made"}],"next_page_id":null}`)
			}
			return true
		}}
		_, c := withConfigurable(t, s, Options{}, `{"name":"lists","steps":[`+making+`,{"method":"GET","path":"/api/conversations","response":
			{"status":200,"headers":{"content-type":"application/json"},"body":{"results":[{"conversation_id":"{{cid}}"}],"next_page_id":null}}}]}`)
		if got := c.Steps[1].Outcome; got != want {
			t.Errorf("left out of %d lists: %s, want %s", lists, got, want)
		}
	}
}

// The folder that a harmful case leaves behind is told, and no failure of the next run.
func TestOrphan(t *testing.T) {
	orphaned := false
	s := &configurable{answer: func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == "POST":
			orphaned = true
			io.WriteString(w, "false")
		case !strings.HasSuffix(r.URL.Path, "/config"):
			io.WriteString(w, "null")
		case orphaned:
			io.WriteString(w, `{"runtime_id":null,"session_id":"x"}`)
		default:
			w.WriteHeader(404)
			io.WriteString(w, `{"detail":"no"}`)
		}
		return true
	}}
	server := httptest.NewServer(s)
	defer server.Close()
	var cases []Case
	for _, file := range []string{
		`{"name":"harms","steps":[{"method":"POST","path":"/api/conversations/x/exp-config","response":{"status":200,"headers":{"content-type":"application/json"}}}]}`,
		`{"name":"reads","steps":[{"method":"GET","path":"/api/conversations/x/config","response":{"status":404,"headers":{"content-type":"application/json"}}}]}`,
	} {
		c, err := parseCase([]byte(file))
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	for i, options := range []Options{{AllowHarm: true}, {AllowHarm: true}, {Only: []string{"reads"}}} {
		options.Fast, options.clock = true, new(fakeClock).clock()
		report, err := run(t.Context(), Target{URL: server.URL}, options, slices.Clone(cases))
		if err != nil {
			t.Fatal(err)
		}
		want := map[Outcome]int{Held: 2}
		if i > 0 {
			want = map[Outcome]int{NotApplicable: report.Steps}
		}
		if !maps.Equal(report.Counts, want) || len(report.Remains) != report.Counts[Held]/2 {
			t.Errorf("run %d: %v, remains %q, want %v, and the folder told by the first run", i, report.Counts, report.Remains, want)
		}
	}
}

// Events that no answer can hold do not keep a run waiting.
func TestUnreadableEvents(t *testing.T) {
	s := &configurable{settings: map[string]any{}, key: "k", answer: func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/events") {
			w.WriteHeader(500)
			return true
		}
		return false
	}}
	_, c := withConfigurable(t, s, Options{}, `{"name":"settles","steps":[`+storing+`,`+making+`,{"op":"settle","base":false}]}`)
	if n := len(s.requests()); c.Elapsed < unreadable || c.Elapsed > 2*unreadable || len(c.Notes) != 1 {
		t.Errorf("waited %v with %d requests, notes %q, want a little over %v and a note", c.Elapsed, n, c.Notes, unreadable)
	}
}
