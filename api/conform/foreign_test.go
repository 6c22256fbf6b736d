package conform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// somebodys is a server that holds somebody's work, and does whatever it is told: it answers few questions as the real
// server does, but every change that a request asks for is made, and an event to an unknown conversation creates it.
type somebodys struct {
	mu            sync.Mutex
	conversations map[string][]string // id => title and events
	settings      []string            // bodies posted
	secrets       map[string]string
	made          int
	undeletable   bool
	onRequest     func(*http.Request)
}

const nobodys = "0123456789abcdef0123456789abcdef" // the id that the recordings use for no conversation

func newSomebodys(ids ...string) *somebodys {
	s := &somebodys{conversations: map[string][]string{}, settings: []string{"theirs"}, secrets: map[string]string{"A": "theirs", "Z": "theirs"}}
	for _, id := range ids {
		s.conversations[id] = []string{"title of " + id, `{"action":"message"}`}
	}
	return s
}

func (s *somebodys) state() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := json.Marshal([]any{s.conversations, s.settings, s.secrets})
	return string(b)
}

func (s *somebodys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onRequest != nil {
		s.onRequest(r)
	}
	w.Header().Set("Content-Type", "application/json")
	reads := r.Method == "GET" || r.Method == "HEAD" || r.Method == "OPTIONS"
	var posted struct {
		Title, Name string
		ID          any `json:"conversation_id"`
	}
	json.Unmarshal(body, &posted)
	id, operation, isConversation := conversation(r.URL.EscapedPath())
	id, _ = url.PathUnescape(id)
	c, exists := s.conversations[id]
	switch path := strings.TrimRight(r.URL.Path, "/"); {
	case path == "/api/conversations" && r.Method == "POST":
		s.made++
		id, ok := posted.ID.(string)
		if !ok || id == "" {
			id = fmt.Sprintf("made%d", s.made)
		}
		s.conversations[id] = append(s.conversations[id], "made")
		fmt.Fprintf(w, `{"status":"ok","conversation_id":%q,"message":null,"conversation_status":"STARTING"}`, id)
	case path == "/api/conversations" && reads:
		fmt.Fprint(w, `{"results":[`)
		for i, id := range slices.Sorted(maps.Keys(s.conversations)) {
			fmt.Fprintf(w, "%s{\"conversation_id\":%q}", map[bool]string{i > 0: ","}[true], id)
		}
		fmt.Fprint(w, `],"next_page_id":null}`)
	case strings.HasPrefix(path, "/api/secrets") && !reads:
		if name, ok := strings.CutPrefix(path, "/api/secrets/"); ok && r.Method == "DELETE" {
			delete(s.secrets, name)
		} else if _, taken := s.secrets[posted.Name]; taken {
			w.WriteHeader(http.StatusBadRequest)
		} else if r.Method == "POST" && posted.Name != "" {
			s.secrets[posted.Name] = "made"
			w.WriteHeader(http.StatusCreated)
		}
	case !reads && (&Step{Method: r.Method, Path: path}).writesSettings():
		s.settings = append(s.settings, string(body))
	case isConversation && !exists && r.Method == "POST" && operation == "events":
		s.conversations[id] = []string{"born of an event", string(body)}
	case isConversation && !exists:
		fmt.Fprint(w, "null")
	case isConversation && r.Method == "DELETE" && operation == "" && s.undeletable:
		w.WriteHeader(http.StatusConflict)
	case isConversation && r.Method == "DELETE" && operation == "":
		delete(s.conversations, id)
		fmt.Fprint(w, "true")
	case isConversation && !reads:
		s.conversations[id] = append(c, r.Method+" "+operation+" "+string(body))
		fmt.Fprint(w, `{"success":true}`)
	case isConversation && operation == "events":
		fmt.Fprintf(w, `{"events":[{"id":%d,"extras":{"agent_state":"awaiting_user_input"}}],"has_more":false}`, len(c))
	case isConversation:
		fmt.Fprint(w, `{"status":"RUNNING"}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"detail":"Not Found"}`)
	}
}

// fakeClock lets time pass only by sleeping.
type fakeClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *fakeClock) clock() clock {
	return clock{
		now:   func() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at },
		sleep: func(_ context.Context, d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) },
	}
}

// Whatever is allowed, and whatever the server makes of the requests: nobody's data is touched.
func TestSomebodysDataStays(t *testing.T) {
	tests := []struct {
		why      string
		ids      []string
		options  Options
		settings bool // the settings may change
	}{
		{"nothing allowed", []string{"work", "made0"}, Options{}, false},
		{"an agent and harm allowed", []string{"work"}, Options{AllowAgent: true, AllowHarm: true}, false},
		{"everything allowed", []string{"work"}, Options{AllowAgent: true, AllowHarm: true, AllowSettings: true}, true},
		{"conversations with the ids of the recordings", []string{nobodys, "x", "abc", "☃", "a b"}, Options{AllowAgent: true, AllowHarm: true}, false},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			s := newSomebodys(tt.ids...)
			server := httptest.NewServer(s)
			defer server.Close()
			before := s.state()
			tt.options.Fast = true
			tt.options.clock = new(fakeClock).clock()
			report, err := Run(t.Context(), Target{URL: server.URL, Key: "k"}, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if tt.settings {
				s.settings = []string{"theirs"}
			}
			if after := s.state(); after != before {
				t.Errorf("the data changed:\nbefore %.2000s\nafter  %.2000s", before, after)
			}
			if s.made == 0 {
				t.Error("no conversation was made: the test shows nothing")
			}
			if report.Steps != 2355 {
				t.Errorf("Steps = %d, want 2355", report.Steps)
			}
			if n := report.Counts[NotApplicable]; n == 0 {
				t.Error("nothing was not applicable, but cases need an environment")
			}
			if left := len(report.LeftOut); !tt.settings && left == 0 {
				t.Error("no group was left out")
			}
		})
	}
}

