// Package storetest is the suite that every [store.Store] passes: each sentence
// of the interface has a test here, and [Run] ends with random operations whose
// results are compared with those of package memstore.
//
// What only one technology can promise, such as surviving a crash, is tested
// beside it.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/store"
)

// Run runs the suite as subtests of t. It calls open for each of them, which
// returns an empty store and closes it, if the subtest has not, when the
// subtest ends.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s store.Store)
	}{
		{"Create", testCreate},
		{"Conversation", testConversation},
		{"Conversations", testConversations},
		{"LineConversations", testLineConversations},
		{"Update", testUpdate},
		{"UpdateConcurrently", testUpdateConcurrently},
		{"Delete", testDelete},
		{"DeleteAndCreateAgain", testDeleteAndCreateAgain},
		{"DeleteIsAtomic", testDeleteIsAtomic},
		{"Append", testAppend},
		{"AppendConcurrently", testAppendConcurrently},
		{"AppendWithKey", testAppendWithKey},
		{"AppendWithKeyConcurrently", testAppendWithKeyConcurrently},
		{"AppendAfterMaxID", testAppendAfterMaxID},
		{"AppendContext", testAppendContext},
		{"AppendContextWhileBusy", testAppendContextWhileBusy},
		{"Import", testImport},
		{"ImportRefused", testImportRefused},
		{"ImportMany", testImportMany},
		{"Events", testEvents},
		{"EventsLimits", testEventsLimits},
		{"Visit", testVisit},
		{"EventsOfOthers", testEventsOfOthers},
		{"Slices", testSlices},
		{"Watch", testWatch},
		{"Records", testRecords},
		{"RecordsConcurrently", testRecordsConcurrently},
		{"ChangePanics", testChangePanics},
		{"Reset", testReset},
		{"Context", testContext},
		{"Close", testClose},
		{"Scan", testScan},
		{"ScanEndsWithConversation", testScanEndsWithConversation},
		{"Follow", testFollow},
		{"FollowWhileAppending", testFollowWhileAppending},
		{"FollowFrom", testFollowFrom},
		{"FollowEnds", testFollowEnds},
		{"Random", testRandom},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// epoch is a time to count from.
var epoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// create adds a conversation.
func create(t *testing.T, s store.Store, id string) store.Conversation {
	t.Helper()
	c, err := s.Create(t.Context(), store.Conversation{ID: id, CreatedAt: epoch})
	if err != nil {
		t.Fatalf("Create(%s) = %v", id, err)
	}
	return c
}

// add appends an event and wants a given id for it.
func add(t *testing.T, s store.Store, conversation, json string, want int64) {
	t.Helper()
	id, repeated, err := s.Append(t.Context(), conversation, store.NewEvent{JSON: []byte(json)})
	if id != want || repeated || err != nil {
		t.Fatalf("Append(%s, %s) = %d, %v, %v, want %d, false, nil", conversation, json, id, repeated, err, want)
	}
}

// addMany appends events from id from to just before to.
func addMany(t *testing.T, s store.Store, conversation string, from, to int64) {
	t.Helper()
	for id := from; id < to; id++ {
		add(t, s, conversation, fmt.Sprint(id), id)
	}
}

// fill makes a conversation, or replaces one, with events that have their ids.
func fill(t *testing.T, s store.Store, id string, events ...store.Event) {
	t.Helper()
	if _, err := s.Import(t.Context(), store.Conversation{ID: id, CreatedAt: epoch}, true, sequence(nil, events...)); err != nil {
		t.Fatalf("Import(%s) = %v", id, err)
	}
}

// ids returns the ids of a page, "0 1 2".
func ids(page []store.Event) string {
	var list []string
	for _, e := range page {
		list = append(list, fmt.Sprint(e.ID))
	}
	return strings.Join(list, " ")
}

// wantError wants an *Error that is want.
func wantError(t *testing.T, call string, err, want error) {
	t.Helper()
	var e *store.Error
	if !errors.Is(err, want) || !errors.As(err, &e) || e.Op == "" {
		t.Errorf("%s = %v, want an Error that is %q", call, err, want)
	}
}

func testCreate(t *testing.T, s store.Store) {
	zone := time.FixedZone("", 3600)
	want := store.Conversation{
		ID: "c", Birth: 77, Title: "title", CreatedAt: time.Now().In(zone), UpdatedAt: time.Now().Add(time.Hour),
		Repository: new("owner/name"), Branch: new(""), GitProvider: "github", Trigger: "gui", Agent: true, State: `{"a":"ü"}`,
	}
	got, err := s.Create(t.Context(), want)
	want = want.InUTC()
	want.Birth = 1
	if !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("Create = %+v, %v, want %+v", got, err, want)
	}
	if got, err := s.Conversation(t.Context(), "c"); !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("Conversation = %+v, %v, want %+v", got, err, want)
	}
	add(t, s, "c", "{}", 0)
	got, err = s.Create(t.Context(), store.Conversation{ID: "c", Title: "other"})
	wantError(t, "Create of what exists", err, store.ErrConflict)
	if got != (store.Conversation{}) {
		t.Errorf("Create of what exists = %+v, want none", got)
	}
	if got, err := s.Conversation(t.Context(), "c"); !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("Conversation after a refused Create = %+v, %v, want %+v", got, err, want)
	}
	if c := create(t, s, "d"); c.Birth != 2 {
		t.Errorf("second Create has birth %d, want 2", c.Birth)
	}
	zero, err := s.Create(t.Context(), store.Conversation{ID: "zero"})
	if err != nil || !zero.CreatedAt.IsZero() {
		t.Errorf("Create without times = %+v, %v, want zero times", zero, err)
	}
}

func testConversation(t *testing.T, s store.Store) {
	create(t, s, "abc")
	for _, id := range []string{"", "a", "ab", "abcd", "abc\x00", "ABC", "ü"} {
		got, err := s.Conversation(t.Context(), id)
		wantError(t, fmt.Sprintf("Conversation(%q)", id), err, store.ErrNotFound)
		if got != (store.Conversation{}) {
			t.Errorf("Conversation(%q) = %+v, want none", id, got)
		}
	}
}

