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

//go:embed cases/*.json agentserver/*.json
var caseFiles embed.FS

// Case is one recorded scenario: requests in order, each with the answer the real server gave.
type Case struct {
	Name     string            `json:"name"`
	Recorded Source            `json:"recorded"`
	Env      map[string]string `json:"env,omitempty"`   // the environment the real server was started with
	Fresh    bool              `json:"fresh,omitempty"` // the answers hold on a server that nobody has used yet
	Note     string            `json:"note,omitempty"`  // what the scenario shows
	LLM      []Reply           `json:"llm,omitempty"`   // what the model says, one a call: see llm.go
	Racy     []int             `json:"racy_steps,omitempty"`
	Steps    []Step            `json:"steps"`

	Line Line `json:"-"` // told by the folder of the file
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
//	asked     wait until the model was asked Count times
//	release   let the reply of the model go that is held, or will be
//	connect   open the websocket Var at Path; the answer is that to the handshake
//	send      send the body as a text message on the websocket Var
//	receive   read the recorded frames, and the recorded end, from the websocket Var; with MS, nothing else comes for that long
//	hangup    close the websocket Var
//
// The answers of connect and receive are compared as those of requests are.
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
	// Until sends a request again until its answer has these values, JSON pointer => value. Where a recorder receives, a
	// frame that has them is the last one.
	Until  map[string]json.RawMessage `json:"until,omitempty"`
	Count  int                        `json:"count,omitempty"` // asked: how often; receive: how many frames a recorder receives
	Answer *Recorded                  `json:"response,omitempty"`
}

// Repeated is a body too long to be kept as it is: Prefix, Count times Unit, Suffix.
type Repeated struct {
	Prefix, Unit, Suffix string
	Count                int
}

// Recorded is the answer of the real server. Status is 0 where it gave none: it hung.
type Recorded struct {
	Status         int               `json:"status"`
	Headers        map[string]string `json:"headers,omitempty"`
	Body           json.RawMessage   `json:"body,omitempty"`     // the JSON document, or the text as a JSON string
	Volatile       []string          `json:"volatile,omitempty"` // JSON pointers: only the form of these values is compared
	Formats        map[string]string `json:"volatile_format,omitempty"`
	Relative       map[string]string `json:"relative,omitempty"` // JSON pointer => base+n
	Unordered      []string          `json:"headers_unordered,omitempty"`
	LengthVolatile bool              `json:"content_length_volatile,omitempty"`
	BodyOmitted    bool              `json:"body_omitted,omitempty"`
	BodyElided     bool              `json:"body_elided,omitempty"` // long strings end in "...<N chars>"
	Note           string            `json:"note,omitempty"`
	Frames         []json.RawMessage `json:"frames,omitempty"` // of a receive: JSON documents
	End            *End              `json:"end,omitempty"`    // of a receive: how the server closed the websocket
}

// End is the close frame of a websocket.
type End struct {
	Code   int    `json:"code"`
	Reason string `json:"reason,omitempty"`
}

// Cases returns the cases of V0: V0.Cases().
func Cases() []Case { return V0.Cases() }

// loadCases reads the cases of all lines.
var loadCases = sync.OnceValue(func() map[Line][]Case {
	cases := map[Line][]Case{}
	for line := range recordings {
		line.eachCase(func(c *Case) { cases[line] = append(cases[line], *c) })
	}
	return cases
})

// eachCase reads the embedded cases of a line in the order of their names, one
// after the other.
func (l Line) eachCase(f func(*Case)) {
	files, err := fs.Glob(caseFiles, recordings[l].folder+"/*.json")
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
		c.Line = l
		f(&c)
	}
}

// ParseCase reads one file of cases, or one that is to be recorded. Members and operations that this package does not
// know are an error, so that nothing of a recording is overlooked.
func ParseCase(b []byte) (Case, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var c Case
	if err := d.Decode(&c); err != nil {
		return Case{}, err
	}
	for i, s := range c.Steps {
		switch s.Op {
		case "", "settle", "sleep", "restart", "parallel", "release", "asked":
		case "connect", "send", "receive", "hangup":
			if s.Var == "" {
				return Case{}, fmt.Errorf("step %d: a websocket without a name", i)
			}
		default:
			return Case{}, fmt.Errorf("step %d: no such operation: %q", i, s.Op)
		}
	}
	var err error
	c.each(func(id string, s *Step) {
		if s.Method == "" && s.isRequest() {
			err = fmt.Errorf("step %s: a request without method", id)
		}
	})
	return c, err
}

// parseCase reads one file of cases: every request has its answer.
func parseCase(b []byte) (Case, error) {
	c, err := ParseCase(b)
	c.each(func(id string, s *Step) {
		if s.Answer == nil && err == nil {
			err = fmt.Errorf("step %s: a request without answer", id)
		}
	})
	return c, err
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

// each calls f for every request of c, and whatever else is answered, with its name: "3" for the fourth step, "3.0" for
// the first of its parallel ones.
func (c *Case) each(f func(id string, s *Step)) {
	for i := range c.Steps {
		s := &c.Steps[i]
		if s.isRequest() || s.Op == "connect" || s.Op == "receive" {
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