// A run that is stopped deletes what it made.
func TestStoppedRunCleansUp(t *testing.T) {
	s := newSomebodys("work")
	server := httptest.NewServer(s)
	defer server.Close()
	before := s.state()
	ctx, stop := context.WithCancel(t.Context())
	s.onRequest = func(r *http.Request) {
		if r.Method == "POST" && r.URL.Path == "/api/conversations" {
			stop() // before the answer, which tells the id, is written
		}
	}
	report, err := Run(ctx, Target{URL: server.URL}, Options{Only: []string{"create_empty"}, Fast: true, clock: new(fakeClock).clock()})
	if err == nil || s.made != 1 {
		t.Errorf("Run = %v with %d conversations made, want an error and 1", err, s.made)
	}
	if after := s.state(); after != before {
		t.Errorf("the data changed:\nbefore %s\nafter  %s", before, after)
	}
	if n := report.Counts[NotApplicable]; n == 0 {
		t.Errorf("Counts = %v, want requests that were not sent", report.Counts)
	}
}

// A request that is under way when the run is stopped did not fail.
func TestStoppedIsNoFailure(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		stop()
		<-over // no answer until the run is over
	}))
	defer server.Close()
	report, err := Run(ctx, Target{URL: server.URL}, Options{Only: []string{"health"}, Fast: true})
	close(over)
	if !errors.Is(err, context.Canceled) || report.Counts[NotApplicable] != report.Steps || report.Steps == 0 {
		t.Errorf("Run = %v, %v, want all %d requests not applicable", report.Counts, err, report.Steps)
	}
}

func TestUndeletableIsReported(t *testing.T) {
	s := newSomebodys()
	s.undeletable = true
	server := httptest.NewServer(s)
	defer server.Close()
	report, err := Run(t.Context(), Target{URL: server.URL}, Options{Only: []string{"create_empty"}, Fast: true, clock: new(fakeClock).clock()})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/api/conversations/made1", "/api/conversations/made2"}; !slices.Equal(report.NotDeleted, want) || report.OK() {
		t.Errorf("NotDeleted = %q, OK %v, want %q and false", report.NotDeleted, report.OK(), want)
	}
}

func TestPace(t *testing.T) {
	s := newSomebodys()
	time0 := new(fakeClock)
	var at []time.Time
	s.onRequest = func(*http.Request) { at = append(at, time0.clock().now()) }
	server := httptest.NewServer(s)
	defer server.Close()
	if _, err := Run(t.Context(), Target{URL: server.URL}, Options{clock: time0.clock()}); err != nil {
		t.Fatal(err)
	}
	if len(at) < 1000 {
		t.Fatalf("%d requests came, want over 1000", len(at))
	}
	for i := 9; i < len(at); i++ {
		if d := at[i].Sub(at[i-9]); d < time.Second {
			t.Fatalf("requests %d to %d came within %v: 10 in a second", i-9, i, d)
		}
	}
}

// Without leave, each group is left out and named; what needs a server of one's own never runs.
func TestGroupsLeftOut(t *testing.T) {
	server := httptest.NewServer(newSomebodys())
	defer server.Close()
	tests := []struct {
		name    string
		options Options
		outcome Outcome
		groups  []Group
	}{
		{"settings_reset", Options{}, LeftOut, []Group{Settings}},
		{"search_hang_end_id", Options{}, LeftOut, []Group{Harm}},
		{"delete_unknown", Options{}, LeftOut, []Group{Harm}},
		{"sub_exp_config_unknown_creates_dir", Options{}, LeftOut, []Group{Harm}},
		{"sub_feedback", Options{}, LeftOut, []Group{Harm}},
		{"add_event_kind_message", Options{}, LeftOut, []Group{Agent}},
		{"seq_initial_message", Options{}, LeftOut, []Group{Agent}},
		{"auth_happy", Options{AllowSettings: true}, NotApplicable, nil},
		{"seq_restart_delete", Options{}, NotApplicable, nil},
		{"create_set_id_bad", Options{AllowHarm: true}, NotApplicable, nil},
	}
	for _, tt := range tests {
		tt.options.Only, tt.options.Fast, tt.options.clock = []string{tt.name}, true, new(fakeClock).clock()
		report, err := Run(t.Context(), Target{URL: server.URL}, tt.options)
		if err != nil {
			t.Fatal(err)
		}
		c := report.Cases[0]
		if c.Count(tt.outcome) != len(c.Steps) || !slices.Equal(c.LeftOut, tt.groups) || c.Reason == "" {
			t.Errorf("%s: %v left out %v (%q), want all %s, %v", tt.name, report.Counts, c.LeftOut, c.Reason, tt.outcome, tt.groups)
		}
		if report.OK() {
			t.Errorf("%s: OK though nothing was sent", tt.name)
		}
		for _, g := range tt.groups {
			if !slices.Contains(report.LeftOut[g], tt.name) {
				t.Errorf("%s is not named among those left out: %v", tt.name, report.LeftOut)
			}
		}
	}
}
