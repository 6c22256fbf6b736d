package live_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/live/engineio"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/server/agent"
)

// A transcript is what a client and the real server said to each other.
type transcript struct {
	Name  string
	Key   string // SESSION_API_KEY
	Steps []exchange
}

// An exchange is a packet in one direction, or a request. In a transcript about
// HTTP itself a request has its answer; one without a status had none.
type exchange struct {
	Dir, Packet, Request string
	Headers              map[string]string
	Body, Answer         string
	Status               int
}

// scenario is the name without the client's.
func (tr transcript) scenario() string {
	name, _, _ := strings.Cut(tr.Name, "__")
	return name
}

// conversation is the id of the conversation that sockets are opened for.
func (tr transcript) conversation() string {
	for _, s := range tr.Steps {
		_, query, _ := strings.Cut(s.Request, "?")
		if q, err := url.ParseQuery(query); err == nil && q.Get("conversation_id") != "" {
			return q.Get("conversation_id")
		}
	}
	return ""
}

// differences are the lines of differences.txt: by transcript or scenario, what
// differs.
func differences(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, line := range lines(t, "differences.txt") {
		if name, what, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "#") {
			all[name] = what
		}
	}
	return all
}

// TestRecorded plays every transcript: what the client sent is sent, and what
// the server sent in between is compared, but for what differs from run to run.
// The server is strict and has an agent that answers as the recorded model did.
// An upgrade is played as the transport that it begins on. The transcript about
// REST alone is played by the test of package server.
func TestRecorded(t *testing.T) {
	model, err := agent.Load("../../server/agent/testdata/model.yaml")
	if err != nil {
		t.Fatal(err)
	}
	declared, used := differences(t), map[string]bool{}
	for _, line := range lines(t, "testdata/transcripts.jsonl") {
		var tr transcript
		if err := json.Unmarshal([]byte(line), &tr); err != nil {
			t.Fatal(err)
		}
		if tr.scenario() == "session_key_rest" {
			continue
		}
		t.Run(tr.Name, func(t *testing.T) {
			var o engineio.Options
			if tr.scenario() == "ping_unanswered" {
				o.PingInterval, o.PingTimeout = 250*time.Millisecond, 200*time.Millisecond // a hundredth
			}
			player := agent.Runner{Script: model, Log: slog.New(slog.DiscardHandler)}
			h := newHostWith(t, tr.Key, o, conversation.Config{Strict: true, Answers: true, Agent: player.Play})
			name := tr.Name
			if _, own := declared[name]; !own {
				name = tr.scenario()
			}
			if differs := h.play(tr); differs != declared[name] {
				t.Errorf("differs in %q, want %q as declared", differs, declared[name])
			}
			used[name] = true
		})
	}
	for name := range declared {
		if !used[name] {
			t.Errorf("differences.txt: %s is no scenario", name)
		}
	}
}

// play plays a transcript and tells how it differs: "", "refused" for one 44 in
// place of what was recorded, or the names of the packets, or of the requests,
// that do.
func (h *host) play(tr transcript) string {
	h.Helper()
	if tr.scenario() == "engineio_http_errors" {
		return h.playHTTP(tr)
	}
	var (
		p       *peer
		want    []string
		differs []string
		id      = tr.conversation()
		check   = func() {
			if p != nil {
				differs = append(differs, compare(h.section(p, id, want), want)...)
				want = nil
			}
		}
	)
	creates := strings.HasPrefix(tr.Steps[0].Request, "POST /api/conversations")
	if id != "" && !creates && tr.scenario() != "conversation_id_unknown" {
		h.begin(id)
	}
	if tr.scenario() == "resume_not_running" {
		if _, err := h.conversations.Stop(h.Context(), id); err != nil {
			h.Fatal(err)
		}
	}
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
		case path == "/api/conversations":
			h.create(id, s.Body)
		case strings.HasPrefix(path, "/socket.io/?"):
			p = h.dial(strings.TrimPrefix(path, "/socket.io/?"))
		case method == "DELETE":
			if err := h.conversations.Delete(h.Context(), id); err != nil {
				h.Fatal(err)
			}
		case strings.HasSuffix(path, "/stop"):
			if _, err := h.conversations.Stop(h.Context(), id); err != nil {
				h.Fatal(err)
			}
		}
	}
	check()
	slices.Sort(differs)
	return strings.Join(slices.Compact(differs), " ")
}

