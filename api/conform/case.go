package conform

import (
	"bytes"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed cases/*.json
var caseFiles embed.FS

// Case is one recorded scenario: requests in order, each with the answer the real server gave.
type Case struct {
	Name     string            `json:"name"`
	Recorded Source            `json:"recorded"`
	Env      map[string]string `json:"env,omitempty"`  // the environment the real server was started with
	Note     string            `json:"note,omitempty"` // what the scenario shows
	Racy     []int             `json:"racy_steps,omitempty"`
	Steps    []Step            `json:"steps"`
}

// Source tells what a case was recorded from.
type Source struct {
	Server string `json:"server"` // product and version
	Date   string `json:"date"`   // year-month-day
}

// Step is a request with its recorded answer or, if Op is set, something done between requests:
//
//	settle    wait until the conversation Var ("cid" if empty) is RUNNING and its events are quiet;
//	          sets base to the id of its last event, unless Base is false
//	sleep     MS milliseconds
//	restart   stop the server and start it again on the same data
//	parallel  send Steps at once; their answers may come in any order
type Step struct {
	Op    string `json:"op,omitempty"`
	MS    int    `json:"ms,omitempty"`
	Var   string `json:"var,omitempty"`
	Base  *bool  `json:"base,omitempty"`
	Any   bool   `json:"any,omitempty"`  // settle: whatever the agent's state is
	Long  bool   `json:"long,omitempty"` // settle: an agent is at work
	Steps []Step `json:"steps,omitempty"`
	Note  string `json:"note,omitempty"`

	Method  string            `json:"method,omitempty"`
	Path    string            `json:"path,omitempty"`
	Headers [][2]string       `json:"headers,omitempty"` // as sent; Host, Content-Length and "Connection: close" are added unless listed
	BodyRaw string            `json:"body_raw,omitempty"`
	BodyB64 string            `json:"body_b64,omitempty"`
	BodyGen *Repeated         `json:"body_gen,omitempty"`
	Chunked bool              `json:"chunked,omitempty"`
	Capture map[string]string `json:"capture,omitempty"` // placeholder => JSON pointer into the answer
	Answer  *Recorded         `json:"response,omitempty"`
}

// Repeated is a body too long to be kept as it is: Prefix, Count times Unit, Suffix.
type Repeated struct {
	Prefix, Unit, Suffix string
	Count                int
}

// Recorded is the answer of the real server. Status is 0 where it gave none: it hung.
type Recorded struct {
	Status         int               `json:"status"`
	Headers        map[string]string `json:"headers"`
	Body           json.RawMessage   `json:"body"`     // the JSON document, or the text as a JSON string
	Volatile       []string          `json:"volatile"` // JSON pointers: only the form of these values is compared
	Formats        map[string]string `json:"volatile_format"`
	Relative       map[string]string `json:"relative"` // JSON pointer => base+n
	Unordered      []string          `json:"headers_unordered"`
	LengthVolatile bool              `json:"content_length_volatile"`
	BodyOmitted    bool              `json:"body_omitted"`
	BodyElided     bool              `json:"body_elided"` // long strings end in "...<N chars>"
	Note           string            `json:"note"`
}

// Cases returns the embedded cases in the order of their names. The result is the caller's; the steps are shared and must not be changed.
func Cases() []Case {
	return append([]Case(nil), loadCases()...)
}

var loadCases = sync.OnceValue(func() (cases []Case) {
	eachCase(func(c *Case) { cases = append(cases, *c) })
	return cases
})

// eachCase reads the embedded cases in the order of their names, one after the
// other.
func eachCase(f func(*Case)) {
	files, err := fs.Glob(caseFiles, "cases/*.json")
	if err != nil {
		panic(err) // a constant pattern
	}
	for _, name := range files {
		b, err := caseFiles.ReadFile(name)
		if err != nil {
			panic(err)
		}
		c, err := parseCase(b)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", name, err)) // the data is part of the program, and a test reads all of it
		}
		if c.Name != strings.TrimSuffix(path.Base(name), ".json") {
			panic(fmt.Sprintf("%s holds case %q", name, c.Name))
		}
		f(&c)
	}
}

// parseCase reads one file of cases/. Members and operations that this package does not know are an error, so that
// nothing of a recording is overlooked.
func parseCase(b []byte) (Case, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var c Case
	if err := d.Decode(&c); err != nil {
		return Case{}, err
	}
	for i, s := range c.Steps {
		requests := s.Steps
		switch s.Op {
		case "":
			requests = c.Steps[i : i+1]
		case "settle", "sleep", "restart", "parallel":
		default:
			return Case{}, fmt.Errorf("step %d: no such operation: %q", i, s.Op)
		}
		for _, r := range requests {
			if r.Method == "" || r.Answer == nil {
				return Case{}, fmt.Errorf("step %d: a request without method or answer", i)
			}
		}
	}
	return c, nil
}

// body returns the request's body before its placeholders are filled in, and whether it may have any.
func (s *Step) body() (b []byte, template bool, err error) {
	switch {
	case s.BodyB64 != "":
		b, err = base64.StdEncoding.DecodeString(s.BodyB64)
		return b, false, err
	case s.BodyGen != nil:
		g := s.BodyGen
		return []byte(g.Prefix + strings.Repeat(g.Unit, g.Count) + g.Suffix), false, nil
	}
	return []byte(s.BodyRaw), true, nil
}

// isRequest tells a request from an operation between requests.
func (s *Step) isRequest() bool { return s.Op == "" }

// each calls f for every request of c with its name: "3" for the fourth step, "3.0" for the first of its parallel ones.
func (c *Case) each(f func(id string, s *Step)) {
	for i := range c.Steps {
		s := &c.Steps[i]
		if s.isRequest() {
			f(strconv.Itoa(i), s)
		}
		for j := range s.Steps {
			f(fmt.Sprintf("%d.%d", i, j), &s.Steps[j])
		}
	}
}

// Requests counts the requests of c, which are what a Report counts.
func (c *Case) Requests() (n int) {
	c.each(func(string, *Step) { n++ })
	return n
}