// testLineConversations: the lists of lines have nothing of each other, also after
// deletions, an import and a reset, and one of a line without a name is
// Conversations.
func testLineConversations(t *testing.T, s store.Store) {
	list := func(line string, offset, limit int) string {
		t.Helper()
		page, total, err := s.LineConversations(t.Context(), line, offset, limit)
		if err != nil {
			t.Fatalf("LineConversations(%q, %d, %d) = %v", line, offset, limit, err)
		}
		var ids []string
		for _, c := range page {
			ids = append(ids, c.ID)
		}
		return fmt.Sprint(total, ids)
	}
	want := func(when string, all map[string]string) {
		t.Helper()
		for line, want := range all {
			if got := list(line, 0, 10); got != want {
				t.Errorf("%s: line %q has %s, want %s", when, line, got, want)
			}
		}
	}
	for i, id := range []string{"a", "x:a", "b", "y:a", "x:b", "c", "x:c:d"} {
		at := epoch.Add(time.Duration(i) * time.Second)
		if _, err := s.Create(t.Context(), store.Conversation{ID: id, CreatedAt: at, UpdatedAt: at}); err != nil {
			t.Fatal(err)
		}
	}
	want("created", map[string]string{"": "3 [c b a]", "x": "3 [x:c:d x:b x:a]", "y": "1 [y:a]", "z": "0 []"})
	for _, p := range []struct {
		line          string
		offset, limit int
		want          string
	}{{"", 1, 1, "3 [b]"}, {"", 2, 9, "3 [a]"}, {"", 3, 1, "3 []"}, {"", 0, -1, "3 []"}, {"x", 1, 1, "3 [x:b]"}, {"x", 3, 1, "3 []"}, {"x", -1, 1, "3 [x:c:d]"}, {"x", 0, 0, "3 []"}} {
		if got := list(p.line, p.offset, p.limit); got != p.want {
			t.Errorf("LineConversations(%q, %d, %d) = %s, want %s", p.line, p.offset, p.limit, got, p.want)
		}
	}
	if page, total, err := s.Conversations(t.Context(), 0, 10); len(page) != 3 || total != 3 || err != nil {
		t.Errorf("Conversations = %d of %d, %v, want 3 of 3", len(page), total, err)
	}
	for _, id := range []string{"x:b", "a"} {
		if err := s.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"x:a", "x:e"} {
		if _, err := s.Import(t.Context(), store.Conversation{ID: id, CreatedAt: epoch, UpdatedAt: epoch}, true, store.Scan(t.Context(), s, "c", store.All)); err != nil {
			t.Fatal(err)
		}
	}
	want("deleted and imported", map[string]string{"": "2 [c b]", "x": "3 [x:c:d x:e x:a]", "y": "1 [y:a]"})
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("reset", map[string]string{"": "0 []", "x": "0 []", "y": "0 []"})
}

func testConversations(t *testing.T, s store.Store) {
	list := func(offset, limit int) string {
		t.Helper()
		page, total, err := s.Conversations(t.Context(), offset, limit)
		if err != nil {
			t.Fatalf("Conversations(%d, %d) = %v", offset, limit, err)
		}
		var list []string
		for _, c := range page {
			list = append(list, c.ID)
			if want, err := s.Conversation(t.Context(), c.ID); c != want || err != nil {
				t.Errorf("Conversations has %+v, Conversation is %+v, %v", c, want, err)
			}
		}
		return fmt.Sprint(total, list)
	}
	if got := list(0, 10); got != "0 []" {
		t.Errorf("Conversations of an empty store = %s, want 0 []", got)
	}
	for _, c := range []struct {
		id      string
		created time.Time
	}{
		{"old", epoch.Add(-time.Nanosecond)},
		{"equal1", epoch},
		{"ancient", time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"newest", epoch.Add(time.Nanosecond)},
		{"equal2", epoch.In(time.FixedZone("", -3600))},
		{"1969", time.Unix(-1, 5)},
		{"1970", time.Unix(0, 0)},
	} {
		if _, err := s.Create(t.Context(), store.Conversation{ID: c.id, CreatedAt: c.created}); err != nil {
			t.Fatalf("Create(%s) = %v", c.id, err)
		}
	}
	const all = "7 [newest equal2 equal1 old 1970 1969 ancient]"
	for _, test := range []struct {
		offset, limit int
		want          string
	}{
		{0, 7, all},
		{0, 100, all},
		{0, math.MaxInt, all},
		{-1, 7, all},
		{math.MinInt, math.MaxInt, all},
		{0, 2, "7 [newest equal2]"},
		{2, 2, "7 [equal1 old]"},
		{6, 2, "7 [ancient]"},
		{6, math.MaxInt, "7 [ancient]"},
		{7, 2, "7 []"},
		{math.MaxInt, math.MaxInt, "7 []"},
		{0, 0, "7 []"},
		{0, -1, "7 []"},
		{1, math.MinInt, "7 []"},
	} {
		if got := list(test.offset, test.limit); got != test.want {
			t.Errorf("Conversations(%d, %d) = %s, want %s", test.offset, test.limit, got, test.want)
		}
	}
	if err := s.Delete(t.Context(), "equal2"); err != nil {
		t.Fatalf("Delete = %v", err)
	}
	if got, want := list(0, 2), "6 [newest equal1]"; got != want {
		t.Errorf("Conversations after a delete = %s, want %s", got, want)
	}
}

func testUpdate(t *testing.T, s store.Store) {
	c := create(t, s, "c")
	want := c
	want.Title, want.UpdatedAt, want.Agent = "new", epoch.Add(time.Hour), true
	got, err := s.Update(t.Context(), "c", func(u *store.Conversation) error {
		if *u != c {
			t.Errorf("Update hands in %+v, want %+v", *u, c)
		}
		*u = want
		u.ID, u.Birth, u.CreatedAt = "other", 9, epoch.Add(-time.Hour)
		u.UpdatedAt = u.UpdatedAt.In(time.FixedZone("", 3600))
		return nil
	})
	if got != want || err != nil {
		t.Errorf("Update = %+v, %v, want %+v", got, err, want)
	}
	refusal := errors.New("no")
	got, err = s.Update(t.Context(), "c", func(u *store.Conversation) error {
		u.Title = "refused"
		return refusal
	})
	if got != (store.Conversation{}) || err != refusal {
		t.Errorf("Update that refuses = %+v, %v, want its error as it is", got, err)
	}
	if got, err := s.Conversation(t.Context(), "c"); got != want || err != nil {
		t.Errorf("Conversation = %+v, %v, want %+v", got, err, want)
	}
	_, err = s.Update(t.Context(), "other", func(*store.Conversation) error {
		t.Error("Update of an unknown conversation calls change")
		return nil
	})
	wantError(t, "Update of an unknown conversation", err, store.ErrNotFound)
}

