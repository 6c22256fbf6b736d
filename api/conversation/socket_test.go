package conversation_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// newService returns a service, its store, and what it has noticed so far.
func newService(t *testing.T) (s *conversation.Service, st store.Store, noticed func() []string) {
	t.Helper()
	st = memstore.New()
	err := st.UpdateRecord(t.Context(), conversation.SettingsRecord, func([]byte) ([]byte, error) { return []byte(`{"llm_api_key":"k"}`), nil })
	if err != nil {
		t.Fatal(err)
	}
	s = conversation.New(conversation.Config{Store: st, Now: time.Now, NewID: func() string { return "c" }})
	var all []string
	s.Listen(func(n conversation.Notice) {
		switch n.Kind {
		case conversation.Began:
			all = append(all, fmt.Sprintf("%s began after %d", n.Conversation, n.After))
		case conversation.Ended:
			all = append(all, n.Conversation+" ended")
		case conversation.Update:
			all = append(all, string(n.Update))
		}
	})
	return s, st, func() []string { got := all; all = nil; return got }
}

const (
	starting = `{"status_update":true,"type":"info","id":"STATUS$STARTING_RUNTIME","message":""}`
	started  = `{"status_update":true,"type":"info","id":"STATUS$RUNTIME_STARTED","message":""}`
	readied  = `{"status_update":true,"type":"info","id":"STATUS$READY","message":""}`
)

func TestNotices(t *testing.T) {
	s, _, noticed := newService(t)
	title := func(text string) string {
		return `{"status_update":true,"type":"info","message":"c","conversation_title":"` + text + `"}`
	}
	steps := []struct {
		name string
		do   func() error
		want []string
	}{
		{"create", func() error { _, err := s.Create(t.Context(), conversation.Draft{ID: "c"}); return err }, []string{starting, started, readied, "c began after 0"}},
		{"start again", func() error { _, err := s.Start(t.Context(), "c"); return err }, nil},
		{"automatic title", func() error { return s.SetTitle(t.Context(), "c", "first") }, []string{title("first")}},
		{"no second one", func() error { return s.SetTitle(t.Context(), "c", "second") }, nil},
		{"rename", func() error { return s.Rename(t.Context(), "c", "mine") }, []string{title("mine")}},
		{"default title", func() error { return s.Rename(t.Context(), "c", "") }, []string{title("Conversation c")}},
		{"stop", func() error { _, err := s.Stop(t.Context(), "c"); return err }, []string{"c ended"}},
		{"stop again", func() error { _, err := s.Stop(t.Context(), "c"); return err }, nil},
		{"start", func() error { _, err := s.Start(t.Context(), "c"); return err }, []string{starting, started, readied, "c began after 5"}},
		{"error", func() error {
			s.TellStatus("c", conversation.StatusUpdate{Type: "error", ID: "STATUS$ERROR", Message: "no"})
			return nil
		}, []string{`{"status_update":true,"type":"error","id":"STATUS$ERROR","message":"no"}`}},
		{"delete", func() error { return s.Delete(t.Context(), "c") }, []string{"c ended"}},
		{"bare", func() error { _, err := s.Add(t.Context(), "b", []byte(`{"action":"null","args":{}}`), ""); return err }, nil},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := noticed(); !slices.Equal(got, step.want) {
			t.Errorf("%s: noticed %q, want %q", step.name, got, step.want)
		}
	}
	for name, err := range map[string]error{
		"SetTitle": s.SetTitle(t.Context(), "none", "x"), "Rename": s.Rename(t.Context(), "none", "x"),
	} {
		if !errors.Is(err, store.ErrNotFound) || noticed() != nil {
			t.Errorf("%s of an unknown conversation = %v, want ErrNotFound and no notice", name, err)
		}
	}
}

func TestListenStops(t *testing.T) {
	s, _, _ := newService(t)
	var heard []string
	listen := func(name string) (stop func()) {
		return s.Listen(func(conversation.Notice) { heard = append(heard, name) })
	}
	stopA := listen("a")
	defer listen("b")()
	s.Tell("c", nil)
	stopA()
	s.Tell("c", nil)
	if want := []string{"a", "b", "b"}; !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
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
	closeFirst, _, err := s.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := noticed(), []string{starting, started, readied, "b began after 1"}; !slices.Equal(got, want) {
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
