package conform

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func caseNamed(t *testing.T, name string) Case {
	t.Helper()
	for _, c := range Cases() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no case %q", name)
	return Case{}
}

// replayWith runs one case against a replayer that changes the answer to one step.
func replayWith(t *testing.T, name, step string, options Options, change func(*replay)) (Report, StepResult) {
	t.Helper()
	c := caseNamed(t, name)
	r := startReplayer(t, c, func(at string, a *replay) {
		if at == step {
			change(a)
		}
	})
	report, err := run(t.Context(), r.target(), options, []Case{c})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Cases[0].Steps {
		if s.Step == step {
			return report, s
		}
	}
	t.Fatalf("case %s has no step %s", name, step)
	return Report{}, StepResult{}
}

// body changes the text of an answer and keeps its length true.
func body(old, new string) func(*replay) {
	return func(a *replay) {
		if !strings.Contains(a.body, old) {
			panic("no " + old + " in " + a.body)
		}
		a.body = strings.Replace(a.body, old, new, 1)
		if _, ok := a.headers["content-length"]; ok {
			a.headers["content-length"] = strconv.Itoa(len(a.body))
		}
	}
}

func header(name, value string) func(*replay) {
	return func(a *replay) {
		if value == "" {
			delete(a.headers, name)
		} else {
			a.headers[name] = value
		}
	}
}

func status(n int) func(*replay) { return func(a *replay) { a.status = n } }

func refusal(n int) func(*replay) {
	return func(a *replay) {
		*a = document(`{"detail":"no"}`)
		a.status = n
	}
}

