// Package faults makes the bad day happen: it keeps rules that say which
// requests and messages shall go wrong, and how, and counts how often each was
// used.
//
//	set := faults.New(operations)
//	set.Add(faults.Rule{Match: faults.Match{Operation: "AddEvent"}, Do: faults.Do{Status: 503}, Times: 2})
//	if f := set.Request(x, header); f != nil { … }       // before the handler
//	if f := set.Answer(x, header, 422); f != nil { … }   // before the answer
//	if f := set.Message(message); f != nil { … }         // a packet of a socket
//
// It decides, and does nothing itself: whoever asks carries a [Fault] out. The
// rules are asked in the order in which they came. The first one that matches
// and is due is used, and those after it are not asked. What is ours alone,
// below /_local, is never faulted.
//
// A rule is the same as Go value, in JSON and in YAML (read.go), where all that
// is wrong with it is told with its place. Presets (presets.go) are rules by
// name, for what OpenHands is known to do.
//
// A [Set] without rules costs one nil check. Its methods may be called from any
// goroutine.
package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/live"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Rule says what goes wrong with what it matches.
type Rule struct {
	// Name tells rules apart: "fault-1" and so on unless it is given. It is in
	// the header X-Local-Fault of an answer.
	Name string `json:"name,omitempty"`
	// Preset is the name of one of [Presets]. What the rule says itself comes
	// before what the preset says.
	Preset string `json:"preset,omitempty"`
	Match  Match  `json:"match,omitzero"`
	Do     Do     `json:"do,omitzero"`
	// Times is how often it is used at most; 0 for any number, but with an Nth
	// once.
	Times int `json:"times,omitempty"`
}

// A Match is what a rule is for. Its zero value matches every request; all that
// is given must be met.
type Match struct {
	// Operation is one of the contract: "AddEvent".
	Operation    string `json:"operation,omitempty"`
	Conversation string `json:"conversation,omitempty"` // its id
	// Method is that of the request. For a socket it is the name of the message:
	// "oh_event" for what a client is sent, "oh_user_action" for what it sends.
	Method string `json:"method,omitempty"`
	// Path is decoded, without the query; * stands for any text. For a socket
	// it is that of the request that opened the connection.
	Path string `json:"path,omitempty"`
	// Header has values that headers of the request must have. For a socket
	// they are those of the request that opened the connection.
	Header map[string]string `json:"header,omitempty"`
	// Body has what must be where in the JSON body, or in the event of a
	// message: JSON pointers and values.
	Body map[string]any `json:"body,omitempty"`
	// Status is what is answered without the fault, which happens before the
	// answer then.
	Status int `json:"status,omitempty"`
	// Nth is which of those that are matched is the first that goes wrong: 1
	// for the first, 0 too.
	Nth int `json:"nth,omitempty"`
	// Chance is how likely each of them goes wrong, up to 1; 0 is 1 too. The
	// same Seed draws the same.
	Chance float64 `json:"chance,omitempty"`
	Seed   int64   `json:"seed,omitempty"`
}

// A Do is what goes wrong. At least one thing does.
type Do struct {
	// At is when: "before" the event is stored, which it is not if a Status or
	// a Connection is given, or "after" it, before the answer. "before" unless
	// it is given, or Match has a Status.
	At string `json:"at,omitempty"`
	// Delay is waited there. With the Socket action "hold" it is how long.
	Delay Delay `json:"delay,omitzero"`

	// Status is answered in the place of the answer, with Headers and Body: a
	// text, or else a value that is written as JSON.
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    any               `json:"body,omitempty"`

	// Set changes what an answer of JSON has at JSON pointers: what is there
	// gets these values.
	Set map[string]any `json:"set,omitempty"`
	// Cut ends the answer's body after so many bytes.
	Cut *int `json:"cut,omitempty"`
	// BytesPerSecond is how fast the body is sent.
	BytesPerSecond int `json:"bytes_per_second,omitempty"`
	// Connection ends the connection: "close", or "reset". Alone it is in the
	// place of an answer; with Cut it says how that ends, "close" by default.
	Connection string `json:"connection,omitempty"`

	// Socket is what happens to a message of a socket, one of Drop and so on.
	// A rule that has one is for sockets alone.
	Socket string `json:"socket,omitempty"`
}

// When a fault happens.
const (
	Before = "before"
	After  = "after"
)

// How a connection ends.
const (
	Close = "close"
	Reset = "reset"
)

// What happens to a message of a socket.
const (
	Drop      = live.Drop
	Hold      = live.Hold // for the delay
	Double    = live.Double
	Reorder   = live.Reorder
	Cut       = live.Cut
	HoldPings = "hold pings" // a ping is not sent, and none is expected to be answered
	Restart   = "restart"    // in its place all connections are cut and all runs end, as if the server began anew
)

