package agentserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/agentserver"
	"github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/key"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// A modelled is a server whose agent asks the model of a recorded case: it does
// what the recorded agent did with the replies, but for the tools themselves.
type modelled struct {
	store store.Store
	key   key.Key
	http  *httptest.Server
	rules *conversation.Service

	folder string // of the workspaces
}

func (m *modelled) URL() string { return m.http.URL }

func (m *modelled) Close() error {
	m.http.CloseClientConnections()
	m.http.Close()
	m.rules.Close()
	return nil
}

func (m *modelled) Restart(context.Context) error {
	if err := m.Close(); err != nil {
		return err
	}
	m.open()
	return nil
}

func (m *modelled) open() {
	m.rules = conversation.New(conversation.Config{Store: m.store, Clock: clock.New(clock.Options{}), Agent: m.play, NewID: newID})
	m.http = httptest.NewServer(agentserver.New(agentserver.Config{
		Conversations: m.rules, Key: m.key, LoggedIn: func(*http.Request) bool { return false }, Done: (*exchange.Exchange).Done,
		Workspace: opener(m.folder), Started: time.Now(), Log: slog.New(slog.DiscardHandler),
	}))
}

// replies are what the recorded tools answered.
var replies = map[string]string{
	"think":        "Your thought has been logged.",
	"task_tracker": `No task list found. Use the "plan" command to create one.`,
}

// A completion is as much as the agent looks at.
type completion struct {
	Choices []struct {
		Message struct {
			Content string
			Calls   []struct {
				ID       string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
	}
	Usage struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
	}
	ID string
}

func (m *modelled) play(ctx context.Context, r *conversation.Run) conversation.Status {
	info, err := m.rules.Info(ctx, r.Conversation)
	if err != nil {
		return conversation.Error
	}
	var agent struct {
		LLM struct {
			URL string `json:"base_url"`
		}
	}
	_ = json.Unmarshal(info.Agent, &agent)
	said, err := r.Said(ctx)
	if err != nil {
		return conversation.Error
	}
	for _, a := range said.Pending {
		if observe(ctx, r, a, replies[a.Tool]) != nil {
			return conversation.Error
		}
	}
	for {
		req, err := http.NewRequestWithContext(ctx, "POST", agent.LLM.URL+"/chat/completions", bytes.NewReader([]byte(`{"messages":[]}`)))
		if err != nil {
			return conversation.Error
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			_ = r.Fail(ctx, "LLMServiceUnavailableError", err.Error())
			return conversation.Error
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		var c completion
		if resp.StatusCode != 200 || json.Unmarshal(text, &c) != nil || len(c.Choices) == 0 {
			_ = r.Fail(ctx, "LLMBadRequestError", string(text))
			return conversation.Error
		}
		msg := c.Choices[0].Message
		if r.Asked(ctx, conversation.Usage{Prompt: c.Usage.Prompt, Completion: c.Usage.Completion, ResponseID: c.ID}) != nil {
			return conversation.Error
		}
		if len(msg.Calls) == 0 {
			if r.Say(ctx, msg.Content) != nil {
				return conversation.Error
			}
			return conversation.Finished
		}
		var acts []conversation.Action
		waits, ends := false, false
		for _, call := range msg.Calls {
			args := strings.TrimSuffix(strings.TrimSpace(call.Function.Arguments), "}")
			name := className(call.Function.Name)
			if !strings.HasSuffix(args, "{") {
				args += ","
			}
			if name == "TaskTracker" && !strings.Contains(args, "task_list") {
				args += `"task_list":[],`
			}
			a, err := r.Act(ctx, conversation.Call{ID: call.ID, Tool: call.Function.Name, Thought: msg.Content, Action: json.RawMessage(args + fmt.Sprintf(`"kind":"%sAction"}`, name)), Args: spaced(call.Function.Arguments)})
			if err != nil {
				return conversation.Error
			}
			acts, waits, ends = append(acts, a), waits || a.Waits, ends || call.Function.Name == "finish"
		}
		if waits {
			return conversation.Waiting
		}
		for _, a := range acts {
			text := replies[a.Tool]
			if a.Tool == "finish" {
				var said struct{ Message string }
				_ = json.Unmarshal([]byte(msg.Calls[0].Function.Arguments), &said) // else it says nothing
				text = said.Message
			}
			if observe(ctx, r, a, text) != nil {
				return conversation.Error
			}
		}
		if ends {
			return conversation.Finished
		}
	}
}

// observe writes what the recorded tool answered to a call.
func observe(ctx context.Context, r *conversation.Run, a conversation.Action, text string) error {
	more := ""
	if a.Tool == "task_tracker" {
		more = `"command":"view","task_list":[],`
	}
	return r.Observe(ctx, a, json.RawMessage(fmt.Sprintf(`{"content":[{"cache_prompt":false,"type":"text","text":%q}],"is_error":false,%s"kind":%q}`, text, more, className(a.Tool)+"Observation")))
}

// className is that of a tool: TaskTracker of task_tracker.
func className(tool string) string {
	name := ""
	for part := range strings.SplitSeq(tool, "_") {
		name += strings.ToUpper(part[:1]) + part[1:]
	}
	return name
}

// TestRecorded: the line answers as the recorded agent server did, in the cases
// that testdata/held.txt lists. A case that is not there differs in some step, or
// asks an operation that is not served.
func TestRecorded(t *testing.T) {
	held, err := os.ReadFile("testdata/held.txt")
	if err != nil {
		t.Fatal(err)
	}
	only := strings.Fields(string(held))
	if all := os.Getenv("RECORDED"); all != "" {
		only = strings.Fields(all)
	}
	report, err := conform.Run(t.Context(), conform.Target{Start: func(_ context.Context, env map[string]string) (conform.Server, error) {
		m := &modelled{folder: t.TempDir(), store: memstore.New(), key: key.Key(env["OH_SESSION_API_KEYS_0"])}
		m.open()
		return m, nil
	}}, conform.Options{Line: conform.AgentServer, Only: only})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Cases {
		good := len(c.Notes) == 0
		for _, s := range c.Steps {
			if s.Outcome == conform.Failed {
				good = false
				t.Errorf("%s, step %s: %s: %v %s", c.Name, s.Step, s.Request, s.Undeclared, s.Note)
			}
		}
		for _, n := range c.Notes {
			t.Errorf("%s: %s", c.Name, n)
		}
		t.Logf("%s: held %t", c.Name, good)
	}
	t.Log(report.Steps, report.Counts)
}

// spaced is JSON as Python's json.dumps writes it.
func spaced(text string) json.RawMessage {
	v, err := pyjson.Decode([]byte(text))
	if err != nil {
		return json.RawMessage(text)
	}
	return v.AppendASCII(nil)
}
