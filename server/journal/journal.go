// Package journal keeps what was asked and answered last, to look at: each
// [exchange.Exchange] that is done, with the headers and the beginnings of both
// bodies, as an [Entry].
//
//	j := journal.New(journal.Options{Limit: 1000, Secrets: secrets})
//	j.Add(x, &journal.Entry{Query: …, Request: …, Response: …})
//	page := j.Page(journal.Query{Operation: "AddEvent", Status: "4xx"})
//	entries, err := j.Wait(ctx, q, 2)    // err is a *Shortfall that says what came instead
//
// It lives in memory and is bounded by a number of entries and by [MaxBytes]:
// the oldest are dropped, and counted. Nothing that it keeps has a key or a
// secret: they are taken out (clean.go) before an entry is kept.
//
// The files: query.go finds entries and waits for them, har.go writes them as an
// HTTP Archive, curl.go as commands.
package journal

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/migration"
)

const (
	// MaxBody is the most bytes that are kept of a body.
	MaxBody = 32 << 10
	// MaxBytes is the most bytes that all entries take, about.
	MaxBytes = 16 << 20
)

// An Entry is an exchange that is done. What is read of a journal are copies.
type Entry struct {
	Seq          int64              `json:"seq"` // 1, 2, 3 … in the order of their ends
	ID           string             `json:"id"`  // the answer's X-Request-Id
	Connection   string             `json:"connection,omitempty"`
	Start        time.Time          `json:"start"`
	Milliseconds float64            `json:"ms"`
	Transport    exchange.Transport `json:"transport"`
	Sent         bool               `json:"sent,omitempty"` // a message of the server's
	Method       string             `json:"method"`
	World        string             `json:"world,omitempty"`
	Path         string             `json:"path"`
	Query        string             `json:"query,omitempty"` // percent-encoded, as it was sent
	Line         string             `json:"line,omitempty"`  // of contract, as of an exchange: "" is OpenHands 0.53.0's
	Operation    string             `json:"operation,omitempty"`
	Conversation string             `json:"conversation,omitempty"`
	Status       int                `json:"status,omitempty"` // 0 for a message, and for a request that was not answered
	EventID      int64              `json:"event_id"`         // -1 for none
	Lenient      []string           `json:"lenient,omitempty"`
	Refusal      *Refusal           `json:"refusal,omitempty"`
	Hint         string             `json:"hint,omitempty"` // what a request for an unknown path probably meant
	Fault        string             `json:"fault,omitempty"`
	Waits        string             `json:"waits,omitempty"`
	Request      Message            `json:"request"`  // of a message that was sent, empty
	Response     Message            `json:"response"` // of one that was received, empty

	// Evidence and Successor are there in what is read of a journal, when its
	// Options say what they are.
	Evidence  *Evidence             `json:"evidence,omitempty"`
	Successor *migration.Successors `json:"successor,omitempty"` // what replaces the call in later contracts

	size int64
}

// Evidence is what stands behind an answer.
type Evidence struct {
	Basis   Basis    `json:"basis"`
	Kind    string   `json:"kind,omitempty"`    // what the answer has in common with the recorded ones: "POST /api/conversations 422 body.image_urls list_type"
	Cases   []string `json:"cases"`             // some recordings, with the step: "add_event_bad_kinds step 3"
	Of      int      `json:"of"`                // how many there are
	Differs []string `json:"differs,omitempty"` // in what such answers differ from the recorded ones, and why
}

// A Basis is the kind of an Evidence.
type Basis string

// What stands behind an answer.
const (
	BasisRecorded    Basis = "recorded"    // OpenHands 0.53.0 has answered so
	BasisDeclared    Basis = "declared"    // it has answered otherwise, and Differs says why that is not done here
	BasisLenient     Basis = "lenient"     // it would have refused
	BasisFault       Basis = "fault"       // what went wrong was ordered
	BasisOurs        Basis = "ours"        // it has nothing like it
	BasisTranscripts Basis = "transcripts" // its sockets were recorded; those recordings are data of tests, and not in this program
	BasisNone        Basis = "none"        // nothing that was recorded
)

