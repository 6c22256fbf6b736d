package conversation_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// TestMaxRunning: one more stops the one that was written to longest ago,
// however it comes to run.
func TestMaxRunning(t *testing.T) {
	st := withKey(t)
	s := conversation.New(conversation.Config{Store: st, NewID: func() string { return "c" }, MaxRunning: 2,
		Clock: clock.New(clock.Options{Start: time.Now(), Step: time.Second})})
	notices := follow(t, s)
	create := func(id string) func() error {
		return func() error { _, err := s.Create(t.Context(), conversation.Draft{ID: id}); return err }
	}
	add := func(id string) func() error {
		return func() error {
			_, err := s.Add(t.Context(), id, []byte(`{"action":"null","args":{}}`), "")
			return err
		}
	}
	steps := []struct {
		name    string
		do      func() error
		stopped string
		running []string
	}{
		{"create a", create("a"), "", []string{"a"}},
		{"create b", create("b"), "", []string{"a", "b"}},
		{"write to a", add("a"), "", []string{"a", "b"}},
		{"create c", create("c"), "b", []string{"a", "c"}},
		{"start b", func() error { _, err := s.Start(t.Context(), "b"); return err }, "a", []string{"b", "c"}},
		{"start b again", func() error { _, err := s.Start(t.Context(), "b"); return err }, "", []string{"b", "c"}},
		{"write to a", add("a"), "c", []string{"a", "b"}},
		{"write to a new one", add("d"), "b", []string{"a", "d"}},
		{"open d", func() error {
			c, err := s.CanOpen(t.Context(), "d")
			if err == nil {
				_, _, err = s.Open(t.Context(), c)
			}
			return err
		}, "", []string{"a", "d"}},
	}
	for _, step := range steps {
		notices()
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		var noticed []string
		for _, i := range notices() {
			if i.Notice.Kind == feed.Ended || strings.Contains(string(i.Notice.Update), `"type":"error"`) {
				noticed = append(noticed, fmt.Sprint(i.Conversation, " ", string(i.Notice.Update)))
			}
		}
		var want []string
		if step.stopped != "" {
			want = []string{step.stopped + ` {"status_update":true,"type":"error","id":"AGENT_ERROR$TOO_MANY_CONVERSATIONS","message":"`, step.stopped + " "}
		}
		if !slices.EqualFunc(noticed, want, strings.HasPrefix) {
			t.Errorf("%s: noticed %q, want %q", step.name, noticed, want)
		}
		all, _, err := s.List(t.Context(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		var running []string
		for _, i := range all {
			if i.Status == conversation.Running {
				running = append(running, i.ID)
			}
		}
		slices.Sort(running)
		if !slices.Equal(running, step.running) {
			t.Errorf("%s: running %v, want %v", step.name, running, step.running)
		}
	}
}

// TestSetReplay: why a list cannot be played is told, with upstream's name for
// it.
func TestSetReplay(t *testing.T) {
	const hi = `{"action":"message","args":{"content":"hi"}}`
	tests := []struct {
		list, message string
		strict        bool
		class, reason string
		lenient       int
	}{
		{list: "[" + hi + "]", strict: true},
		{list: `[{"source":"environment","observation":"null","content":""},` + hi + `]`, strict: true},
		{list: "[" + hi + "]", message: "a", class: "AssertionError", reason: "the conversation has a first message of its own"},
		{list: "{", class: "ValueError", reason: "Expecting property name"},
		{list: "{}", class: "ValueError", reason: "want a list of events"},
		{list: "[]", class: "IndexError", reason: "the list has no event of the user or the agent"},
		{list: `[{"source":"environment","observation":"null","content":""}]`, class: "IndexError", reason: "no event"},
		{list: `[{"action":"think","args":{}}]`, class: "AssertionError", reason: "is no message"},
		{list: "[3]", class: "ValueError", reason: "event 0 of the list: body: Input should be an object"},
		{list: "[" + hi + `,{"action":"run","args":{}}]`, class: "LLMMalformedActionError", reason: "event 1 of the list: body.args.command: Field required"},
		{list: "[" + hi + `,{"observation":"run","content":""}]`, class: "ValueError", reason: "event 1 of the list: "},
		{list: "[" + hi + `,{"action":"dance","args":{}}]`, strict: true, class: "LLMMalformedActionError", reason: "event 1 of the list: "},
		{list: "[" + hi + `,{"action":"dance","args":{}}]`, lenient: 1},
	}
	for _, tt := range tests {
		d := conversation.Draft{InitialMessage: tt.message}
		d.SetReplay(tt.list, tt.strict)
		r := d.Replay
		if r.Class != tt.class || (r.Err == nil) != (tt.reason == "") || r.Err != nil && !strings.Contains(r.Err.Error(), tt.reason) || len(r.Lenient) != tt.lenient {
			t.Errorf("SetReplay(%s) = %q, %v, lenient %q, want %q, %q, %d", tt.list, r.Class, r.Err, r.Lenient, tt.class, tt.reason, tt.lenient)
		}
	}
}

// TestSessionFailure: who opens a conversation without a session is told, until
// it is stopped.
func TestSessionFailure(t *testing.T) {
	s, _, noticed := newService(t)
	d := conversation.Draft{ID: "c"}
	d.SetReplay("{", false)
	if _, err := s.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := noticed(); !slices.Equal(got, []string{starting, started, readied, "c began"}) {
		t.Errorf("noticed %q, want no run of an agent", got)
	}
	c, err := s.CanOpen(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	open := func(want string) {
		t.Helper()
		if _, failure, err := s.Open(t.Context(), c); err != nil || string(failure) != want {
			t.Errorf("Open = %s, %v, want %s", failure, err, want)
		}
	}
	const failed = `{"error":true,"message":"Failed to create agent session: ValueError"}`
	open(failed)
	open(failed)
	if _, err := s.Stop(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	open("")
	if err := s.Delete(t.Context(), "c"); err != nil {
		t.Error(err)
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "0": true, "_": true, "Z-1.b_": true, strings.Repeat("a", 128): true,
		"": false, ".": false, "-a": false, "a/b": false, "a b": false, "é": false, "a\x00": false, strings.Repeat("a", 129): false,
	} {
		if got := conversation.ValidID(id); got != want {
			t.Errorf("ValidID(%q) = %v, want %v", id, got, want)
		}
	}
}

// TestImages: a strict service drops images for a model that sees none, where
// there is an agent, and tells so; another keeps them.
func TestImages(t *testing.T) {
	const images = `{"action":"message","args":{"content":"look","image_urls":["data:image/png;base64,AAAA"]}}`
	const told = `{"error":true,"message":"Model does not support image upload, change to a different model or try without an image."}`
	for _, tt := range []struct {
		model   string
		strict  bool
		body    string
		dropped bool
		lenient int
	}{
		{"openai/fake", true, images, true, 0},
		{"openai/fake", true, strings.Replace(images, "image_urls", "images_urls", 1), true, 0},
		{"openai/fake", true, strings.Replace(images, `["data:image/png;base64,AAAA"]`, "[]", 1), false, 0},
		{"openai/fake", false, images, false, 1},
		{"gpt-4o", true, images, false, 0},
	} {
		st := memstore.New()
		s := conversation.New(conversation.Config{Store: st, NewID: func() string { return "c" }, Clock: clock.New(clock.Options{}), Strict: tt.strict})
		settings := fmt.Appendf(nil, `{"llm_model":%q,"llm_api_key":"k"}`, tt.model)
		if err := st.UpdateRecord(t.Context(), conversation.SettingsRecord, func([]byte) ([]byte, error) { return settings, nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(t.Context(), conversation.Draft{}); err != nil {
			t.Fatal(err)
		}
		notices := follow(t, s)
		added, err := s.Act(t.Context(), "c", []byte(tt.body))
		if added.Dropped != tt.dropped || len(added.Lenient) != tt.lenient || err != nil {
			t.Errorf("%+v: Act = %+v, %v", tt, added, err)
		}
		var noticed []string
		for _, i := range notices() {
			noticed = append(noticed, string(i.Notice.Update))
		}
		if got := slices.Equal(noticed, []string{told}); got != tt.dropped {
			t.Errorf("%+v: sockets are told %q", tt, noticed)
		}
		if page, err := store.Events(t.Context(), st, "c", store.Range{From: 4, To: store.All.To}, 10); err != nil || len(page) == 1 == tt.dropped {
			t.Errorf("%+v: stored %v, %v", tt, page, err)
		}
	}
}

// TestStarting: a run is told as Starting for a while, then as Running. A stop
// tells which it was.
func TestStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := conversation.New(conversation.Config{Store: withKey(t), Clock: clock.New(clock.Options{}), NewID: func() string { return "c" }, Starting: time.Second})
		status := func() conversation.Status {
			t.Helper()
			i, err := s.Info(t.Context(), "c")
			if err != nil {
				t.Fatal(err)
			}
			return i.Status
		}
		if _, err := s.Create(t.Context(), conversation.Draft{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second - time.Nanosecond)
		if got := status(); got != conversation.Starting {
			t.Errorf("within a second: %s", got)
		}
		time.Sleep(time.Nanosecond)
		if got := status(); got != conversation.Running {
			t.Errorf("after a second: %s", got)
		}
		for _, want := range []conversation.Status{conversation.Running, conversation.Starting} {
			if before, err := s.Stop(t.Context(), "c"); before != want || err != nil {
				t.Errorf("Stop = %s, %v, want %s", before, err, want)
			}
			if got := status(); got != conversation.Stopped {
				t.Errorf("stopped: %s", got)
			}
			for range 2 { // what starts is told so again
				if got, err := s.Start(t.Context(), "c"); got != conversation.Starting || err != nil {
					t.Errorf("Start = %s, %v", got, err)
				}
			}
		}
		time.Sleep(time.Second)
		if got, err := s.Start(t.Context(), "c"); got != conversation.Running || err != nil {
			t.Errorf("Start = %s, %v, want RUNNING", got, err)
		}
	})
}
