package archive_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/archive"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// add stores an event that a client posts.
func add(t *testing.T, s store.Store, id, body string) {
	t.Helper()
	e, err := event.Normalise([]byte(body), event.Options{Timestamp: time.Date(2025, 1, 2, 3, 4, 5, 0, time.Local), Source: "user"})
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if _, _, err := s.Append(t.Context(), id, store.NewEvent{Flags: uint16(e.Flags), JSON: e.JSON}); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, s store.Store, c store.Conversation) {
	t.Helper()
	if _, err := s.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func setRecord(t *testing.T, s store.Store, name, value string) {
	t.Helper()
	if err := s.UpdateRecord(t.Context(), name, func([]byte) ([]byte, error) { return []byte(value), nil }); err != nil {
		t.Fatal(err)
	}
}

func export(t *testing.T, s store.Store, o archive.ExportOptions) string {
	t.Helper()
	var b bytes.Buffer
	sum, err := archive.Export(t.Context(), s, &b, o)
	if err != nil {
		t.Fatalf("Export = %v", err)
	}
	if ended, err := archive.Ended(b.Bytes()[max(0, b.Len()-300):]); ended != sum || err != nil {
		t.Errorf("Ended = %+v, %v, want %+v", ended, err, sum)
	}
	return b.String()
}

func importFrom(t *testing.T, s store.Store, text string, o archive.ImportOptions) (archive.Summary, string, error) {
	t.Helper()
	var told strings.Builder
	o.Settings, o.LeftOut = api.SettingsRecord, func(what string, why error) { fmt.Fprintf(&told, "%s: %v\n", what, why) }
	sum, err := archive.ImportFrom(t.Context(), s, strings.NewReader(text), "file.json", o)
	return sum, told.String(), err
}

var at = time.Date(2025, 1, 2, 3, 4, 5, 678, time.UTC)

// sample is a small store of all kinds of things.
func sample(t *testing.T) store.Store {
	s := memstore.New()
	create(t, s, store.Conversation{ID: "second", CreatedAt: at, UpdatedAt: at})
	create(t, s, store.Conversation{ID: "first", Title: "<Tïtle> & \"quotes\"", Repository: new("o/r"), CreatedAt: at.Add(-time.Hour), UpdatedAt: at, Agent: true})
	create(t, s, store.Conversation{ID: "third", CreatedAt: at, UpdatedAt: at})
	add(t, s, "first", `{"action":"message","args":{"content":"hi </script> \ud83d\ude00"}}`)
	add(t, s, "first", `{"action":"run","args":{"command":"ls","hidden":true}}`)
	add(t, s, "first", `{"action":"later_kind","args":{"_sa_x":1,"n":1e300}}`)
	add(t, s, "first", `{"observation":"browse","content":"","extras":{"url":"u","trigger_by_action":"","screenshot":"s"}}`)
	setRecord(t, s, "settings", `{"language":"en","llm_api_key":"k"}`)
	setRecord(t, s, "secrets", `{"custom_secrets":[],"provider_tokens":[]}`)
	return s
}

// TestExport draws the format.
func TestExport(t *testing.T) {
	s := sample(t)
	const settings = `{"record":"settings","value":{"language":"en","llm_api_key":"k"}}
{"record":"secrets","value":{"custom_secrets":[],"provider_tokens":[]}}
`
	const body = `{"conversation":{"id":"first","title":"<Tïtle> & \"quotes\"","created_at":"2025-01-02T02:04:05.000000678Z","updated_at":"2025-01-02T03:04:05.000000678Z","repository":"o/r","agent":true}}
{"event":{"id":0,"timestamp":"2025-01-02T03:04:05","source":"user","message":"hi </script> 😀","action":"message","args":{"content":"hi </script> 😀","file_urls":null,"image_urls":null,"wait_for_response":false}}}
{"event":{"id":1,"timestamp":"2025-01-02T03:04:05","source":"user","message":"Running command: ls","action":"run","args":{"command":"ls","is_input":false,"thought":"","blocking":false,"is_static":false,"cwd":null,"hidden":true,"confirmation_state":"confirmed"}}}
{"event":{"id":2,"timestamp":"2025-01-02T03:04:05","source":"user","action":"later_kind","args":{"_sa_x":1,"n":1e+300}}}
{"event":{"id":3,"timestamp":"2025-01-02T03:04:05","source":"user","message":"Visited u","observation":"browse","content":"","extras":{"url":"u","trigger_by_action":"","screenshot":"s","screenshot_path":null,"set_of_marks":"","error":false,"goal_image_urls":[],"open_pages_urls":[],"active_page_index":-1,"dom_object":{},"axtree_object":{},"extra_element_properties":{},"last_browser_action":"","last_browser_action_error":"","focused_element_bid":"","filter_visible_only":false}}}
{"conversation":{"id":"second","title":"","created_at":"2025-01-02T03:04:05.000000678Z","updated_at":"2025-01-02T03:04:05.000000678Z"}}
{"conversation":{"id":"third","title":"","created_at":"2025-01-02T03:04:05.000000678Z","updated_at":"2025-01-02T03:04:05.000000678Z"}}
`
	want := "{\"openhands_local\":1}\n" + body + `{"end":{"conversations":3,"events":4,"records":0,"left_out":0}}` + "\n"
	if got := export(t, s, archive.ExportOptions{}); got != want {
		t.Errorf("Export = %s, want %s", got, want)
	}
	want = "{\"openhands_local\":1}\n" + settings + body + `{"end":{"conversations":3,"events":4,"records":2,"left_out":0}}` + "\n"
	if got := export(t, s, archive.ExportOptions{Secrets: true}); got != want {
		t.Errorf("Export = %s, want %s", got, want)
	}
	got := export(t, s, archive.ExportOptions{Conversations: []string{"third", "second"}})
	if strings.Count(got, "\n") != 4 || strings.Index(got, "third") > strings.Index(got, "second") {
		t.Errorf("Export of some = %s, want third and second", got)
	}
	var b bytes.Buffer
	if _, err := archive.Export(t.Context(), s, &b, archive.ExportOptions{Conversations: []string{"first", "none"}}); !errors.Is(err, store.ErrNotFound) || b.Len() > 0 {
		t.Errorf("Export of an unknown one = %v after %d bytes, want %v and nothing", err, b.Len(), store.ErrNotFound)
	}
	if _, err := archive.Ended([]byte(want[:len(want)-3])); !errors.Is(err, archive.ErrCut) {
		t.Errorf("Ended of half a line = %v, want %v", err, archive.ErrCut)
	}
}

// deleting deletes a conversation when events of another are read.
type deleting struct {
	store.Store
	when, gone string
}

func (d *deleting) Visit(ctx context.Context, id string, r store.Range, visit func(store.Event) bool) error {
	err := d.Store.Visit(ctx, id, r, visit)
	if id == d.when {
		_ = d.Store.Delete(ctx, d.gone)
	}
	return err
}

// TestExportMeanwhile exports what is deleted on the way.
func TestExportMeanwhile(t *testing.T) {
	for _, gone := range []string{"first", "third"} {
		got := export(t, &deleting{sample(t), "first", gone}, archive.ExportOptions{})
		s := memstore.New()
		sum, told, err := importFrom(t, s, got, archive.ImportOptions{})
		if err != nil || told != "" || sum.Conversations != 2 {
			t.Errorf("Import = %+v, %s, %v, want two conversations", sum, told, err)
		}
		if _, err := s.Conversation(t.Context(), gone); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s is imported, %v", gone, err)
		}
	}
}