func testUpdateConcurrently(t *testing.T, s store.Store) {
	create(t, s, "c")
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			_, err := s.Update(t.Context(), "c", func(u *store.Conversation) error {
				u.Title += "x"
				return nil
			})
			if err != nil {
				t.Errorf("Update = %v", err)
			}
		})
	}
	group.Wait()
	c, err := s.Conversation(t.Context(), "c")
	if want := strings.Repeat("x", 20); c.Title != want || err != nil {
		t.Errorf("title after 20 updates = %q, %v, want %q", c.Title, err, want)
	}
}

func testDelete(t *testing.T, s store.Store) {
	create(t, s, "c")
	create(t, s, "d")
	addMany(t, s, "c", 0, 3)
	add(t, s, "d", "{}", 0)
	if err := s.Delete(t.Context(), "c"); err != nil {
		t.Fatalf("Delete = %v", err)
	}
	_, err := s.Conversation(t.Context(), "c")
	wantError(t, "Conversation", err, store.ErrNotFound)
	_, err = store.Events(t.Context(), s, "c", store.All, 10)
	wantError(t, "Events", err, store.ErrNotFound)
	_, _, err = s.Append(t.Context(), "c", store.NewEvent{})
	wantError(t, "Append", err, store.ErrNotFound)
	wantError(t, "Delete again", s.Delete(t.Context(), "c"), store.ErrNotFound)
	wantError(t, "Delete of what never was", s.Delete(t.Context(), "x"), store.ErrNotFound)
	add(t, s, "d", "{}", 1)
}

func testDeleteAndCreateAgain(t *testing.T, s store.Store) {
	first := create(t, s, "c")
	key := store.NewEvent{JSON: []byte("old"), Key: "k", Digest: sha256.Sum256([]byte("old"))}
	if _, _, err := s.Append(t.Context(), "c", key); err != nil {
		t.Fatalf("Append = %v", err)
	}
	addMany(t, s, "c", 1, 5)
	if err := s.Delete(t.Context(), "c"); err != nil {
		t.Fatalf("Delete = %v", err)
	}
	second := create(t, s, "c")
	if second.Birth <= first.Birth {
		t.Errorf("births %d, %d, want them to grow", first.Birth, second.Birth)
	}
	if page, err := store.Events(t.Context(), s, "c", store.All, 10); len(page) != 0 || err != nil {
		t.Errorf("Events of the new conversation = %s, %v, want none", ids(page), err)
	}
	key.Digest = sha256.Sum256([]byte("new"))
	if id, repeated, err := s.Append(t.Context(), "c", key); id != 0 || repeated || err != nil {
		t.Errorf("Append with the old one's key = %d, %v, %v, want 0, false, nil", id, repeated, err)
	}
	addMany(t, s, "c", 1, 3)
	if page, err := store.Events(t.Context(), s, "c", store.All, 10); ids(page) != "0 1 2" || err != nil {
		t.Errorf("Events = %s, %v, want 0 1 2", ids(page), err)
	}
}

func testDeleteIsAtomic(t *testing.T, s store.Store) {
	events := make([]store.Event, 900)
	for i := range events {
		events[i].ID = int64(i)
	}
	fill(t, s, "c", events...)
	read := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := 0; ; i++ {
				page, err := store.Events(t.Context(), s, "c", store.All, store.PageEvents)
				if i == 0 {
					read <- struct{}{}
				}
				if errors.Is(err, store.ErrNotFound) {
					return
				}
				if len(page) != len(events) || err != nil {
					t.Errorf("Events while deleting = %d events, %v, want %d or ErrNotFound", len(page), err, len(events))
					return
				}
			}
		})
	}
	for range 4 {
		<-read
	}
	if err := s.Delete(t.Context(), "c"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	group.Wait()
}

func testAppend(t *testing.T, s store.Store) {
	create(t, s, "c")
	create(t, s, "d")
	big := bytes.Repeat([]byte("0123456789abcdef"), store.PageBytes/32)
	want := []store.Event{
		{ID: 0, JSON: []byte(`{"action":"message"}`)},
		{ID: 1, Flags: math.MaxUint16, JSON: big},
		{ID: 2, Flags: 1, JSON: []byte{}},
		{ID: 3, Flags: 258, JSON: []byte("\x00\xff")},
	}
	for _, e := range want {
		id, repeated, err := s.Append(t.Context(), "c", store.NewEvent{Flags: e.Flags, JSON: e.JSON})
		if id != e.ID || repeated || err != nil {
			t.Errorf("Append = %d, %v, %v, want %d, false, nil", id, repeated, err, e.ID)
		}
	}
	add(t, s, "d", "{}", 0)
	got, err := store.Events(t.Context(), s, "c", store.All, 10)
	if !equalEvents(got, want) || err != nil {
		t.Errorf("Events = %.200v, %v, want %.200v", got, err, want)
	}
	_, _, err = s.Append(t.Context(), "x", store.NewEvent{})
	wantError(t, "Append to an unknown conversation", err, store.ErrNotFound)
}

func equalEvents(a, b []store.Event) bool {
	return slices.EqualFunc(a, b, func(a, b store.Event) bool {
		return a.ID == b.ID && a.Flags == b.Flags && bytes.Equal(a.JSON, b.JSON)
	})
}