// A Delay is a time, drawn each time: evenly from Min to Max, or normally
// around Mean, and not below 0. In JSON it is "300ms",
// {"min":"100ms","max":"1s"} or {"mean":"1s","deviation":"200ms"}.
type Delay struct {
	Min, Max        time.Duration
	Mean, Deviation time.Duration
}

// Always is a delay that does not vary.
func Always(d time.Duration) Delay { return Delay{Min: d, Max: d} }

// draw draws a time.
func (d Delay) draw(random *rand.Rand) time.Duration {
	if d.Mean > 0 || d.Deviation > 0 {
		return min(maxDelay, max(0, d.Mean+time.Duration(random.NormFloat64()*float64(d.Deviation))))
	}
	if d.Max > d.Min {
		return d.Min + time.Duration(random.Int64N(int64(d.Max-d.Min)+1))
	}
	return d.Min
}

// A Fault is what goes wrong with one request or message.
type Fault struct {
	Name string // the rule's
	Do
	Wait time.Duration // what Delay is this time
	text []byte        // of Body
	set  []setting     // of Set
}

// Text is the body to answer with, as it is sent.
func (f *Fault) Text() []byte { return f.text }

// A Report is a rule and what has become of it.
type Report struct {
	Rule
	// Offered is how often something matched that no rule before it took,
	// whether it was due or not; Used is how often it went wrong then.
	Offered int `json:"offered"`
	Used    int `json:"used"`
	// Cites says where what a preset does was seen.
	Cites string `json:"cites,omitempty"`
}

// maxRules is how many rules a set takes.
const maxRules = 1000

// A Set is rules and their counters. Make one with [New].
type Set struct {
	operations []string

	mu    sync.Mutex // for all that changes, rules and counters
	made  int        // names that were made up
	rules []*rule
	asked atomic.Pointer[[]*rule] // a copy of rules; nil for none
}

// rule is a [Rule] that was read.
type rule struct {
	Rule
	body   []setting // of Match
	fault  Fault     // without Wait
	given  bool      // at the start: stays when all begins anew
	random *rand.Rand

	offered, used int
}

// New returns a set without rules, for rules that name these operations.
func New(operations []string) *Set { return &Set{operations: operations} }

// Operations are those that rules may name.
func (s *Set) Operations() []string { return s.operations }

// Add adds rules after those that are there, all of them or none. Its error is
// a [*fastapi.Invalid] with all places.
func (s *Set) Add(rules ...Rule) error {
	v, err := valueOf(rules)
	if err != nil {
		return err
	}
	_, err = s.AddJSON(v)
	return err
}

// AddJSON is Add of a value: a rule, a list of them, or {"faults":[…]}. It
// returns what was added.
func (s *Set) AddJSON(v pyjson.Value) ([]Report, error) { return s.add(v, false, "body") }

func (s *Set) add(v pyjson.Value, given bool, place ...string) ([]Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rules, err := s.read(v, place)
	if err != nil {
		return nil, err
	}
	added := make([]Report, len(rules))
	for i, r := range rules {
		if r.Name == "" {
			r.Name = s.newName()
		}
		r.fault.Name, r.given = r.Name, given
		s.rules = append(s.rules, r)
		added[i] = r.report()
	}
	s.publish()
	return added, nil
}

// newName makes a name up that no rule has.
func (s *Set) newName() string {
	for {
		s.made++
		if name := fmt.Sprintf("fault-%d", s.made); s.find(name) < 0 {
			return name
		}
	}
}

func (s *Set) find(name string) int {
	return slices.IndexFunc(s.rules, func(r *rule) bool { return r.Name == name })
}

// publish lets requests see the rules.
func (s *Set) publish() {
	if len(s.rules) == 0 {
		s.asked.Store(nil)
		return
	}
	rules := slices.Clone(s.rules)
	s.asked.Store(&rules)
}

// List tells of all rules, in their order.
func (s *Set) List() []Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Report, len(s.rules))
	for i, r := range s.rules {
		all[i] = r.report()
	}
	return all
}

func (r *rule) report() Report {
	return Report{Rule: r.Rule, Offered: r.offered, Used: r.used, Cites: presetNamed(r.Preset).Cites}
}

// Unused are the names of the rules of the start that were never used.
func (s *Set) Unused() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		if r.given && r.used == 0 {
			names = append(names, r.Name)
		}
	}
	return names
}

// Delete takes a rule out, and tells whether there was one.
func (s *Set) Delete(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(name)
	if i < 0 {
		return false
	}
	s.rules = slices.Delete(s.rules, i, i+1)
	s.publish()
	return true
}

