package conform

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/openhands-local/openhands-local/api/printable"
)

// Outcome is what became of one recorded request.
type Outcome string

// The outcomes. All but Failed are a pass; LeftOut and NotApplicable requests were not sent.
const (
	Held          Outcome = "held"           // answered as recorded
	Refused       Outcome = "refused"        // answered by a 4xx where the real server said 5xx, or at all where it hung
	Part          Outcome = "part"           // the client's own part of the answer is as recorded: see agent.go; on a server in use, the run's own entries and settings
	Theirs        Outcome = "theirs"         // an agent's, a runtime's or a service's own answer: not compared
	OnPurpose     Outcome = "declared"       // differs as declared
	Lenient       Outcome = "lenient"        // differs because the server is more lenient, as the header X-Local-Lenient says here or earlier in the case
	Failed        Outcome = "failed"         // differs in a way that is not declared, or could not be sent
	LeftOut       Outcome = "left out"       // its case is of a group that was not allowed
	NotApplicable Outcome = "not applicable" // cannot be asked of this server
)

// Outcomes are all outcomes in the order in which reports count them.
var Outcomes = []Outcome{Held, Refused, Part, Theirs, OnPurpose, Lenient, Failed, LeftOut, NotApplicable}

// Report tells what a run found.
type Report struct {
	Target  string          `json:"target,omitempty"` // the URL; empty if the run started its own servers
	Started time.Time       `json:"started"`
	Elapsed time.Duration   `json:"elapsed_ns"`
	Steps   int             `json:"steps"` // recorded requests of the chosen cases: the sum of Counts
	Counts  map[Outcome]int `json:"counts"`
	// LeftOut names, for each group that was not allowed, the cases that were not run because of it.
	LeftOut    map[Group][]string `json:"left_out,omitempty"`
	NotSent    map[string]int     `json:"not_sent,omitempty"`    // why requests were not sent, and how many
	Stale      []Difference       `json:"stale,omitempty"`       // declared, but the answer was as recorded there
	NotDeleted []string           `json:"not_deleted,omitempty"` // paths of what the run made and could not delete
	Remains    []string           `json:"remains,omitempty"`     // what is not as it was before the run, since no request can put it back
	Cases      []CaseResult       `json:"cases"`
}

// CaseResult tells what became of one case.
type CaseResult struct {
	Name     string        `json:"name"`
	Recorded Source        `json:"recorded"`
	Note     string        `json:"note,omitempty"`
	Groups   []Group       `json:"groups,omitempty"`
	LeftOut  []Group       `json:"left_out,omitempty"` // of Groups: those that were not allowed
	Reason   string        `json:"reason,omitempty"`   // why the whole case was not run
	Notes    []string      `json:"notes,omitempty"`    // what went wrong between requests
	Elapsed  time.Duration `json:"elapsed_ns"`
	Steps    []StepResult  `json:"steps"`
}

// StepResult tells what became of one recorded request.
type StepResult struct {
	Step       string         `json:"step"`    // the index in the recording; "3.1" for a parallel one
	Request    string         `json:"request"` // method and path, placeholders as recorded
	Outcome    Outcome        `json:"outcome"`
	Note       string         `json:"note,omitempty"` // why it was not sent, how lenient it was, or why it passed all the same
	Undeclared []Diff         `json:"undeclared,omitempty"`
	Declared   []DeclaredDiff `json:"declared,omitempty"`
	Curl       string         `json:"curl,omitempty"` // the request as a shell line, if Failed
	Want       string         `json:"want,omitempty"` // both answers in full, if Failed
	Got        string         `json:"got,omitempty"`
}

// DeclaredDiff is a difference with its declaration.
type DeclaredDiff struct {
	Diff
	By Difference `json:"by"`
}

// Count returns how many requests of c had the outcome o.
func (c *CaseResult) Count(o Outcome) (n int) {
	for i := range c.Steps {
		if c.Steps[i].Outcome == o {
			n++
		}
	}
	return n
}

func (s StepResult) sent() bool { return s.Outcome != LeftOut && s.Outcome != NotApplicable }

