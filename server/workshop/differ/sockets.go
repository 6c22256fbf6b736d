package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// A talk is one connection of a client of Socket.IO: how it is opened, and the
// packets that it sends, each once the server says nothing more.
type talk struct {
	transport string // "websocket" or "polling"
	query     string // beside EIO and transport; {cid} and {e0}, {e1} … are each side's own
	says      []string
}

const (
	quiet    = 700 * time.Millisecond // after it a server has said what it had to say
	perTalks = 8                      // connections of a round
)

// talks compares a round of connections to a conversation that has events.
func (d *differ) talks(ctx context.Context) error {
	end, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := d.create(ctx, request{op: newConversation, method: "POST", target: "/api/conversations", headers: jsonHeader, body: "{}", hasBody: true}); err != nil {
		return err
	}
	var posted []string
	for range d.g.IntN(6) {
		body := d.g.shown()
		real, _ := d.compare(ctx, request{op: addEvent, method: "POST", target: "/api/conversations/{cid}/events", headers: jsonHeader, body: body, hasBody: true})
		posted = append(posted, body)
		if real.status != http.StatusOK {
			return nil // it may be stored there all the same
		}
	}
	for _, s := range d.sides() {
		s.numberEvents(ctx, len(posted))
	}
	for range perTalks {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t := d.g.talk()
		q := request{op: "socket, " + t.transport, method: "GET", target: "/socket.io/?EIO=4&transport=" + t.transport + "&" + t.query, body: strings.Join(t.says, "\n"), hasBody: true}
		if strings.Contains(t.query, "{e") { // what the ids are of
			q.body += fmt.Sprintf("\n(after %s: %v, %v)", strings.Join(posted, ", "), d.real.events, d.ours.events)
		}
		done := make(chan []string, 1)
		go func() { done <- d.ours.talk(ctx, t) }()
		real := d.real.talk(ctx, t)
		if !d.report.compareTalk(q, d.ours.fill, real, <-done) {
			return nil // they may have other events now
		}
	}
	return nil
}

// compareTalk compares what was said on a connection, and tells whether it is the
// same.
func (r *report) compareTalk(q request, fill func(string) string, real, ours []string) bool {
	r.sockets++
	for i := range max(len(real), len(ours)) {
		a, b := "nothing", "nothing"
		if i < len(real) {
			a = real[i]
		}
		if i < len(ours) {
			b = ours[i]
		}
		if a == b {
			continue
		}
		for _, x := range talkDifferences {
			if x.covers(q, "", answer{body: a}, answer{body: b}) {
				r.declared[x.reason]++
				return false
			}
		}
		r.note(q, fill, kindOf(b)+", not "+kindOf(a), clip(fmt.Sprintf("%q", real[min(i, len(real)):])), clip(fmt.Sprintf("%q", ours[min(i, len(ours)):])))
		return false
	}
	return true
}

// kindOf is what a packet is, for the name of a cluster.
func kindOf(packet string) string {
	if strings.HasPrefix(packet, `{"`) {
		return "an event"
	}
	kind, _, _ := strings.Cut(packet, ":")
	return kind
}

// numberEvents gives the n events that were posted their places {e0}, {e1} …, once
// they can be read: the real server writes them after its answers.
func (s *side) numberEvents(ctx context.Context, n int) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var page struct{ Events []json.RawMessage }
		a := s.send(ctx, request{method: "GET", target: "/api/conversations/{cid}/events?limit=100"})
		if json.Unmarshal([]byte(a.body), &page) != nil {
			page.Events = nil
		}
		s.events = nil
		for _, e := range page.Events {
			var of struct{ ID int64 }
			if len(s.posted(e)) > 0 && json.Unmarshal(e, &of) == nil {
				s.events = append(s.events, fmt.Sprintf("{e%d}", len(s.events)/2), strconv.FormatInt(of.ID, 10))
			}
		}
		if len(s.events) >= 2*n || ctx.Err() != nil || time.Now().After(deadline) {
			return
		}
	}
}