// Each way of being wrong is caught, and named.
func TestWrongAnswersAreCaught(t *testing.T) {
	tests := []struct {
		why, name, step string
		change          func(*replay)
		what            []string
	}{
		{"status", "create_empty", "3", status(404), []string{"status"}},
		{"server failure", "create_empty", "3", status(500), []string{"status"}},
		{"no answer", "create_empty", "3", status(0), []string{"answer"}},
		{"header value", "create_empty", "3", header("cache-control", "no-store"), []string{"header:cache-control"}},
		{"header missing", "create_empty", "3", header("pragma", ""), []string{"header:pragma"}},
		{"header too many", "create_empty", "3", header("vary", "Origin"), []string{"header:vary"}},
		{"header of a known kind never recorded", "create_empty", "3", header("etag", `"1"`), []string{"header:etag"}},
		{"content type", "create_empty", "3", header("content-type", "application/json; charset=utf-8"), []string{"header:content-type"}},
		{"location", "health", "12", header("location", "http://other/alive"), []string{"header:location"}},
		{"allow in order", "methods_conversation", "0", header("allow", "GET, POST"), []string{"header:allow"}},
		{"allow, any order, one missing", "misc_docs", "8", header("allow", "HEAD"), []string{"header:allow"}},
		{"length missing", "health", "0", header("content-length", ""), []string{"header:content-length"}},
		{"length of HEAD", "health", "3", header("content-length", "7"), []string{"header:content-length"}},
		{"text", "health", "0", body("ok", "up"), []string{"/status"}},
		{"value", "create_empty", "3", body(`"num_connections":0`, `"num_connections":1`), []string{"/num_connections"}},
		{"kind of value", "create_empty", "3", body(`"num_connections":0`, `"num_connections":"0"`), []string{"/num_connections"}},
		{"spelling of a number", "create_empty", "3", body(`"num_connections":0`, `"num_connections":0.0`), []string{"/num_connections"}},
		{"key missing", "create_empty", "3", body(`"trigger":"gui",`, ``), []string{"/trigger"}},
		{"key too many", "create_empty", "3", body(`"trigger"`, `"x":1,"trigger"`), []string{"/x"}},
		{"order of keys", "create_empty", "3", body(`"trigger":"gui","num_connections":0`, `"num_connections":0,"trigger":"gui"`), []string{"body"}},
		{"order of nested keys", "create_empty", "4", body(`"agent_state":"loading","reason":""`, `"reason":"","agent_state":"loading"`), []string{"/events/0/extras"}},
		{"blanks", "create_empty", "3", body(`,"trigger"`, `, "trigger"`), []string{"body"}},
		{"escapes", "create_empty", "3", body(`gui`, `\u0067ui`), []string{"body"}},
		{"not JSON", "create_empty", "3", body(`{`, ``), []string{"body"}},
		{"two documents", "create_empty", "3", body(`{`, `{}{`), []string{"body"}},
		{"captured value", "create_empty", "3", body(`"url":"/api/conversations/0`, `"url":"/api/conversations/1`), []string{"/url"}},
		{"zone of a time", "create_empty", "3", body(`.516442Z`, `.516442`), []string{"/last_updated_at"}},
		{"zone of an event's time", "create_empty", "4", body(`","source"`, `Z","source"`), []string{"/events/0/timestamp"}},
		{"id of an event", "create_empty", "4", body(`"id":9`, `"id":90`), []string{"/events/2/id"}},
		{"elements missing", "create_empty", "5", func(a *replay) { *a = document(`{"results":[],"next_page_id":null}`) }, []string{"/results", "header:cache-control", "header:expires", "header:pragma"}},
		{"plain text", "cors_preflight_methods", "0", body("OK", "Ok"), []string{"body"}},
		{"form of a value without a named one", "options_config", "0", body(`"POSTHOG_CLIENT_KEY":"<redacted>"`, `"POSTHOG_CLIENT_KEY":5`), []string{"/POSTHOG_CLIENT_KEY"}},
		{"length of a long text", "add_event_huge_1mb", "5", body("xxxx", "xxx"), []string{"/events/0/message"}},
		{"a refusal that is no JSON", "add_event_bad_kinds", "3", func(a *replay) { a.status = 400 }, []string{"status"}},
		{"a refusal of a strange kind", "add_event_bad_kinds", "3", refusal(418), []string{"status"}},
		{"no refusal", "add_event_bad_kinds", "3", refusal(200), []string{"status"}},
		{"failure where it hung", "search_hang_end_id", "6", status(500), []string{"status"}},
		{"workspace", "sub_upload_files", "4", body(`/srv/ws/one/u2`, `/srv/two/u2`), []string{"/uploaded_files/1"}},
		{"name of a file", "sub_upload_files", "20", body(`/srv/ws/one/u2`, `/srv/ws/one/u3`), []string{"/0"}},
		{"one of many", "ratelimit_429_shape", "0.3", status(418), []string{"status"}},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			report, s := replayWith(t, tt.name, tt.step, Options{}, tt.change)
			if tt.why == "one of many" { // which one it counts against is open
				if report.Counts[Failed] != 1 {
					t.Errorf("%d failed, want 1", report.Counts[Failed])
				}
				return
			}
			if report.Counts[Failed] != 1 || report.OK() {
				t.Errorf("%d failed, OK %v, want 1 and false: %v", report.Counts[Failed], report.OK(), report.Counts)
			}
			if got := whats(s); !slices.Equal(got, tt.what) {
				t.Errorf("case %s step %s: differs in %q, want %q\n%+v", tt.name, tt.step, got, tt.what, s.Undeclared)
			}
			if s.Curl == "" || s.Want == "" || s.Got == "" {
				t.Errorf("the failure lacks its curl line (%q), or want (%d bytes), or got (%d bytes)", s.Curl, len(s.Want), len(s.Got))
			}
		})
	}
}