func testAppendConcurrently(t *testing.T, s store.Store) {
	const callers, each = 64, 5
	create(t, s, "c")
	create(t, s, "d")
	var group sync.WaitGroup
	got := make([][]int64, callers)
	for caller := range callers {
		group.Go(func() {
			for i := range each {
				id, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: fmt.Append(nil, caller, " ", i)})
				if err != nil {
					t.Errorf("Append = %v", err)
				}
				got[caller] = append(got[caller], id)
				// One that is refused must not harm those it waits with.
				_, _, err = s.Append(t.Context(), "unknown", store.NewEvent{})
				wantError(t, "Append", err, store.ErrNotFound)
			}
		})
	}
	group.Wait()
	seen := make(map[int64]bool)
	for caller, list := range got {
		if !slices.IsSorted(list) {
			t.Errorf("ids of one caller %v, want them in its order", list)
		}
		for i, id := range list {
			if seen[id] || id < 0 || id >= callers*each {
				t.Errorf("id %d given twice or out of order", id)
			}
			seen[id] = true
			page, err := store.Events(t.Context(), s, "c", store.Range{From: id, To: id}, 1)
			if want := fmt.Sprint(caller, " ", i); err != nil || len(page) != 1 || string(page[0].JSON) != want {
				t.Errorf("event %d = %v, %v, want %s", id, page, err, want)
			}
		}
	}
	add(t, s, "c", "{}", callers*each)
	add(t, s, "d", "{}", 0)
}

func testAppendWithKey(t *testing.T, s store.Store) {
	create(t, s, "c")
	create(t, s, "d")
	event := func(key, text string) store.NewEvent {
		return store.NewEvent{JSON: []byte(text), Key: key, Digest: sha256.Sum256([]byte(text))}
	}
	long := strings.Repeat("long", 20_000)
	for _, test := range []struct {
		conversation string
		e            store.NewEvent
		id           int64
		repeated     bool
		err          error
	}{
		{"c", event("k", "a"), 0, false, nil},
		{"c", event("k", "a"), 0, true, nil},
		{"c", event("k2", "a"), 1, false, nil},
		{"c", event("k", "b"), 0, false, store.ErrKeyReused},
		{"d", event("k", "b"), 0, false, nil},
		{"c", event("", "a"), 2, false, nil},
		{"c", event("", "a"), 3, false, nil},
		{"c", event("\x00", "a"), 4, false, nil},
		{"c", event(long, "a"), 5, false, nil},
		{"c", event(long, "a"), 5, true, nil},
		{"c", event(long+"r", "a"), 6, false, nil},
		{"c", event("k", "a"), 0, true, nil},
		{"x", event("k", "a"), 0, false, store.ErrNotFound},
	} {
		id, repeated, err := s.Append(t.Context(), test.conversation, test.e)
		if id != test.id || repeated != test.repeated || !errors.Is(err, test.err) {
			t.Errorf("Append(%s, key %.10q, %s) = %d, %v, %v, want %d, %v, %v", test.conversation, test.e.Key, test.e.JSON,
				id, repeated, err, test.id, test.repeated, test.err)
		}
	}
	if page, err := store.Events(t.Context(), s, "c", store.All, 100); ids(page) != "0 1 2 3 4 5 6" || err != nil {
		t.Errorf("Events = %s, %v, want 0 to 6", ids(page), err)
	}
}

func testAppendWithKeyConcurrently(t *testing.T, s store.Store) {
	create(t, s, "c")
	var group sync.WaitGroup
	var mu sync.Mutex
	stored := make(map[string]int) // by key: how often it was not repeated
	byKey := make(map[string]int64)
	for i := range 64 {
		group.Go(func() {
			key := fmt.Sprint(i % 8)
			id, repeated, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte(key), Key: key})
			if err != nil {
				t.Errorf("Append = %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if !repeated {
				stored[key]++
			}
			if first, ok := byKey[key]; ok && first != id {
				t.Errorf("key %s has ids %d and %d, want one", key, first, id)
			}
			byKey[key] = id
		})
	}
	group.Wait()
	for key, n := range stored {
		if n != 1 {
			t.Errorf("key %s was stored %d times, want once", key, n)
		}
	}
	add(t, s, "c", "{}", 8)
}

func testAppendAfterMaxID(t *testing.T, s store.Store) {
	fill(t, s, "c", store.Event{ID: store.MaxID - 1})
	add(t, s, "c", "{}", store.MaxID)
	_, _, err := s.Append(t.Context(), "c", store.NewEvent{})
	wantError(t, "Append after MaxID", err, store.ErrFull)
	page, err := store.Events(t.Context(), s, "c", store.Range{From: store.MaxID, To: math.MaxInt64, Reverse: true}, 10)
	if want := fmt.Sprint(int64(store.MaxID)); ids(page) != want || err != nil {
		t.Errorf("Events = %s, %v, want %s", ids(page), err, want)
	}
}

// testAppendContext ends the contexts of appends that wait for another writer.
func testAppendContext(t *testing.T, s store.Store) {
	create(t, s, "c")
	create(t, s, "d")
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var mu sync.Mutex
	var stored []string
	_, err := s.Update(t.Context(), "d", func(*store.Conversation) error {
		for i := range 8 {
			group.Go(func() {
				text := fmt.Sprint(i)
				_, _, err := s.Append(ctx, "c", store.NewEvent{JSON: []byte(text)})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					stored = append(stored, text)
				} else if err != context.Canceled {
					t.Errorf("Append = %v, want nil or %v", err, context.Canceled)
				}
			})
		}
		cancel()
		return nil
	})
	if err != nil {
		t.Fatalf("Update = %v", err)
	}
	group.Wait()
	page, err := store.Events(t.Context(), s, "c", store.All, 10)
	var got []string
	for _, e := range page {
		got = append(got, string(e.JSON))
	}
	slices.Sort(got)
	slices.Sort(stored)
	if !slices.Equal(got, stored) || err != nil {
		t.Errorf("Events = %v, %v, want those whose Append returned nil: %v", got, err, stored)
	}
}

// testAppendContextWhileBusy ends contexts while appends are being written: an
// append that was taken must tell its outcome.
func testAppendContextWhileBusy(t *testing.T, s store.Store) {
	create(t, s, "c")
	var group sync.WaitGroup
	var mu sync.Mutex
	stored := make(map[int64]string)
	for i := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		group.Go(func() {
			text := fmt.Sprint(i)
			id, _, err := s.Append(ctx, "c", store.NewEvent{JSON: []byte(text)})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				stored[id] = text
			} else if err != context.Canceled {
				t.Errorf("Append = %v, want nil or %v", err, context.Canceled)
			}
		})
		group.Go(cancel)
	}
	group.Wait()
	got := make(map[int64]string)
	for e, err := range store.Scan(t.Context(), s, "c", store.All) {
		if err != nil {
			t.Fatalf("Scan = %v", err)
		}
		got[e.ID] = string(e.JSON)
	}
	if !maps.Equal(got, stored) {
		t.Errorf("stored are %v, want those whose Append returned nil: %v", got, stored)
	}
}

