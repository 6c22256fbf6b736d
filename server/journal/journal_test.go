package journal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/migration"
	"github.com/openhands-local/openhands-local/server/journal"
)

// asked is an exchange that is done.
func asked(method, path, operation, conversation string, status int) *exchange.Exchange {
	x := exchange.New(exchange.HTTP, method, path)
	x.Operation, x.Conversation, x.Status = operation, conversation, status
	x.Done()
	return x
}

func message(text string) (m journal.Message) {
	_, _ = m.Write([]byte(text))
	return m
}

// TestRing compares with a list: what is kept, dropped and found after any
// sequence of calls.
func TestRing(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		limit := 1 + random.IntN(20)
		j := journal.New(journal.Options{Limit: limit})
		var model []string // one a Seq, "" for what is gone
		var dropped int64
		kept := func() (n int) {
			for _, c := range model {
				if c != "" {
					n++
				}
			}
			return n
		}
		for range 200 {
			switch random.IntN(40) {
			case 0:
				j.Clear()
				model, dropped = make([]string, len(model)), 0
			default:
				c := fmt.Sprint("c", random.IntN(3))
				j.Add(asked("GET", "/x", "", c, 200), new(journal.Entry))
				model = append(model, c)
				for i := 0; kept() > limit; i++ {
					if model[i] != "" {
						model[i] = ""
						dropped++
					}
				}
			}
			q := journal.Query{After: int64(random.IntN(len(model) + 2)), Limit: random.IntN(4)}
			if random.IntN(2) == 0 {
				q.Conversation = "c1"
			}
			var want []int64
			for i, c := range model {
				if seq := int64(i + 1); c != "" && seq > q.After && (q.Conversation == "" || q.Conversation == c) {
					want = append(want, seq)
				}
			}
			if q.Limit > 0 && len(want) > q.Limit {
				if q.After > 0 {
					want = want[:q.Limit]
				} else {
					want = want[len(want)-q.Limit:]
				}
			}
			page := j.Page(q)
			var got []int64
			for _, e := range page.Entries {
				got = append(got, e.Seq)
			}
			if !slices.Equal(got, want) || page.Dropped != dropped {
				t.Fatalf("seed %d: Page(%+v) = %v, %d dropped, want %v, %d", seed, q, got, page.Dropped, want, dropped)
			}
			if q.After == 0 && page.Last != int64(len(model)) {
				t.Fatalf("seed %d: Last = %d, want %d", seed, page.Last, len(model))
			}
		}
	}
}

// TestPages: whoever goes on after Last meets each entry once.
func TestPages(t *testing.T) {
	j := journal.New(journal.Options{Limit: 100})
	for i := range 10 {
		j.Add(asked("GET", "/x", "", fmt.Sprint("c", i%2), 200), new(journal.Entry))
	}
	var got []int64
	for q := (journal.Query{After: 1, Conversation: "c0", Limit: 2}); ; {
		page := j.Page(q)
		if len(page.Entries) == 0 {
			break
		}
		for _, e := range page.Entries {
			got = append(got, e.Seq)
		}
		q.After = page.Last
	}
	if want := []int64{3, 5, 7, 9}; !slices.Equal(got, want) {
		t.Errorf("pages have %v, want %v", got, want)
	}
}

// TestMaxBytes: large bodies are cut, and large entries give way before there are
// Limit of them.
func TestMaxBytes(t *testing.T) {
	j := journal.New(journal.Options{Limit: 100_000})
	for range 1000 {
		j.Add(asked("POST", "/x", "", "", 200), &journal.Entry{Request: message(strings.Repeat("x", journal.MaxBody+1))})
	}
	page := j.Page(journal.Query{})
	if n := len(page.Entries); n == 0 || n*journal.MaxBody > journal.MaxBytes || int64(n)+page.Dropped != 1000 {
		t.Errorf("%d entries kept, %d dropped of 1000", n, page.Dropped)
	}
	if r := page.Entries[0].Request; len(r.Body) != journal.MaxBody || !r.Cut || r.Bytes != journal.MaxBody+1 {
		t.Errorf("%d of %d bytes kept, cut %v, want %d of one more", len(r.Body), r.Bytes, r.Cut, journal.MaxBody)
	}
	huge := http.Header{"X-Huge": {strings.Repeat("x", journal.MaxBytes)}}
	j.Add(asked("GET", "/x", "", "", 200), &journal.Entry{Request: journal.Message{Header: huge}})
	if page := j.Page(journal.Query{}); len(page.Entries) != 0 || page.Dropped != 1001 {
		t.Errorf("%d entries, %d dropped, want none: the last is larger than all may be", len(page.Entries), page.Dropped)
	}
}

