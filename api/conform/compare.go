package conform

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Diff is one difference between the recorded answer and the one that came. What is
//
//	status           another status; nothing else of the answer is compared then
//	header:NAME      a header that is missing, has another value, or was not there
//	/JSON/pointer    a value that is missing, too many or different; an object whose keys have another order
//	body             the whole body: not JSON, not compact JSON, another text, or another kind of document
//	answer           no answer in time
type Diff struct {
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"`
}

// absent stands for a value that is not there in a Diff.
const absent = "(none)"

// comparison holds what is needed to compare one answer with the recorded one.
type comparison struct {
	want   *Recorded
	vars   vars
	method string
	view   view
	diffs  []Diff
	// substituted is set once a recorded value was compared by form, by placeholder or in part: the recorded length
	// is not this answer's then.
	substituted bool
}

// view tells which part of an answer is compared. The zero view is all of it.
type view struct {
	own  func(value) bool // which elements of list are compared, in order; all if nil
	list string           // pointer of the list that own looks at
	// unordered lists are compared in the order of their texts: the recorded ones begin with one placeholder, so theirs
	// is that of the values.
	unordered bool
	ignore    []string          // members of the list's elements or pointers of the answer that are not compared
	format    map[string]string // pointers compared by form, besides those of the recording
	starting  bool              // a conversation recorded as STARTING may be RUNNING already
	// foreign: the run did not start the server. It may have another kind of runtime than the recorded one, which tells
	// itself by other statuses, such as STATUS$READY, and secrets.
	foreign bool
	line    Line
}

// partial tells whether v leaves anything out.
func (v view) partial() bool {
	return v.own != nil || len(v.ignore) > 0 || len(v.format) > 0 || v.starting
}

// compare returns what differs between the recorded answer and a. It may set learned placeholders in vars.
func compare(method string, want *Recorded, a Answer, vars vars, view view) []Diff {
	if a.Status == 0 {
		return []Diff{{"answer", statusText(want.Status), a.Err}}
	}
	if a.Status != want.Status {
		return []Diff{{"status", statusText(want.Status), statusText(a.Status)}}
	}
	c := &comparison{want: want, vars: vars, method: method, view: view}
	c.body(a)
	bodyHeld := len(c.diffs) == 0
	c.headers(a, bodyHeld)
	return c.diffs
}