// sequence yields events, and then an error if there is one.
func sequence(err error, events ...store.Event) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(store.Event{}, err)
		}
	}
}

func testImport(t *testing.T, s store.Store) {
	old := create(t, s, "c")
	addMany(t, s, "c", 0, 3)
	create(t, s, "d")
	// A conversation that is replaced, and one that is not there.
	for _, id := range []string{"c", "new"} {
		want := []store.Event{{ID: 3, Flags: 7, JSON: []byte("three")}, {ID: 90, JSON: []byte{}}}
		at := time.Date(2025, 1, 2, 3, 4, 5, 6, time.FixedZone("east", 3600))
		c, err := s.Import(t.Context(), store.Conversation{ID: id, Birth: 99, Title: "imported", CreatedAt: at}, true, sequence(nil, want...))
		if err != nil || c.Birth <= old.Birth || c.Birth == 99 || !c.CreatedAt.Equal(at) || c.CreatedAt.Location() != time.UTC {
			t.Fatalf("Import = %+v, %v, want a birth of its own and the time in UTC", c, err)
		}
		if stored, err := s.Conversation(t.Context(), id); stored != c || err != nil {
			t.Errorf("Conversation = %+v, %v, want %+v", stored, err, c)
		}
		got, err := store.Events(t.Context(), s, id, store.All, 10)
		if !equalEvents(got, want) || err != nil {
			t.Errorf("Events = %v, %v, want %v", got, err, want)
		}
		add(t, s, id, "next", 91)
	}
	if c, err := s.Import(t.Context(), store.Conversation{ID: "empty"}, false, sequence(nil)); c.ID != "empty" || err != nil {
		t.Errorf("Import without events = %+v, %v", c, err)
	}
	add(t, s, "empty", "first", 0)
	if _, total, err := s.Conversations(t.Context(), 0, 10); total != 4 || err != nil {
		t.Errorf("Conversations = %d, %v, want 4", total, err)
	}
}

