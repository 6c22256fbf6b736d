package conform

import (
	"fmt"
	"strings"
	"testing"
)

// TestIndex: what was recorded is found by what it has in common, and what
// differs from it is told.
func TestIndex(t *testing.T) {
	t.Parallel()
	const events = "POST /api/conversations/{conversation_id}/events"
	x := NewIndex(func(method, path string) string {
		switch {
		case method == "POST" && strings.HasPrefix(path, "/api/conversations/") && strings.HasSuffix(path, "/events"):
			return events
		case method == "GET" && path == "/alive":
			return "GET /alive"
		}
		return ""
	})
	steps := map[string]bool{}
	for _, c := range Cases() {
		c.each(func(id string, _ *Step) { steps[c.Name+" step "+id] = true })
	}
	for k, r := range x.kinds {
		if len(r.Steps) > maxSteps || len(r.Steps) > r.Of || r.Of > 0 && len(r.Steps) == 0 || r.Of == 0 && len(r.Instead) == 0 {
			t.Errorf("%v: %+v", k, r)
		}
		for _, s := range r.Steps {
			if !steps[s] {
				t.Errorf("%v: there is no %s", k, s)
			}
		}
	}
	for _, tt := range []struct {
		kind                   Kind
		step, differs, instead string // within those found; "" for any
	}{
		{Kind{events, 200, "action message"}, "add_event_kind_message step ", "", ""},
		{Kind{events, 422, ""}, "", "", "unservable"},
		{Kind{events, 404, ""}, " step ", "", ""},
		{Kind{"GET /alive", 403, ""}, "", "", "foreign-origin"},
		{Kind{"", 405, ""}, " step ", "full-allow", ""},
		{Kind{"GET /docs", 200, ""}, " step ", "", ""},
	} {
		r := x.Find(tt.kind)
		if !strings.Contains(fmt.Sprint(r.Steps), tt.step) || !strings.Contains(fmt.Sprint(r.Differs), tt.differs) || !strings.Contains(fmt.Sprint(r.Instead), tt.instead) {
			t.Errorf("%v: %+v, want %q, %q, %q", tt.kind, r, tt.step, tt.differs, tt.instead)
		}
	}
	if r := x.Find(Kind{events, 299, ""}); r.Of != 0 || r.Instead != nil {
		t.Errorf("what was never recorded: %+v", r)
	}
}

// TestDetail: a refusal is told by its first place, an event by what it is.
func TestDetail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status          int
		request, answer string
		want            string
	}{
		{422, `{`, `{"detail":[{"type":"json_invalid","loc":["body",1]}]}`, "body.1 json_invalid"},
		{404, `{"action":"message"}`, `{"detail":"Not Found"}`, ""},
		{200, `{"action":"message"}`, `{}`, "action message"},
		{200, `{"observation":"run"}`, `{}`, "observation run"},
		{200, `{"action":5}`, `{}`, ""}, {200, ``, `{}`, ""}, {200, `[]`, ``, ""},
	} {
		if got := Detail(tt.status, []byte(tt.request), []byte(tt.answer)); got != tt.want {
			t.Errorf("Detail(%d, %s, %s) = %q, want %q", tt.status, tt.request, tt.answer, got, tt.want)
		}
	}
}

func BenchmarkNewIndex(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewIndex(func(string, string) string { return "" })
	}
}