// TestMatches has one row for each thing that may be asked for.
func TestMatches(t *testing.T) {
	j := journal.New(journal.Options{Limit: 10})
	j.Add(asked("POST", "/api/conversations/a/events", "AddEvent", "a", 422), new(journal.Entry))
	e := j.Page(journal.Query{}).Entries[0]
	for _, tt := range []struct {
		q    journal.Query
		want bool
	}{
		{journal.Query{}, true}, {journal.Query{After: 1}, false},
		{journal.Query{Operation: "AddEvent"}, true}, {journal.Query{Operation: "addevent"}, false},
		{journal.Query{Conversation: "a"}, true}, {journal.Query{Conversation: "b"}, false},
		{journal.Query{Status: "422"}, true}, {journal.Query{Status: "4xx"}, true}, {journal.Query{Status: "2xx"}, false}, {journal.Query{Status: "42"}, false},
		{journal.Query{Method: "post"}, true}, {journal.Query{Method: "GET"}, false},
		{journal.Query{Path: "/api/conversations/a/events"}, true}, {journal.Query{Path: "/api/*"}, true}, {journal.Query{Path: "/api"}, false}, {journal.Query{Path: "/b*"}, false},
		{journal.Query{Operation: "AddEvent", Status: "200"}, false},
	} {
		if got := tt.q.Matches(e); got != tt.want {
			t.Errorf("%v: Matches = %v, want %v", tt.q, got, tt.want)
		}
	}
	for text, want := range map[string]bool{"200": true, "4xx": true, "599": true, "": false, "4x": false, "600": false, "4x2": false, "-20": false, "+20": false, "0xx": false, "2000": false} {
		if journal.IsStatus(text) != want {
			t.Errorf("IsStatus(%q) = %v, want %v", text, !want, want)
		}
	}
}