// String is one line.
func (e *Evidence) String() string {
	text := string(e.Basis)
	if e.Of > 0 {
		text += fmt.Sprintf(" %d times as %s: %s", e.Of, e.Kind, strings.Join(e.Cases, ", "))
		if e.Of > len(e.Cases) {
			text += ", …"
		}
	}
	if len(e.Differs) > 0 {
		text += "; " + strings.Join(e.Differs, "; ")
	}
	return text
}

// A Refusal is why a request was not done.
type Refusal struct {
	Loc   string `json:"loc,omitempty"`
	Msg   string `json:"msg,omitempty"`
	Error string `json:"error,omitempty"` // the server's own fault
}

// A Message is one half of an exchange. It is an io.Writer that keeps the
// beginning of a body and counts the rest.
type Message struct {
	Header   http.Header
	Body     []byte // at most MaxBody bytes
	Cut      bool   // Body is the beginning alone
	Bytes    int64  // of the whole body, as far as it was read or written
	Withheld bool   // Body is empty, since it holds keys

	flat string // Header, while the message is kept
}

// Write never fails.
func (m *Message) Write(b []byte) (int, error) {
	m.Bytes += int64(len(b))
	kept := b[:min(len(b), MaxBody-len(m.Body))]
	if need := len(m.Body) + len(kept); need > cap(m.Body) {
		grown := make([]byte, len(m.Body), min(MaxBody, max(need, 4*len(m.Body)))) // few steps: each leaves garbage
		copy(grown, m.Body)
		m.Body = grown
	}
	m.Body = append(m.Body, kept...)
	m.Cut = m.Cut || len(kept) < len(b)
	return len(b), nil
}

// message is the JSON of a Message.
type message struct {
	Header   http.Header `json:"headers,omitempty"`
	Body     string      `json:"body,omitempty"`
	Encoding string      `json:"encoding,omitempty"` // "base64" where Body is no UTF-8
	Bytes    int64       `json:"bytes"`
	Cut      bool        `json:"cut,omitempty"` // Body is the beginning alone
	Withheld bool        `json:"withheld,omitempty"`
}

// MarshalJSON writes the body as text, or in base64 where it is none.
func (m Message) MarshalJSON() ([]byte, error) {
	text, encoding := encoded(m.Body)
	return json.Marshal(message{m.Header, text, encoding, m.Bytes, m.Cut, m.Withheld})
}

func encoded(body []byte) (text, encoding string) {
	if utf8.Valid(body) {
		return string(body), ""
	}
	return base64.StdEncoding.EncodeToString(body), "base64"
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Message) UnmarshalJSON(text []byte) error {
	var v message
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	*m = Message{Header: v.Header, Body: []byte(v.Body), Cut: v.Cut, Bytes: v.Bytes, Withheld: v.Withheld}
	if v.Encoding != "base64" {
		return nil
	}
	var err error
	m.Body, err = base64.StdEncoding.DecodeString(v.Body)
	return err
}

// String is one line for people: number, time, what was asked and how it ended.
func (e *Entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#%d %s %s", e.Seq, e.Start.Format("15:04:05.000"), e.Method)
	switch {
	case e.Transport != exchange.Socket:
		b.WriteString(" " + e.Path)
		if e.Query != "" {
			b.WriteString("?" + e.Query)
		}
		if e.Status == 0 {
			b.WriteString(" no answer")
		} else {
			fmt.Fprintf(&b, " %d", e.Status)
		}
	case e.Sent:
		b.WriteString(" sent to")
	default:
		b.WriteString(" from")
	}
	for _, word := range []string{e.Operation, e.Conversation} {
		if word != "" {
			b.WriteString(" " + word)
		}
	}
	if e.EventID >= 0 {
		fmt.Fprintf(&b, " event %d", e.EventID)
	}
	if e.Transport != exchange.Socket {
		fmt.Fprintf(&b, " %.1fms", e.Milliseconds)
	}
	if e.Fault != "" {
		b.WriteString(" fault " + e.Fault)
	}
	if len(e.Lenient) > 0 {
		b.WriteString(" lenient: " + strings.Join(e.Lenient, "; "))
	}
	if r := e.Refusal; r != nil {
		b.WriteString(" refused: " + strings.TrimPrefix(r.Loc+": "+r.Msg+r.Error, ": "))
	}
	if e.Hint != "" {
		b.WriteString(" hint: " + e.Hint)
	}
	return b.String()
}