func testImportRefused(t *testing.T, s store.Store) {
	create(t, s, "c")
	addMany(t, s, "c", 0, 3)
	before, err := s.Conversation(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("cause")
	canceled, cancel := context.WithCancel(t.Context())
	for _, test := range []struct {
		name    string
		ctx     context.Context
		id      string
		replace bool
		events  iter.Seq2[store.Event, error]
		want    error
	}{
		{"exists", t.Context(), "c", false, sequence(errors.New("is read")), store.ErrConflict},
		{"comes to exist", t.Context(), "late", false, func(yield func(store.Event, error) bool) {
			create(t, s, "late")
			yield(store.Event{}, nil)
		}, store.ErrConflict},
		{"error", t.Context(), "c", true, sequence(cause, store.Event{ID: 1}), cause},
		{"same id", t.Context(), "c", true, sequence(nil, store.Event{ID: 1}, store.Event{ID: 1}), store.ErrConflict},
		{"falling id", t.Context(), "new", true, sequence(nil, store.Event{ID: 1}, store.Event{ID: 0}), store.ErrConflict},
		{"id below 0", t.Context(), "new", true, sequence(nil, store.Event{ID: -1}), store.ErrConflict},
		{"id above the last", t.Context(), "new", true, sequence(nil, store.Event{ID: store.MaxID + 1}), store.ErrConflict},
		{"context", canceled, "c", true, func(yield func(store.Event, error) bool) {
			cancel()
			yield(store.Event{}, nil)
		}, context.Canceled},
	} {
		_, err := s.Import(test.ctx, store.Conversation{ID: test.id, Title: "imported"}, test.replace, test.events)
		if !errors.Is(err, test.want) {
			t.Errorf("Import: %s = %v, want %v", test.name, err, test.want)
		}
	}
	if c, err := s.Conversation(t.Context(), "c"); c != before || err != nil {
		t.Errorf("Conversation = %+v, %v, want it as it was: %+v", c, err, before)
	}
	if page, err := store.Events(t.Context(), s, "c", store.All, 10); ids(page) != "0 1 2" || err != nil {
		t.Errorf("Events = %s, %v, want 0 1 2", ids(page), err)
	}
	_, err = s.Conversation(t.Context(), "new")
	wantError(t, "Conversation", err, store.ErrNotFound)
	add(t, s, "late", "{}", 0)
}

// testImportMany imports more than goes into one commit, while others write
// and delete.
func testImportMany(t *testing.T, s store.Store) {
	const n = 10_000
	create(t, s, "c")
	create(t, s, "other")
	events := func(yield func(store.Event, error) bool) {
		for i := range int64(n) {
			if i%1000 == 0 {
				add(t, s, "other", "{}", i/1000)
				create(t, s, "gone")
				add(t, s, "gone", "{}", 0)
				if err := s.Delete(t.Context(), "gone"); err != nil {
					t.Errorf("Delete = %v", err)
				}
				if page, err := store.Events(t.Context(), s, "c", store.All, 10); len(page) > 0 || err != nil {
					t.Errorf("Events before the end = %s, %v, want none", ids(page), err)
				}
			}
			if !yield(store.Event{ID: 2 * i, JSON: []byte("{}")}, nil) {
				return
			}
		}
	}
	if _, err := s.Import(t.Context(), store.Conversation{ID: "c"}, true, events); err != nil {
		t.Fatalf("Import = %v", err)
	}
	next := int64(0)
	for e, err := range store.Scan(t.Context(), s, "c", store.All) {
		if err != nil || e.ID != next {
			t.Fatalf("Scan = %d, %v, want %d", e.ID, err, next)
		}
		next += 2
	}
	if next != 2*n {
		t.Errorf("the last event is %d, want %d", next-2, 2*n-2)
	}
	add(t, s, "c", "{}", next-1)
}

func testEvents(t *testing.T, s store.Store) {
	create(t, s, "c")
	if page, err := store.Events(t.Context(), s, "c", store.All, 10); len(page) != 0 || err != nil {
		t.Errorf("Events of an empty conversation = %s, %v, want none", ids(page), err)
	}
	fill(t, s, "c", []store.Event{{ID: 0}, {ID: 1}, {ID: 2}, {ID: 3}, {ID: 4}, {ID: 8}, {ID: 9}}...)
	const lowest, highest = math.MinInt64, math.MaxInt64
	for _, test := range []struct {
		from, to int64
		limit    int
		want     string
		reversed string
	}{
		{0, highest, 10, "0 1 2 3 4 8 9", "9 8 4 3 2 1 0"},
		{lowest, highest, math.MaxInt, "0 1 2 3 4 8 9", "9 8 4 3 2 1 0"},
		{-1, 1, 10, "0 1", "1 0"},
		{1, 3, 10, "1 2 3", "3 2 1"},
		{3, 3, 10, "3", "3"},
		{3, 8, 10, "3 4 8", "8 4 3"},
		{5, 8, 10, "8", "8"},
		{5, 7, 10, "", ""},
		{6, 6, 10, "", ""},
		{9, highest, 10, "9", "9"},
		{10, highest, 10, "", ""},
		{highest, highest, 10, "", ""},
		{highest, lowest, 10, "", ""},
		{4, 3, 10, "", ""},
		{0, -1, 10, "", ""},
		{-5, -1, 10, "", ""},
		{lowest, lowest, 10, "", ""},
		{0, highest, 2, "0 1", "9 8"},
		{2, 4, 1, "2", "4"},
		{0, highest, 0, "", ""},
		{0, highest, -1, "", ""},
		{0, highest, math.MinInt, "", ""},
	} {
		for _, reverse := range []bool{false, true} {
			r, want := store.Range{From: test.from, To: test.to, Reverse: reverse}, test.want
			if reverse {
				want = test.reversed
			}
			if page, err := store.Events(t.Context(), s, "c", r, test.limit); ids(page) != want || err != nil {
				t.Errorf("Events(%+v, %d) = %q, %v, want %q", r, test.limit, ids(page), err, want)
			}
		}
	}
	for _, limit := range []int{10, 0, -1} {
		_, err := store.Events(t.Context(), s, "x", store.Range{To: -1}, limit)
		wantError(t, "Events of an unknown conversation", err, store.ErrNotFound)
	}
}

func testEventsLimits(t *testing.T, s store.Store) {
	events := make([]store.Event, store.PageEvents+5)
	for i := range events {
		events[i].ID = int64(i)
	}
	large := make([]byte, store.PageBytes/2)
	sizes := []store.Event{{ID: 0, JSON: large}, {ID: 1, JSON: large[1:]}, {ID: 2, JSON: large}, {ID: 3, JSON: large},
		{ID: 4, JSON: make([]byte, 3*store.PageBytes)}, {ID: 5}}
	fill(t, s, "many", events...)
	fill(t, s, "large", sizes...)
	for _, reverse := range []bool{false, true} {
		page, err := store.Events(t.Context(), s, "many", store.Range{To: math.MaxInt64, Reverse: reverse}, math.MaxInt)
		if len(page) != store.PageEvents || err != nil {
			t.Errorf("Events = %d, %v, want %d", len(page), err, store.PageEvents)
		}
	}
	for _, test := range []struct {
		from    int64
		reverse bool
		want    string
	}{
		{0, false, "0 1 2"}, // two are one byte short of a page
		{2, false, "2 3"},
		{3, false, "3 4"}, // what a page reaches is not cut
		{4, false, "4"},
		{4, true, "5 4"},
	} {
		r := store.Range{From: test.from, To: math.MaxInt64, Reverse: test.reverse}
		page, err := store.Events(t.Context(), s, "large", r, 100)
		if ids(page) != test.want || err != nil {
			t.Errorf("Events(%+v) = %s, %v, want %s", r, ids(page), err, test.want)
		}
	}
}

// testEventsOfOthers reads from conversations whose neighbours have events.
func testEventsOfOthers(t *testing.T, s store.Store) {
	for _, id := range []string{"a", "ab", "b"} {
		create(t, s, id)
	}
	addMany(t, s, "a", 0, 3)
	addMany(t, s, "b", 0, 3)
	for _, reverse := range []bool{false, true} {
		page, err := store.Events(t.Context(), s, "ab", store.Range{To: math.MaxInt64, Reverse: reverse}, 10)
		if len(page) != 0 || err != nil {
			t.Errorf("Events of an empty one among others = %s, %v, want none", ids(page), err)
		}
	}
	add(t, s, "ab", "{}", 0)
	for _, id := range []string{"a", "ab", "b"} {
		var n int
		for _, err := range store.Scan(t.Context(), s, id, store.All) {
			if err != nil {
				t.Errorf("Scan(%s) = %v", id, err)
			}
			n++
		}
		if want := map[string]int{"a": 3, "ab": 1, "b": 3}[id]; n != want {
			t.Errorf("Scan(%s) = %d events, want %d", id, n, want)
		}
	}
}

// testSlices changes what was handed in and what was returned.
func testSlices(t *testing.T, s store.Store) {
	text := []byte("text")
	fill(t, s, "c", store.Event{JSON: text})
	if _, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: text}); err != nil {
		t.Fatalf("Append = %v", err)
	}
	err := s.UpdateRecord(t.Context(), "r", func([]byte) ([]byte, error) { return text, nil })
	if err != nil {
		t.Fatalf("UpdateRecord = %v", err)
	}
	copy(text, "XXXX")
	for range 2 {
		page, err := store.Events(t.Context(), s, "c", store.All, 10)
		if len(page) != 2 || err != nil {
			t.Fatalf("Events = %v, %v, want 2", page, err)
		}
		for i, e := range page {
			if string(e.JSON) != "text" {
				t.Errorf("event %d = %q, want text", e.ID, e.JSON)
			}
			page[i].JSON = append(e.JSON, "YYYY"...)
			copy(e.JSON, "ZZZZ")
		}
		record, err := s.Record(t.Context(), "r")
		if string(record) != "text" || err != nil {
			t.Errorf("Record = %q, %v, want text", record, err)
		}
		copy(record, "ZZZZ")
		refusal := errors.New("no")
		err = s.UpdateRecord(t.Context(), "r", func(old []byte) ([]byte, error) {
			copy(old, "ZZZZ")
			return nil, refusal
		})
		if err != refusal {
			t.Errorf("UpdateRecord = %v, want %v", err, refusal)
		}
	}
}