func (c *CaseResult) notSent() int { return c.Count(LeftOut) + c.Count(NotApplicable) }

// Summary tells in a few words what became of c: why it was not run, what of it failed, or how many requests passed.
func (c *CaseResult) Summary() string {
	sent := len(c.Steps) - c.notSent()
	switch failed := c.Count(Failed); {
	case c.Reason != "":
		return c.Reason
	case failed > 0:
		return fmt.Sprintf("FAILED %d of %d", failed, sent)
	default:
		return fmt.Sprintf("ok %d", sent)
	}
}

func (r *Report) add(c CaseResult) { r.Cases = append(r.Cases, c) }

// finish counts, and finds the declared differences that are no longer there.
func (r *Report) finish(by *runner) {
	r.Elapsed = by.options.clock.now().UTC().Sub(r.Started)
	r.NotDeleted, r.Remains = by.notDeleted, by.remains
	r.Counts = map[Outcome]int{}
	r.NotSent = map[string]int{}
	r.LeftOut = map[Group][]string{}
	held := map[[2]string]bool{} // requests in whose answers a declared difference must be
	used := map[Difference]bool{}
	for _, c := range r.Cases {
		for _, g := range c.LeftOut {
			r.LeftOut[g] = append(r.LeftOut[g], c.Name)
		}
		for _, s := range c.Steps {
			r.Steps++
			r.Counts[s.Outcome]++
			if !s.sent() {
				r.NotSent[s.Note]++
			}
			held[[2]string{c.Name, s.Step}] = !slices.Contains([]Outcome{Lenient, Failed, LeftOut, NotApplicable}, s.Outcome)
			for _, d := range s.Declared {
				used[d.By] = true
			}
		}
	}
	for _, x := range by.options.Differences {
		if held[[2]string{x.Case, x.Step}] && !used[x] {
			r.Stale = append(r.Stale, x)
		}
	}
}

// OK tells whether the run passed: something was sent, nothing failed, every declared difference was there, and everything that was made was deleted.
func (r Report) OK() bool {
	return r.sent() > 0 && r.Counts[Failed] == 0 && len(r.Stale) == 0 && len(r.NotDeleted) == 0
}

func (r Report) sent() int { return r.Steps - r.Counts[LeftOut] - r.Counts[NotApplicable] }

// WriteJSON writes the report as one JSON document.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// WriteText writes each failure, then a table of the cases, then the counts, what was not sent and why, and the verdict.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for i := range r.Cases {
		writeFailures(&b, &r.Cases[i])
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CASE\tSTEPS\tHELD\tREFUSED\tPART\tTHEIRS\tDECLARED\tLENIENT\tFAILED\tNOT SENT\t")
	for i := range r.Cases {
		c := &r.Cases[i]
		if c.Reason != "" {
			fmt.Fprintf(t, "%s\t%d\t%s\n", c.Name, len(c.Steps), c.Reason)
			continue
		}
		fmt.Fprintf(t, "%s\t%d", c.Name, len(c.Steps))
		for _, o := range []Outcome{Held, Refused, Part, Theirs, OnPurpose, Lenient, Failed} {
			fmt.Fprintf(t, "\t%s", dash(c.Count(o)))
		}
		fmt.Fprintf(t, "\t%s\t\n", dash(c.notSent()))
	}
	t.Flush()
	fmt.Fprintf(&b, "\n%d recorded requests in %d cases, %v\n", r.Steps, len(r.Cases), r.Elapsed.Round(time.Millisecond))
	for _, o := range Outcomes {
		if n := r.Counts[o]; n > 0 {
			fmt.Fprintf(&b, "%7d  %s\n", n, meaning[o])
		}
	}
	for i := range r.Cases {
		for _, s := range r.Cases[i].Steps {
			if s.sent() && s.Outcome != Failed && s.Note != "" {
				fmt.Fprintf(&b, "%s: %s step %s: %s\n", s.Outcome, r.Cases[i].Name, s.Step, s.Note)
			}
		}
	}
	if len(r.NotSent) > 0 {
		fmt.Fprintln(&b, "not sent, by reason:")
		for _, reason := range slices.SortedFunc(maps.Keys(r.NotSent), func(x, y string) int {
			return cmp.Or(r.NotSent[y]-r.NotSent[x], strings.Compare(x, y))
		}) {
			fmt.Fprintf(&b, "%7d  %s\n", r.NotSent[reason], reason)
		}
	}
	for _, g := range []Group{Settings, Harm, Agent} {
		if names := r.LeftOut[g]; len(names) > 0 {
			fmt.Fprintf(&b, "left out without --allow-%s: %d cases\n", g, len(names))
		}
	}
	for _, x := range r.Stale {
		fmt.Fprintf(&b, "declared, but no longer different: %s step %s %s (%s)\n", x.Case, x.Step, x.What, x.Reason)
	}
	for _, path := range r.NotDeleted {
		fmt.Fprintf(&b, "made, but could not be deleted: %s\n", path)
	}
	for _, what := range r.Remains {
		fmt.Fprintf(&b, "not as it was before: %s\n", what)
	}
	fmt.Fprintln(&b, r.verdict())
	_, err := io.WriteString(w, b.String())
	return err
}

