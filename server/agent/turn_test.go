package agent_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/server/agent"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// turns serves the rules of the agent server's conversations with a script, and
// makes a conversation.
func turns(t *testing.T, script string) (s *conversation.Service, id string) {
	t.Helper()
	played := agent.Echo()
	if script != "" {
		file := filepath.Join(t.TempDir(), "script.yaml")
		if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if played, err = agent.Load(file); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	s = conversation.New(conversation.Config{
		Store: memstore.New(), Clock: clock.New(clock.Options{}), Agent: (&agent.Turns{Script: played, Log: slog.Default()}).Play,
		NewID: func() string { n++; return strings.Repeat("0", 31) + string(rune('a'+n%6)) },
	})
	t.Cleanup(s.Close)
	info, _, err := s.Create(t.Context(), conversation.Draft{ID: "00000000-0000-4000-8000-000000000000", State: conversation.State{
		Status: conversation.Idle, ConfirmationPolicy: json.RawMessage(`{"kind":"NeverConfirm"}`), Agent: json.RawMessage(`{}`), Autotitle: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s, info.ID
}

// until waits for a status, and tells the events since a number in short.
func until(t *testing.T, s *conversation.Service, id string, want conversation.Status) string {
	t.Helper()
	var got conversation.Status
	for deadline := time.Now().Add(10 * time.Second); got != want; time.Sleep(time.Millisecond) {
		info, err := s.Info(t.Context(), id)
		if got = info.Status; err != nil || time.Now().After(deadline) {
			page, _ := s.Search(t.Context(), id, conversation.Filter{}, "", 100, false)
			t.Fatalf("status = %s, %v, want %s; %s", got, err, want, page.Items)
		}
	}
	page, err := s.Search(t.Context(), id, conversation.Filter{}, "", 100, false)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, text := range page.Items {
		var e struct {
			Kind, Source, Key string
			Tool              string `json:"tool_name"`
			Message           struct {
				Content []struct{ Text string }
			} `json:"llm_message"`
			Detail string
		}
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		switch e.Kind {
		case "ConversationStateUpdateEvent", "SystemPromptEvent":
		case "MessageEvent":
			told = append(told, e.Source+":"+e.Message.Content[0].Text)
		case "ConversationErrorEvent":
			told = append(told, e.Detail)
		default:
			told = append(told, e.Kind+":"+e.Tool)
		}
	}
	return strings.Join(told, " ")
}

func send(t *testing.T, s *conversation.Service, id, text string) {
	t.Helper()
	if err := s.Send(t.Context(), id, "user", conversation.Text(text), true); err != nil {
		t.Fatal(err)
	}
}

// TestTurnEcho: the echo answers, and names the conversation.
func TestTurnEcho(t *testing.T) {
	s, id := turns(t, "")
	send(t, s, id, "hello")
	if got := until(t, s, id, conversation.Finished); got != "user:hello agent:hello" {
		t.Error(got)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		info, err := s.Info(t.Context(), id)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no title: %v", err)
		}
		if info.Title != nil && *info.Title == "hello" {
			return
		}
	}
}

const turnScript = `rules:
  - on: remove (\S+)
    steps:
      - event: {kind: ActionEvent, tool_name: terminal, thought: It is not needed., action: {kind: TerminalAction, command: "rm $1"}}
      - confirm: {rejected: [{say: As you like.}]}
      - event: {kind: ObservationEvent, observation: {kind: TerminalObservation, content: ""}}
      - say: "$1 is gone."
  - on: end
    steps:
      - event: {kind: ActionEvent, tool_name: finish, action: {kind: FinishAction, message: All done.}}
      - say: never
  - on: fail
    steps:
      - fail: no credit is left
  - on: pause
    steps:
      - wait: 1h
        say: never
  - on: other line
    steps:
      - event: {action: run, args: {command: ls}}
  - on: other line
    steps:
      - say: this one
`

// TestTurnScript: calls, questions, ends and failures of a script, and rules of
// the other line passed over.
func TestTurnScript(t *testing.T) {
	const call = "user:remove a.txt ActionEvent:terminal "
	for _, tt := range []struct {
		say    string
		first  conversation.Status
		answer *bool
		last   conversation.Status
		want   string
	}{
		{"remove a.txt", conversation.Waiting, new(true), conversation.Finished, call + "ObservationEvent:terminal agent:a.txt is gone."},
		{"remove a.txt", conversation.Waiting, new(false), conversation.Idle, call + "UserRejectObservation:terminal"},
		{"end", conversation.Finished, nil, conversation.Finished, "user:end ActionEvent:finish ObservationEvent:finish"},
		{"fail", conversation.Error, nil, conversation.Error, "user:fail no credit is left"},
		{"other line", conversation.Finished, nil, conversation.Finished, "user:other line agent:this one"},
		{"nothing", conversation.Finished, nil, conversation.Finished, "user:nothing"},
	} {
		s, id := turns(t, turnScript)
		send(t, s, id, tt.say)
		got := until(t, s, id, tt.first)
		if tt.answer != nil {
			if err := s.Respond(t.Context(), id, *tt.answer, "no"); err != nil {
				t.Fatal(err)
			}
			got = until(t, s, id, tt.last)
		}
		if got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.say, got, tt.want)
		}
		if tt.last == conversation.Idle { // the agent is told of the no
			if err := s.Run(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if got := until(t, s, id, conversation.Finished); got != tt.want+" agent:As you like." {
				t.Errorf("after the no: %s", got)
			}
		}
	}
}

// TestTurnPause: a pause ends an answer that waits.
func TestTurnPause(t *testing.T) {
	s, id := turns(t, turnScript)
	send(t, s, id, "pause")
	if err := s.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := until(t, s, id, conversation.Paused); got != "user:pause PauseEvent:" {
		t.Error(got)
	}
}

// TestTurnScriptWrong: a mistake in an event is told with its line.
func TestTurnScriptWrong(t *testing.T) {
	for event, want := range map[string]string{
		"{kind: ActionEvent, action: {kind: X}}":              "line 4: event: ActionEvent: want a tool_name",
		"{kind: ActionEvent, tool_name: x}":                   "line 4: event: ActionEvent: want action with a kind",
		"{kind: ObservationEvent, observation: {content: x}}": "line 4: event: ObservationEvent: want observation with a kind",
		"{kind: MessageEvent, source: nobody}":                `line 4: event: source "nobody": want agent, environment or user`,
	} {
		file := filepath.Join(t.TempDir(), "script.yaml")
		if err := os.WriteFile(file, []byte("rules:\n  - on: x\n    steps:\n      - event: "+event+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := agent.Load(file); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", event, err, want)
		}
	}
}