// begin makes a conversation whose first message is answered: events 0 to 8.
func (h *host) begin(id string) {
	h.Helper()
	f := h.conversations.FollowAll()
	defer f.Close()
	if _, err := h.conversations.Create(h.Context(), conversation.Draft{ID: id, InitialMessage: "hi"}); err != nil {
		h.Fatal(err)
	}
	for item, err := range f.All(h.Context()) {
		if err != nil {
			h.Fatal(err)
		}
		if item.Notice != nil && strings.Contains(string(item.Notice.Update), "conversation_title") {
			return // the end
		}
	}
}

// create makes a conversation as a request says. Like the real server, which
// waits a second for that, it goes on after the first event when a client is
// in the room: its store is slow.
func (h *host) create(id, body string) {
	h.Helper()
	var q struct {
		InitialUserMsg string  `json:"initial_user_msg"`
		ReplayJSON     *string `json:"replay_json"`
	}
	if err := json.Unmarshal([]byte(body), &q); err != nil {
		h.Fatal(err)
	}
	d := conversation.Draft{ID: id, InitialMessage: q.InitialUserMsg}
	if q.ReplayJSON != nil {
		d.SetReplay(*q.ReplayJSON, true)
	}
	begun, followed := make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	h.stored = func() { begin(); <-followed }
	h.followed = sync.OnceFunc(func() { close(followed) })
	go func() {
		if _, err := h.conversations.Create(context.Background(), d); err != nil {
			h.Error(err)
		}
	}()
	<-begun
}

// section reads what a client was sent, as many packets as are wanted, and then
// those that were not: a namespace that is unknown is refused when all before
// was handled, and what the room was to send is sent when a marker is that was
// told behind it.
func (h *host) section(p *peer, id string, want []string) (got []string) {
	h.Helper()
	for len(got) < len(want) {
		f := p.next()
		if f == "" {
			if p.closed > 0 && len(got) < len(want) {
				got = append(got, fmt.Sprintf("close %d", p.closed))
			}
			return got
		}
		got = append(got, f)
		if strings.HasPrefix(f, "44") || f == "41" {
			break
		}
	}
	if slices.Contains(want, "41") {
		return append(got, p.until("")...)
	}
	const fence, marker = `44/fence,"Unable to connect"`, `42["oh_event",{"marker":true}]`
	p.send("40/fence,")
	rest := p.until(fence)
	if i, err := h.conversations.Info(h.Context(), id); err == nil && i.Connections > 0 {
		h.conversations.Tell(h.Context(), id, json.RawMessage(`{"marker":true}`))
		rest = append(rest, p.until(marker)...)
	}
	return append(got, slices.DeleteFunc(rest, func(f string) bool { return f == fence || f == marker })...)
}

// compare names the packets that one side has and the other has not.
func compare(got, want []string) (differs []string) {
	if len(got) == 1 && strings.HasPrefix(got[0], `44{"message":`) && !slices.Equal(got, want) {
		return []string{"refused"}
	}
	is, recorded := normal(got), normal(want)
	if slices.Equal(is, recorded) {
		return nil
	}
	for _, side := range [][2][]packet{{is, recorded}, {recorded, is}} {
		for _, p := range side[0] {
			if !slices.Contains(side[1], p) {
				differs = append(differs, p.name)
			}
		}
	}
	if differs == nil {
		return []string{fmt.Sprintf("order: %v for %v", is, recorded)}
	}
	return differs
}

// A packet is what was sent without what differs from run to run. Its name is
// the id of the event or of the status that it is.
type packet struct{ name, text string }

var sid = regexp.MustCompile(`"sid":"[A-Za-z0-9_-]{20}"`)

