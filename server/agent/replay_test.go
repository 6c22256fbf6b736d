package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/server/agent"
	"github.com/openhands-local/openhands-local/store"
)

// A recording is a conversation that the real server was told to replay.
type recording struct {
	Name    string
	Request struct {
		ReplayJSON     *string `json:"replay_json"`
		InitialUserMsg string  `json:"initial_user_msg"`
	}
	Say    string // a message of the user's, once that is over
	Error  string // the exception that sockets were told
	Events []json.RawMessage
}

func recordings(t *testing.T) (all []recording) {
	t.Helper()
	f, err := os.Open("testdata/replays.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(bufio.NewReader(f)); d.More(); {
		var r recording
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// replay makes a conversation as a recording's client did.
func (b *bench) replay(r recording) {
	b.Helper()
	d := conversation.Draft{ID: "c", InitialMessage: r.Request.InitialUserMsg}
	if list := r.Request.ReplayJSON; list != nil {
		d.SetReplay(*list, true)
	}
	if _, err := b.conversations.Create(b.Context(), d); err != nil {
		b.Fatal(err)
	}
}

// replayList makes a conversation that replays a list of events.
func (b *bench) replayList(events ...string) {
	b.Helper()
	b.begun = []string{"=loading"}
	var r recording
	list := "[" + strings.Join(events, ",") + "]"
	r.Request.ReplayJSON = &list
	b.replay(r)
}

// stored are the events of a conversation, once nobody writes any more.
func (b *bench) stored() (all []json.RawMessage) {
	b.Helper()
	time.Sleep(time.Hour) // of the bubble's
	for e, err := range store.Scan(b.Context(), b.store, "c", store.All) {
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, event.AppendServed(nil, e.ID, e.JSON, event.Flags(e.Flags)))
	}
	return all
}

// plain is an event without what differs from run to run: times, what a model
// has cost, the texts that are cut in the recordings.
func plain(t *testing.T, text []byte) string {
	t.Helper()
	v, err := pyjson.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	v = v.Without("timestamp")
	metrics, _ := v.Get("llm_metrics")
	usage, _ := metrics.Get("accumulated_token_usage")
	if tokens, _ := usage.Get("prompt_tokens"); tokens.Text() != "0" {
		v = v.Without("llm_metrics")
	}
	action, _ := v.Get("action")
	if action.Text() == "system" {
		v = v.Without("args", "message")
	}
	extras, _ := v.Get("extras")
	return string(append(v.Without("extras").Append(nil), extras.Without("date", "additional_agent_instructions").Append(nil)...))
}

// replayDifferences are the lines of differences.txt: recording and event.
func replayDifferences(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if where, _, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "#") {
			all[where] = true
		}
	}
	return all
}

// TestRecordedReplays: what is stored is what the real server stored.
func TestRecordedReplays(t *testing.T) {
	declared, differs := replayDifferences(t), map[string]bool{}
	model, err := agent.Load("testdata/model.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recordings(t) {
		t.Run(r.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, model)
				b.replay(r)
				if r.Say != "" {
					b.stored()
					b.add(fmt.Sprintf(`{"action":"message","args":{"content":%q,"file_urls":[],"image_urls":[]}}`, r.Say))
				}
				got := b.stored()
				for i := range max(len(got), len(r.Events)) {
					var is, want string
					if i < len(got) {
						is = plain(t, got[i])
					}
					if i < len(r.Events) {
						want = plain(t, r.Events[i])
					}
					where := fmt.Sprintf("%s %d", r.Name, i)
					if is == want {
						continue
					}
					differs[where] = true
					if !declared[where] {
						t.Errorf("event %d is\n%s\nwant\n%s", i, is, want)
					}
				}
				c, err := b.conversations.CanOpen(t.Context(), "c")
				if err != nil {
					t.Fatal(err)
				}
				close, failure, err := b.conversations.Open(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				defer close()
				want := ""
				if r.Error != "" {
					want = `{"error":true,"message":"Failed to create agent session: ` + r.Error + `"}`
				}
				if string(failure) != want {
					t.Errorf("sockets are told %s, want %s", failure, want)
				}
			})
		})
	}
	for where := range declared {
		if !differs[where] {
			t.Errorf("differences.txt: %s is as recorded", where)
		}
	}
}

