package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Query says which entries are meant. What is empty is not asked for.
type Query struct {
	After        int64  // those with a larger Seq
	Before       int64  // those with a smaller Seq, 0 for all
	Operation    string // as of an exchange: "AddEvent"
	Conversation string
	Status       string // "422", or "4xx" for any from 400 to 499
	Method       string // in upper or lower case
	Path         string // decoded, without the query; with * at its end, what begins so
	// Limit is the most entries that a Page has, 0 for any number: the first ones
	// where After is set, else the latest.
	Limit int
}

// String names what is asked for: "operation=AddEvent status=4xx", or "any".
func (q Query) String() string {
	var parts []string
	for _, c := range q.criteria(&Entry{}) {
		if c.want != "" {
			parts = append(parts, c.name+"="+c.want)
		}
	}
	if len(parts) == 0 {
		return "any"
	}
	return strings.Join(parts, " ")
}

// IsStatus tells whether a text can be the Status of a Query.
func IsStatus(text string) bool {
	if len(text) != 3 || text[0] < '1' || text[0] > '5' {
		return false
	}
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil || text[1:] == "xx"
}

type criterion struct {
	name, want, got string
	is              func(got, want string) bool
}

func equal(got, want string) bool { return got == want }

func (q Query) criteria(e *Entry) [5]criterion {
	return [5]criterion{
		{"operation", q.Operation, e.Operation, equal},
		{"conversation", q.Conversation, e.Conversation, equal},
		{"status", q.Status, strconv.Itoa(e.Status), func(got, want string) bool {
			return got == want || len(got) == 3 && got[:1]+"xx" == want
		}},
		{"method", q.Method, e.Method, strings.EqualFold},
		{"path", q.Path, e.Path, func(got, want string) bool {
			prefix, open := strings.CutSuffix(want, "*")
			return got == want || open && strings.HasPrefix(got, prefix)
		}},
	}
}

// Matches tells whether an entry is meant.
func (q Query) Matches(e *Entry) bool {
	return e.Seq > q.After && (q.Before == 0 || e.Seq < q.Before) && len(q.differs(e)) == 0
}

// differs says in what an entry is not what is asked for: "status is 200, want 422".
func (q Query) differs(e *Entry) (how []string) {
	for _, c := range q.criteria(e) {
		if c.want != "" && !c.is(c.got, c.want) {
			how = append(how, fmt.Sprintf("%s is %s, want %s", c.name, orNone(c.got), c.want))
		}
	}
	return how
}

func orNone(text string) string {
	if text == "" || text == "0" {
		return "none"
	}
	return text
}

// A Page is what a journal has.
type Page struct {
	Entries []*Entry `json:"requests"`
	Last    int64    `json:"last"`    // After of the next page
	Dropped int64    `json:"dropped"` // entries that gave way since the start, or since Clear
	Earlier int      `json:"-"`       // entries that match and are left out by Limit, without After
	Missed  int64    `json:"-"`       // entries after After, matching or not, that are not there any more
}

// Page returns the entries that are meant, in their order.
func (j *Journal) Page(q Query) Page {
	entries, last, dropped := j.after(q.After)
	p := Page{Entries: []*Entry{}, Last: last, Dropped: dropped, Missed: max(0, last-q.After-int64(len(entries)))}
	for _, e := range entries {
		if q.Matches(e) {
			p.Entries = append(p.Entries, e)
		}
		if q.After > 0 && len(p.Entries) == q.Limit && q.Limit > 0 {
			p.Last = e.Seq
			break
		}
	}
	if q.Limit > 0 {
		p.Earlier = max(0, len(p.Entries)-q.Limit)
		p.Entries = p.Entries[p.Earlier:]
	}
	j.show(p.Entries)
	return p
}

// show puts copies in the place of entries that are kept, with their headers and
// explained.
func (j *Journal) show(entries []*Entry) {
	for i, e := range entries {
		entries[i] = j.shown(e)
	}
}

func (j *Journal) shown(e *Entry) *Entry {
	c := *e
	c.Request.Header, c.Response.Header = inflate(c.Request.flat), inflate(c.Response.flat)
	if j.o.Explain != nil {
		j.o.Explain(&c)
	}
	return &c
}

// after returns the entries after one, and the number of the latest.
func (j *Journal) after(seq int64) (entries []*Entry, last, dropped int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := j.last - int64(len(j.entries)) // before the oldest
	skip := min(max(0, seq-first), int64(len(j.entries)))
	return slices.Clone(j.entries[skip:]), j.last, j.dropped
}

// Wait returns the first n entries that are meant, once there are so many: those
// that are there already count. When ctx ends before, the error is a
// [*Shortfall].
func (j *Journal) Wait(ctx context.Context, q Query, n int) ([]*Entry, error) {
	short := &Shortfall{Query: q, Want: n}
	start := time.Now()
	for next := q.After; ; {
		changed := j.Changed()
		entries, last, _ := j.after(next)
		next = last
		for _, e := range entries {
			if q.Matches(e) {
				short.Entries = append(short.Entries, e)
			} else {
				short.miss(e)
			}
			if len(short.Entries) == n {
				j.show(short.Entries)
				return short.Entries, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			short.Took = time.Since(start)
			j.show(short.Entries)
			for i := range short.Misses {
				short.Misses[i].Entry = j.shown(short.Misses[i].Entry)
			}
			return nil, short
		}
	}
}

// A Shortfall is the error of a wait for more entries than came.
type Shortfall struct {
	Query   Query
	Want    int
	Took    time.Duration
	Entries []*Entry // those that are meant
	Others  int      // how many came that are not
	Misses  []Miss   // of those the nearest, at most maxMisses
}

// A Miss is an entry that is not meant.
type Miss struct {
	Entry   *Entry   `json:"request"`
	Differs []string `json:"differs"` // "status is 200, want 422"
}

const maxMisses = 5

// miss notes an entry: what differs in less is nearer, then what came later.
func (s *Shortfall) miss(e *Entry) {
	s.Others++
	m := Miss{e, s.Query.differs(e)}
	at := slices.IndexFunc(s.Misses, func(o Miss) bool { return len(m.Differs) <= len(o.Differs) })
	if at < 0 {
		at = len(s.Misses)
	}
	s.Misses = slices.Insert(s.Misses, at, m)
	s.Misses = s.Misses[:min(len(s.Misses), maxMisses)]
}

// Error is a line, and one for each of the nearest misses.
func (s *Shortfall) Error() string {
	text := fmt.Sprintf("%d of %d requests came within %v that match %v, and %d others", len(s.Entries), s.Want, s.Took.Round(time.Millisecond), s.Query, s.Others)
	for _, m := range s.Misses {
		text += fmt.Sprintf("\n  %v\n    %s", m.Entry, strings.Join(m.Differs, ", "))
	}
	return text
}

// MarshalJSON writes what came as well:
//
//	{"detail":"0 of 1 requests came …","matched":[…],"others":3,"misses":[{"request":{…},"differs":["status is 200, want 422"]}]}
func (s *Shortfall) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Detail  string   `json:"detail"`
		Matched []*Entry `json:"matched"`
		Others  int      `json:"others"`
		Misses  []Miss   `json:"misses"`
	}{s.Error(), append([]*Entry{}, s.Entries...), s.Others, append([]Miss{}, s.Misses...)})
}
