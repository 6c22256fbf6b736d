package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// A differ sends requests to both sides and notes how the answers differ.
type differ struct {
	real, ours *side
	g          *generator
	report     *report
	failed     int // events of this round that the real server failed on
}

func (d *differ) sides() []*side { return []*side{d.real, d.ours} }

// both sends a request to both sides at once, for its effect.
func (d *differ) both(ctx context.Context, q request) (real, ours answer) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		ours = d.ours.send(ctx, q)
	}()
	real = d.real.send(ctx, q)
	<-done
	return real, ours
}

// Numbers of requests in a round.
const (
	perRound  = 60
	perEvents = 40
)

var jsonHeader = [][2]string{{"Content-Type", "application/json"}}

// known are the settings that a round begins with.
const known = `{"llm_model":"openai/fake","llm_api_key":"sk-x","llm_base_url":"http://127.0.0.1:3915/v1","agent":"CodeActAgent","language":"en","search_api_key":"","user_consents_to_analytics":false}`

// begin brings both sides to what a round begins with, and returns what ends it.
func (d *differ) begin(ctx context.Context) (end func(), err error) {
	d.both(ctx, request{method: "POST", target: "/api/unset-provider-tokens"})
	for _, s := range d.sides() {
		s.forgetSecrets(ctx)
		s.ids = map[string]string{}
	}
	if real, ours := d.both(ctx, request{method: "POST", target: "/api/settings", headers: jsonHeader, body: known, hasBody: true}); real.status != 200 || ours.status != 200 {
		return nil, fmt.Errorf("settings: %v, %v", real, ours)
	}
	return func() {
		for _, s := range d.sides() {
			s.deleteConversations(context.WithoutCancel(ctx))
		}
	}, nil
}

// round sends a round of requests: to no conversation, to one of its own, or
// event bodies alone.
func (d *differ) round(ctx context.Context) error {
	end, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	events := d.g.only == "events" || d.g.chance(15)
	d.failed = 0
	var posted []string // the bodies that both took
	if events || d.g.chance(40) {
		if err := d.create(ctx, request{op: newConversation, method: "POST", target: "/api/conversations", headers: jsonHeader, body: "{}", hasBody: true}); err != nil {
			return err
		}
	}
	n := perRound
	if events {
		n = perEvents
	}
	for range n {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		q := d.g.next()
		for d.real.ids["{cid}"] == "" && (strings.Contains(q.target, "exp-config") || strings.Contains(q.target, "upload-files")) {
			q = d.g.next()
		}
		if events {
			q = request{op: addEvent, method: "POST", target: "/api/conversations/{cid}/events", headers: jsonHeader, body: d.g.shown(), hasBody: true}
		}
		if strings.TrimSuffix(q.op, "*") == newConversation && q.method == "POST" {
			if err := d.create(ctx, q); err != nil {
				return err
			}
			continue
		}
		real, ours := d.compare(ctx, q)
		if q.method == "DELETE" && strings.Contains(q.target, "/{cid}") && (real.body == "true" || real.status == 500) {
			return nil // what comes after it makes half a conversation of the real one
		}
		if real.status == 200 && q.hasBody && strings.Contains(q.target, "/events") && unservable.MatchString(q.body) {
			return nil // no page of the real one can be read any more
		}
		if q.op == addEvent && real.status == 500 {
			d.failed++
		}
		if strings.HasPrefix(q.op, addEvent) && strings.Contains(q.target, "/{cid}/events") && real.status == 200 && ours.status == 200 {
			posted = append(posted, q.body)
		}
		if q.op == startConversation && real.status == 200 {
			if err := d.settle(ctx, "{cid}"); err != nil {
				return err
			}
		}
	}
	if d.real.ids["{cid}"] != "" {
		d.readBack(ctx, posted)
	}
	return nil
}

// compare sends a request to both sides and notes what differs.
func (d *differ) compare(ctx context.Context, q request) (real, ours answer) {
	real, ours = d.both(ctx, q)
	d.report.compare(q, d.ours.fill, d.real.plain(real), d.ours.plain(ours))
	return real, ours
}

// create makes a conversation on both sides, the first of a round {cid}, the
// next one {cid2}, and waits until it runs.
func (d *differ) create(ctx context.Context, q request) error {
	place := "{cid}"
	if d.real.ids[place] != "" {
		place = "{cid2}"
	}
	real, ours := d.both(ctx, q)
	if real.status == 200 && ours.status == 200 {
		for _, made := range []struct {
			*side
			answer
		}{{d.real, real}, {d.ours, ours}} {
			var c struct {
				ID string `json:"conversation_id"`
			}
			if err := json.Unmarshal([]byte(made.body), &c); err != nil {
				return fmt.Errorf("create: %s: %w", made.body, err)
			}
			made.ids[place] = c.ID
		}
	}
	d.report.compare(q, d.ours.fill, d.real.plain(real), d.ours.plain(ours))
	if real.status != 200 || ours.status != 200 {
		return nil
	}
	return d.settle(ctx, place)
}