// talk is a random connection: mostly one that a client would make.
func (g *generator) talk() talk {
	t := talk{transport: pick(g, []string{"websocket", "websocket", "polling"})}
	query := []string{"conversation_id={cid}", "latest_event_id=" + pick(g, []string{"-1", "-1", "{e0}", "{e1}", "{e2}", "0", "-7", "9999", "abc", "", "3.5", "+0", "%200", "undefined", "1000000000000000000000", "9_9", "9__9", "%D9%A9%D9%A9"})}
	switch {
	case g.chance(6):
		query[0] = pick(g, []string{"conversation_id=", "x=y", "conversation_id=nosuch", "conversation_id={cid}&conversation_id=nosuch", "Conversation_id={cid}"})
	case g.chance(6):
		query = query[:1]
	}
	if g.chance(30) {
		query = append(query, pick(g, []string{"providers_set=", "providers_set=github", "providers_set=github,gitlab", "providers_set=nosuch", "session_api_key=x", "session_api_key=null", "session_api_key=", "t=abc", "user_id=x"}))
	}
	t.query = strings.Join(query, "&")
	t.says = []string{pick(g, []string{"40", "40{}"})}
	if g.chance(12) {
		t.says[0] = pick(g, []string{`40{"token":"x"}`, "40/other,", "40/,", "40/", "40x", "40[]", "40null", "41", `42["oh_user_action",{"action":"message","args":{"content":"early"}}]`, "4", "45", "2probe", "2", "1", "5", "6", "7"})
		if g.chance(50) {
			t.says = append(t.says, "40")
		}
	}
	for range g.IntN(5) {
		t.says = append(t.says, g.packet())
	}
	return t
}

// packet is what a client sends once it is connected.
func (g *generator) packet() string {
	if g.chance(25) {
		return pick(g, []string{`42["nosuch",1]`, "42[]", "42{}", "42", `42"x"`, "42[1]", "42[null,{}]", `42["oh_user_action"]`, `42["oh_user_action",{},{}]`, `42["oh_user_action",null]`, `42["oh_user_action",[]]`, `42["oh_user_action","x"]`,
			`42["oh_user_action",{"action":"message"`, `42/other,["oh_user_action",{}]`, "43[]", `437["x"]`, "44", `44{"message":"x"}`, "46", "49", "40", "41", "41/other,", `451-["oh_user_action",{"_placeholder":true,"num":0}]`, "45-[]",
			"2", "2x", "3", "6", "8", "x", "4", `42-1["nosuch"]`, `4299999999999999999999["oh_user_action",{}]`, `42["connect"]`, `42["disconnect"]`, `42["oh_event",{}]`})
	}
	ack := ""
	if g.chance(25) {
		ack = strconv.Itoa(g.IntN(30))
	}
	return "42" + ack + "[" + pick(g, []string{`"oh_user_action"`, `"oh_user_action"`, `"oh_user_action"`, `"oh_action"`}) + "," + g.shown() + "]"
}

// talk opens a connection, says what is to be said, and returns what the server
// said as a list of texts.
func (s *side) talk(ctx context.Context, t talk) (told []string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	heard := make(chan string, 64)
	open := s.websocket
	if t.transport == "polling" {
		open = s.polling
	}
	say, err := open(ctx, "/socket.io/?EIO=4&transport="+t.transport+"&"+strings.NewReplacer(s.events...).Replace(s.fill(t.query)), heard)
	if err != nil {
		told = append(told, err.Error())
	}
	listen := func(patience time.Duration) {
		for {
			select {
			case packet := <-heard:
				told = append(told, s.told(packet)...)
			case <-time.After(patience):
				return
			}
		}
	}
	if err == nil {
		listen(quiet / 2)
		for _, packet := range t.says {
			if err := say(s.fill(packet)); err != nil {
				break // what ended it was heard
			}
			listen(quiet)
		}
		listen(quiet)
	}
	// A POST and a poll are answered in any order, and so are an event that is told
	// to all and its acknowledgement.
	slices.SortStableFunc(told, func(a, b string) int { return cmp.Compare(statusForm.FindString(a), statusForm.FindString(b)) })
	return told
}