// normal are packets without what differs from run to run: the ids of
// connections, times, what a model has cost and how it was called, the title
// that it found, and the texts that are cut in the recordings. What is sent
// live is in the order of the ids, after what is no event: the real server
// sends from several tasks.
func normal(frames []string) []packet {
	var replayed, others, events []packet
	accepted := !slices.ContainsFunc(frames, func(f string) bool { return strings.HasPrefix(f, "40") })
	for _, f := range frames {
		payload, isEvent := strings.CutPrefix(f, `42["oh_event",`)
		v, err := pyjson.Decode([]byte(strings.TrimSuffix(payload, "]")))
		if !isEvent || err != nil {
			accepted = accepted || strings.HasPrefix(f, "40")
			f = sid.ReplaceAllString(f, `"sid":"…"`)
			others = append(others, packet{f, f})
			continue
		}
		id, _ := v.Get("id")
		p := packet{cmp.Or(id.Text(), text(v, "message")), string(plain(v).Append(nil))}
		switch {
		case !accepted:
			replayed = append(replayed, p)
		case id.Kind() != pyjson.Int:
			others = append(others, p)
		default:
			events = append(events, p)
		}
	}
	slices.SortStableFunc(others, func(a, b packet) int { return strings.Compare(a.text, b.text) })
	slices.SortStableFunc(events, func(a, b packet) int {
		return cmp.Or(cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
	})
	return slices.Concat(replayed, others, events)
}

// plain is an event without what differs from run to run.
func plain(v pyjson.Value) pyjson.Value {
	v = v.Without("timestamp", "timeout")
	metrics, _ := v.Get("llm_metrics")
	usage, _ := metrics.Get("accumulated_token_usage")
	if tokens, _ := usage.Get("prompt_tokens"); tokens.Text() != "0" {
		v = v.Without("llm_metrics", "tool_call_metadata")
	}
	if text(v, "action") == "system" {
		v = v.Without("args", "message")
	}
	if extras, ok := v.Get("extras"); ok {
		v = pyjson.ObjectOf(append(v.Without("extras").Members(),
			pyjson.Member{Key: "extras", Value: extras.Without("date", "additional_agent_instructions")})...)
	}
	return v.Without("conversation_title")
}

// text is a string member, "" when there is none.
func text(v pyjson.Value, path ...string) string {
	for _, key := range path {
		v, _ = v.Get(key)
	}
	return v.Text()
}

// playHTTP plays a transcript of requests and answers, and names the requests
// that are answered otherwise, by their number from 1.
func (h *host) playHTTP(tr transcript) string {
	h.Helper()
	h.begin(tr.conversation())
	var differs []string
	sids := map[string]string{} // by the recorded ones
	for i, s := range tr.Steps {
		method, path, _ := strings.Cut(s.Request, " ")
		for recorded, ours := range sids {
			path = strings.ReplaceAll(path, recorded, ours)
		}
		status, answer := h.ask(method, path, s)
		if status == http.StatusOK && s.Status == http.StatusOK {
			for _, handshake := range sid.FindAllString(unescape(s.Answer), 1) {
				sids[quoted(handshake)] = quoted(sid.FindString(unescape(answer)))
			}
		}
		recorded := s.Answer
		for theirs, ours := range sids {
			recorded = strings.ReplaceAll(recorded, theirs, ours)
		}
		if status != s.Status || answer != recorded {
			h.Logf("request %d %s: %d %s, want %d %s", i+1, s.Request, status, answer, s.Status, recorded)
			differs = append(differs, fmt.Sprint(i+1))
		}
	}
	return strings.Join(differs, " ")
}

// unescape is text that may be within a string of JSONP.
func unescape(text string) string { return strings.ReplaceAll(text, `\"`, `"`) }

// quoted is the second string of "sid":"…".
func quoted(pair string) string {
	if pair == "" {
		return ""
	}
	return strings.Split(pair, `"`)[3]
}

// ask asks, and returns the first packet of the answer, or no status when
// there is none soon.
func (h *host) ask(method, path string, s exchange) (status int, answer string) {
	h.Helper()
	patience := 10 * time.Second
	if s.Status == 0 && s.Body == "" { // a poll
		patience = 200 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(h.Context(), patience)
	defer cancel()
	body := s.Body
	if cut := strings.Index(body, "…"); cut >= 0 { // it was longer than is allowed
		body = body[:cut] + strings.Repeat("a", 4<<20) + body[cut:]
	}
	r, err := http.NewRequestWithContext(ctx, method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	for name, value := range s.Headers {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if ctx.Err() != nil {
		return 0, ""
	}
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.Fatal(err)
	}
	answer, _, _ = strings.Cut(string(text), "\x1e")
	return resp.StatusCode, answer
}