// verdict says in a line whether the run passed, and of how much that is true.
func (r Report) verdict() string {
	sent, verdict := r.sent(), "PASSED: no answer differs"
	switch {
	case sent == 0:
		verdict = "FAILED: nothing was sent"
	case r.Counts[Failed] > 0:
		verdict = fmt.Sprintf("FAILED: %d answers differ", r.Counts[Failed])
	case !r.OK():
		verdict = "FAILED: no answer differs, but see above"
	}
	return fmt.Sprintf("%s; %d of %d recorded requests were sent", verdict, sent, r.Steps)
}

var meaning = map[Outcome]string{
	Held:          "held as recorded",
	Refused:       "refused by a 4xx, or answered, where the real server failed or hung",
	Part:          "held in the client's own part",
	Theirs:        "an agent's, a runtime's or a service's own answer: not compared",
	OnPurpose:     "differ as declared",
	Lenient:       "more lenient than the recorded server, as X-Local-Lenient says",
	Failed:        "failed",
	LeftOut:       "not sent, for want of a flag",
	NotApplicable: "not sent, for they ask what this server cannot show",
}

func dash(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// writeFailures writes the failed requests of a case: a curl line, what differs, both answers side by side.
func writeFailures(b *strings.Builder, c *CaseResult) {
	for _, s := range c.Steps {
		if s.Outcome != Failed {
			continue
		}
		fmt.Fprintf(b, "FAIL %s step %s: %s\n", c.Name, s.Step, abbreviate(s.Request))
		fmt.Fprintf(b, "  recorded from %s, %s\n", c.Recorded.Server, c.Recorded.Date)
		if s.Note != "" {
			fmt.Fprintf(b, "  %s\n", s.Note)
		}
		for _, note := range c.Notes {
			fmt.Fprintf(b, "  %s\n", note)
		}
		if s.Curl != "" {
			fmt.Fprintf(b, "  %s\n", s.Curl)
		}
		for _, d := range s.Undeclared {
			fmt.Fprintf(b, "  %s\n    want %s\n    got  %s\n", d.What, cut(d.Want, 300), cut(d.Got, 300))
		}
		sideBySide(b, s.Want, s.Got)
		b.WriteByte('\n')
	}
}

// columns is the width of each side, lines the most that are shown of two answers, around the equal lines that are shown
// beside different ones, most the lines of an answer that are looked at.
const columns, lines, around, most = 60, 40, 2, 1000

// sideBySide writes two texts line by line, with a bar between lines that differ. Equal lines far from those are left out.
func sideBySide(b *strings.Builder, want, got string) {
	if want == "" && got == "" {
		return
	}
	rows := align(strings.SplitN(want, "\n", most), strings.SplitN(got, "\n", most))
	shown := make([]bool, len(rows))
	for i, row := range rows {
		if row[0] != row[1] {
			for j := max(0, i-around); j <= min(i+around, len(rows)-1); j++ {
				shown[j] = true
			}
		}
	}
	fmt.Fprintf(b, "  %-*s   %s\n", columns, "EXPECTED", "GOT")
	written := 0
	for i, row := range rows {
		if !shown[i] {
			if i == 0 || shown[i-1] {
				b.WriteString("  …\n")
			}
			continue
		}
		if written++; written > lines {
			b.WriteString("  … and more\n")
			break
		}
		mark := " "
		if row[0] != row[1] {
			mark = "|"
		}
		fmt.Fprintf(b, "  %-*s %s %s\n", columns, cut(row[0], columns), mark, cut(row[1], columns))
	}
}

// align pairs the lines of two texts, so that equal ones stand beside each other: a longest common subsequence. Between
// equal lines the others are paired as they come, "" stands for what one side lacks.
func align(left, right []string) (rows [][2]string) {
	common := make([][]int, len(left)+1) // length for left[i:] and right[j:]
	for i := range common {
		common[i] = make([]int, len(right)+1)
	}
	for i := len(left) - 1; i >= 0; i-- {
		for j := len(right) - 1; j >= 0; j-- {
			if left[i] == right[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var l, r int // the first lines that are not in rows yet
	pair := func(i, j int) {
		for ; l < i || r < j; l, r = min(l+1, i), min(r+1, j) {
			var row [2]string
			if l < i {
				row[0] = left[l]
			}
			if r < j {
				row[1] = right[r]
			}
			rows = append(rows, row)
		}
	}
	for i, j := 0, 0; i < len(left) && j < len(right); {
		switch {
		case left[i] == right[j]:
			pair(i, j)
			rows = append(rows, [2]string{left[i], right[j]})
			i, j = i+1, j+1
			l, r = i, j
		case common[i+1][j] >= common[i][j+1]:
			i++
		default:
			j++
		}
	}
	pair(len(left), len(right))
	return rows
}

// cut shortens s to n characters, and keeps it on one line.
func cut(s string, n int) string {
	r := []rune(printable.Line(s))
	if len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return string(r)
}

// text is an answer for people: status, the compared headers, body.
func (w *Recorded) text() string {
	lines := []string{statusText(w.Status)}
	for _, name := range comparedHeaders {
		if v, ok := w.Headers[name]; ok {
			lines = append(lines, name+": "+v)
		}
	}
	return strings.Join(append(lines, "", indented(w.Body)), "\n")
}

func (a Answer) text() string {
	if a.Status == 0 {
		return a.Err
	}
	lines := []string{statusText(a.Status)}
	for _, name := range comparedHeaders {
		if v, ok := a.header(name); ok {
			lines = append(lines, name+": "+v)
		}
	}
	body := a.Body
	if t, _ := a.header("Content-Type"); t != "application/json" {
		body, _ = json.Marshal(string(body)) // as the recording keeps a text
	}
	return strings.Join(append(lines, "", indented(body)), "\n")
}

func indented(body []byte) string {
	var b bytes.Buffer
	v, err := parseJSON(body)
	if err != nil {
		return string(body)
	}
	_ = json.Indent(&b, v.append(nil), "", " ") // it is JSON
	return cutBytes(b.String(), 20000)
}

func cutBytes(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// curl is the request as a line for a POSIX shell. It sends the same request line, headers and body; what curl will not
// send (a second Host header, a blank in the request line) shows in its options.
func (m message) curl(base *url.URL, st *Step) string {
	origin := base.Scheme + "://" + base.Host
	args := []string{"curl", "-sS", "-i", "--path-as-is"}
	if m.method == "HEAD" {
		args = append(args, "-I")
	} else if m.method != "GET" || len(m.body) > 0 {
		args = append(args, "-X", shell(m.method))
	}
	for _, h := range m.headers {
		line := h[0] + ": " + h[1]
		if h[1] == "" {
			line = h[0] + ";" // how curl spells a header without a value
		}
		args = append(args, "-H", shell(line))
	}
	if m.chunked {
		args = append(args, "-H", shell("Transfer-Encoding: chunked"))
	}
	input := ""
	switch {
	case st.BodyGen != nil:
		g := st.BodyGen
		input = fmt.Sprintf("{ printf %%s %s; yes %s | head -n %d | tr -d '\\n'; printf %%s %s; } | ", shell(g.Prefix), shell(g.Unit), g.Count, shell(g.Suffix))
		args = append(args, "--data-binary", "@-")
	case st.BodyB64 != "":
		input = "printf %s " + shell(st.BodyB64) + " | base64 -d | "
		args = append(args, "--data-binary", "@-")
	case len(m.body) > 0:
		args = append(args, "--data-binary", shell(string(m.body)))
	}
	if len(m.body) > 0 && !m.has("Content-Type") {
		args = append(args, "-H", shell("Content-Type:")) // else curl adds one
	}
	if strings.HasPrefix(m.target, "/") && !strings.ContainsAny(m.target, " #{}[]") {
		args = append(args, shell(origin+m.target))
	} else {
		args = append(args, "--request-target", shell(m.target), shell(origin))
	}
	return input + strings.Join(args, " ")
}

// shell quotes s for a POSIX shell.
func shell(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// WriteJUnit writes the report as JUnit XML: a suite for each case, a test case for each recorded request, a last suite
// for stale differences and for what could not be deleted.
func (r Report) WriteJUnit(w io.Writer) error {
	type message struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Failure *message `xml:"failure,omitempty"`
		Skipped *message `xml:"skipped,omitempty"`
		Output  string   `xml:"system-out,omitempty"`
	}
	type property struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	type properties struct {
		List []property `xml:"property"`
	}
	type suite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Counts   *properties `xml:"properties,omitempty"` // how many requests had an outcome which JUnit has no word for
		Cases    []testcase  `xml:"testcase"`
	}
	type suites struct {
		XMLName xml.Name `xml:"testsuites"`
		Name    string   `xml:"name,attr"`
		Suites  []suite  `xml:"testsuite"`
	}
	all := suites{Name: "conform"}
	for i := range r.Cases {
		c := &r.Cases[i]
		s := suite{Name: c.Name, Tests: len(c.Steps), Failures: c.Count(Failed),
			Skipped: c.notSent(), Time: fmt.Sprintf("%.3f", c.Elapsed.Seconds())}
		var counts properties
		for _, o := range []Outcome{Refused, Part, Theirs, OnPurpose, Lenient} {
			if n := c.Count(o); n > 0 {
				counts.List = append(counts.List, property{string(o), fmt.Sprint(n)})
				s.Counts = &counts
			}
		}
		for _, step := range c.Steps {
			t := testcase{Name: "step " + step.Step + ": " + step.Request, Class: c.Name}
			switch step.Outcome {
			case Failed:
				one := CaseResult{Name: c.Name, Recorded: c.Recorded, Notes: c.Notes, Steps: []StepResult{step}}
				var b strings.Builder
				writeFailures(&b, &one)
				t.Failure = &message{Message: step.summary(), Text: printable.Text(b.String())}
			case LeftOut, NotApplicable:
				t.Skipped = &message{Message: step.Note}
			default:
				if step.Note != "" {
					t.Output = string(step.Outcome) + ": " + step.Note
				}
			}
			s.Cases = append(s.Cases, t)
		}
		all.Suites = append(all.Suites, s)
	}
	last := suite{Name: "the run"}
	for _, x := range r.Stale {
		last.Cases = append(last.Cases, testcase{Name: fmt.Sprintf("declared difference: %s step %s %s", x.Case, x.Step, x.What), Class: "the run",
			Failure: &message{Message: "no longer different"}})
	}
	for _, path := range r.NotDeleted {
		last.Cases = append(last.Cases, testcase{Name: "delete " + path, Class: "the run", Failure: &message{Message: "not deleted"}})
	}
	if last.Tests, last.Failures = len(last.Cases), len(last.Cases); last.Tests > 0 {
		all.Suites = append(all.Suites, last)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s StepResult) summary() string {
	if len(s.Undeclared) == 0 {
		return s.Note
	}
	d := s.Undeclared[0]
	return fmt.Sprintf("%s: want %s, got %s", d.What, cut(d.Want, 100), cut(d.Got, 100))
}