func (s *side) websocket(ctx context.Context, target string, heard chan<- string) (say func(string) error, err error) {
	c, resp, err := websocket.Dial(ctx, "ws://"+s.host+target, nil)
	if err != nil {
		if resp == nil {
			return nil, err
		}
		return nil, fmt.Errorf("handshake %d", resp.StatusCode)
	}
	c.SetReadLimit(64 << 20)
	context.AfterFunc(ctx, func() { _ = c.CloseNow() })
	go func() {
		for {
			kind, packet, err := c.Read(ctx)
			if err != nil {
				packet = fmt.Append(nil, "closed ", int(websocket.CloseStatus(err)))
			} else if kind == websocket.MessageBinary {
				packet = fmt.Appendf(nil, "binary %x", packet)
			}
			select {
			case heard <- string(packet):
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return func(packet string) error { return c.Write(ctx, websocket.MessageText, []byte(packet)) }, nil
}

func (s *side) polling(ctx context.Context, target string, heard chan<- string) (say func(string) error, err error) {
	ask := func(method, target, body string) (status int, text string, err error) {
		r, err := http.NewRequestWithContext(ctx, method, s.base+target, strings.NewReader(body))
		if err != nil {
			return 0, "", err
		}
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(answer), err
	}
	hear := func(packets string) {
		for packet := range strings.SplitSeq(packets, "\x1e") {
			select {
			case heard <- packet:
			case <-ctx.Done():
			}
		}
	}
	status, text, err := ask("GET", target, "")
	if err != nil {
		return nil, err
	}
	sid := sidForm.FindStringSubmatch(text)
	if status != http.StatusOK || sid == nil {
		return nil, fmt.Errorf("open %d %s", status, text)
	}
	hear(text)
	target += "&sid=" + url.QueryEscape(sid[1])
	go func() {
		for {
			status, text, err := ask("GET", target, "")
			if err != nil {
				return
			}
			if status != http.StatusOK {
				hear(fmt.Sprintf("poll %d", status))
				return
			}
			hear(text)
		}
	}()
	return func(packet string) error {
		status, text, err := ask("POST", target, packet)
		if err == nil && (status != http.StatusOK || text != "OK") {
			hear(fmt.Sprintf("post %d", status))
		}
		return err
	}, nil
}

// limits are what the runtime of the real server sets at times before an event is
// sent.
var limits = regexp.MustCompile(`,"timeout":120\.0|"blocking":(true|false),`)

var statusForm = regexp.MustCompile(`^(post|poll|43\d*\[).*`)

// escape is how the real server writes what is not ASCII.
var escape = regexp.MustCompile(`(\\u[0-9a-f]{4})+`)

var sidForm = regexp.MustCompile(`"sid":"([^"]*)"`)

// told is a packet without what differs from run to run; of events only those
// that a client sent.
func (s *side) told(packet string) []string {
	if packet == "2" || packet == "6" { // as time goes
		return nil
	}
	if event, ok := strings.CutPrefix(packet, `42["oh_event",`); ok {
		event = escape.ReplaceAllStringFunc(strings.TrimSuffix(event, "]"), func(e string) string {
			var text string
			if json.Unmarshal([]byte(`"`+e+`"`), &text) != nil || text < "\u0080" {
				return e
			}
			return text
		})
		switch {
		case strings.Contains(event, `"error":true`):
		case strings.Contains(event, `"observation":"agent_state_changed"`): // a replay has the last alone, which is the agent's where there is one
			return nil
		default:
			return s.posted(json.RawMessage(limits.ReplaceAllString(event, "")))
		}
	}
	return []string{s.plain(answer{body: sidForm.ReplaceAllString(packet, `"sid":"<sid>"`)}).body}
}