// settle waits until a conversation runs on both sides.
func (d *differ) settle(ctx context.Context, place string) error {
	for _, s := range d.sides() {
		deadline := time.Now().Add(8 * time.Second)
		for {
			a := s.send(ctx, request{method: "GET", target: "/api/conversations/" + place})
			if strings.Contains(a.body, `"status":"RUNNING"`) && (s == d.ours || s.awaits(ctx, place)) || a.body == "null" {
				break
			}
			if ctx.Err() != nil || time.Now().After(deadline) {
				return fmt.Errorf("settle: %s %s", s.base, a.body)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

// awaits tells whether the agent has said that it waits, has stopped or failed.
func (s *side) awaits(ctx context.Context, place string) bool {
	a := s.send(ctx, request{method: "GET", target: "/api/conversations/" + place + "/events?reverse=true&limit=4"})
	return strings.Contains(a.body, `"agent_state":"awaiting_user_input"`) || strings.Contains(a.body, `"agent_state":"error"`) || strings.Contains(a.body, `"agent_state":"running"`)
}

func (s *side) forgetSecrets(ctx context.Context) {
	var secrets struct {
		Custom []struct{ Name string } `json:"custom_secrets"`
	}
	if json.Unmarshal([]byte(s.send(ctx, request{method: "GET", target: "/api/secrets"}).body), &secrets) != nil {
		return
	}
	for _, x := range secrets.Custom {
		s.send(ctx, request{method: "DELETE", target: "/api/secrets/" + url.PathEscape(x.Name)})
	}
}

func (s *side) deleteConversations(ctx context.Context) {
	var page struct {
		Results []struct {
			ID string `json:"conversation_id"`
		}
	}
	if json.Unmarshal([]byte(s.send(ctx, request{method: "GET", target: "/api/conversations?limit=100"}).body), &page) != nil {
		return
	}
	for _, c := range page.Results {
		s.send(ctx, request{method: "DELETE", target: "/api/conversations/" + c.ID})
	}
}

// readBack compares what was posted to the conversation of a round: read by
// page, backwards, and as a trajectory.
func (d *differ) readBack(ctx context.Context, posted []string) {
	limit := d.g.IntN(100) + 1
	for _, way := range []struct {
		name string
		read func(*side) ([]string, string)
	}{
		{"pages", func(s *side) ([]string, string) { return s.pages(ctx, limit) }},
		{"trajectory", func(s *side) ([]string, string) { return s.trajectory(ctx) }},
	} {
		real, realWhy := way.read(d.real)
		for try := 0; realWhy == "500" && try < 5; try++ { // it reads a file that its runtime still writes
			time.Sleep(500 * time.Millisecond)
			real, realWhy = way.read(d.real)
		}
		ours, oursWhy := way.read(d.ours)
		q := request{op: "read back: " + way.name, method: "POST", target: "/api/conversations/{cid}/events", headers: jsonHeader, hasBody: true}
		if realWhy != "" || oursWhy != "" {
			if realWhy != oursWhy {
				d.report.note(q, d.ours.fill, "unread", realWhy, oursWhy)
			}
			continue
		}
		d.report.events += len(real)
		if extra := len(real) - len(ours); extra > 0 && d.failed > 0 && within(ours, real) {
			d.report.declared["an event that the real server fails on may be stored there: nothing is written by halves here"] += extra
			continue
		}
		if len(real) != len(ours) {
			of := fmt.Sprintf(" of %d posted", len(posted))
			d.report.note(q, d.ours.fill, "number", fmt.Sprint(len(real))+of+firstOther(real, ours), fmt.Sprint(len(ours))+of+firstOther(ours, real))
			continue
		}
		for i := range real {
			q.body = ""
			if len(posted) == len(real) {
				q.body = posted[i]
			}
			d.report.compare(q, d.ours.fill, answer{status: 200, body: real[i]}, answer{status: 200, body: ours[i]})
		}
	}
}

// within tells whether all of a are in b, in their order.
func within(a, b []string) bool {
	for _, x := range b {
		if len(a) > 0 && x == a[0] {
			a = a[1:]
		}
	}
	return len(a) == 0
}

func firstOther(a, b []string) string {
	for i, x := range a {
		if i >= len(b) || x != b[i] {
			return ": " + x
		}
	}
	return ""
}

// pages are the posted events of a conversation, page by page.
func (s *side) pages(ctx context.Context, limit int) (events []string, why string) {
	for from := int64(0); ; {
		a := s.send(ctx, request{method: "GET", target: fmt.Sprintf("/api/conversations/{cid}/events?start_id=%d&limit=%d", from, limit)})
		var page struct {
			Events  []json.RawMessage
			HasMore bool `json:"has_more"`
		}
		if err := json.Unmarshal([]byte(a.body), &page); a.status != http.StatusOK || err != nil {
			return nil, fmt.Sprint(a.status)
		}
		for _, e := range page.Events {
			var id struct{ ID int64 }
			if json.Unmarshal(e, &id) == nil {
				from = id.ID + 1
			}
			events = append(events, s.posted(e)...)
		}
		if !page.HasMore {
			return events, ""
		}
	}
}

func (s *side) trajectory(ctx context.Context) (events []string, why string) {
	a := s.send(ctx, request{method: "GET", target: "/api/conversations/{cid}/trajectory"})
	var t struct{ Trajectory []json.RawMessage }
	if err := json.Unmarshal([]byte(a.body), &t); a.status != http.StatusOK || err != nil {
		return nil, fmt.Sprint(a.status)
	}
	for _, e := range t.Trajectory {
		events = append(events, s.posted(e)...)
	}
	return events, ""
}

var ofEvent = regexp.MustCompile(`"(id|cause)":\d+,?`)

// posted is an event without what differs from run to run, if a client posted
// it: what the real agent and runtime write on their own is left out.
func (s *side) posted(e json.RawMessage) []string {
	var of struct {
		Source, Action, Observation any
		Cause                       any
	}
	if json.Unmarshal(e, &of) != nil || of.Source != "user" || of.Action == "recall" || of.Observation != nil && of.Cause != nil {
		return nil
	}
	return []string{ofEvent.ReplaceAllString(s.plain(answer{body: string(e)}).body, "")}
}
