package servertest

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/server"
)

const greeting = `{"action":"message","args":{"content":"Hi"}}`

// needs skips a test without the operations that get and post use.
func needs(t *testing.T) {
	Needs(t, "POST /api/conversations/{conversation_id}/events", "GET /api/conversations/{conversation_id}/events")
}

// get returns the events of conversation c.
func (s *Server) get(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(s.URL + "/api/conversations/c/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// post adds an event to conversation c, which the first one makes.
func (s *Server) post(t *testing.T, event string) {
	t.Helper()
	resp, err := http.Post(s.URL+"/api/conversations/c/events", "application/json", strings.NewReader(event))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("POST = %s, want 200", resp.Status)
	}
}

// TestRepeats: two servers answer the same, byte by byte, and share nothing.
func TestRepeats(t *testing.T) {
	t.Parallel()
	needs(t)
	pages := map[string]bool{}
	for range 2 {
		s := NewServer(t, server.Config{})
		s.post(t, greeting)
		pages[s.get(t)] = true
	}
	if len(pages) != 1 {
		t.Errorf("two servers answer %v, want the same", pages)
	}
	for page := range pages {
		if want := `{"events":[{"id":0,"timestamp":"2025-01-01T00:00:00`; !strings.HasPrefix(page, want) {
			t.Errorf("events = %s, want %s…", page, want)
		}
	}
}

// TestRestart: data and clock go on.
func TestRestart(t *testing.T) {
	t.Parallel()
	needs(t)
	s := NewServer(t, server.Config{Data: t.TempDir()})
	s.Clock.Set(time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local))
	s.post(t, greeting)
	before := s.get(t)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if after := s.get(t); after != before || !strings.Contains(after, `"timestamp":"2026-01-02T03:04:05`) {
		t.Errorf("events = %s, after a restart %s, want the same of 2026-01-02T03:04:05", before, after)
	}
	s.post(t, greeting)
	if after := s.get(t); strings.Count(after, `"timestamp":"2026-01-02T03:04:05`) < 2 {
		t.Errorf("events = %s, want more of 2026-01-02T03:04:05", after)
	}
}

// TestOwnClock: that of a Config is the server's.
func TestOwnClock(t *testing.T) {
	t.Parallel()
	needs(t)
	s := NewServer(t, server.Config{Clock: clock.New(clock.Options{Start: time.Date(1999, 12, 31, 0, 0, 0, 0, time.Local), Frozen: true})})
	s.post(t, greeting)
	if page := s.get(t); s.Clock.Now().Year() != 1999 || !strings.Contains(page, `"timestamp":"1999-12-31T00:00:00"`) {
		t.Errorf("Now = %v, events = %s, want the Config's time", s.Clock.Now(), page)
	}
}

// told is a test whose outcome is looked at.
type told struct {
	testing.TB
	errors, log []string
	cleanup     []func()
}

func (t *told) Error(args ...any)            { t.errors = append(t.errors, fmt.Sprint(args...)) }
func (t *told) Logf(format string, a ...any) { t.log = append(t.log, fmt.Sprintf(format, a...)) }
func (t *told) Cleanup(f func())             { t.cleanup = append(t.cleanup, f) }

func (t *told) end() {
	for _, f := range t.cleanup {
		f()
	}
}

// TestLenientIsTold at the end of a test, and nothing is when there is
// nothing to tell. The Config's own Log has the records too.
func TestLenientIsTold(t *testing.T) {
	t.Parallel()
	needs(t)
	for _, tt := range []struct {
		why    string
		events []string
		want   []string
	}{
		{"an unknown conversation", []string{greeting, greeting}, []string{"1 answer was more lenient than 0.53.0's: server.Config.Strict refuses, its Log tells which"}},
		{"nothing", nil, nil},
	} {
		test := &told{TB: t}
		var records bytes.Buffer
		s := NewServer(test, server.Config{Log: slog.New(slog.NewTextHandler(&records, nil))})
		for _, e := range tt.events {
			s.post(t, e)
		}
		test.end()
		if fmt.Sprint(test.log) != fmt.Sprint(tt.want) || len(test.errors) > 0 {
			t.Errorf("%s: log %q, errors %q, want %q and none", tt.why, test.log, test.errors, tt.want)
		}
		if got := strings.Count(records.String(), "more lenient than OpenHands"); got != len(tt.want) {
			t.Errorf("%s: %d records, want %d:\n%s", tt.why, got, len(tt.want), &records)
		}
	}
}

// TestAnswersAreChecked: an answer that the contract does not have fails the
// test, whatever the test makes of it.
func TestAnswersAreChecked(t *testing.T) {
	t.Parallel()
	Needs(t, "GET /api/conversations")
	for why, tt := range map[string]struct {
		answer http.HandlerFunc
		path   string
		want   string
	}{
		"a status that is not documented": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "/api/conversations", "GET /api/conversations answers 418"},
		"a content type of another kind": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `{"results":[],"next_page_id":null}`)
		}, "/api/conversations", "GET /api/conversations answers 200"},
		"a body against the schema": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"results":5}`)
		}, "/api/conversations", "GET /api/conversations answers 200"},
		"as documented": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"results":[],"next_page_id":null}`)
		}, "/api/conversations", ""},
		"no operation": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "/nowhere", ""},
	} {
		test := &told{TB: t}
		s := NewServer(test, server.Config{Wrap: func(http.Handler) http.Handler { return tt.answer }})
		resp, err := http.Get(s.URL + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		test.end()
		if got := strings.Join(test.errors, "\n"); (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: errors %q, want %q…", why, got, tt.want)
		}
	}
}