// wantChange waits until a watcher is told of a change.
func wantChange(t *testing.T, changed <-chan struct{}, after string) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatalf("no value after %s", after)
	}
}

func testWatch(t *testing.T, s store.Store) {
	changed, stop := watch(s, "c") // which does not exist yet
	other, stopOther := watch(s, "c")
	stopped, stop3 := watch(s, "c")
	stop3()
	create(t, s, "c")
	create(t, s, "d")
	for _, test := range []struct {
		name   string
		change func() error
	}{
		{"Append", func() error { _, _, err := s.Append(t.Context(), "c", store.NewEvent{}); return err }},
		{"Import", func() error {
			_, err := s.Import(t.Context(), store.Conversation{ID: "c"}, true, sequence(nil))
			return err
		}},
		{"Delete", func() error { return s.Delete(t.Context(), "c") }},
		{"Reset", func() error { create(t, s, "c"); return s.Reset(t.Context()) }},
		{"Close", s.Close},
	} {
		for len(changed) > 0 { // a value may come without a change
			<-changed
		}
		for len(other) > 0 {
			<-other
		}
		if err := test.change(); err != nil {
			t.Fatalf("%s = %v", test.name, err)
		}
		wantChange(t, changed, test.name)
		wantChange(t, other, test.name)
	}
	stop()
	stopOther()
	stopOther()
	select {
	case <-stopped:
		t.Error("a value after stop")
	default:
	}
}

func testRecords(t *testing.T, s store.Store) {
	if got, err := s.Record(t.Context(), "r"); got != nil || err != nil {
		t.Errorf("Record of none = %q, %v, want nil", got, err)
	}
	refusal := errors.New("no")
	for _, step := range []struct {
		old, new []byte
		err      error
	}{
		{nil, nil, nil},
		{nil, []byte("one"), nil},
		{[]byte("one"), []byte("two"), refusal},
		{[]byte("one"), nil, refusal},
		{[]byte("one"), []byte{}, nil},
		{[]byte{}, []byte("three"), nil},
		{[]byte("three"), nil, nil},
		{nil, []byte("four"), nil},
	} {
		err := s.UpdateRecord(t.Context(), "r", func(old []byte) ([]byte, error) {
			if !bytes.Equal(old, step.old) || (old == nil) != (step.old == nil) {
				t.Errorf("UpdateRecord hands in %#v, want %#v", old, step.old)
			}
			return step.new, step.err
		})
		if err != step.err {
			t.Errorf("UpdateRecord = %v, want %v as it is", err, step.err)
		}
		want := step.new
		if step.err != nil {
			want = step.old
		}
		got, err := s.Record(t.Context(), "r")
		if !bytes.Equal(got, want) || (got == nil) != (want == nil) || err != nil {
			t.Errorf("Record = %#v, %v, want %#v", got, err, want)
		}
	}
	if got, err := s.Record(t.Context(), "other"); got != nil || err != nil {
		t.Errorf("Record of another name = %q, %v, want nil", got, err)
	}
}

func testRecordsConcurrently(t *testing.T, s store.Store) {
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			err := s.UpdateRecord(t.Context(), "r", func(old []byte) ([]byte, error) { return append(old, 'x'), nil })
			if err != nil {
				t.Errorf("UpdateRecord = %v", err)
			}
		})
	}
	group.Wait()
	if got, err := s.Record(t.Context(), "r"); len(got) != 20 || err != nil {
		t.Errorf("Record after 20 updates = %q, %v, want 20 x", got, err)
	}
}

// testChangePanics wants a panic of a change function to reach the caller, and
// the store to go on.
func testChangePanics(t *testing.T, s store.Store) {
	create(t, s, "c")
	panics := func(f func()) (p any) {
		defer func() { p = recover() }()
		f()
		return nil
	}
	p := panics(func() {
		s.Update(t.Context(), "c", func(c *store.Conversation) error { c.Title = "x"; panic("update") })
	})
	if p != "update" {
		t.Errorf("Update whose change panics: recovered %v, want update", p)
	}
	p = panics(func() {
		s.UpdateRecord(t.Context(), "r", func([]byte) ([]byte, error) { panic("record") })
	})
	if p != "record" {
		t.Errorf("UpdateRecord whose change panics: recovered %v, want record", p)
	}
	if c, err := s.Conversation(t.Context(), "c"); c.Title != "" || err != nil {
		t.Errorf("Conversation = %+v, %v, want no title", c, err)
	}
	add(t, s, "c", "{}", 0)
}

func testReset(t *testing.T, s store.Store) {
	if err := s.Reset(t.Context()); err != nil {
		t.Fatalf("Reset of an empty store = %v", err)
	}
	create(t, s, "c")
	last := create(t, s, "d")
	key := store.NewEvent{Key: "k"}
	if _, _, err := s.Append(t.Context(), "c", key); err != nil {
		t.Fatalf("Append = %v", err)
	}
	addMany(t, s, "c", 1, 4)
	err := s.UpdateRecord(t.Context(), "r", func([]byte) ([]byte, error) { return []byte("x"), nil })
	if err != nil {
		t.Fatalf("UpdateRecord = %v", err)
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatalf("Reset = %v", err)
	}
	if page, total, err := s.Conversations(t.Context(), 0, 10); len(page) != 0 || total != 0 || err != nil {
		t.Errorf("Conversations = %v, %d, %v, want none", page, total, err)
	}
	_, err = s.Conversation(t.Context(), "c")
	wantError(t, "Conversation", err, store.ErrNotFound)
	_, err = store.Events(t.Context(), s, "c", store.All, 10)
	wantError(t, "Events", err, store.ErrNotFound)
	_, _, err = s.Append(t.Context(), "c", key)
	wantError(t, "Append", err, store.ErrNotFound)
	if record, err := s.Record(t.Context(), "r"); record != nil || err != nil {
		t.Errorf("Record = %q, %v, want nil", record, err)
	}
	if c := create(t, s, "c"); c.Birth <= last.Birth {
		t.Errorf("birth after a reset is %d, want above %d", c.Birth, last.Birth)
	}
	if id, repeated, err := s.Append(t.Context(), "c", key); id != 0 || repeated || err != nil {
		t.Errorf("Append with an old key = %d, %v, %v, want 0, false, nil", id, repeated, err)
	}
	if page, err := store.Events(t.Context(), s, "c", store.All, 10); ids(page) != "0" || err != nil {
		t.Errorf("Events = %s, %v, want 0", ids(page), err)
	}
}

