package live_test

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/live/engineio"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A transcript is what a client and the real server said to each other.
type transcript struct {
	Name  string
	Key   string // SESSION_API_KEY
	Steps []struct{ Dir, Packet, Request string }
}

// scenario is the name without the client's.
func (tr transcript) scenario() string {
	name, _, _ := strings.Cut(tr.Name, "__")
	return name
}

// differences are the lines of differences.txt: by scenario, what differs.
func differences(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, line := range lines(t, "differences.txt") {
		if name, what, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "#") {
			all[name] = what
		}
	}
	return all
}

// TestRecorded plays every transcript that needs no model: what the client
// sent is sent, and what the server sent in between is compared, but for what
// differs from run to run. The server is strict and has no agent, so the recorded agent's
// answers are left out. An upgrade is played as the transport that it begins
// on.
func TestRecorded(t *testing.T) {
	declared, used := differences(t), map[string]bool{}
	for _, line := range lines(t, "testdata/transcripts.jsonl") {
		var tr transcript
		if err := json.Unmarshal([]byte(line), &tr); err != nil {
			t.Fatal(err)
		}
		t.Run(tr.Name, func(t *testing.T) {
			differs := play(t, tr)
			want := declared[tr.scenario()]
			if differs != want {
				t.Errorf("differs = %q, want %q as declared", differs, want)
			}
			used[tr.scenario()] = true
		})
	}
	for name := range declared {
		if !used[name] {
			t.Errorf("differences.txt: %s is no scenario", name)
		}
	}
}

// play plays a transcript and tells how it differs: not (""), or "refused":
// one 44 in place of what was recorded. Every other difference is an error.
func play(t *testing.T, tr transcript) (differs string) {
	h := newHost(t, tr.Key, true, engineio.Options{})
	var (
		p     *peer
		id    string
		want  []string
		born  bool
		check = func() {
			if p == nil {
				return
			}
			got := h.section(p, id, want)
			if recorded := normal(want); !slices.Equal(got, recorded) {
				if len(got) == 1 && strings.HasPrefix(got[0], `44{"message":`) {
					differs = "refused"
				} else {
					t.Errorf("frames:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(recorded, "\n"))
				}
			}
			want = nil
		}
	)
	for i, s := range tr.Steps {
		if s.Dir == "s2c" {
			want = append(want, s.Packet)
			continue
		}
		if i > 0 && tr.Steps[i-1].Packet != "" {
			check() // something was said since the connection was opened
		}
		method, path, isRequest := strings.Cut(s.Request, " ")
		switch {
		case !isRequest:
			if p == nil {
				continue // it has left
			}
			p.send(s.Packet)
			if s.Packet == "1" || s.Packet == "41" {
				p = nil
			}
		case strings.HasPrefix(path, "/socket.io/?"):
			u, err := url.Parse(path)
			if err != nil {
				t.Fatal(err)
			}
			id = u.Query().Get("conversation_id")
			if !born && id != "" && tr.scenario() != "conversation_id_unknown" {
				born = true
				h.settle(id)
				if tr.scenario() == "resume_not_running" {
					if _, err := h.conversations.Stop(t.Context(), id); err != nil {
						t.Fatal(err)
					}
				}
			}
			p = h.dial(u.RawQuery)
		case method == "DELETE":
			if err := h.conversations.Delete(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		case strings.HasSuffix(path, "/stop"):
			if _, err := h.conversations.Stop(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
	}
	check()
	return differs
}

// section reads what a client was sent, without waiting for more than there
// is: a namespace that is unknown is refused when all before was handled, and
// what the room was to send is sent when a marker is that was told behind it.
func (h *host) section(p *peer, id string, want []string) []string {
	h.Helper()
	if slices.Contains(want, "41") {
		return normal(p.until(""))
	}
	const fence, marker = `44/fence,"Unable to connect"`, `42["oh_event",{"marker":true}]`
	p.send("40/fence,")
	got := p.until(fence)
	if i, err := h.conversations.Info(h.Context(), id); err == nil && i.Connections > 0 {
		h.conversations.Tell(id, json.RawMessage(`{"marker":true}`))
		got = append(got, p.until(marker)...)
	}
	return normal(slices.DeleteFunc(got, func(f string) bool { return f == fence || f == marker }))
}

var (
	sid      = regexp.MustCompile(`"sid":"[A-Za-z0-9_-]{20}"`)
	volatile = []string{"timestamp", "timeout", "llm_metrics", "tool_call_metadata"}
)

// normal is a section without what differs from run to run: the ids of
// connections, times, what a model cost, ids of events that came after others
// of an agent, what stands in the long texts of the system message; and
// without what a recorded agent answered. Acknowledgements come first, since
// they are not in order with events.
func normal(frames []string) []string {
	var (
		acks, rest []string
		accepted   = !slices.ContainsFunc(frames, func(f string) bool { return strings.HasPrefix(f, "40") })
		answering  = false
	)
	for _, f := range frames {
		payload, isEvent := strings.CutPrefix(f, `42["oh_event",`)
		switch {
		case strings.HasPrefix(f, "43"):
			acks = append(acks, f)
			continue
		case strings.HasPrefix(f, "40"):
			accepted = true
		}
		if !isEvent {
			rest = append(rest, sid.ReplaceAllString(f, `"sid":"…"`))
			continue
		}
		v, err := pyjson.Decode([]byte(strings.TrimSuffix(payload, "]")))
		if err != nil {
			rest = append(rest, f)
			continue
		}
		action, state := text(v, "action"), text(v, "extras", "agent_state")
		if accepted && (action == "recall" || action == "message" && text(v, "source") == "agent" || state == "running") {
			answering = true
			continue
		}
		if answering && state == "awaiting_user_input" {
			continue
		}
		var doc pyjson.Builder
		for _, m := range v.Members() {
			switch {
			case slices.Contains(volatile, m.Key) || accepted && m.Key == "id" && text(v, "status_update") == "" && m.Value.Kind() != pyjson.String:
			case action == "system" && (m.Key == "args" || m.Key == "message"):
			default:
				doc.Set(m.Key, m.Value)
			}
		}
		rest = append(rest, string(doc.Object().Append(nil)))
	}
	return append(acks, rest...)
}

// text is a string member, "" when there is none.
func text(v pyjson.Value, path ...string) string {
	for _, key := range path {
		v, _ = v.Get(key)
	}
	return v.Text()
}