func whats(s StepResult) []string {
	set := map[string]bool{}
	for _, d := range s.Undeclared {
		set[d.What] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// What may differ does: forms, what is learned, refusals in place of failures, an agent's own words.
func TestAllowedAnswersPass(t *testing.T) {
	noAgent := func(events string) func(*replay) {
		return func(a *replay) {
			h := a.headers
			*a = document(`{"events":[` + events + `],"has_more":false}`)
			h["content-length"] = a.headers["content-length"]
			a.headers = h
		}
	}
	message := `{"id":11,"timestamp":"2026-11-24T00:00:00.000001","source":"user","message":"hello","action":"message","args":{"content":"hello","file_urls":null,"image_urls":null,"wait_for_response":false}}`
	tests := []struct {
		why, name, step string
		change          func(*replay)
		outcome         Outcome
	}{
		{"another time", "create_empty", "3", body("2026-11-23T", "2031-01-02T"), Held},
		{"a whole second", "create_empty", "3", body(`.516442Z`, `Z`), Held},
		{"another order of Allow", "misc_docs", "8", header("allow", "HEAD,GET"), Held},
		{"a length where none was recorded", "options_models", "0", header("content-length", "0"), Held},
		{"another order of files", "sub_upload_files", "20", body(`"/srv/ws/one/u2","/srv/ws/one/up.txt"`, `"/srv/ws/one/up.txt","/srv/ws/one/u2"`), Held},
		{"400 for 500", "add_event_bad_kinds", "3", refusal(400), Refused},
		{"422 for 500", "add_event_bad_kinds", "3", refusal(422), Refused},
		{"404 for a hang", "search_hang_end_id", "6", refusal(404), Refused},
		{"200 for a hang", "search_hang_end_id", "7", refusal(200), Refused},
		{"no agent", "add_event_kind_message", "5", noAgent(message), Part},
		{"another agent", "add_event_kind_message", "5", noAgent(message + `,{"id":12,"source":"agent","action":"message"}`), Part},
		{"no title by an LLM", "conversation_title_after_message", "5", body("Noted.", "Conversation 00000"), Part},
		{"running already", "list_while_starting", "2", body(`"STARTING","runtime_status":null`, `"RUNNING","runtime_status":"STATUS$RUNTIME_STARTED"`), Part},
		{"stopped and running already", "stop_while_starting", "2", body("STARTING", "RUNNING"), Part},
		{"started again and running already", "start_body_variants", "20", body("STARTING", "RUNNING"), Part},
		{"no runtime to write a file", "sub_select_file", "5", refusal(404), Theirs},
		{"no runtime to write files", "sub_list_files", "7", body(`"/srv/ws/one/.hid","/srv/ws/one/a.txt","/srv/ws/one/d"`, ``), Theirs},
		{"no LLM", "sub_remember_prompt_cwd", "3", refusal(404), Theirs},
		{"unstable when recorded", "sub_git_repo", "7", refusal(404), Theirs},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			report, s := replayWith(t, tt.name, tt.step, Options{}, tt.change)
			if s.Outcome != tt.outcome || !report.OK() {
				t.Errorf("case %s step %s: %s, OK %v, want %s: %+v", tt.name, tt.step, s.Outcome, report.OK(), tt.outcome, s.Undeclared)
			}
		})
	}
}

// The rules that let an agent's answers differ do not let the client's own.
func TestPostedPartIsCompared(t *testing.T) {
	tests := []struct {
		why, name, step string
		change          func(*replay)
		what            []string
	}{
		{"posted text", "add_event_kind_message", "5", body(`"content":"hello"`, `"content":"hallo"`), []string{"/events/0/args/content"}},
		{"posted event missing", "add_event_kind_message", "5", body(`"source":"user","message":"hello"`, `"source":"agent","message":"hello"`), []string{"/events"}},
		{"title set by the client", "conversation_title_after_message", "9", body("Mine", "Noted."), []string{"/title"}},
		{"stopped while starting", "list_while_starting", "2", body(`"STARTING"`, `"STOPPED"`), []string{"/results/0/status"}},
		{"running before it starts", "start_body_variants", "18", body("STARTING", "RUNNING"), []string{"/conversation_status"}},
		{"stopped before it is stopped", "stop_while_starting", "2", body("STARTING", "STOPPED"), []string{"/conversation_status"}},
		{"stopped while it starts", "start_body_variants", "19", body("STARTING", "STOPPED"), []string{"/conversation_status"}},
		{"a runtime's list of another kind", "sub_list_files", "7", body(`["/srv/ws/one/.hid","/srv/ws/one/a.txt","/srv/ws/one/d"]`, `{}`), []string{"body"}},
		{"file that no runtime wrote", "sub_list_files", "3", body(`[]`, `["x"]`), []string{"body"}},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			_, s := replayWith(t, tt.name, tt.step, Options{}, tt.change)
			if got := whats(s); s.Outcome != Failed || !slices.Equal(got, tt.what) {
				t.Errorf("case %s step %s: %s in %q, want %s in %q", tt.name, tt.step, s.Outcome, got, Failed, tt.what)
			}
		})
	}
}