func statusText(status int) string {
	if status == 0 {
		return "no answer"
	}
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

func (c *comparison) differ(what, want, got string) {
	if what == "" {
		what = "body"
	}
	c.diffs = append(c.diffs, Diff{what, want, got})
}

// comparedHeaders are those that the recordings keep wherever they occur: one that comes though it was not recorded is a difference too.
// Headers that only tell more, X-… and the one that lets pages read them, are not among them.
var comparedHeaders = []string{
	"access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
	"access-control-allow-origin", "access-control-max-age",
	"allow", "cache-control", "content-length", "content-type", "etag", "expires", "location", "pragma",
	"retry-after", "vary", "www-authenticate",
}

// headers compares the kept headers. How a body is framed is not compared: where the recording was chunked, a length may
// come; where a length was recorded, it must be there, and be the recorded one if every byte of the body is known.
func (c *comparison) headers(a Answer, bodyHeld bool) {
	for _, name := range comparedHeaders {
		want, wanted := c.want.Headers[name]
		got, came := a.header(name)
		if name == "access-control-allow-headers" && !wanted {
			continue // never kept: it echoes what was asked for
		}
		if name == "content-length" {
			c.length(want, wanted, got, came, bodyHeld)
			continue
		}
		switch {
		case wanted && !came:
			c.differ("header:"+name, want, absent)
		case !wanted && came:
			c.differ("header:"+name, absent, got)
		case wanted && slices.Contains(c.want.Unordered, name):
			if !slices.Equal(fields(want), fields(got)) {
				c.differ("header:"+name, want, got)
			}
		case wanted && !c.vars.matches(want, got):
			c.differ("header:"+name, want, got)
		}
	}
}

func fields(list string) []string {
	f := strings.Split(strings.ReplaceAll(list, " ", ""), ",")
	slices.Sort(f)
	return f
}

func (c *comparison) length(want string, wanted bool, got string, came, bodyHeld bool) {
	if !wanted || c.view.partial() {
		return
	}
	if !came {
		c.differ("header:content-length", want, absent)
		return
	}
	if bodyHeld && got != want && !c.want.LengthVolatile && !c.want.BodyOmitted && !c.substituted {
		c.differ("header:content-length", want, got)
	}
}

// body compares the bodies: as documents where the recording is application/json, as text everywhere else.
func (c *comparison) body(a Answer) {
	if c.method == http.MethodHead || c.want.BodyOmitted || len(c.want.Body) == 0 {
		return
	}
	want, err := parseJSON(c.want.Body)
	if err != nil {
		c.differ("body", "recorded body: "+err.Error(), "")
		return
	}
	if c.want.Headers["content-type"] != "application/json" {
		switch {
		case slices.Contains(c.want.Volatile, ""), want.kind == 'n' && c.want.Headers["content-type"] != "":
			c.substituted = true
		case want.kind != '"' && want.kind != 'n':
			c.differ("body", want.String(), string(a.Body))
		case !c.vars.matches(want.text, string(a.Body)) && !(want.kind == 'n' && len(a.Body) == 0):
			c.differ("body", want.text, string(a.Body))
		}
		return
	}
	got, err := parseJSON(a.Body)
	if err != nil {
		c.differ("body", want.String(), fmt.Sprintf("%q: %v", a.Body, err))
		return
	}
	if compact := got.String(); compact != string(a.Body) {
		c.differ("body", compact, string(a.Body))
	}
	c.value("", want, got)
}

// kinds are the placeholders that stand for a whole value of which no more than its kind was kept.
var kinds = map[string]byte{"{{number}}": '0', "{{text}}": '"', "{{bool}}": 't', "{{list}}": '[', "{{object}}": '{', "{{any}}": 0}

// value compares the values at pointer.
func (c *comparison) value(pointer string, want, got value) {
	if slices.Contains(c.view.ignore, pointer) {
		return
	}
	if format, ok := c.view.format[pointer]; ok {
		c.form(pointer, format, want, got)
		return
	}
	if slices.Contains(c.want.Volatile, pointer) {
		c.form(pointer, c.want.Formats[pointer], want, got)
		return
	}
	if relative, ok := c.want.Relative[pointer]; ok {
		if text, err := c.vars.expand("{{"+relative+"}}", map[string]bool{"base": true}); err == nil {
			c.substituted = c.substituted || text != want.text
			want.text = text
		} else {
			want.text = relative + " (" + err.Error() + ")"
		}
	}
	if kind, ok := kinds[want.text]; ok && want.kind == '"' {
		c.substituted = true
		if kind != got.kind && kind != 0 {
			c.differ(pointer, want.text, got.String())
		}
		return
	}
	if want.kind != got.kind {
		c.differ(pointer, want.String(), got.String())
		return
	}
	switch want.kind {
	case '{':
		c.object(pointer, want, got)
	case '[':
		c.array(pointer, want, got)
	case '"':
		c.text(pointer, want.text, got.text)
	default:
		if want.text != got.text {
			c.differ(pointer, want.text, got.text)
		}
	}
}

func (c *comparison) object(pointer string, want, got value) {
	same := len(want.keys) == len(got.keys)
	want.keys = slices.Clone(want.keys)
	for i, key := range want.keys {
		if strings.Contains(key, "{{") {
			key, _ = c.vars.expand(key, nil)
			want.keys[i], c.substituted = key, true
		}
		v, ok := got.get(key)
		if !ok {
			same = false
			if !slices.Contains(c.view.ignore, member(pointer, key)) {
				c.differ(member(pointer, key), want.list[i].String(), absent)
			}
			continue
		}
		if c.view.starting && c.started(key, want.list[i], v) || c.view.foreign && key == "runtime_status" && want.list[i].kind == v.kind {
			c.substituted = true
			continue
		}
		c.value(member(pointer, key), want.list[i], v)
	}
	for i, key := range got.keys {
		if _, ok := want.get(key); !ok {
			same = false
			if !slices.Contains(c.view.ignore, member(pointer, key)) {
				c.differ(member(pointer, key), absent, got.list[i].String())
			}
		}
	}
	if same && !slices.Equal(want.keys, got.keys) {
		c.differ(pointer, "keys "+strings.Join(want.keys, ", "), "keys "+strings.Join(got.keys, ", "))
	}
}

// started tells whether a member of a conversation differs only because its start-up is over already.
func (c *comparison) started(key string, want, got value) bool {
	switch key {
	case "status", "conversation_status":
		return want.text == "STARTING" && got.text == "RUNNING"
	case "runtime_status":
		return want.kind == 'n' && got.kind == '"'
	}
	return false
}

func (c *comparison) array(pointer string, want, got value) {
	indices := make([]int, len(want.list)) // the recorded index of each element: pointers count the recorded ones
	for i := range indices {
		indices[i] = i
	}
	if c.view.own != nil && pointer == c.view.list {
		indices = slices.DeleteFunc(indices, func(i int) bool { return !c.view.own(want.list[i]) })
		got.list = slices.DeleteFunc(slices.Clone(got.list), func(v value) bool { return !c.view.own(v) })
	}
	if c.view.line == AgentServer {
		slices.SortStableFunc(indices, func(i, j int) int { return want.list[i].floating() - want.list[j].floating() })
		got.list = slices.Clone(got.list)
		slices.SortStableFunc(got.list, func(a, b value) int { return a.floating() - b.floating() })
	}
	if len(indices) != len(got.list) {
		var kept value
		kept.kind = '['
		for _, i := range indices {
			kept.list = append(kept.list, want.list[i])
		}
		c.differ(pointer, fmt.Sprintf("%d elements: %s", len(indices), kept), fmt.Sprintf("%d elements: %s", len(got.list), got))
		return
	}
	if c.view.unordered {
		slices.SortFunc(indices, func(i, j int) int { return strings.Compare(want.list[i].text, want.list[j].text) })
		got.list = slices.Clone(got.list)
		slices.SortFunc(got.list, func(a, b value) int { return strings.Compare(a.text, b.text) })
	}
	for i, at := range indices {
		w, g := want.list[at], got.list[i]
		if c.view.line == AgentServer && w.floating()+g.floating() == 2 {
			w, g = w.without("parent_id"), g.without("parent_id")
		}
		c.value(element(pointer, at), w, g)
	}
}

var elided = regexp.MustCompile(`(?s)\A(.*)\.\.\.<(\d+) chars>\z`)

func (c *comparison) text(pointer, want, got string) {
	if c.want.BodyElided {
		if m := elided.FindStringSubmatch(want); m != nil {
			n, _ := strconv.Atoi(m[2])
			if !strings.HasPrefix(got, m[1]) || len([]rune(got)) != n {
				c.differ(pointer, want, got)
			}
			return
		}
	}
	if want != got {
		c.substituted = true
		if !c.vars.matches(want, got) && !(c.view.foreign && hides(got, want)) {
			c.differ(pointer, want, got)
		}
	}
}

// hidden stands in an event where the value of a secret stood.
const hidden = "<secret_hidden>"

// hides tells whether got is want with parts of it hidden: who uses the server may have secrets that stand there by chance.
func hides(got, want string) bool {
	if !strings.Contains(got, hidden) || strings.Contains(want, hidden) {
		return false
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(got), regexp.QuoteMeta(hidden), `(?s:.+?)`)
	return regexp.MustCompile(`\A` + pattern + `\z`).MatchString(want)
}

// formats are the forms that values can have of which the recording keeps no more.
var formats = map[string]*regexp.Regexp{
	"datetime-naive": regexp.MustCompile(`\A"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?"\z`),
	"datetime-Z":     regexp.MustCompile(`\A"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z"\z`),
	"string":         regexp.MustCompile(`(?s)\A".*"\z`),
	"str":            regexp.MustCompile(`(?s)\A".*"\z`),
	"int":            regexp.MustCompile(`\A-?\d+\z`),
	"any":            regexp.MustCompile(`(?s)\A.*\z`),
}

// form compares the form of a value: the named one, or the recorded value's type if format is empty.
func (c *comparison) form(pointer, format string, want, got value) {
	c.substituted = true
	if format == "" {
		if want.kind != got.kind {
			c.differ(pointer, "another value like "+want.String(), got.String())
		}
		return
	}
	if re := formats[format]; re == nil || !re.MatchString(got.String()) {
		c.differ(pointer, format+" like "+want.String(), got.String())
	}
}
