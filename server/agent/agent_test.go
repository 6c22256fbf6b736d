package agent_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/server/agent"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// bench is a server's conversations and an agent in them.
type bench struct {
	*testing.T
	store         store.Store
	conversations *conversation.Service
	begun         []string // what a conversation tells first
}

// newBench has an agent that answers by a script; nil has none.
func newBench(t *testing.T, s *agent.Script) *bench {
	t.Helper()
	if s == nil {
		return newBenchWith(t, nil, false)
	}
	return newBenchWith(t, player(s).Play, true)
}

func player(s *agent.Script) *agent.Runner {
	return &agent.Runner{Script: s, Log: slog.New(slog.DiscardHandler)}
}

// newBenchWith has an agent and says whether it answers first messages.
func newBenchWith(t *testing.T, play func(context.Context, *conversation.Run), answers bool) *bench {
	t.Helper()
	b := &bench{T: t, store: memstore.New()}
	b.conversations = conversation.New(conversation.Config{Store: b.store, Clock: clock.New(clock.Options{}), NewID: func() string { return "c" }, Answers: answers, Agent: play})
	t.Cleanup(b.conversations.Close)
	err := b.store.UpdateRecord(t.Context(), conversation.SettingsRecord, func([]byte) ([]byte, error) {
		return []byte(`{"llm_api_key":"k"}`), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// create makes a conversation with a first message.
func (b *bench) create(message string) {
	b.Helper()
	b.begun = []string{"=loading"}
	if message == "" {
		b.begun = append(b.begun, awaiting)
	}
	if _, err := b.conversations.Create(b.Context(), conversation.Draft{ID: "c", InitialMessage: message}); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) add(body string) {
	b.Helper()
	if _, err := b.conversations.Add(b.Context(), "c", []byte(body), ""); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) say(message string) {
	b.Helper()
	body, err := json.Marshal(map[string]any{"action": "message", "args": map[string]any{"content": message}})
	if err != nil {
		b.Fatal(err)
	}
	b.add(string(body))
}

func (b *bench) ask(state string) {
	b.Helper()
	b.add(`{"action":"change_agent_state","args":{"agent_state":"` + state + `"}}`)
}

// told is a conversation in short: a state as =state, other events as
// source:kind:what, without what the agent looks up (TestRecall).
func (b *bench) told() (all []string) {
	b.Helper()
	command := int64(-1)
	for e, err := range store.Scan(b.Context(), b.store, "c", store.All) {
		if err != nil {
			b.Fatal(err)
		}
		var v struct {
			Source, Action, Observation, Content string
			Cause                                *int64
			Args                                 struct{ Content, Command string }
			Extras                               struct {
				State  string `json:"agent_state"`
				Reason string
			}
		}
		if err := json.Unmarshal(e.JSON, &v); err != nil {
			b.Fatal(err)
		}
		switch {
		case v.Observation == "agent_state_changed":
			all = append(all, strings.TrimRight("="+v.Extras.State+" "+v.Extras.Reason, " "))
		case v.Action == "change_agent_state" || v.Action == "system":
		case v.Action == "recall" || v.Observation == "recall" || v.Observation == "null":
		default:
			all = append(all, v.Source+":"+v.Action+v.Observation+":"+v.Args.Content+v.Args.Command+v.Content)
		}
		if v.Action == "run" {
			command = e.ID
		}
		if v.Observation == "run" && (v.Cause == nil || *v.Cause != command) {
			b.Errorf("event %d: want the command %d as its cause: %s", e.ID, command, e.JSON)
		}
	}
	return all
}

// expect waits until a conversation tells this after what it begins with.
func (b *bench) expect(want ...string) {
	b.Helper()
	want = append(slices.Clone(b.begun), want...)
	var got []string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = b.told(); len(got) >= len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		b.Fatalf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func load(t *testing.T, text string) *agent.Script {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := agent.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	running  = "=running"
	awaiting = "=awaiting_user_input"
)

func TestEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, agent.Echo())
		b.create("hello\n$1")
		first := []string{"user:message:hello\n$1", running, "agent:message:hello\n$1", awaiting}
		b.expect(first...)
		b.say("again")
		b.expect(append(first, "user:message:again", running, "agent:message:again", awaiting)...)
		i, err := b.conversations.Info(t.Context(), "c")
		if err != nil || i.Title != "hello $1" {
			t.Errorf("Info = %q, %v, want the first words as title", i.Title, err)
		}
	})
}

func TestTitleOfTheUserStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, agent.Echo())
		b.create("")
		if err := b.conversations.Rename(t.Context(), "c", "mine"); err != nil {
			t.Fatal(err)
		}
		b.say("one two")
		b.expect("user:message:one two", running, "agent:message:one two", awaiting)
		if i, err := b.conversations.Info(t.Context(), "c"); err != nil || i.Title != "mine" {
			t.Errorf("Info = %q, %v, want mine", i.Title, err)
		}
	})
}

func TestUserEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, agent.Echo())
		b.create("")
		b.add(`{"action":"finish","args":{}}`)
		b.expect("user:finish:", "=finished")
		b.add(`{"action":"reject","args":{}}`)
		b.expect("user:finish:", "=finished", "user:reject:", "=rejected")
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, agent.Echo())
		b.create("one")
		want := []string{"user:message:one", running, "agent:message:one", awaiting}
		b.expect(want...)
		for range 2 {
			if _, err := b.conversations.Stop(t.Context(), "c"); err != nil {
				t.Fatal(err)
			}
			if _, err := b.conversations.Start(t.Context(), "c"); err != nil {
				t.Fatal(err)
			}
			want = append(want, "=stopped", "=loading", awaiting)
		}
		b.say("two")
		b.expect(append(want, "user:message:two", running, "agent:message:two", awaiting)...)
	})
}

// TestStates holds an answer at its second step until the user says what is to
// become of it.
func TestStates(t *testing.T) {
	script := load(t, `{"rules": [{"on": "go", "steps": [{"say": "one"}, {"wait": "1m", "event": {"action": "message", "args": {"content": "two"}}}]}, {"on": "hi", "steps": [{"say": "ho"}]}]}`)
	begun := []string{"user:message:go", running, "agent:message:one"}
	tests := []struct {
		name string
		do   func(b *bench)
		want []string
	}{
		{"paused", func(b *bench) { b.ask("paused") }, []string{"=paused"}},
		{"paused, then running", func(b *bench) { b.ask("paused"); b.ask("running") }, []string{"=paused", running, "agent:message:two", awaiting}},
		{"paused, then a message", func(b *bench) { b.ask("paused"); b.say("hi") },
			[]string{"=paused", "user:message:hi", running, "agent:message:two", awaiting, running, "agent:message:ho", awaiting}},
		{"stopped", func(b *bench) { b.ask("stopped") }, []string{"=stopped"}},
		{"stopped, then a message", func(b *bench) { b.ask("stopped"); b.say("hi") }, []string{"=stopped", "user:message:hi", running, "agent:message:ho", awaiting}},
		{"a message, then stopped", func(b *bench) { b.say("hi"); b.ask("stopped") }, []string{"user:message:hi", "=stopped"}},
		{"a message, then paused", func(b *bench) { b.say("hi"); b.ask("paused") }, []string{"user:message:hi", "=paused"}},
		{"finished by the user", func(b *bench) { b.add(`{"action":"finish","args":{}}`) }, []string{"user:finish:", "=finished"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, script)
				b.create("go")
				b.expect(begun...)
				tt.do(b)
				b.expect(append(slices.Clone(begun), tt.want...)...)
				time.Sleep(time.Hour) // of the bubble's: the second step would be there
				b.expect(append(slices.Clone(begun), tt.want...)...)
			})
		})
	}
}

// TestMessageAtTheBeginning: what is said as soon as a run begins is answered,
// once the agent is not paused.
func TestMessageAtTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBenchWith(t, func(ctx context.Context, r *conversation.Run) {
			if _, err := r.Inject(ctx, "user", []byte(`{"action":"message","args":{"content":"early"}}`)); err != nil {
				t.Error(err)
			}
			if err := r.InjectState(ctx, "paused", ""); err != nil {
				t.Error(err)
			}
			player(agent.Echo()).Play(ctx, r)
		}, false)
		b.create("")
		time.Sleep(time.Hour) // of the bubble's
		b.expect("user:message:early", "=paused")
		b.ask("running")
		b.expect("user:message:early", "=paused", running, "agent:message:early", awaiting)
	})
}

func TestRunningWithNothingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, agent.Echo())
		b.create("")
		b.ask("paused")
		b.ask("running")
		b.expect("=paused", running, awaiting)
	})
}

func TestScripts(t *testing.T) {
	session := []string{
		"user:message:fix it", running,
		"agent:run:ls", "agent:run:README.md\nmain.go\nmain_test.go\n",
		"agent:edit:str_replace", "agent:edit:The file /workspace/main.go has been edited.",
		"agent:run:go test ./...", "agent:run:ok  \texample.com/hello\t0.002s\n",
		"agent:message:Done as you said (fix): main.go greets with hello, and the tests pass. Anything else?", awaiting,
	}
	tests := []struct {
		name, file, message string
		do                  func(b *bench)
		want, then          []string
	}{
		{"session", "session", "fix it", nil, session, nil},
		{"confirmed", "session", "delete a.txt", func(b *bench) { b.ask("user_confirmed") },
			[]string{"user:message:delete a.txt", running, "=awaiting_user_confirmation", "agent:run:rm a.txt"},
			[]string{"=user_confirmed", running, "agent:run:", "agent:message:a.txt is gone.", awaiting}},
		{"rejected", "session", "delete a.txt", func(b *bench) { b.ask("user_rejected") },
			[]string{"user:message:delete a.txt", running, "=awaiting_user_confirmation", "agent:run:rm a.txt"},
			[]string{"=user_rejected", "agent:message:I leave a.txt where it is.", awaiting}},
		{"finish", "session", "bye", nil, []string{"user:message:bye", running, "agent:finish:", "=finished"}, nil},
		{"other", "session", "?", nil, []string{"user:message:?", running, "agent:message:Say add, remove FILE or bye.", awaiting}, nil},
		{"reject", "failures", "test", nil, []string{"user:message:test", running, "agent:run:go test ./...", "agent:run:--- FAIL: TestSum\nFAIL\n",
			"agent:error:The tests fail.", "agent:reject:", "=rejected"}, nil},
		{"fail", "failures", "?", nil, []string{"user:message:?", running, "=error AuthenticationError: the model refuses the key"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := agent.ByName("script:scripts/" + tt.file + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, s)
				b.create(tt.message)
				b.expect(tt.want...)
				if tt.do != nil {
					tt.do(b)
					b.expect(append(tt.want, tt.then...)...)
				}
			})
		})
	}
}

func TestNoRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, load(t, `{"rules": [{"on": "^x$", "steps": []}]}`))
		b.create("y")
		b.expect("user:message:y", running, awaiting)
	})
}

// TestQuestionAlone: a question need not be about an action.
func TestQuestionAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, load(t, `{"rules": [{"on": "", "steps": [{"confirm": {"rejected": []}}, {"say": "Yes."}]}]}`))
		b.create("y")
		asked := []string{"user:message:y", running, "=awaiting_user_confirmation"}
		b.expect(asked...)
		b.ask("user_confirmed")
		b.expect(append(asked, "=user_confirmed", running, "agent:message:Yes.", awaiting)...)
	})
}

func TestByName(t *testing.T) {
	if s, err := agent.ByName("none"); s != nil || err != nil {
		t.Errorf("ByName(none) = %v, %v", s, err)
	}
	if s, err := agent.ByName("echo"); s == nil || err != nil {
		t.Errorf("ByName(echo) = %v, %v", s, err)
	}
	for _, name := range []string{"", "ECHO", "script:", "script:no/such.yaml"} {
		if s, err := agent.ByName(name); s != nil || err == nil {
			t.Errorf("ByName(%q) = %v, nil, want an error", name, s)
		}
	}
}

func TestMistakes(t *testing.T) {
	tests := []struct{ script, want string }{
		{"", "line 1: want rules"},
		{"- a", "line 1: want an object with rules"},
		{"rules: {}", "line 1: rules: want a list"},
		{"rules: []", "line 1: want at least one rule"},
		{"rule: []", `line 1: unknown "rule": want rules`},
		{"rules: [", "yaml"},
		{"rules:\n- {steps: []}", "line 2: a rule needs on"},
		{"rules:\n- {on: '(', steps: []}", "line 2: on: error parsing regexp"},
		{"rules:\n- {on: a}", "line 2: steps: want a list"},
		{"rules:\n- {on: a, step: []}", `line 2: unknown "step"`},
		{"rules:\n- on: a\n  steps:\n  - {wait: 3, say: a}", `line 4: wait "3"`},
		{"rules:\n- on: a\n  steps:\n  - {wait: -3s, say: a}", `line 4: wait "-3s"`},
		{"rules:\n- on: a\n  steps:\n  - {wait: 3s}", "line 4: a step has one of"},
		{"rules:\n- on: a\n  steps:\n  - {say: a, fail: b}", "line 4: a step has one of"},
		{"rules:\n- on: a\n  steps:\n  - {fail: ''}", "line 4: fail: want a reason"},
		{"rules:\n- on: a\n  steps:\n  - event: a", "line 4: event: want an object"},
		{"rules:\n- on: a\n  steps:\n  - event: {action: run}", "line 4: event: "},
		{"rules:\n- on: a\n  steps:\n  - event: {action: run, args: {command: .nan}}", "line 4: event: "},
		{"rules:\n- on: a\n  steps:\n  - event: {action: run, args: {command: a}, source: me}", `line 4: event: source "me"`},
		{"rules:\n- on: a\n  steps:\n  - confirm: {}", "line 4: rejected: want a list"},
		{"rules:\n- on: a\n  steps:\n  - confirm: {no: []}", `line 4: unknown "no"`},
	}
	for _, tt := range tests {
		file := filepath.Join(t.TempDir(), "s.yaml")
		if err := os.WriteFile(file, []byte(tt.script), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := agent.Load(file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Load(%q) = %v, want %q", tt.script, err, tt.want)
		}
	}
}

// TestNothingStays stops, deletes and closes in the middle of answers.
func TestNothingStays(t *testing.T) {
	before := runtime.NumGoroutine()
	b := newBenchWith(t, player(load(t, `{"rules": [{"on": "", "steps": [{"wait": "1h", "say": "late"}]}]}`)).Play, true)
	for _, id := range []string{"stopped", "deleted", "closed"} {
		if _, err := b.conversations.Create(t.Context(), conversation.Draft{ID: id, InitialMessage: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.conversations.Stop(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	if err := b.conversations.Delete(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
	b.conversations.Close()
	// Ended runs were waited for; what says so still has to return.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