const (
	listedHi     = `{"id":2,"source":"user","action":"message","args":{"content":"hi"}}`
	listedNext   = `{"id":9,"source":"user","action":"message","args":{"content":"next"}}`
	listedRun    = `{"id":4,"source":"agent","action":"run","args":{"command":"ls"}}`
	listedOther  = `{"id":5,"source":"agent","action":"run","args":{"command":"pwd"}}`
	listedOutput = `{"id":7,"cause":4,"source":"agent","observation":"run","content":"a.go","extras":{"command":"ls"}}`
	listedFinish = `{"id":8,"source":"agent","action":"finish","args":{}}`
	listedAnswer = `{"source":"agent","action":"message","args":{"content":"ho","wait_for_response":true}}`
)

func TestReplays(t *testing.T) {
	const notExecuted = "agent:error:This server executes nothing, and the replayed list has no observation of this action."
	hi := []string{"user:message:hi", running}
	withoutID := func(event string) string {
		return strings.Replace(strings.Replace(event, `"cause":4,`, "", 1), `"id":4,`, "", 1)
	}
	tests := []struct {
		name string
		list []string
		do   func(b *bench) // once the agent has nothing to do
		want []string
	}{
		{"an observation by its cause", []string{listedHi, listedRun, listedOther, listedOutput, listedFinish}, nil,
			append(hi, "agent:run:ls", "agent:run:a.go", "agent:run:pwd", notExecuted, "agent:finish:", "=finished")},
		{"an observation that is next", []string{listedHi, withoutID(listedRun), withoutID(listedOutput), listedOther, listedFinish}, nil,
			append(hi, "agent:run:ls", "agent:run:a.go", "agent:run:pwd", notExecuted, "agent:finish:", "=finished")},
		{"a message that waits ends it", []string{listedHi, listedAnswer}, nil, append(hi, "agent:message:ho", awaiting)},
		{"any other end is answered", []string{listedHi, listedAnswer, listedNext}, nil,
			append(hi, "agent:message:ho", "user:message:next", "agent:message:next", awaiting)},
		{"after a finish it goes on with a message", []string{listedHi, listedFinish, listedAnswer}, func(b *bench) { b.say("go on") },
			append(hi, "agent:finish:", "=finished", "user:message:go on", running, "agent:message:ho", awaiting)},
		{"a listed pause", []string{listedHi, `{"source":"user","action":"change_agent_state","args":{"agent_state":"paused"}}`, listedAnswer},
			func(b *bench) { b.ask("running") }, append(hi, "=paused", running, "agent:message:ho", awaiting)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, agent.Echo())
				b.replayList(tt.list...)
				if tt.do != nil {
					b.stored()
					tt.do(b)
				}
				b.expect(tt.want...)
				b.stored()
				b.expect(tt.want...)
			})
		})
	}
}

// TestReplayWithoutScript: a replay is played whoever answers; after it nobody
// does.
func TestReplayWithoutScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBenchWith(t, player(nil).Play, false)
		b.replayList(listedHi, listedRun, listedOutput)
		want := []string{"user:message:hi", running, "agent:run:ls", "agent:run:a.go", awaiting}
		b.expect(want...)
		b.say("again")
		b.stored()
		b.expect(append(want, "user:message:again")...)
	})
}

// TestReplayIsGivenUp: a restart in the middle of a replay ends it, and what it
// has played is not answered then.
func TestReplayIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, agent.Echo())
		b.replayList(listedHi, `{"source":"user","action":"change_agent_state","args":{"agent_state":"paused"}}`, listedNext, listedAnswer)
		want := []string{"user:message:hi", running, "=paused"}
		b.expect(want...)
		if _, err := b.conversations.Stop(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.conversations.Start(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		b.stored()
		b.expect(append(want, "=stopped", "=loading", awaiting)...)
	})
}

// TestUnanswered: what was said before a restart and not answered stays so, as
// upstream's agent awaits the next message.
func TestUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		echo := func(context.Context, *conversation.Run) {}
		b := newBenchWith(t, func(ctx context.Context, r *conversation.Run) { echo(ctx, r) }, false)
		b.create("")
		b.say("lost") // as before a kill: nobody is there
		if _, err := b.conversations.Stop(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // for whoever has read it
		echo = player(agent.Echo()).Play
		if _, err := b.conversations.Start(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		b.stored()
		want := []string{"user:message:lost", "=stopped", "=loading", awaiting}
		b.expect(want...)
		b.say("next")
		b.expect(append(want, "user:message:next", running, "agent:message:next", awaiting)...)
	})
}