// TestRoundTrip exports random conversations, imports them into an empty store
// and exports them again.
func TestRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for round := range 20 {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		s := memstore.New()
		for range r.IntN(8) {
			randomConversation(t, r, s)
		}
		if r.IntN(2) == 0 {
			record, err := api.SettingsRecord([]byte(`{"language":"` + randomText(r) + `"}`))
			if err != nil {
				t.Fatal(err)
			}
			setRecord(t, s, "settings", string(record))
		}
		first := export(t, s, archive.ExportOptions{Secrets: true})
		var again store.Store = memstore.New()
		if round%5 == 0 {
			bolt, err := boltstore.Open(filepath.Join(t.TempDir(), "events.db"), boltstore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer bolt.Close()
			again = bolt
		}
		if _, told, err := importFrom(t, again, first, archive.ImportOptions{}); err != nil || told != "" {
			t.Fatalf("seed %d, round %d: Import = %s, %v", seed, round, told, err)
		}
		if second := export(t, again, archive.ExportOptions{Secrets: true}); second != first {
			t.Fatalf("seed %d, round %d: the second export is\n%.2000s\nthe first\n%.2000s", seed, round, second, first)
		}
		// What readers are served is the same, too: it goes by the flags.
		conversations, _, err := s.Conversations(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range conversations {
			sameTrajectory(t, fmt.Sprintf("seed %d, round %d", seed, round), s, again, c.ID)
		}
	}
}

func trajectory(t *testing.T, s store.Store, id string) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := archive.Trajectory(t.Context(), s, &b, id); err != nil {
		t.Fatalf("Trajectory = %v", err)
	}
	return b.String()
}