// A declared difference passes, only where and what it says, and fails the run once it is gone.
func TestDeclaredDifferences(t *testing.T) {
	declare := func(step, what string) Options {
		return Options{Differences: []Difference{{"create_empty", step, what, "web-ui"}}}
	}
	none := func(*replay) {}
	tests := []struct {
		why     string
		options Options
		change  func(*replay)
		outcome Outcome
		stale   int
		ok      bool
	}{
		{"declared", declare("3", "/trigger"), body("gui", "cli"), OnPurpose, 0, true},
		{"declared status", declare("3", "status"), status(404), OnPurpose, 0, true},
		{"declared status, but a failure", declare("3", "status"), status(500), Failed, 0, false},
		{"declared header", declare("3", "header:vary"), header("vary", "Origin"), OnPurpose, 0, true},
		{"declared body", declare("3", "body"), body("gui", "cli"), OnPurpose, 0, true},
		{"something else differs", declare("3", "/title"), body("gui", "cli"), Failed, 0, false},
		{"prefix of a name is no parent", declare("3", "/trig"), body("gui", "cli"), Failed, 0, false},
		{"another step", declare("4", "/trigger"), body("gui", "cli"), Failed, 1, false},
		{"gone", declare("3", "/trigger"), none, Held, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			report, s := replayWith(t, "create_empty", "3", tt.options, tt.change)
			if s.Outcome != tt.outcome || len(report.Stale) != tt.stale || report.OK() != tt.ok {
				t.Errorf("step 3: %s, %d stale, OK %v, want %s, %d, %v", s.Outcome, len(report.Stale), report.OK(), tt.outcome, tt.stale, tt.ok)
			}
		})
	}
}

// withRuntime is a replayer beside which somebody does what a runtime was told.
type withRuntime struct {
	*replayer
	told []string
}

func (r *withRuntime) Shell(_ context.Context, conversation, command string) error {
	r.told = append(r.told, conversation+" "+command)
	return errors.New("no shell")
}

// With a runtime, what it was told to write is compared; without one it is not.
func TestRuntime(t *testing.T) {
	c := caseNamed(t, "sub_list_files")
	r := &withRuntime{replayer: startReplayer(t, c, func(step string, a *replay) {
		if step == "7" {
			body(`"/srv/ws/one/.hid",`, ``)(a)
		}
	})}
	target := Target{Start: func(context.Context, map[string]string) (Server, error) { return r, nil }}
	report, err := run(t.Context(), target, Options{}, []Case{c})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.told) != 1 || !strings.HasSuffix(r.told[0], " mkdir -p d/e && echo 1 > a.txt && echo 2 > d/b.txt && echo 3 > .hid && touch d/e/c") {
		t.Errorf("Shell was told %q, want the recorded command", r.told)
	}
	if report.Counts[Failed] != 1 || !slices.Contains(report.Cases[0].Notes, "action:run: no shell") {
		t.Errorf("Counts = %v, notes %q, want 1 failed and a note of Shell's error", report.Counts, report.Cases[0].Notes)
	}
}

// What a more lenient server lets in is counted apart, with what comes of it; a failure never is.
func TestLenient(t *testing.T) {
	lenient := func(change func(*replay)) func(*replay) {
		return func(a *replay) {
			change(a)
			a.headers["x-local-lenient"] = "the recorded server answers otherwise"
		}
	}
	tests := []struct {
		why, step string
		change    map[string]func(*replay)
		outcome   Outcome
		note      string
	}{
		{"it says so", "3", map[string]func(*replay){"3": lenient(status(404))}, Lenient, "the recorded server answers otherwise"},
		{"an earlier answer did", "4", map[string]func(*replay){"3": lenient(status(404)), "4": body(`"id":9`, `"id":90`)}, Lenient, "after a more lenient answer"},
		{"a later answer does", "3", map[string]func(*replay){"3": status(404), "4": lenient(status(404))}, Failed, ""},
		{"as recorded all the same", "3", map[string]func(*replay){"3": lenient(status(200))}, Held, ""},
		{"a failure", "3", map[string]func(*replay){"3": lenient(status(500))}, Failed, ""},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			c := caseNamed(t, "create_empty")
			r := startReplayer(t, c, func(step string, a *replay) {
				if change := tt.change[step]; change != nil {
					change(a)
				}
			})
			report, err := run(t.Context(), r.target(), Options{}, []Case{c})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range report.Cases[0].Steps {
				if s.Step == tt.step && (s.Outcome != tt.outcome || s.Note != tt.note) {
					t.Errorf("step %s: %s %q, want %s %q", tt.step, s.Outcome, s.Note, tt.outcome, tt.note)
				}
			}
			if report.OK() != (tt.outcome != Failed) {
				t.Errorf("OK = %v with %v", report.OK(), report.Counts)
			}
		})
	}
}
