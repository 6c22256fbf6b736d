package event_test

import (
	"bytes"
	"fmt"
	"iter"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// stored is an event as a store keeps it.
type stored struct {
	id    int64
	json  []byte
	flags event.Flags
}

// conversations are the recorded ones by name.
func conversations(t *testing.T) map[string][]stored {
	t.Helper()
	all := map[string][]stored{"main": nil, "empty": nil}
	add := func(name string, v pyjson.Value) {
		var doc pyjson.Builder
		for _, m := range v.Members() {
			if m.Key != "id" {
				doc.Set(m.Key, m.Value)
			}
		}
		json := doc.Object().Append(nil)
		all[name] = append(all[name], stored{integer(get(v, "id").Text()), json, event.FlagsOf(json)})
	}
	for _, v := range document(t, "search-conversation.json").Items() {
		add("main", v)
	}
	for _, c := range document(t, "search-variants.json").Members() {
		for _, v := range get(c.Value, "events").Items() {
			add(c.Key, v)
		}
		for _, f := range get(c.Value, "files").Members() {
			// A file that is torn or of a kind that is not known is no event.
			if v, err := pyjson.Decode([]byte(f.Value.Text())); err == nil && get(v, "action").Text() != "task_tracking" {
				add(c.Key, v)
			}
		}
	}
	for _, events := range all {
		slices.SortFunc(events, func(a, b stored) int { return int(a.id - b.id) })
	}
	return all
}

func document(t *testing.T, name string) pyjson.Value {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

// integer reads a parameter as the server does: 1_0, +3 and 2.0 are integers.
func integer(text string) int64 {
	n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSuffix(strings.TrimSpace(text), ".0"), "_", ""), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// A search is the parameters of a recorded one; limit 0 with unlimited set is
// none.
type search struct {
	start, end int64
	reverse    bool
	limit      int
	unlimited  bool
	filter     event.Filter
}

func (s search) run(events []stored) (ids []int64, more bool) {
	matches := s.filter.Matcher()
	if s.reverse {
		events = slices.Clone(events)
		slices.Reverse(events)
	}
	for _, e := range events {
		if e.id < s.start || e.id > s.end || !matches(e.id, e.json, e.flags) {
			continue
		}
		if !s.unlimited && len(ids) == s.limit {
			return ids, true
		}
		ids = append(ids, e.id)
	}
	return ids, false
}

// byStore are the parameters of a search in upstream's store. A negative
// limit gives one event.
func byStore(params pyjson.Value) search {
	s := search{end: 1 << 40, unlimited: true, reverse: get(params, "reverse").Bool(), filter: filterOf(get(params, "filter"))}
	if v := get(params, "start_id"); !v.IsNull() {
		s.start = integer(v.Text())
	}
	if v := get(params, "end_id"); !v.IsNull() {
		s.end = integer(v.Text())
	}
	if v := get(params, "limit"); v.Truthy() {
		s.limit, s.unlimited = max(1, int(integer(v.Text()))), false
	}
	return s
}

// byHTTP are the parameters of GET /events.
func byHTTP(t *testing.T, line pyjson.Value) search {
	query, err := url.ParseQuery(get(line, "query_string").Text())
	if err != nil {
		t.Fatal(err)
	}
	s := search{end: 1 << 40, limit: 20}
	for name, values := range query {
		switch last := values[len(values)-1]; name {
		case "start_id":
			s.start = integer(last)
		case "end_id":
			s.end = integer(last)
		case "limit":
			s.limit = int(integer(last))
		case "reverse":
			s.reverse = slices.Contains([]string{"true", "1", "yes", "on", "t", "y"}, strings.ToLower(last))
		}
	}
	if body := get(line, "body"); body.Kind() == pyjson.String {
		s.filter = filterOf(decode(t, []byte(body.Text())))
	}
	return s
}

func filterOf(v pyjson.Value) event.Filter {
	text := func(name string) *string {
		v, _ := v.Get(name)
		if v.IsNull() {
			return nil
		}
		s := v.Text()
		return &s
	}
	hidden := get(v, "exclude_hidden")
	return event.Filter{
		ExcludeHidden: hidden.Bool() || hidden.Text() == "true",
		Query:         text("query"), Source: text("source"), StartDate: text("start_date"), EndDate: text("end_date"),
	}
}

func idsOf(v pyjson.Value) (ids []int64) {
	for _, id := range v.Items() {
		ids = append(ids, integer(id.Text()))
	}
	return ids
}

// recordedReads are the lines of a kind that were answered, or failed for what
// is stored; what is wrong with a request is not this package's, nor are the
// classes that only a caller in upstream's process can name.
func recordedReads(t *testing.T, kind string) []pyjson.Value {
	return slices.DeleteFunc(lines(t, "search.jsonl"), func(line pyjson.Value) bool {
		return get(line, "params", "filter", "include_types").Truthy() || get(line, "params", "filter", "exclude_types").Truthy() || get(line, "kind").Text() != kind || strings.HasPrefix(get(line, "status").Text(), "4")
	})
}

func TestRecordedSearches(t *testing.T) {
	all := conversations(t)
	compare(t, recordedReads(t, "search"), func(t *testing.T, line pyjson.Value) string {
		s := byStore(get(line, "params"))
		if get(line, "via").Text() == "http" {
			s = byHTTP(t, line)
		}
		events, ok := all[get(line, "conversation").Text()]
		if !ok {
			return "no such conversation"
		}
		got, more := s.run(events)
		if !slices.Equal(got, idsOf(get(line, "ids"))) {
			return fmt.Sprint("found ", got)
		}
		if want := get(line, "has_more"); !want.IsNull() && want.Bool() != more {
			return fmt.Sprint("has_more ", more)
		}
		if !get(line, "error").IsNull() {
			return "no error"
		}
		return ""
	})
}

func TestRecordedTrajectories(t *testing.T) {
	all := conversations(t)
	compare(t, recordedReads(t, "trajectory"), func(t *testing.T, line pyjson.Value) string {
		s := search{end: 1 << 40, unlimited: true, filter: event.Filter{ExcludeHidden: true}}
		got, _ := s.run(all[get(line, "conversation").Text()])
		if !slices.Equal(got, idsOf(get(line, "ids"))) {
			return fmt.Sprint("exported ", got)
		}
		return ""
	})
	var got []pyjson.Value
	for _, e := range all["main"] {
		if e.flags&event.IsHidden == 0 {
			got = append(got, decode(t, event.AppendTrajectory(nil, e.id, e.json, e.flags)))
		}
	}
	if want := document(t, "search-trajectory.json"); !same(want, pyjson.ArrayOf(got...)) {
		t.Errorf("trajectory = %s, want %s", pyjson.ArrayOf(got...).Append(nil), want.Append(nil))
	}
}

// replayed are the events that a socket gets which has seen those up to last.
func replayed(t *testing.T, events []stored, last int64) (sent []stored) {
	later := func(yield func(stored, error) bool) {
		for _, e := range events {
			if e.id > last && !yield(e, nil) {
				return
			}
		}
	}
	for e, err := range event.Replay(iter.Seq2[stored, error](later), func(e stored) event.Flags { return e.flags }) {
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, e)
	}
	return sent
}

func TestRecordedReplays(t *testing.T) {
	all := conversations(t)
	compare(t, recordedReads(t, "replay"), func(t *testing.T, line pyjson.Value) string {
		query, err := url.ParseQuery(get(line, "query_string").Text())
		if err != nil {
			t.Fatal(err)
		}
		last := int64(-1)
		if text := query.Get("latest_event_id"); !strings.Contains(text, ".") {
			last = integer(text)
		}
		var got []int64
		for _, e := range replayed(t, all[query.Get("conversation_id")], last) {
			got = append(got, e.id)
		}
		if !slices.Equal(got, idsOf(get(line, "ids"))) {
			return fmt.Sprint("sent ", got)
		}
		return ""
	})
	var got []pyjson.Value
	for _, e := range replayed(t, all["main"], -1) {
		got = append(got, decode(t, event.AppendServed(nil, e.id, e.json, 0)))
	}
	if want := document(t, "search-replay.json"); !same(want, pyjson.ArrayOf(got...)) {
		t.Errorf("replay = %s, want %s", pyjson.ArrayOf(got...).Append(nil), want.Append(nil))
	}
}

func TestRecordedLive(t *testing.T) {
	compare(t, lines(t, "live.jsonl"), func(t *testing.T, line pyjson.Value) string {
		e, err := event.Normalise(get(line, "input").Append(nil), event.Options{Timestamp: time.Now(), Source: get(line, "source").Text(), Strict: true})
		if err != nil {
			return err.Error()
		}
		text, sent := event.AppendLive(nil, 7, e.JSON, e.Flags)
		if sent != (get(line, "emitted").Text() == "1") {
			return fmt.Sprint("sent: ", sent)
		}
		if sent && !same(get(line, "payload"), decode(t, text)) {
			return string(text)
		}
		return ""
	})
}

// TestRecordedConversation makes the stored events again of what is served.
func TestRecordedConversation(t *testing.T) {
	for _, e := range conversations(t)["main"] {
		v := decode(t, e.json)
		at, ok := event.Time(e.json, time.Local)
		if !ok {
			t.Fatalf("no time in %s", e.json)
		}
		again, err := event.Normalise(e.json, event.Options{Timestamp: at, Source: get(v, "source").Text(), Strict: true})
		if err != nil {
			t.Errorf("%s: %v", e.json, err)
			continue
		}
		if !bytes.Equal(again.JSON, e.json) || again.Flags != e.flags {
			t.Errorf("Normalise(%s) = %s %b, want %b", e.json, again.JSON, again.Flags, e.flags)
		}
	}
}