// Clear takes all rules out.
func (s *Set) Clear() { s.keep(func(*rule) bool { return false }) }

// Restart takes out what was added after the start.
func (s *Set) Restart() { s.keep(func(r *rule) bool { return r.given }) }

func (s *Set) keep(keep func(*rule) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = slices.DeleteFunc(s.rules, func(r *rule) bool { return !keep(r) })
	s.publish()
}

// Request asks what goes wrong with a request, before its handler; nil for
// nothing.
func (s *Set) Request(x *exchange.Exchange, header http.Header) *Fault {
	rules := s.asked.Load()
	if rules == nil {
		return nil
	}
	return s.ask(*rules, httpRequest, asking{
		operation: x.Operation, conversation: x.Conversation, method: x.Method, path: x.Path, header: header, body: x.Body,
	})
}

// Answer asks what goes wrong with a request that is about to be answered with
// a status; nil for nothing.
func (s *Set) Answer(x *exchange.Exchange, header http.Header, status int) *Fault {
	rules := s.asked.Load()
	if rules == nil {
		return nil
	}
	return s.ask(*rules, httpAnswer, asking{
		operation: x.Operation, conversation: x.Conversation, method: x.Method, path: x.Path, header: header, body: x.Body, status: status,
	})
}

// Message asks what goes wrong with a message of a socket; nil for nothing.
func (s *Set) Message(m live.Message) *live.Fault {
	rules := s.asked.Load()
	if rules == nil {
		return nil
	}
	f := s.ask(*rules, socketMessage, asking{
		conversation: m.Conversation, method: m.Name, path: m.Request.URL.Path, header: m.Request.Header, body: m.Body,
	})
	if f == nil {
		return nil
	}
	return &live.Fault{Name: f.Name, Action: f.Socket, Hold: f.Wait}
}

// HoldsPing tells whether a ping of the connection that a request opened is
// held.
func (s *Set) HoldsPing(r *http.Request) bool {
	rules := s.asked.Load()
	return rules != nil && s.ask(*rules, socketPing, asking{
		conversation: r.URL.Query().Get("conversation_id"), path: r.URL.Path, header: r.Header,
	}) != nil
}

// stage is at which of its places a set is asked.
type stage int

const (
	httpRequest stage = iota // before the handler
	httpAnswer
	socketMessage
	socketPing
)

// stage is where a rule is asked.
func (r *rule) stage() stage {
	switch {
	case r.Do.Socket == HoldPings:
		return socketPing
	case r.Do.Socket != "":
		return socketMessage
	case r.Match.Status != 0:
		return httpAnswer
	}
	return httpRequest
}

// asking is what rules are asked about.
type asking struct {
	operation, conversation, method, path string
	header                                http.Header
	body                                  []byte
	status                                int

	decoded bool // body, to json
	json    pyjson.Value
}

func (s *Set) ask(rules []*rule, at stage, a asking) *Fault {
	if strings.HasPrefix(a.path, "/_local/") || a.path == "/_local" {
		return nil
	}
	for _, r := range rules {
		if r.stage() == at && r.matches(&a) {
			if f := s.use(r); f != nil {
				return f
			}
		}
	}
	return nil
}

// use counts that a rule was offered something, and uses it if it is due.
func (s *Set) use(r *rule) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.offered++
	switch {
	case r.offered < r.Match.Nth || r.Times > 0 && r.used >= r.Times:
		return nil
	case r.Match.Chance > 0 && r.random.Float64() >= r.Match.Chance:
		return nil
	}
	r.used++
	f := r.fault
	f.Wait = r.Do.Delay.draw(r.random)
	return &f
}

func (r *rule) matches(a *asking) bool {
	m := &r.Match
	switch {
	case m.Operation != "" && m.Operation != a.operation,
		m.Conversation != "" && m.Conversation != a.conversation,
		m.Method != "" && m.Method != a.method,
		m.Path != "" && !glob(m.Path, a.path),
		m.Status != 0 && m.Status != a.status:
		return false
	}
	for name, value := range m.Header {
		if !slices.Contains(a.header.Values(name), value) {
			return false
		}
	}
	return len(r.body) == 0 || hasAll(a.value(), r.body)
}

// value is the body's JSON, null for what is none.
func (a *asking) value() pyjson.Value {
	if !a.decoded {
		a.decoded = true
		if v, err := pyjson.Decode(a.body); err == nil {
			a.json = v
		}
	}
	return a.json
}

// glob tells whether a text is as a pattern says, whose * are any text.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	rest, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	if rest, ok = strings.CutSuffix(rest, last); !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return true
}