// sameTrajectory wants two stores to have the same trajectory, and a
// conversation that is made of it as well.
func sameTrajectory(t *testing.T, name string, s, again store.Store, id string) {
	t.Helper()
	want := trajectory(t, s, id)
	if got := trajectory(t, again, id); got != want {
		t.Fatalf("%s: trajectory\n%.2000s\nwant\n%.2000s", name, got, want)
	}
	if want == `{"trajectory":[]}` {
		return
	}
	third := memstore.New()
	if _, told, err := importFrom(t, third, want, archive.ImportOptions{ID: id}); err != nil || told != "" {
		t.Fatalf("%s: Import of %.2000s = %s, %v", name, want, told, err)
	}
	if got := trajectory(t, third, id); got != want {
		t.Fatalf("%s: trajectory of a trajectory\n%.2000s\nwant\n%.2000s", name, got, want)
	}
}

func randomConversation(t *testing.T, r *rand.Rand, s store.Store) {
	id := fmt.Sprintf("%x", r.Uint64())
	c := store.Conversation{ID: id, Title: randomText(r), CreatedAt: at.Add(time.Duration(r.IntN(3)) * time.Hour), UpdatedAt: at, Agent: r.IntN(2) == 0}
	var events []store.Event
	next := int64(0)
	for range r.IntN(40) {
		text := func() string { return randomText(r) }
		body := []string{
			`{"action":"message","args":{"content":"` + text() + `"}}`,
			`{"action":"run","args":{"command":"` + text() + `","hidden":true}}`,
			`{"action":"new_kind","args":{"_sa_` + text() + `":{"_sa":[1,{"_sa2":2}]}},"message":["` + text() + `"]}`,
			`{"action":"new_kind","args":{},"n":[1e-7,-0.0,1E400e,12345678901234567890123]}`,
			`{"action":"new_kind","args":{},"n":[1e-7,-0.0,1E40,12345678901234567890123,0.1,true,null]}`,
			`{"action":"null","args":{},"cause":3,"timeout":30}`,
			`{"observation":"browse","content":"` + text() + `","extras":{"url":"u","trigger_by_action":"","screenshot":"s","dom_object":{"_sa":1}}}`,
			`{"observation":"run","content":"` + strings.Repeat("long ", r.IntN(8000)) + `","extras":{"command":"` + text() + `","metadata":{"exit_code":0}}}`,
			`{"observation":"agent_state_changed","content":"","extras":{"agent_state":"` + text() + `"}}`,
			`{"observation":"recall","content":"","extras":{"recall_type":"knowledge"}}`,
			`{"observation":"error","content":{"a":"` + text() + `"}}`,
		}[r.IntN(11)]
		e, err := event.Normalise([]byte(body), event.Options{
			Timestamp: at.Add(time.Duration(r.IntN(5)) * time.Microsecond), Source: []string{"user", "agent", "environment"}[r.IntN(3)],
		})
		if err != nil {
			continue
		}
		events = append(events, store.Event{ID: next, Flags: uint16(e.Flags), JSON: e.JSON})
		next += 1 + r.Int64N(3)*r.Int64N(1<<40)
	}
	_, err := s.Import(t.Context(), c, false, func(yield func(store.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// randomText is the inside of a JSON string.
func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteString([]string{"a", "é", "😀", "\u2028", `\n`, `\"`, `\\`, `\u0000`, "<", `{\"event\":`, "\x7f", `\ud83d\ude00`}[r.IntN(12)])
	}
	return b.String()
}

func TestImportExisting(t *testing.T) {
	text := export(t, sample(t), archive.ExportOptions{Secrets: true})
	for _, test := range []struct {
		existing archive.Existing
		want     archive.Summary
		told     string
		err      error
		kept     bool
	}{
		{archive.Refuse, archive.Summary{Conversations: 2, Records: 1, Existing: 2}, "settings: exists already\nconversation first: exists already\n", archive.ErrExists, true},
		{archive.Skip, archive.Summary{Conversations: 2, Records: 1, Existing: 2}, "", nil, true},
		{archive.Replace, archive.Summary{Conversations: 3, Events: 4, Records: 2}, "", nil, false},
	} {
		s := memstore.New()
		create(t, s, store.Conversation{ID: "first", Title: "old", CreatedAt: at})
		add(t, s, "first", `{"action":"null","args":{}}`)
		setRecord(t, s, "settings", `{"language":"de"}`)
		sum, told, err := importFrom(t, s, text, archive.ImportOptions{Existing: test.existing})
		if sum != test.want || told != test.told || !errors.Is(err, test.err) {
			t.Errorf("Import(%d) = %+v, %q, %v, want %+v, %q, %v", test.existing, sum, told, err, test.want, test.told, test.err)
		}
		c, err := s.Conversation(t.Context(), "first")
		settings, err2 := s.Record(t.Context(), "settings")
		if errors.Join(err, err2) != nil || (c.Title == "old") != test.kept || strings.Contains(string(settings), `"de"`) != test.kept {
			t.Errorf("Import(%d) leaves %q, %s, %v, %v", test.existing, c.Title, settings, err, err2)
		}
		// Once more: all of it exists now.
		sum, _, err = importFrom(t, s, text, archive.ImportOptions{Existing: archive.Skip})
		if sum.Conversations != 0 || err != nil {
			t.Errorf("Import again = %+v, %v, want nothing", sum, err)
		}
	}
}

// TestImportNDJSON imports what is wrong in some way.
func TestImportNDJSON(t *testing.T) {
	const head = `{"openhands_local":1}` + "\n"
	const a = `{"conversation":{"id":"a","created_at":"2025-01-01T00:00:00Z"}}` + "\n"
	const b = `{"conversation":{"id":"b","created_at":"2025-01-01T00:00:00Z"}}` + "\n"
	const one = `{"event":{"id":1,"timestamp":"t","source":"user","action":"null","args":{}}}` + "\n"
	const two = `{"event": {"id": 2, "timestamp": "t", "source": "user", "action": "null", "args": {}}}` + "\n"
	const end = `{"end":{"conversations":0,"events":0,"records":0,"left_out":0}}` + "\n"
	for _, test := range []struct {
		name, text string
		ids        string // of what is stored: a:1,2
		told       string
		err        string
	}{
		{"good", head + a + one + two + b + end, "a:1,2 b:", "", ""},
		{"two exports", head + a + one + end + head + b + two + end, "a:1 b:2", "", ""},
		{"empty lines", head + "\n" + a + " \n" + one + end + "\n", "a:1", "", ""},
		{"no end", head + a + one + b + two, "a:1", "", "cut short"},
		{"half a line", head + a + one + b + two[:20], "a:1", "line 5", "cut short"},
		{"ends with a conversation", head + a + one, "", "", "cut short"},
		{"damaged event", head + a + one + `{"event":{"id":2}}` + "\n" + b + two + end, "b:2", "conversation a: line 4: body.timestamp", ""},
		{"no JSON", head + a + one + "text\n" + one + b + two + end, "b:2", "conversation a: line 4: invalid character", ""},
		{"no line of ours", head + a + `{"other":1}` + "\n" + b + end, "b:", "conversation a: line 3: is no line of an export", ""},
		{"no JSON outside", head + "text\n" + b + end, "b:", "line 2: line 2: invalid", ""},
		{"order", head + a + two + one + b + end, "b:", "conversation a: event 1 comes after event 2", ""},
		{"twice", head + a + one + one + b + end, "b:", "conversation a: event 1 comes after event 1", ""},
		{"bad id", head + strings.Replace(a, `"a"`, `"../a"`, 1) + one + b + two + end, "b:2", "conversation ../a: conversation id must be", ""},
		{"bad time", head + strings.Replace(a, "2025", "0000", 1) + one + b + end, "b:", "conversation a: the year 0", ""},
		{"left out", head + `{"left_out":"conversation x"}` + "\n" + a + one + `{"left_out":"event 2"}` + "\n" + end, "a:1", "the export: conversation x\nthe export: event 2\n", ""},
		{"deleted", head + a + one + `{"deleted":"a"}` + "\n" + b + two + end, "b:2", "", ""},
		{"unknown record", head + `{"record":"other","value":{}}` + "\n" + end, "", "other: no record has this name", ""},
		{"bad settings", head + `{"record":"settings","value":[]}` + "\n" + end, "", "settings: body: Input should be a valid dictionary", ""},
		{"bad secrets", head + `{"record":"secrets","value":[]}` + "\n" + end, "", "secrets: secrets record", ""},
		{"later format", strings.Replace(head, "1", "2", 1) + a + end, "", "", "the format is 2"},
		{"event outside", head + one + a + end, "a:", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := memstore.New()
			_, told, err := importFrom(t, s, test.text, archive.ImportOptions{})
			if !strings.Contains(told, test.told) || (test.told == "") != (told == "") {
				t.Errorf("told %q, want %q", told, test.told)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("Import = %v, want %q", err, test.err)
			}
			if got := idsOf(t, s); got != test.ids {
				t.Errorf("stored is %q, want %q", got, test.ids)
			}
		})
	}
}

// idsOf lists conversations and their events.
func idsOf(t *testing.T, s store.Store) string {
	t.Helper()
	list, _, err := s.Conversations(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range list {
		var ids []string
		for e, err := range store.Scan(t.Context(), s, c.ID, store.All) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, fmt.Sprint(e.ID))
		}
		all = append(all, c.ID+":"+strings.Join(ids, ","))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestImportTrajectory(t *testing.T) {
	const one = `{"id":1,"timestamp":"2025-03-01T10:00:00.5","source":"user","message":"m","action":"message","args":{"content":"m"}}`
	const state = `{"id":2,"timestamp":"2025-03-01T10:00:00","source":"environment","observation":"agent_state_changed","content":"","extras":{"agent_state":"running"}}`
	for _, test := range []struct {
		name, text, ids, told, err string
	}{
		{"the API's", `{"trajectory":[` + one + `,` + state + `]}`, "file:1,2", "", ""},
		{"bare", ` [` + one + `]`, "file:1", "", ""},
		{"other members", `{"other":[1],"trajectory":[` + one + `],"more":{}}`, "file:1", "", ""},
		{"odd entries", `[1,` + one + `,{"id":2},` + one + `,` + state + `]`, "file:1,2", "entry 0: body:", ""},
		{"no entry", `{"trajectory":[]}`, "", "", "it has no event"},
		{"cut", `{"trajectory":[` + one + `,` + state, "", "", "unexpected EOF"},
		{"cut in an entry", `{"trajectory":[` + one + `,` + state[:30], "", "", "entry 1: unexpected EOF"},
		{"not closed", `{"trajectory":[` + one + `]`, "", "", "unexpected EOF"},
		{"more behind", `{"trajectory":[` + one + `]}]`, "", "", "invalid character"},
		{"null", `{"trajectory":null}`, "", "", "neither an export nor a trajectory"},
		{"other JSON", `{"a":1}`, "", "", "neither an export nor a trajectory"},
		{"number", `1`, "", "", "neither an export nor a trajectory"},
		{"text", `text`, "", "", "neither an export nor a trajectory"},
		{"nothing", ``, "", "", "neither an export nor a trajectory"},
		{"a page", `{"events":[` + one + `,` + state + `],"has_more":false}`, "file:1,2", "", ""},
		{"a page of more", `{"events":[` + one + `],"has_more":true}`, "file:1", "has_more: is true: the page has not all", ""},
		{"an empty page", `{"events":[],"has_more":false}`, "", "", "it has no event"},
		{"two pages", `{"events":[` + one + `]}{"events":[` + state + `]}`, "", "", "something stands behind its end"},
		{"a page that is cut", `{"events":[` + one + `],"has`, "", "", "unexpected EOF"},
		{"a conversation", `{"exported_at":"x","conversation":{"conversation_id":"c","title":"t"},"events":[` + one + `]}`, "c:1", "", ""},
		{"a conversation behind", `{"events":[` + one + `,` + state + `],"conversation":{"id":"c"}}`, "c:1,2", "", ""},
		{"an odd conversation", `{"conversation":{"id":"c","title":5},"events":[` + one + `]}`, "c:1", "conversation: json: cannot", ""},
		{"a conversation of a bad id", `{"conversation":{"id":"../c"},"events":[` + one + `]}`, "", "", "choose one with --id"},
		{"one a line", one + "\n" + state + "\n", "file:1,2", "", ""},
		{"one event", one, "file:1", "", ""},
		{"odd lines", one + "\n5\n\n" + state, "file:1,2", "entry 1: body: ", ""},
		{"a line that is cut", one + "\n" + state[:30], "", "", "entry 1: unexpected EOF"},
		{"events that are no list", `{"events":{}}`, "", "", `its "events" is no list`},
		{"a trajectory that is no list", `{"trajectory":{}}`, "", "", `its "trajectory" is no list`},
		{"other keys", `{"a":1,"b":{"events":[]}}`, "", "", `want a list of events, one event a line, or an object with the key "trajectory" or "events": it has ["a" "b"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := memstore.New()
			_, told, err := importFrom(t, s, test.text, archive.ImportOptions{})
			if !strings.Contains(told, test.told) || (test.told == "") != (told == "") {
				t.Errorf("told %q, want %q", told, test.told)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("Import = %v, want %q", err, test.err)
			}
			if got := idsOf(t, s); got != test.ids {
				t.Errorf("stored is %q, want %q", got, test.ids)
			}
		})
	}
	s := memstore.New()
	if _, _, err := importFrom(t, s, "["+state+"]", archive.ImportOptions{ID: "chosen"}); err != nil {
		t.Fatal(err)
	}
	want := time.Date(2025, 3, 1, 10, 0, 0, 0, time.Local)
	if c, err := s.Conversation(t.Context(), "chosen"); !c.Agent || !c.CreatedAt.Equal(want) || err != nil {
		t.Errorf("Conversation = %+v, %v, want one with an agent, made when its first event was", c, err)
	}
	const about = `{"conversation":{"conversation_id":"c","title":"t","selected_repository":"o/r","created_at":"2025-02-01T00:00:00Z","last_updated_at":"2025-02-02T00:00:00Z"},"events":[` + one + `]}`
	if _, _, err := importFrom(t, s, about, archive.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	day := time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC)
	if c, err := s.Conversation(t.Context(), "c"); c.Title != "t" || c.Repository == nil || *c.Repository != "o/r" || !c.CreatedAt.Equal(day) || !c.UpdatedAt.Equal(day.AddDate(0, 0, 1)) || err != nil {
		t.Errorf("Conversation = %+v, %v, want what stands beside its events", c, err)
	}
	if _, _, err := importFrom(t, s, about, archive.ImportOptions{ID: "d"}); err != nil || !strings.Contains(idsOf(t, s), "d:1") {
		t.Errorf("Import = %v and %s is stored, want the chosen id", err, idsOf(t, s))
	}
	if _, _, err := importFrom(t, s, "["+one+"]", archive.ImportOptions{ID: "no id"}); err == nil || !strings.Contains(err.Error(), "--id") {
		t.Errorf("Import under a bad id = %v, want the way out", err)
	}
}

// sessionsFolder is what the real server has left.
const sessionsFolder = "testdata/sessions-folder"

const recorded = "43a699103f794b308733aa3d4adbd588"

// TestImportSessions imports the recorded folder, from each place that it may
// be named by.
func TestImportSessions(t *testing.T) {
	for _, folder := range []string{sessionsFolder, sessionsFolder + "/sessions", sessionsFolder + "/sessions/" + recorded} {
		s := memstore.New()
		sum, err := archive.Import(t.Context(), s, folder, archive.ImportOptions{
			Settings: api.SettingsRecord,
			LeftOut:  func(what string, why error) { t.Errorf("%s is left out: %v", what, why) },
		})
		want := archive.Summary{Conversations: 1, Events: 12}
		if folder == sessionsFolder {
			want.Records = 1
		}
		if sum != want || err != nil {
			t.Errorf("Import(%s) = %+v, %v, want %+v", folder, sum, err, want)
		}
		c, err := s.Conversation(t.Context(), recorded)
		created := time.Date(2026, 11, 23, 14, 43, 19, 971904000, time.UTC)
		if c.Title != "hi" || c.Trigger != "gui" || !c.Agent || !c.CreatedAt.Equal(created) || c.UpdatedAt.Before(created) || err != nil {
			t.Errorf("Conversation = %+v, %v", c, err)
		}
		for id := range int64(12) {
			file, err := os.ReadFile(fmt.Sprintf("%s/sessions/%s/events/%d.json", sessionsFolder, recorded, id))
			if err != nil {
				t.Fatal(err)
			}
			page, err := store.Events(t.Context(), s, recorded, store.Range{From: id, To: id}, 1)
			if err != nil || len(page) != 1 {
				t.Fatalf("event %d: %v", id, err)
			}
			// The real server writes this message anew when it reads the file, too.
			file = bytes.ReplaceAll(file, []byte("to AgentState.RUNNING"), []byte("to running"))
			file = bytes.ReplaceAll(file, []byte("to AgentState.AWAITING_USER_INPUT"), []byte("to awaiting_user_input"))
			var want, got any
			err = errors.Join(json.Unmarshal(file, &want), json.Unmarshal(event.AppendServed(nil, id, page[0].JSON, event.Flags(page[0].Flags)), &got))
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("event %d is %v, %v, want %v", id, got, err, want)
			}
		}
		settings, err := s.Record(t.Context(), "settings")
		if has := strings.Contains(string(settings), `"llm_model":"openai/fake"`); has != (want.Records == 1) || err != nil {
			t.Errorf("settings = %s, %v", settings, err)
		}
	}
}

// TestImportOddSessions imports what a killed server, or a person, may leave.
func TestImportOddSessions(t *testing.T) {
	const metadata = `{"conversation_id":"x","title":null,"created_at":"2025-01-01T00:00:00","last_updated_at":null}`
	event := func(id int) string {
		return fmt.Sprintf(`{"id": %d, "timestamp": "2025-03-01T10:00:00", "source": "user", "message": "m", "action": "message", "args": {"content": "m"}}`, id)
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("settings.json", `{"language":`)
	write("sessions/good/metadata.json", metadata)
	write("sessions/good/agent_state.pkl", "\x80")
	write("sessions/good/event_cache/0-25.json", "[]")
	write("sessions/good/events/0.json", event(0))
	write("sessions/good/events/1.json", event(1)[:40])
	write("sessions/good/events/2.json", "")
	write("sessions/good/events/3.json", event(4))
	write("sessions/good/events/07.json", event(7))
	write("sessions/good/events/x.json", event(8))
	write("sessions/good/events/9.json.tmp", event(9))
	write("sessions/good/events/10.json", event(10))
	write("sessions/good/events/11.json", `{"id": 11, "timestamp": "t", "source": "user", "action": "run", "args": {}}`)
	write("sessions/good/events/12.json", `{"id": 12, "timestamp": "t", "source": "user", "action": "run", "args": {"command": NaN}}`)
	write("sessions/good/events/13.json/14.json", event(14))
	write("sessions/good/events/99999999999999999999.json", event(15))
	write("outside.json", event(16))
	if err := os.Symlink(filepath.Join(dir, "outside.json"), filepath.Join(dir, "sessions/good/events/16.json")); err != nil {
		t.Logf("no links here: %v", err)
		write("sessions/good/events/16.json", "")
	}
	write("sessions/cut metadata/metadata.json", metadata)
	write("sessions/torn/metadata.json", metadata[:30])
	write("sessions/torn/events/0.json", "{")
	write("sessions/torn/events/5.json", event(5))
	write("sessions/dead/metadata.json", "")
	write("sessions/dead/events/0.json", "{")
	write("sessions/timeless/metadata.json", `{"title":"t"}`)
	write("sessions/timeless/events/3.json", event(3))
	write("sessions/no folder of a conversation/x", "")
	write("sessions/file", "")

	s := memstore.New()
	var told []string
	sum, err := archive.Import(t.Context(), s, dir, archive.ImportOptions{
		Settings: api.SettingsRecord,
		LeftOut:  func(what string, why error) { told = append(told, fmt.Sprintf("%s: %v", what, why)) },
	})
	if want := "good:0,10 timeless:3 torn:5"; idsOf(t, s) != want || err != nil || sum.Conversations != 3 || sum.Events != 4 {
		t.Errorf("Import = %+v, %v and stored %q, want %q", sum, err, idsOf(t, s), want)
	}
	for _, want := range []string{
		"settings.json: ", "sessions/good/events/1.json: ", "sessions/good/events/2.json: ",
		"sessions/good/events/3.json: holds event 4", "sessions/good/events/07.json: is not named as an event",
		"sessions/good/events/x.json: is not named", "sessions/good/events/9.json.tmp: is not named",
		"sessions/good/events/11.json: body.args.command: Field required", "sessions/good/events/12.json: ",
		"sessions/good/events/13.json: is no file", "sessions/good/events/99999999999999999999.json: is no event's id",
		"sessions/good/events/16.json: ", "conversation cut metadata: conversation id must be",
		"sessions/torn/metadata.json: ", "sessions/torn/events/0.json: ",
		"sessions/dead/metadata.json: ", "sessions/dead: has neither", "sessions/timeless/metadata.json: created_at \"\" is no time",
	} {
		if i := slices.IndexFunc(told, func(line string) bool { return strings.HasPrefix(line, want) }); i >= 0 {
			told = slices.Delete(told, i, i+1)
		} else {
			t.Errorf("nobody was told %q", want)
		}
	}
	if len(told) > 0 || sum.LeftOut != 18 {
		t.Errorf("left out %d, told beside: %q", sum.LeftOut, told)
	}

	for _, none := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "sessions/good/event_cache")} {
		if _, err := archive.Import(t.Context(), s, none, archive.ImportOptions{Settings: api.SettingsRecord}); err == nil {
			t.Errorf("Import(%s) = nil, want an error", none)
		}
	}
}

// failing is a writer that has room for so much.
type failing struct{ room int }

var errNoRoom = errors.New("no room")

func (f *failing) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errNoRoom
	}
	return len(b), nil
}

func TestErrors(t *testing.T) {
	s := sample(t)
	for _, room := range []int{0, 100} {
		if _, err := archive.Export(t.Context(), s, &failing{room}, archive.ExportOptions{}); !errors.Is(err, errNoRoom) {
			t.Errorf("Export = %v, want %v", err, errNoRoom)
		}
		if _, err := archive.Trajectory(t.Context(), s, &failing{room}, "first"); !errors.Is(err, errNoRoom) {
			t.Errorf("Trajectory = %v, want %v", err, errNoRoom)
		}
	}
	if _, err := archive.Trajectory(t.Context(), s, io.Discard, "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Trajectory = %v, want %v", err, store.ErrNotFound)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archive.Export(ctx, s, io.Discard, archive.ExportOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Export = %v, want %v", err, context.Canceled)
	}
	text := export(t, s, archive.ExportOptions{})
	if _, err := archive.ImportFrom(ctx, memstore.New(), strings.NewReader(text), "f", archive.ImportOptions{Settings: api.SettingsRecord}); !errors.Is(err, context.Canceled) {
		t.Errorf("Import = %v, want %v", err, context.Canceled)
	}
	if !conversation.ValidID("first") {
		t.Error("the sample is of no use")
	}
}

// FuzzImport imports anything: it never panics, and what it has stored goes
// out and comes in again as the same.
func FuzzImport(f *testing.F) {
	const event = `{"id":1,"timestamp":"t","source":"user","action":"run","args":{"command":"c","_sa":[1e9]}}`
	f.Add(`{"openhands_local":1}` + "\n" + `{"conversation":{"id":"a","created_at":"2025-01-01T00:00:00Z"}}` + "\n" +
		`{"event":` + event + "}\n" + `{"end":{"conversations":1,"events":1,"records":0,"left_out":0}}` + "\n")
	f.Add(`{"trajectory":[` + event + `]}`)
	f.Add(`[` + event + `,{"id":2}]`)
	f.Add(`{"conversation":{"id":"a","created_at":"2025-01-01T00:00:00Z"},"events":[` + event + `]}`)
	f.Add(event + event)
	f.Fuzz(func(t *testing.T, text string) {
		s := memstore.New()
		if _, err := archive.ImportFrom(t.Context(), s, strings.NewReader(text), "file", archive.ImportOptions{Settings: api.SettingsRecord}); err != nil && idsOf(t, s) == "" {
			return
		}
		first := export(t, s, archive.ExportOptions{Secrets: true})
		again := memstore.New()
		if _, told, err := importFrom(t, again, first, archive.ImportOptions{}); err != nil || told != "" {
			t.Fatalf("Import of %s = %s, %v", first, told, err)
		}
		if second := export(t, again, archive.ExportOptions{Secrets: true}); second != first {
			t.Errorf("the second export is %s, want %s", second, first)
		}
	})
}