// calls calls each method that has a context.
func calls(ctx context.Context, s store.Store) map[string]error {
	errs := make(map[string]error)
	_, errs["Create"] = s.Create(ctx, store.Conversation{ID: "new"})
	_, errs["Conversation"] = s.Conversation(ctx, "c")
	_, _, errs["Conversations"] = s.Conversations(ctx, 0, 1)
	_, errs["Update"] = s.Update(ctx, "c", func(c *store.Conversation) error { c.Title = "changed"; return nil })
	errs["Delete"] = s.Delete(ctx, "c")
	_, _, errs["Append"] = s.Append(ctx, "c", store.NewEvent{})
	_, errs["Import"] = s.Import(ctx, store.Conversation{ID: "c"}, true, sequence(nil))
	_, errs["Events"] = store.Events(ctx, s, "c", store.All, 1)
	_, errs["Record"] = s.Record(ctx, "r")
	errs["UpdateRecord"] = s.UpdateRecord(ctx, "r", func([]byte) ([]byte, error) { return []byte("changed"), nil })
	errs["Reset"] = s.Reset(ctx)
	for _, err := range store.Scan(ctx, s, "c", store.All) {
		errs["Scan"] = err
	}
	return errs
}

func testContext(t *testing.T, s store.Store) {
	want := create(t, s, "c")
	add(t, s, "c", "{}", 0)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancelLate()
	for range 10 { // there must be no luck in it
		for _, ctx := range []context.Context{canceled, late} {
			for call, err := range calls(ctx, s) {
				if err != ctx.Err() {
					t.Errorf("%s = %v, want %v as it is", call, err, ctx.Err())
				}
			}
		}
	}
	if got, err := s.Conversation(t.Context(), "c"); got != want || err != nil {
		t.Errorf("Conversation = %+v, %v, want %+v", got, err, want)
	}
	if _, total, err := s.Conversations(t.Context(), 0, 0); total != 1 || err != nil {
		t.Errorf("Conversations = %d, %v, want 1", total, err)
	}
	if page, err := store.Events(t.Context(), s, "c", store.All, 10); ids(page) != "0" || err != nil {
		t.Errorf("Events = %s, %v, want 0", ids(page), err)
	}
	if record, err := s.Record(t.Context(), "r"); record != nil || err != nil {
		t.Errorf("Record = %q, %v, want nil", record, err)
	}
}

func testClose(t *testing.T, s store.Store) {
	create(t, s, "c")
	// Close among appends: each is stored or told that it came too late.
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for {
				_, _, err := s.Append(t.Context(), "c", store.NewEvent{JSON: []byte("{}")})
				if err != nil {
					wantError(t, "Append", err, store.ErrClosed)
					return
				}
			}
		})
	}
	for {
		page, err := store.Events(t.Context(), s, "c", store.All, 20)
		if err != nil {
			t.Fatalf("Events = %v", err)
		}
		if len(page) == 20 {
			break
		}
	}
	if err := s.Close(); err != nil {
		t.Fatalf("Close = %v", err)
	}
	group.Wait()
	for call, err := range calls(t.Context(), s) {
		wantError(t, call+" after Close", err, store.ErrClosed)
	}
	wantError(t, "second Close", s.Close(), store.ErrClosed)
	s.Watch("c", func() {})()
}

// testVisit: a visit goes as far as the visitor wants, in one order or the
// other, however much there is.
func testVisit(t *testing.T, s store.Store) {
	events := make([]store.Event, 2*store.PageEvents)
	for i := range events {
		events[i] = store.Event{ID: int64(2 * i), Flags: uint16(i), JSON: fmt.Append(nil, i)}
	}
	fill(t, s, "c", events...)
	for _, tt := range []struct {
		r    store.Range
		most int // the visitor ends it there
		want []store.Event
	}{
		{store.All, math.MaxInt, events},
		{store.All, 3, events[:3]},
		{store.Range{From: 3, To: 9}, math.MaxInt, events[2:5]},
		{store.Range{From: 3, To: 9, Reverse: true}, 2, []store.Event{events[4], events[3]}},
		{store.Range{To: -1}, math.MaxInt, nil},
		{store.Range{From: 9, To: 3}, math.MaxInt, nil},
	} {
		var got []store.Event
		err := s.Visit(t.Context(), "c", tt.r, func(e store.Event) bool {
			e.JSON = bytes.Clone(e.JSON)
			got = append(got, e)
			return len(got) < tt.most
		})
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Visit(%+v) to %d = %s, %v, want %s", tt.r, tt.most, ids(got), err, ids(tt.want))
		}
	}
	birth := func() uint64 {
		c, err := s.Conversation(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		return c.Birth
	}()
	if page, err := store.Events(t.Context(), s, "c", store.Range{To: 4, Birth: birth}, 10); len(page) != 3 || err != nil {
		t.Errorf("Events of the birth that is there = %s, %v, want 0 2 4", ids(page), err)
	}
	none := func(store.Event) bool { t.Error("Visit found an event of an unknown conversation"); return true }
	wantError(t, "Visit of an unknown conversation", s.Visit(t.Context(), "x", store.All, none), store.ErrNotFound)
	wantError(t, "Visit of another birth", s.Visit(t.Context(), "c", store.Range{To: store.MaxID, Birth: birth + 1}, none), store.ErrNotFound)
	wantError(t, "Visit of nothing of one", s.Visit(t.Context(), "x", store.Range{To: -1}, none), store.ErrNotFound)
}
