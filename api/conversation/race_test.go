package conversation_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// rounds is how often each race is run.
const rounds = 1000

const note = `{"action":"null","args":{}}`

// nothing is what a reset begins with.
func nothing(context.Context) error { return nil }

// counted makes ids that differ.
func counted() func() string {
	var mu sync.Mutex
	n := 0
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		n++
		return fmt.Sprint("new", n)
	}
}

// together runs functions at once.
func together(do ...func()) {
	var group sync.WaitGroup
	for _, f := range do {
		group.Go(f)
	}
	group.Wait()
}

// agrees checks that what the service says of an id is what its store has: who
// runs exists, who exists takes an event, which is there then.
func agrees(t *testing.T, s *conversation.Service, st store.Store, id string) {
	t.Helper()
	i, err := s.Info(t.Context(), id)
	_, stored := st.Conversation(t.Context(), id)
	switch {
	case errors.Is(err, store.ErrNotFound) != errors.Is(stored, store.ErrNotFound):
		t.Fatalf("%s: Info = %v, the store says %v", id, err, stored)
	case err == nil && i.Status == conversation.Starting:
		t.Fatalf("%s is STARTING, and nothing starts it", id)
	}
	if exists := s.Exists(t.Context(), id); errors.Is(exists, store.ErrNotFound) != errors.Is(stored, store.ErrNotFound) {
		t.Fatalf("%s: Exists = %v, the store says %v", id, exists, stored)
	}
	added, err := s.Add(t.Context(), id, []byte(note), "")
	if err != nil {
		t.Fatalf("%s: Add = %v", id, err)
	}
	if page, err := store.Events(t.Context(), st, id, store.Range{From: added.ID, To: added.ID}, 1); len(page) != 1 || err != nil {
		t.Fatalf("%s: event %d was acknowledged, and the store has %v, %v", id, added.ID, page, err)
	}
	if i, err := s.Info(t.Context(), id); err != nil || i.Status != conversation.Running {
		t.Fatalf("%s: Info after an event = %v, %v, want it to run", id, i.Status, err)
	}
}

