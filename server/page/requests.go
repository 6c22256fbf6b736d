package page

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/server/journal"
)

// errNoJournal is for a server that keeps nothing of what it was asked.
var errNoJournal = &failure{http.StatusConflict, "The journal is off. Start openhands-local with --journal 1000 to keep that many requests."}

// filters are the fields of a query that a form has.
func filters(q *journal.Query) map[string]*string {
	return map[string]*string{"operation": &q.Operation, "conversation": &q.Conversation, "status": &q.Status, "method": &q.Method, "path": &q.Path}
}

// readQuery reads what is asked of the journal, and writes it as a query again.
func readQuery(r *http.Request) (q journal.Query, asked url.Values, err error) {
	asked = url.Values{}
	for name, field := range filters(&q) {
		if *field = r.URL.Query().Get(name); *field != "" {
			asked.Set(name, *field)
		}
	}
	if q.Status != "" && !journal.IsStatus(q.Status) {
		return q, asked, &failure{http.StatusUnprocessableEntity, fmt.Sprintf("The status is %q: want one such as 422, or 4xx for all of its class.", q.Status)}
	}
	return q, asked, nil
}

func (p *Page) requests(w http.ResponseWriter, r *http.Request) error {
	if p.Journal == nil {
		return errNoJournal
	}
	q, asked, err := readQuery(r)
	if err != nil {
		return err
	}
	before, err := number(r, "before")
	if err != nil {
		return err
	}
	q.Limit, q.Before = maxRows, max(0, before)
	found := p.Journal.Page(q)
	slices.Reverse(found.Entries)
	older := int64(0)
	if found.Earlier > 0 {
		older = found.Entries[maxRows-1].Seq
	}
	return p.show(w, http.StatusOK, "requests", view{Title: "Requests", Section: "requests", Content: struct {
		Query      journal.Query
		Asked      template.URL // as a query
		Entries    []*journal.Entry
		Matching   int // of those up to here
		Dropped    int64
		Last       string // the cursor of the latest
		Older      int64
		Live       bool
		Operations []string
	}{q, template.URL(asked.Encode()), found.Entries, found.Earlier + len(found.Entries), found.Dropped, p.Journal.Cursor(found.Last), older, before < 0, p.Operations}})
}

// liveRequests tells of each entry that matches.
func (p *Page) liveRequests(w http.ResponseWriter, r *http.Request) error {
	if p.Journal == nil {
		return errNoJournal
	}
	q, _, err := readQuery(r)
	if err != nil {
		return err
	}
	last := cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after"), "0")
	if q.After, err = p.Journal.ParseCursor(last); err != nil {
		return &failure{http.StatusUnprocessableEntity, err.Error()}
	}
	return p.live(w, r, p.Journal.Changed, func(s *stream) error {
		// Of what comes faster than it can be shown the latest is sent.
		q.After = max(q.After, p.Journal.Last()-10*maxRows)
		found := p.Journal.Page(q)
		q.After, s.id = found.Last, p.Journal.Cursor(found.Last)
		for _, e := range found.Entries[max(0, len(found.Entries)-maxRows):] {
			if err := s.put("request-row", e); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *Page) clearRequests(w http.ResponseWriter, r *http.Request) error {
	if p.Journal == nil {
		return errNoJournal
	}
	p.Journal.Clear()
	return seeOther(w, r, Prefix+"requests")
}

// A half is a request or its answer.
type half struct {
	journal.Message
	Headers []Fact
	Text    text
}

func halfOf(m journal.Message) half {
	h := half{Message: m, Text: textOf(m.Body)}
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		for _, v := range m.Header[name] {
			h.Headers = append(h.Headers, Fact{name, v})
		}
	}
	return h
}

func (p *Page) request(w http.ResponseWriter, r *http.Request) error {
	if p.Journal == nil {
		return errNoJournal
	}
	seq, err := strconv.ParseInt(r.PathValue("seq"), 10, 64)
	if err != nil || seq < 1 {
		return p.unknown(w, r)
	}
	found := p.Journal.Page(journal.Query{After: seq - 1, Before: seq + 1}).Entries
	if len(found) == 0 {
		return &failure{http.StatusNotFound, fmt.Sprintf("The journal has no request %d: it gave way to later ones, or has not come.", seq)}
	}
	e := found[0]
	return p.show(w, http.StatusOK, "request", view{Title: fmt.Sprintf("Request %d", seq), Section: "requests", Content: struct {
		*journal.Entry
		Asked, Answered half
		Curl            string
		Socket          bool
	}{e, halfOf(e.Request), halfOf(e.Response), e.Curl("http://" + r.Host), e.Transport == exchange.Socket}})
}