// TestWait: it returns at n, wherever they come from, and at the end of the
// context says what came instead, the nearest first.
func TestWait(t *testing.T) {
	j := journal.New(journal.Options{Limit: 2})
	q := journal.Query{Operation: "AddEvent", Status: "422"}
	j.Add(asked("POST", "/a", "AddEvent", "a", 422), new(journal.Entry))
	type result struct {
		entries []*journal.Entry
		err     error
	}
	done := make(chan result)
	go func() {
		entries, err := j.Wait(t.Context(), q, 5)
		done <- result{entries, err}
	}()
	var adding sync.WaitGroup
	for range 4 {
		adding.Go(func() {
			for range 50 {
				j.Add(asked("POST", "/a", "AddEvent", "a", 200), new(journal.Entry))
			}
		})
	}
	adding.Wait()
	// The journal is smaller than what is waited for: one after the other, until
	// they were seen.
	var got result
	for waiting := true; waiting; {
		j.Add(asked("POST", "/a", "AddEvent", "a", 422), new(journal.Entry))
		select {
		case got = <-done:
			waiting = false
		case <-time.After(time.Millisecond):
		}
	}
	if got.err != nil || len(got.entries) != 5 {
		t.Fatalf("Wait = %d entries, %v, want 5", len(got.entries), got.err)
	}

	j = journal.New(journal.Options{Limit: 10})
	j.Add(asked("GET", "/alive", "Alive", "", 200), new(journal.Entry))
	j.Add(asked("POST", "/a", "AddEvent", "a", 200), new(journal.Entry))
	j.Add(asked("POST", "/a", "AddEvent", "a", 422), new(journal.Entry))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := j.Wait(ctx, q, 2)
	var short *journal.Shortfall
	if !errors.As(err, &short) || len(short.Entries) != 1 || short.Others != 2 || len(short.Misses) != 2 {
		t.Fatalf("Wait = %v, want one of two and two others", err)
	}
	if m := short.Misses[0]; m.Entry.Seq != 2 || !slices.Equal(m.Differs, []string{"status is 200, want 422"}) {
		t.Errorf("nearest miss = %+v, want #2 for its status", m)
	}
	for _, want := range []string{"1 of 2 requests", "operation=AddEvent status=422", "#2 ", "status is 200, want 422", "operation is Alive, want AddEvent"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}

// TestClean: no entry has a key or a secret, wherever it stands and however it is
// written.
func TestClean(t *testing.T) {
	const (
		key    = "k3y/+?"
		secret = "s3cret \"quoted\" <é>"
	)
	j := journal.New(journal.Options{Limit: 10, Secrets: func() ([]string, error) { return []string{"s3cret", secret, key, ""}, nil }})
	x := asked("POST", "/api/"+key, "AddEvent", secret, 422)
	x.Refusal = &exchange.Refusal{Msg: "not " + secret, Err: errors.New("no " + key)}
	header := http.Header{
		"X-Session-Api-Key": {"wrong"}, "Authorization": {"Bearer wrong"}, "Cookie": {"a=wrong"}, "X-Local-Token": {"wrong"}, "X-Other": {"has " + key, "plain"},
		"Referer": {"http://localhost/?a=1&session_api_key=wrong"},
	}
	j.Add(x, &journal.Entry{
		Query:    "session%5Fapi_key=wrong&key=wrong&a=k3y%2F%2B%3F&b=plain",
		Request:  journal.Message{Header: header, Body: []byte(`{"a":"s3cret \"quoted\" <é>","b":"s3cret \"quoted\" <\u00e9>"}`)},
		Response: journal.Message{Header: http.Header{"Set-Cookie": {"wrong"}, "Location": {"/x?session_api_key=wrong"}}, Body: []byte(secret)},
	})
	text, err := json.Marshal(j.Page(journal.Query{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, leaked := range []string{"wrong", "k3y", "s3cret", "quoted", "Bearer"} {
		if bytes.Contains(text, []byte(leaked)) {
			t.Errorf("%q is shown: %s", leaked, text)
		}
	}
	for _, kept := range []string{"plain", "has ", `a=1`} {
		if !bytes.Contains(text, []byte(kept)) {
			t.Errorf("%q is not shown: %s", kept, text)
		}
	}
	if header["X-Other"][0] != "has "+key {
		t.Errorf("the request's own header was changed: %v", header)
	}
}

// TestCut: of a body that is cut neither half a secret nor half a character is
// shown, and one secret in many places makes it no larger.
func TestCut(t *testing.T) {
	secrets := []string{"abcdef"}
	j := journal.New(journal.Options{Limit: 10, Secrets: func() ([]string, error) { return secrets, nil }})
	body := func(text string) journal.Message {
		j.Add(asked("POST", "/x", "", "", 200), &journal.Entry{Request: message(text)})
		page := j.Page(journal.Query{Limit: 1})
		return page.Entries[0].Request
	}
	if b := body(strings.Repeat("x", journal.MaxBody-4) + "abcdef"); !b.Cut || strings.ContainsAny(string(b.Body), "abcd") {
		t.Errorf("the body ends with %q", b.Body[len(b.Body)-6:])
	}
	if b := body(strings.Repeat("x", journal.MaxBody-1) + "é"); string(b.Body) != strings.Repeat("x", journal.MaxBody-1) {
		t.Errorf("the body ends with %q", b.Body[len(b.Body)-6:])
	}
	if b := body(strings.Repeat("abcdef", journal.MaxBody)); len(b.Body) > journal.MaxBody || bytes.Contains(b.Body, []byte("abc")) {
		t.Errorf("%d bytes kept", len(b.Body))
	}
	secrets = []string{strings.Repeat("long", 100)}
	if b := body(secrets[0]); b.Cut || string(b.Body) != "<secret_hidden>" {
		t.Errorf("body = %q, cut %v", b.Body, b.Cut)
	}
}

// TestWithheld: bodies that hold keys are not kept, nor any when the secrets are
// not known.
func TestWithheld(t *testing.T) {
	var failure error
	j := journal.New(journal.Options{Limit: 10, Secrets: func() ([]string, error) { return nil, failure }})
	x := asked("POST", "/api/settings", "StoreSettings", "", 200)
	x.Withheld = true
	j.Add(x, &journal.Entry{Request: message("sk-1")})
	failure = errors.New("closed")
	j.Add(asked("GET", "/x", "", "", 200), &journal.Entry{Response: message("sk-2")})
	entries := j.Page(journal.Query{}).Entries
	if a, b := entries[0].Request, entries[1].Response; !a.Withheld || !b.Withheld || len(a.Body)+len(b.Body) > 0 || a.Bytes != 4 || entries[0].Response.Withheld {
		t.Errorf("entries = %+v, %+v, want both withheld", entries[0], entries[1])
	}
}

// TestJSON: what is written can be read, of bytes that are no text too.
func TestJSON(t *testing.T) {
	j := journal.New(journal.Options{Limit: 10})
	x := asked("POST", "/x", "", "", 200)
	x.Lenient, x.Fault = []string{"a"}, "slow"
	j.Add(x, &journal.Entry{Request: message("\xff\x00"), Response: message("é")})
	text, err := json.Marshal(j.Page(journal.Query{}))
	if err != nil {
		t.Fatal(err)
	}
	var read journal.Page
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(read)
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("%s is read as\n%s (%v)", text, again, err)
	}
	if e := read.Entries[0]; string(e.Request.Body) != "\xff\x00" || string(e.Response.Body) != "é" || e.ID != x.ID {
		t.Errorf("read %+v", e)
	}
}

// TestExplain: what is read is explained, and what is kept is not touched.
func TestExplain(t *testing.T) {
	t.Parallel()
	asks := 0
	j := journal.New(journal.Options{Limit: 3, Explain: func(e *journal.Entry) {
		asks++
		e.Evidence = &journal.Evidence{Basis: journal.BasisRecorded, Kind: "GET /a 200", Cases: []string{"a step 1"}, Of: asks}
		e.Successor = &migration.Successors{None: true}
	}})
	for range 5 {
		j.Add(asked("GET", "/a", "", "", 200), &journal.Entry{})
	}
	if asks != 0 {
		t.Errorf("%d were explained before anybody read", asks)
	}
	first := j.Page(journal.Query{}).Entries
	again := j.Page(journal.Query{Limit: 1}).Entries
	if asks != 4 || first[2].Evidence.Of != 3 || again[0].Evidence.Of != 4 {
		t.Errorf("asked %d times, of %d and %d, want 4, 3, 4", asks, first[2].Evidence.Of, again[0].Evidence.Of)
	}
	waited, err := j.Wait(t.Context(), journal.Query{}, 1)
	if err != nil || waited[0].Evidence == nil {
		t.Errorf("Wait = %v, %v, without its evidence", waited, err)
	}
	if got, want := strings.Join(first[1].Explanation(), "\n"), "  evidence: recorded 2 times as GET /a 200: a step 1, …\n  successor: no successor"; got != want {
		t.Errorf("Explanation = %s, want %s", got, want)
	}
}

// TestBefore: a page of the latest entries leads to those before it, until there are
// none.
func TestBefore(t *testing.T) {
	j := journal.New(journal.Options{Limit: 8})
	for i := range 10 {
		j.Add(asked("GET", "/", []string{"A", "B"}[i%2], "", 200), new(journal.Entry))
	}
	if kept, dropped := j.Count(); kept != 8 || dropped != 2 {
		t.Errorf("Count = %d, %d, want 8, 2", kept, dropped)
	}
	var got []string
	for q := (journal.Query{Operation: "B", Limit: 2}); ; {
		p := j.Page(q)
		for _, e := range p.Entries {
			got = append(got, fmt.Sprint(e.Seq))
		}
		got = append(got, fmt.Sprintf("%d earlier", p.Earlier))
		if p.Earlier == 0 {
			break
		}
		q.Before = p.Entries[0].Seq
	}
	if got, want := strings.Join(got, ", "), "8, 10, 2 earlier, 4, 6, 0 earlier"; got != want {
		t.Errorf("pages are %s, want %s", got, want)
	}
	if p := j.Page(journal.Query{After: 4, Before: 6}); len(p.Entries) != 1 || p.Entries[0].Seq != 5 {
		t.Errorf("the page between 4 and 6 is %v, want 5", p.Entries)
	}
}
