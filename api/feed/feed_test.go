package feed_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/memstore"
)

func create(t *testing.T, st store.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := st.Create(t.Context(), store.Conversation{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
}

func add(t *testing.T, f *feed.Feed, id string) int64 {
	t.Helper()
	n, _, err := f.Append(t.Context(), id, store.NewEvent{JSON: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func note(text string) feed.Notice {
	return feed.Notice{Kind: feed.Update, Update: json.RawMessage(text)}
}

func follow(t *testing.T, f *feed.Feed, id string, after int64) *feed.Follower {
	t.Helper()
	a, err := f.Follow(t.Context(), id, after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// text is an item in short: an event's id, a notice's update or kind; with the
// conversation in front for those who follow all.
func text(i feed.Item) string {
	switch {
	case i.Notice == nil:
		return fmt.Sprint(i.Event.ID)
	case i.Notice.Update != nil:
		return string(i.Notice.Update)
	}
	return string(i.Notice.Kind)
}

// next is all there is now, with the error that ended it.
func next(t *testing.T, a *feed.Follower, all bool) string {
	t.Helper()
	var got []string
	for {
		i, ok, err := a.Next(t.Context())
		if err != nil {
			return strings.Join(append(got, err.Error()), " ")
		}
		if !ok {
			return strings.Join(got, " ")
		}
		if all {
			got = append(got, i.Conversation+":"+text(i))
		} else {
			got = append(got, text(i))
		}
	}
}

func want(t *testing.T, a *feed.Follower, all bool, want string) {
	t.Helper()
	if got := next(t, a, all); got != want {
		t.Errorf("followed %q, want %q", got, want)
	}
}

func TestFollow(t *testing.T) {
	st := memstore.New()
	f := feed.New(st)
	if _, err := f.Follow(t.Context(), "c", -1); !errors.Is(err, store.ErrNotFound) || f.Followers() != 0 {
		t.Errorf("Follow of an unknown conversation = %v, %d followers, want ErrNotFound", err, f.Followers())
	}
	create(t, st, "c", "d")
	f.Tell(t.Context(), "c", note("missed"))
	add(t, f, "c")
	whole, late := follow(t, f, "c", -1), follow(t, f, "c", 5)
	want(t, whole, false, "0")
	f.Tell(t.Context(), "c", note("a"))
	add(t, f, "d")
	f.Tell(t.Context(), "d", note("x"))
	add(t, f, "c")
	f.Tell(t.Context(), "c", note("b"))
	f.Tell(t.Context(), "c", note("c"))
	want(t, whole, false, "a 1 b c")
	select {
	case <-whole.Changed():
	default:
		t.Error("Changed has no value after changes")
	}
	for range 5 {
		add(t, f, "c")
	}
	want(t, whole, false, "2 3 4 5 6")
	want(t, late, false, "a b c 6")
	if n := f.Followers(); n != 2 {
		t.Errorf("%d followers, want 2", n)
	}
	late.Close()
	late.Close()
	if n := f.Followers(); n != 1 {
		t.Errorf("%d followers after a Close, want 1", n)
	}
	for _, after := range []int64{store.MaxID, 1<<63 - 1} {
		want(t, follow(t, f, "c", after), false, "")
	}
	want(t, follow(t, f, "c", -1<<63), false, "0 1 2 3 4 5 6")
}

// TestFollowMany: more than a page.
func TestFollowMany(t *testing.T) {
	st := memstore.New()
	f := feed.New(st)
	create(t, st, "c")
	a := follow(t, f, "c", -1)
	for range 2*store.PageEvents + 3 {
		add(t, f, "c")
	}
	f.Tell(t.Context(), "c", note("a"))
	n := add(t, f, "c")
	for id := range n {
		if i, ok, err := a.Next(t.Context()); i.Notice != nil || i.Event.ID != id || !ok || err != nil {
			t.Fatalf("Next = %v, %v, %v, want event %d", i, ok, err, id)
		}
	}
	want(t, a, false, fmt.Sprint("a ", n))
}

// TestEnds: a follower is told what comes before the end of a conversation, and
// then that.
func TestEnds(t *testing.T) {
	const gone = "not found"
	for _, tt := range []struct {
		name string
		end  func(*feed.Feed, store.Store) error
		want string
	}{
		{"delete", func(_ *feed.Feed, st store.Store) error { return st.Delete(t.Context(), "c") }, gone},
		{"delete after an end", func(f *feed.Feed, st store.Store) error {
			f.Tell(t.Context(), "c", feed.Notice{Kind: feed.Ended})
			return st.Delete(t.Context(), "c")
		}, "1 2 ended " + gone},
		{"end", func(f *feed.Feed, st store.Store) error {
			f.Tell(t.Context(), "c", feed.Notice{Kind: feed.Ended})
			add(t, f, "c")
			return nil
		}, "1 2 ended 3"},
		{"create again", func(f *feed.Feed, st store.Store) error {
			err := st.Delete(t.Context(), "c")
			create(t, st, "c")
			for range 5 {
				add(t, f, "c")
			}
			f.Tell(t.Context(), "c", note("of another"))
			return err
		}, gone},
		{"reset", func(_ *feed.Feed, st store.Store) error { return st.Reset(t.Context()) }, gone},
		{"close", func(_ *feed.Feed, st store.Store) error { return st.Close() }, "store is closed"},
	} {
		st := memstore.New()
		f := feed.New(st)
		create(t, st, "c")
		add(t, f, "c")
		a := follow(t, f, "c", -1)
		want(t, a, false, "0")
		add(t, f, "c")
		add(t, f, "c")
		if err := tt.end(f, st); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(next(t, a, false), "store: events c: ", "")
		if got != tt.want {
			t.Errorf("%s: followed %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestDamaged: what cannot be read is told, and what comes after it follows.
func TestDamaged(t *testing.T) {
	st := damaged{memstore.New(), 1}
	f := feed.New(st)
	create(t, st, "c")
	a := follow(t, f, "c", -1)
	for range 3 {
		add(t, f, "c")
	}
	f.Tell(t.Context(), "c", note("a"))
	var got []string
	for i, err := range a.All(t.Context()) {
		if e := new(store.DamagedEvent); errors.As(err, &e) {
			got = append(got, fmt.Sprint("-", e.ID))
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if got = append(got, text(i)); text(i) == "a" {
			break
		}
	}
	if want := []string{"0", "-1", "2", "a"}; !slices.Equal(got, want) {
		t.Errorf("followed %v, want %v", got, want)
	}
}

// A damaged store cannot read one event.
type damaged struct {
	store.Store
	id int64
}

func (d damaged) Visit(ctx context.Context, id string, r store.Range, visit func(store.Event) bool) error {
	var err error
	visited := d.Store.Visit(ctx, id, r, func(e store.Event) bool {
		if e.ID == d.id {
			err = &store.Error{Op: "events", ID: id, Err: &store.DamagedEvent{ID: e.ID}}
			return false
		}
		return visit(e)
	})
	return errors.Join(visited, err)
}

// TestBehind: what a follower is told and does not take is bounded.
func TestBehind(t *testing.T) {
	st := memstore.New()
	f := feed.New(st)
	create(t, st, "c")
	a := follow(t, f, "c", -1)
	for range 2000 {
		f.Tell(t.Context(), "c", note("a"))
	}
	if _, _, err := a.Next(t.Context()); !errors.Is(err, feed.ErrBehind) {
		t.Errorf("Next = %v, want ErrBehind", err)
	}
}

func TestContext(t *testing.T) {
	st := memstore.New()
	f := feed.New(st)
	create(t, st, "c")
	ctx, cancel := context.WithCancel(t.Context())
	a := follow(t, f, "c", -1)
	add(t, f, "c")
	cancel()
	var got error
	for _, err := range a.All(ctx) {
		got = err
	}
	if !errors.Is(got, context.Canceled) {
		t.Errorf("All = %v, want the context's error", got)
	}
	for range f.FollowAll().All(ctx) {
		break // must be possible
	}
}

// TestFollowAll: from now on, each conversation in its order, also one that is
// created later, and one that is created again.
func TestFollowAll(t *testing.T) {
	st := memstore.New()
	f := feed.New(st)
	create(t, st, "c", "d")
	add(t, f, "c")
	a := f.FollowAll()
	defer a.Close()
	want(t, a, true, "")
	add(t, f, "c")
	f.Tell(t.Context(), "c", note("x"))
	add(t, f, "c")
	f.Tell(t.Context(), "none", note("y"))
	want(t, a, true, "c:1 c:x c:2")
	create(t, st, "e")
	add(t, f, "e")
	want(t, a, true, "e:0")
	f.Tell(t.Context(), "e", feed.Notice{Kind: feed.Ended})
	for range 2 { // not seen meanwhile
		if err := st.Delete(t.Context(), "e"); err != nil {
			t.Fatal(err)
		}
		create(t, st, "e")
		add(t, f, "e")
		add(t, f, "e")
	}
	want(t, a, true, "e:ended e:0 e:1")
	if err := st.Delete(t.Context(), "e"); err != nil {
		t.Fatal(err)
	}
	want(t, a, true, "")
	create(t, st, "e")
	add(t, f, "e")
	want(t, a, true, "e:0")
	if n := f.Followers(); n != 1 {
		t.Errorf("%d followers, want 1", n)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Next(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Next = %v, want ErrClosed", err)
	}
}

// TestOneOrder appends and tells from several goroutines, while followers of one
// and of all come and go: each sees every event once and in order, and every
// notice after the same event.
func TestOneOrder(t *testing.T) {
	const writers, each, followers = 4, 100, 6
	seed := rand.Uint64()
	st := memstore.New()
	f := feed.New(st)
	conversations := []string{"c", "d"}
	create(t, st, conversations...)
	type place struct{ conversation, notice string }
	var (
		mu     sync.Mutex
		places = map[place]int64{}
		orders = map[string][]string{} // the longest that was seen
	)
	see := func(items []feed.Item) {
		mu.Lock()
		defer mu.Unlock()
		at, order := map[string]int64{}, map[string][]string{}
		for _, i := range items {
			last, seen := at[i.Conversation]
			if i.Notice == nil {
				if seen && i.Event.ID != last+1 {
					t.Errorf("seed %d: %s: event %d after %d", seed, i.Conversation, i.Event.ID, last)
				}
				at[i.Conversation] = i.Event.ID
				continue
			}
			p := place{i.Conversation, text(i)}
			order[i.Conversation] = append(order[i.Conversation], p.notice)
			if !seen {
				continue
			}
			if other, told := places[p]; told && other != last {
				t.Errorf("seed %d: %v comes after event %d for one, after %d for another", seed, p, last, other)
			}
			places[p] = last
		}
		for id, notices := range order {
			short, long := notices, orders[id]
			if len(short) > len(long) {
				short, long = long, short
			}
			if !slices.Equal(short, long[len(long)-len(short):]) {
				t.Errorf("seed %d: %s: notices %v and %v", seed, id, short, long)
			}
			orders[id] = long
		}
	}
	ends := map[string]int64{"c": writers * each, "d": writers * each} // by the events of the writers
	var work, reading sync.WaitGroup
	read := func(a *feed.Follower, ids ...string) {
		reading.Go(func() {
			defer a.Close()
			var items []feed.Item
			left := len(ids)
			for i, err := range a.All(t.Context()) {
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
					break
				}
				items = append(items, i)
				if i.Notice != nil && text(i) == "last" {
					if left--; left == 0 {
						break
					}
				}
			}
			see(items)
		})
	}
	read(f.FollowAll(), conversations...)
	for w := range writers {
		random := rand.New(rand.NewPCG(seed, uint64(w)))
		work.Go(func() {
			for n := range each {
				for _, id := range conversations {
					if random.IntN(4) == 0 {
						f.Tell(t.Context(), id, note(fmt.Sprintf("%d.%d", w, n)))
					}
					add(t, f, id)
				}
				if w == 0 && n%20 == 0 {
					id := conversations[random.IntN(2)]
					read(follow(t, f, id, -1), id)
					read(f.FollowAll(), conversations...)
				}
			}
		})
	}
	for range followers {
		read(follow(t, f, "c", -1), "c")
	}
	work.Wait()
	for _, id := range conversations {
		if last, err := f.Last(t.Context(), id); last != ends[id]-1 || err != nil {
			t.Errorf("the last event of %s is %d, %v, want %d", id, last, err, ends[id]-1)
		}
		f.Tell(t.Context(), id, note("last"))
	}
	reading.Wait()
	if len(places) == 0 {
		t.Error("no notice was placed")
	}
	if n := f.Followers(); n != 0 {
		t.Errorf("%d followers stay", n)
	}
}