// Explanation are lines that say what stands behind the answer.
func (e *Entry) Explanation() (lines []string) {
	if e.Evidence != nil {
		lines = append(lines, "  evidence: "+e.Evidence.String())
	}
	if e.Successor != nil {
		lines = append(lines, "  successor: "+e.Successor.String())
	}
	return lines
}

// Options of a [Journal].
type Options struct {
	Limit int // the most entries, above 0
	// Secrets returns the values that no entry may show. When it fails, bodies
	// are withheld.
	Secrets func() ([]string, error)
	// Explain, when set, fills in the Evidence and Successor of an entry. It is
	// asked when the entry is read, and given a copy.
	Explain func(*Entry)
}

// A Journal may be used from many goroutines. Make one with [New].
type Journal struct {
	o       Options
	id      string
	mu      sync.Mutex
	entries []*Entry // their Seq have no gap
	bytes   int64
	last    int64 // Seq of the latest, whether it is still there or not
	dropped int64
	changed chan struct{} // nil while nobody waits
	forms   atomic.Pointer[forms]
}

// New returns an empty journal.
func New(o Options) *Journal {
	return &Journal{o: o, id: fmt.Sprintf("%08x", rand.Uint32())}
}

// Last is the number of the latest entry, 0 before the first.
func (j *Journal) Last() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// Cursor names an entry among those of all journals: "1f03a2c4-17".
func (j *Journal) Cursor(seq int64) string { return fmt.Sprintf("%s-%d", j.id, seq) }

// ParseCursor returns the entry that a cursor names, 0 for one of another journal:
// of that one nothing is known yet. A number alone is one of this journal.
func (j *Journal) ParseCursor(text string) (seq int64, err error) {
	id, number, ok := strings.Cut(text, "-")
	if !ok {
		id, number = j.id, text
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || id == "" {
		return 0, fmt.Errorf("%q is no cursor", text)
	}
	if id != j.id {
		return 0, nil
	}
	return int64(n), nil
}

// Count is how many entries there are, and how many gave way.
func (j *Journal) Count() (kept int, dropped int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries), j.dropped
}

// Limit is the most entries that it keeps.
func (j *Journal) Limit() int { return j.o.Limit }

// Add keeps an exchange that is done. The caller has filled in what an exchange
// lacks, Query, Request and Response, and gives the entry away. The body of x is
// not kept.
func (j *Journal) Add(x *exchange.Exchange, e *Entry) {
	e.ID, e.Connection, e.Start, e.Milliseconds = x.ID, x.Connection, x.Start, float64(x.Duration)/float64(time.Millisecond)
	e.Transport, e.Sent, e.Method, e.World, e.Path = x.Transport, x.Sent, x.Method, x.World, x.Path
	e.Line, e.Operation, e.Conversation, e.Status, e.EventID = x.Line, x.Operation, x.Conversation, x.Status, x.EventID
	e.Lenient, e.Hint, e.Fault, e.Waits = x.Lenient, x.Hint, x.Fault, x.Waits
	if x.Refusal != nil {
		e.Refusal = &Refusal{Loc: x.Refusal.Loc, Msg: x.Refusal.Msg}
		if x.Refusal.Err != nil {
			e.Refusal.Error = x.Refusal.Err.Error()
		}
	}
	j.clean(e, x.Withheld)
	e.size = e.measure()

	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	e.Seq = j.last
	j.entries = append(j.entries, e)
	j.bytes += e.size
	for len(j.entries) > j.o.Limit || j.bytes > MaxBytes {
		j.bytes -= j.entries[0].size
		j.entries[0] = nil // append keeps the array
		j.entries = j.entries[1:]
		j.dropped++
	}
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// measure is about how many bytes of memory an entry takes.
func (e *Entry) measure() int64 {
	n := 1<<10 + len(e.Path) + len(e.Query)
	for _, m := range []*Message{&e.Request, &e.Response} {
		n += len(m.flat) + cap(m.Body)
	}
	if e.Refusal != nil {
		n += len(e.Refusal.Msg) + len(e.Refusal.Error)
	}
	return int64(n)
}

// Clear empties the journal, and forgets what was dropped. The numbers go on.
func (j *Journal) Clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries, j.bytes, j.dropped = nil, 0, 0
}

// Changed is closed when the next entry is added.
func (j *Journal) Changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.changed
}
