package conversation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// withKey is a store with settings that have a key.
func withKey(t *testing.T) store.Store {
	t.Helper()
	st := memstore.New()
	err := st.UpdateRecord(t.Context(), conversation.SettingsRecord, func([]byte) ([]byte, error) { return []byte(`{"llm_api_key":"k"}`), nil })
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// follow returns what returns the notices since it was last called.
func follow(t *testing.T, s *conversation.Service) (notices func() []feed.Item) {
	t.Helper()
	f := s.FollowAll()
	t.Cleanup(f.Close)
	return func() (all []feed.Item) {
		t.Helper()
		for {
			switch i, ok, err := f.Next(t.Context()); {
			case err != nil:
				t.Fatal(err)
			case !ok:
				return all
			case i.Notice != nil:
				all = append(all, i)
			}
		}
	}
}

// noticesOf is follow with texts.
func noticesOf(t *testing.T, s *conversation.Service) (noticed func() []string) {
	notices := follow(t, s)
	return func() (all []string) {
		for _, i := range notices() {
			if i.Notice.Kind == feed.Update {
				all = append(all, string(i.Notice.Update))
			} else {
				all = append(all, fmt.Sprint(i.Conversation, " ", i.Notice.Kind))
			}
		}
		return all
	}
}

// newService returns a service, its store, and what returns the notices since it
// was last called.
func newService(t *testing.T) (s *conversation.Service, st store.Store, noticed func() []string) {
	t.Helper()
	st = withKey(t)
	s = conversation.New(conversation.Config{Store: st, Clock: clock.New(clock.Options{}), NewID: func() string { return "c" }})
	return s, st, noticesOf(t, s)
}

const (
	starting = `{"status_update":true,"type":"info","id":"STATUS$STARTING_RUNTIME","message":""}`
	started  = `{"status_update":true,"type":"info","id":"STATUS$RUNTIME_STARTED","message":""}`
	readied  = `{"status_update":true,"type":"info","id":"STATUS$READY","message":""}`
)

func TestNotices(t *testing.T) {
	runs := make(chan *conversation.Run, 2)
	st := withKey(t)
	s := conversation.New(conversation.Config{Store: st, Clock: clock.New(clock.Options{}), NewID: func() string { return "c" },
		Agent: func(_ context.Context, r *conversation.Run) { runs <- r }})
	noticed := noticesOf(t, s)
	var run *conversation.Run
	setTitle := func(_, title string) error {
		if run == nil {
			run = <-runs
		}
		return run.SetTitle(t.Context(), title)
	}
	title := func(text string) string {
		return `{"status_update":true,"type":"info","message":"c","conversation_title":"` + text + `"}`
	}
	steps := []struct {
		name string
		do   func() error
		want []string
	}{
		{"create", func() error { _, err := s.Create(t.Context(), conversation.Draft{ID: "c"}); return err }, []string{starting, started, readied, "c began"}},
		{"start again", func() error { _, err := s.Start(t.Context(), "c"); return err }, nil},
		{"automatic title", func() error { return setTitle("c", "first") }, []string{title("first")}},
		{"no second one", func() error { return setTitle("c", "second") }, nil},
		{"rename", func() error { return s.Rename(t.Context(), "c", "mine") }, []string{title("mine")}},
		{"default title", func() error { return s.Rename(t.Context(), "c", "") }, []string{title("Conversation c")}},
		{"stop", func() error { _, err := s.Stop(t.Context(), "c"); return err }, []string{"c ended"}},
		{"stop again", func() error { _, err := s.Stop(t.Context(), "c"); return err }, nil},
		{"start", func() error { _, err := s.Start(t.Context(), "c"); return err }, []string{starting, started, readied, "c began"}},
		{"error", func() error {
			s.TellStatus(t.Context(), "c", conversation.StatusUpdate{Type: "error", ID: "STATUS$ERROR", Message: "no"})
			return nil
		}, []string{`{"status_update":true,"type":"error","id":"STATUS$ERROR","message":"no"}`}},
		{"delete", func() error { return s.Delete(t.Context(), "c") }, []string{"c ended"}},
		{"bare", func() error { _, err := s.Add(t.Context(), "b", []byte(`{"action":"null","args":{}}`), ""); return err }, []string{"b began"}},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := noticed(); !slices.Equal(got, step.want) {
			t.Errorf("%s: noticed %q, want %q", step.name, got, step.want)
		}
	}
	if err := s.Rename(t.Context(), "none", "x"); !errors.Is(err, store.ErrNotFound) || noticed() != nil {
		t.Errorf("Rename of an unknown conversation = %v, want ErrNotFound and no notice", err)
	}
}

// TestAgent: each run that has an agent is handed to it, and ends for it with the
// run: what it writes after that is not stored.
func TestAgent(t *testing.T) {
	type handed struct {
		ctx context.Context
		run *conversation.Run
	}
	runs := make(chan handed, 1)
	st := withKey(t)
	s := conversation.New(conversation.Config{Store: st, Clock: clock.New(clock.Options{}), NewID: func() string { return "c" },
		Agent: func(ctx context.Context, r *conversation.Run) { runs <- handed{ctx, r} }})
	create := func(id, replay string) func() error {
		return func() error {
			d := conversation.Draft{ID: id}
			if replay != "" {
				d.SetReplay(replay, false)
			}
			_, err := s.Create(t.Context(), d)
			return err
		}
	}
	start := func() error { _, err := s.Start(t.Context(), "c"); return err }
	end := map[string]func() error{
		"stop":   func() error { _, err := s.Stop(t.Context(), "c"); return err },
		"delete": func() error { return s.Delete(t.Context(), "c") },
		"reset":  func() error { return s.Reset(t.Context(), func(context.Context) error { return nil }) },
	}
	for _, step := range []struct {
		name  string
		begin func() error
		first int64 // of the run that is handed over
		end   string
	}{
		{"create", create("c", ""), 0, "stop"},
		{"start", start, 6, "delete"},
		{"replay", create("c", `[{"action":"message","args":{"content":"hi"}}]`), 0, "delete"},
		{"replay without an agent, then another", func() error { return errors.Join(create("d", "{")(), create("c", "")()) }, 0, "reset"},
	} {
		if err := step.begin(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		h := <-runs
		if h.run.Conversation != "c" || h.run.First != step.first || (h.run.Replay != nil) != (step.name == "replay") || h.ctx.Err() != nil {
			t.Errorf("%s: run = %+v, want one of c from %d", step.name, h.run, step.first)
		}
		const think = `{"action":"think","args":{"thought":"hm"}}`
		if _, err := h.run.Inject(t.Context(), "agent", []byte(think)); err != nil {
			t.Errorf("%s: Inject = %v", step.name, err)
		}
		if err := end[step.end](); err != nil {
			t.Fatalf("%s: %s: %v", step.name, step.end, err)
		}
		<-h.ctx.Done()
		if step.end == "stop" {
			if page, err := store.Events(t.Context(), st, "c", store.Range{From: step.first + 4, To: store.MaxID}, 9); len(page) != 2 || err != nil {
				t.Errorf("%s: %d events after the first, %v, want the agent's and the stopped state", step.name, len(page), err)
			}
		}
		for what, err := range map[string]error{
			"Inject":      func() error { _, err := h.run.Inject(t.Context(), "agent", []byte(think)); return err }(),
			"InjectState": h.run.InjectState(t.Context(), "finished", ""),
			"SetTitle":    h.run.SetTitle(t.Context(), "late"),
		} {
			if !errors.Is(err, conversation.ErrStopped) {
				t.Errorf("%s: %s after the end = %v, want ErrStopped", step.name, what, err)
			}
		}
	}
	if len(runs) > 0 {
		t.Errorf("a run more was handed over: %+v", (<-runs).run)
	}
	s.Close()
}

func TestOpen(t *testing.T) {
	s, st, noticed := newService(t)
	if _, err := s.CanOpen(t.Context(), "../etc"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("CanOpen = %v, want ErrNotFound", err)
	}
	if _, err := s.Add(t.Context(), "b", []byte(`{"action":"null","args":{}}`), ""); err != nil {
		t.Fatal(err)
	}
	c, err := s.CanOpen(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	connections := func(want int) {
		t.Helper()
		if i, err := s.Info(t.Context(), "b"); err != nil || i.Connections != want {
			t.Errorf("Info = %d connections, %v, want %d", i.Connections, err, want)
		}
	}
	noticed()
	closeFirst, _, err := s.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := noticed(), []string{starting, started, readied, "b began"}; !slices.Equal(got, want) {
		t.Errorf("noticed %q, want %q: the first socket brings the agent", got, want)
	}
	closeSecond, _, err := s.Open(t.Context(), c)
	if err != nil || noticed() != nil {
		t.Errorf("Open = %v and a notice, want neither", err)
	}
	connections(2)
	closeFirst()
	connections(1)
	closeSecond()
	connections(0)

	if err := s.Delete(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Open(t.Context(), c); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Open of a deleted conversation = %v, want ErrNotFound", err)
	}
	if _, err := st.Create(t.Context(), store.Conversation{ID: "b"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Open(t.Context(), c); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Open of one that was born again = %v, want ErrNotFound", err)
	}
}

func TestCanOpenNeedsSettings(t *testing.T) {
	s, st, _ := newService(t)
	if _, err := s.Create(t.Context(), conversation.Draft{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]error{"": conversation.ErrNoSettings, `{}`: nil} {
		err := st.UpdateRecord(t.Context(), conversation.SettingsRecord, func([]byte) ([]byte, error) {
			if text == "" {
				return nil, nil
			}
			return []byte(text), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := s.CanOpen(t.Context(), "c"); !errors.Is(err, want) || c.ID != "c" {
			t.Errorf("settings %q: CanOpen = %q, %v, want c, %v", text, c.ID, err, want)
		}
	}
}

// TestAct: what a socket sends neither creates nor starts a conversation.
func TestAct(t *testing.T) {
	s, _, _ := newService(t)
	const body = `{"action":"null","args":{}}`
	if _, err := s.Act(t.Context(), "x", []byte(body)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Act on an unknown conversation = %v, want ErrNotFound", err)
	}
	if _, err := s.Create(t.Context(), conversation.Draft{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if added, err := s.Act(t.Context(), "c", []byte(body)); added.ID != 4 || err != nil {
		t.Errorf("Act = %d, %v, want 4", added.ID, err)
	}
	if _, err := s.Stop(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Act(t.Context(), "c", []byte(body)); !errors.Is(err, conversation.ErrStopped) {
		t.Errorf("Act on a stopped conversation = %v, want ErrStopped", err)
	}
}