// TestStartOverDelete: a start that overlaps a deletion leaves no conversation
// that runs and does not exist.
func TestStartOverDelete(t *testing.T) {
	for range rounds {
		s, st, _ := newService(t)
		if _, err := s.Add(t.Context(), "c", []byte(note), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stop(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		start := func() { _, _ = s.Start(t.Context(), "c") } // that it is gone is no fault
		together(start, start, func() { _ = s.Delete(t.Context(), "c") }, start)
		agrees(t, s, st, "c")
	}
}

// TestResetOverAdd: nor does a reset that overlaps events of a client.
func TestResetOverAdd(t *testing.T) {
	for range rounds {
		s, st, _ := newService(t)
		add := func() {
			if _, err := s.Add(t.Context(), "c", []byte(note), ""); err != nil {
				t.Errorf("Add = %v", err)
			}
		}
		add()
		together(add, func() {
			if err := s.Reset(t.Context(), nothing); err != nil {
				t.Errorf("Reset = %v", err)
			}
		}, add)
		agrees(t, s, st, "c")
	}
}

// TestResetOverCreate: nor does one that overlaps a create leave it without the
// settings that a reset begins with.
func TestResetOverCreate(t *testing.T) {
	s, st, _ := newService(t)
	for range rounds {
		together(func() {
			err := s.Reset(t.Context(), func(ctx context.Context) error {
				return st.UpdateRecord(ctx, conversation.SettingsRecord, func([]byte) ([]byte, error) { return []byte(`{"llm_api_key":"k"}`), nil })
			})
			if err != nil {
				t.Errorf("Reset = %v", err)
			}
		}, func() {
			if _, err := s.Create(t.Context(), conversation.Draft{ID: "c"}); err != nil {
				t.Errorf("Create = %v", err)
			}
		})
		agrees(t, s, st, "c")
	}
}

// TestMaxRunningOverCreate: of conversations that begin at once, as many run as
// may.
func TestMaxRunningOverCreate(t *testing.T) {
	for range rounds {
		st := withKey(t)
		s := conversation.New(conversation.Config{Store: st, Clock: clock.New(clock.Options{}), NewID: counted(), MaxRunning: 1})
		create := func() {
			if _, err := s.Create(t.Context(), conversation.Draft{}); err != nil {
				t.Errorf("Create = %v", err)
			}
		}
		together(create, create, create)
		if n := running(t, s); n != 1 {
			t.Fatalf("%d run, want 1", n)
		}
	}
}

// running is how many conversations run.
func running(t *testing.T, s *conversation.Service) (n int) {
	t.Helper()
	all, _, err := s.List(t.Context(), 0, store.PageEvents)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Status == conversation.Running {
			n++
		}
	}
	return n
}

// TestModel does random things to a few conversations from several goroutines.
// After each round what the service says of every id agrees with the store.
func TestModel(t *testing.T) {
	const most, workers, each = 2, 4, 8
	ids := []string{"a", "b", "c", "d"}
	seed := rand.Uint64()
	var written sync.Map // ids of conversations that an agent has written in
	for round := range rounds / 4 {
		st := withKey(t)
		limit := round % 2 * most // every other round without one
		s := conversation.New(conversation.Config{Store: st, Clock: clock.New(clock.Options{}), NewID: counted(), MaxRunning: limit,
			Agent: func(ctx context.Context, r *conversation.Run) {
				for ctx.Err() == nil {
					if _, err := r.Inject(context.Background(), "agent", []byte(note)); err != nil {
						if !errors.Is(err, conversation.ErrStopped) {
							t.Errorf("seed %d, round %d: Inject of an agent = %v", seed, round, err)
						}
						return
					}
					written.Store(r.Conversation, true)
				}
			}})
		var work []func()
		for w := range workers {
			random := rand.New(rand.NewPCG(seed, uint64(round*workers+w)))
			work = append(work, func() {
				for range each {
					id := ids[random.IntN(len(ids))]
					var err error
					switch random.IntN(10) {
					case 0:
						_, err = s.Create(t.Context(), conversation.Draft{ID: id})
					case 1, 2, 3:
						_, err = s.Add(t.Context(), id, []byte(note), "")
					case 4:
						_, err = s.Start(t.Context(), id)
					case 5:
						_, err = s.Stop(t.Context(), id)
					case 6, 7:
						err = s.Delete(t.Context(), id)
					case 8:
						var c store.Conversation
						if c, err = s.CanOpen(t.Context(), id); err == nil {
							var leave func()
							if leave, _, err = s.Open(t.Context(), c); err == nil {
								leave()
							}
						}
					case 9:
						err = s.Reset(t.Context(), func(ctx context.Context) error {
							return st.UpdateRecord(ctx, conversation.SettingsRecord, func([]byte) ([]byte, error) { return []byte(`{"llm_api_key":"k"}`), nil })
						})
					}
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						t.Errorf("seed %d, round %d: %v", seed, round, err)
					}
				}
			})
		}
		together(work...)
		if n := running(t, s); limit > 0 && n > limit {
			t.Fatalf("seed %d, round %d: %d run, want at most %d", seed, round, n, limit)
		}
		for _, id := range ids {
			agrees(t, s, st, id)
		}
		s.Close()
	}
	if _, ok := written.Load("a"); !ok {
		t.Error("no agent has written anything")
	}
}

// TestSecretsChange: whoever asks after a secret was set, or all were reset, is
// told of it, whoever else asks meanwhile.
func TestSecretsChange(t *testing.T) {
	s := conversation.New(conversation.Config{Store: memstore.New(), Clock: clock.New(clock.Options{}), NewID: counted()})
	defer s.Close()
	asked := func() []string {
		values, err := s.Secrets(t.Context())
		if err != nil {
			t.Error(err)
		}
		return values
	}
	for i := range rounds {
		want := fmt.Sprint("s3cret", i)
		together(
			func() { asked() },
			func() { asked() },
			func() {
				err := s.UpdateRecord(t.Context(), conversation.SecretsRecord, func([]byte) ([]byte, error) {
					return fmt.Appendf(nil, `{"custom_secrets":[{"name":"n","value":%q}]}`, want), nil
				})
				if got := asked(); err != nil || len(got) != 1 || got[0] != want {
					t.Errorf("Secrets = %q (%v), want %s", got, err, want)
				}
			},
		)
		if got := asked(); len(got) != 1 || got[0] != want {
			t.Fatalf("Secrets = %q, want %s", got, want)
		}
	}
	if err := s.Reset(t.Context(), nothing); err != nil || len(asked()) != 0 {
		t.Errorf("Secrets after a reset = %q (%v)", asked(), err)
	}
}
