package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

const (
	maxDelay = time.Hour
	maxText  = 1 << 20 // bytes of a body to answer with
	maxMatch = 8 << 10 // bytes of any other text
)

var (
	validName  = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9 ._]{0,63}$`)
	headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$") // a token of RFC 9110
)

// MarshalJSON writes a delay as it is read.
func (d Delay) MarshalJSON() ([]byte, error) {
	if d.Mean > 0 || d.Deviation > 0 {
		return json.Marshal(map[string]string{"mean": d.Mean.String(), "deviation": d.Deviation.String()})
	}
	if d.Max > d.Min {
		return json.Marshal(map[string]string{"min": d.Min.String(), "max": d.Max.String()})
	}
	return json.Marshal(d.Min.String())
}

// valueOf is the JSON value of a Go value.
func valueOf(v any) (pyjson.Value, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return pyjson.Value{}, err // what JSON has not, such as a function
	}
	return pyjson.Decode(text)
}

// DecodeJSON reads a text of JSON, for [Set.AddJSON]. Its error is a
// [*fastapi.Invalid].
func DecodeJSON(text []byte) (pyjson.Value, error) {
	v, err := pyjson.Decode(text)
	if syntax := (*pyjson.SyntaxError)(nil); errors.As(err, &syntax) {
		return v, fastapi.JSONInvalid(syntax)
	}
	if err != nil {
		return v, fastapi.ValueError(err.Error()).Refuse(v, "body")
	}
	return v, nil
}

// AddFile adds the rules of a file of YAML or JSON: those of the start, which
// [Set.Restart] leaves and [Set.Unused] tells of. An error names all that is
// wrong, each with its line.
func (s *Set) AddFile(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	var root yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("faults %s: %w", name, err)
	}
	var plain any
	if err := root.Decode(&plain); err != nil {
		return fmt.Errorf("faults %s: %w", name, err)
	}
	v, err := valueOf(plain)
	if err != nil {
		return fmt.Errorf("faults %s: %w", name, err)
	}
	_, err = s.add(v, true)
	var invalid *fastapi.Invalid
	if !errors.As(err, &invalid) {
		return err
	}
	var problems []error
	for _, e := range invalid.Errors {
		problems = append(problems, fmt.Errorf("faults %s: line %d: %s", name, line(&root, e.Loc), describe(e)))
	}
	return errors.Join(problems...)
}

// describe is an error of reading in one line.
func describe(e fastapi.Error) string {
	place := make([]string, len(e.Loc))
	for i, p := range e.Loc {
		place[i] = fmt.Sprint(p)
	}
	text := strings.TrimPrefix(e.Msg, "Value error, ")
	if len(place) == 0 {
		return text
	}
	return strings.Join(place, ".") + ": " + text
}

// line is where a place is, or the innermost around it.
func line(n *yaml.Node, loc []any) int {
	at := max(1, n.Line)
	for n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	for _, step := range loc {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		next := (*yaml.Node)(nil)
		switch i, isIndex := step.(int); {
		case n.Kind == yaml.SequenceNode && isIndex && i < len(n.Content):
			next = n.Content[i]
			at = next.Line
		case n.Kind == yaml.MappingNode:
			for pair := range slices.Chunk(n.Content, 2) {
				if pair[0].Value == step {
					at, next = pair[0].Line, pair[1]
				}
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return at
}

// read reads rules, all that is wrong with them together.
func (s *Set) read(v pyjson.Value, place []string) ([]*rule, error) {
	r := &reader{operations: s.operations}
	for _, step := range place {
		r.Push(step)
	}
	if list, ok := v.Get("faults"); ok && len(v.Members()) == 1 {
		r.Push("faults")
		v = list
		if v.Kind() != pyjson.Array {
			r.Fail(fastapi.ListType, v)
		}
	}
	var rules []*rule
	if v.Kind() != pyjson.Array {
		rules = append(rules, r.rule(v))
	}
	for i, item := range v.Items() {
		if len(s.rules)+i >= maxRules {
			r.Fail(wrong("there are %d rules at most", maxRules), pyjson.IntOf(int64(len(v.Items()))))
			break
		}
		r.PushItem(i)
		rules = append(rules, r.rule(item))
		r.Pop()
	}
	if v.Kind() != pyjson.Array && len(s.rules) >= maxRules {
		r.Fail(wrong("there are %d rules at most", maxRules), pyjson.Value{})
	}
	names := map[string]bool{}
	for i, rule := range rules {
		if rule.Name != "" && (names[rule.Name] || s.find(rule.Name) >= 0) {
			if v.Kind() == pyjson.Array {
				r.PushItem(i)
			}
			r.Push("name")
			r.Fail(wrong("there is a rule of this name: delete it first, or choose another"), pyjson.StringOf(rule.Name))
			r.Pop()
			if v.Kind() == pyjson.Array {
				r.Pop()
			}
		}
		names[rule.Name] = true
	}
	return rules, r.Err()
}

// A reader reads rules and notes what is wrong with them, and where.
type reader struct {
	fastapi.Reader
	operations []string
}

func wrong(format string, a ...any) *fastapi.Fault {
	return fastapi.ValueError(fmt.Sprintf(format, a...))
}

// A field reads a value; null is as if it was not there.
type field func(pyjson.Value)

// object reads the members of an object, which may have no others.
func (r *reader) object(v pyjson.Value, fields map[string]field) {
	if v.Kind() != pyjson.Object {
		r.Fail(fastapi.ModelType, v)
		return
	}
	for _, m := range v.Members() {
		r.Push(m.Key)
		switch read := fields[m.Key]; {
		case read == nil:
			r.Fail(fastapi.ExtraForbidden, m.Value)
		case !m.Value.IsNull():
			read(m.Value)
		}
		r.Pop()
	}
}

// text reads a text that a check has nothing against.
func (r *reader) text(to *string, check func(string) *fastapi.Fault) field {
	return func(v pyjson.Value) {
		text, f := fastapi.String(v)
		if f == nil && len(text.Text()) > maxMatch {
			f = wrong("want up to %d bytes", maxMatch)
		}
		if f == nil && check != nil {
			f = check(text.Text())
		}
		if f != nil {
			r.Fail(f, v)
			return
		}
		*to = text.Text()
	}
}

// oneOf reads one of some texts.
func (r *reader) oneOf(to *string, values ...string) field {
	return r.text(to, func(text string) *fastapi.Fault {
		if slices.Contains(values, text) {
			return nil
		}
		return fastapi.Literal(values...)
	})
}

// number reads a whole number within bounds.
func (r *reader) number(least, most int64, to func(int64)) field {
	return func(v pyjson.Value) {
		read, f := fastapi.Int(v)
		if f == nil {
			n, err := strconv.ParseInt(read.Text(), 10, 64)
			if err == nil && least <= n && n <= most {
				to(n)
				return
			}
			f = wrong("want a number from %d to %d", least, most)
		}
		r.Fail(f, v)
	}
}

func (r *reader) int(to *int, least, most int64) field {
	return r.number(least, most, func(n int64) { *to = int(n) })
}

// texts reads an object of texts that a check has nothing against.
func (r *reader) texts(to *map[string]string, check func(name, value string) *fastapi.Fault) field {
	return func(v pyjson.Value) {
		if v.Kind() != pyjson.Object {
			r.Fail(fastapi.DictType, v)
			return
		}
		read := map[string]string{}
		for _, m := range v.Members() {
			var text string
			r.Push(m.Key)
			r.text(&text, func(text string) *fastapi.Fault { return check(m.Key, text) })(m.Value)
			r.Pop()
			read[m.Key] = text
		}
		*to = read
	}
}

// settings reads an object of JSON pointers and values.
func (r *reader) settings(to *map[string]any, settings *[]setting) field {
	return func(v pyjson.Value) {
		if v.Kind() != pyjson.Object {
			r.Fail(fastapi.DictType, v)
			return
		}
		*to, *settings = map[string]any{}, nil
		for _, m := range v.Members() {
			r.Push(m.Key)
			pointer, ok := parsePointer(m.Key)
			if !ok {
				r.Fail(wrong("want a JSON pointer, such as /args/content"), m.Value)
			}
			(*to)[m.Key] = json.RawMessage(r.servable(m.Value).Append(nil))
			*settings = append(*settings, setting{pointer, m.Value})
			r.Pop()
		}
	}
}

// servable notes a value that no answer could show again.
func (r *reader) servable(v pyjson.Value) pyjson.Value {
	if f := v.Unservable(); f != nil {
		r.Fail(wrong("has %s, which JSON cannot carry", f.What), pyjson.Value{})
		return pyjson.Value{}
	}
	return v
}

// duration reads a text such as 300ms.
func (r *reader) duration(to *time.Duration) field {
	return func(v pyjson.Value) {
		d, err := time.ParseDuration(v.Text())
		if v.Kind() != pyjson.String || err != nil || d < 0 || d > maxDelay {
			r.Fail(wrong("want a time such as 300ms or 2s, up to %v", maxDelay), v)
			return
		}
		*to = d
	}
}

func (r *reader) delay(to *Delay) field {
	return func(v pyjson.Value) {
		var d Delay
		if v.Kind() != pyjson.Object {
			r.duration(&d.Min)(v)
			d.Max = d.Min
			*to = d
			return
		}
		r.object(v, map[string]field{
			"min": r.duration(&d.Min), "max": r.duration(&d.Max), "mean": r.duration(&d.Mean), "deviation": r.duration(&d.Deviation),
		})
		_, even := v.Get("max")
		_, normal := v.Get("mean")
		if even == normal || d.Max < d.Min || normal && d.Min > 0 || even && d.Deviation > 0 {
			r.Fail(wrong("want min and max, max the larger, or mean and deviation"), v)
		}
		*to = d
	}
}

// rule reads a rule. What is wrong within its fields keeps it from being read
// as a whole.
func (r *reader) rule(v pyjson.Value) *rule {
	all := &rule{}
	before := len(r.Errors)
	var preset string
	if p, ok := v.Get("preset"); ok && !p.IsNull() {
		r.Push("preset")
		r.oneOf(&preset, presetNames()...)(p)
		r.Pop()
	}
	if len(r.Errors) > before {
		return all
	}
	if preset != "" {
		all.Rule = presetNamed(preset).rule()
		r.fields(all, mustValueOf(all.Rule))
	}
	r.fields(all, v)
	if len(r.Errors) > before {
		return all
	}
	r.check(all, v)
	if all.Match.Nth > 0 && all.Times == 0 {
		all.Times = 1
	}
	all.random = rand.New(rand.NewPCG(uint64(all.Match.Seed), 0))
	all.fault.Do = all.Do
	return all
}

// fields reads what a rule says into one.
func (r *reader) fields(all *rule, v pyjson.Value) {
	m, do := &all.Match, &all.Do
	r.object(v, map[string]field{
		"name": r.text(&all.Name, func(name string) *fastapi.Fault {
			if !validName.MatchString(name) {
				return wrong("want up to 64 letters, digits, spaces, dots, dashes and underscores, a letter or digit first")
			}
			return nil
		}),
		"preset": r.text(&all.Preset, nil),
		"times":  r.int(&all.Times, 1, math.MaxInt32),
		"match": func(v pyjson.Value) {
			r.object(v, map[string]field{
				"operation":    r.text(&m.Operation, r.operation),
				"conversation": r.text(&m.Conversation, nil),
				"method":       r.text(&m.Method, nil),
				"path": r.text(&m.Path, func(path string) *fastapi.Fault {
					if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "*") {
						return wrong("want a path that begins with / or *")
					}
					return nil
				}),
				"header": r.texts(&m.Header, func(string, string) *fastapi.Fault { return nil }),
				"body":   r.settings(&m.Body, &all.body),
				"status": r.int(&m.Status, 200, 599),
				"nth":    r.int(&m.Nth, 1, math.MaxInt32),
				"chance": func(v pyjson.Value) {
					n, f := fastapi.Float(v)
					if f == nil {
						if m.Chance = n.Float64(); m.Chance > 0 && m.Chance <= 1 {
							return
						}
						f = wrong("want a number above 0, up to 1")
					}
					r.Fail(f, v)
				},
				"seed": r.number(math.MinInt64, math.MaxInt64, func(n int64) { m.Seed = n }),
			})
		},
		"do": func(v pyjson.Value) {
			r.object(v, map[string]field{
				"at":      r.oneOf(&do.At, Before, After),
				"delay":   r.delay(&do.Delay),
				"status":  r.int(&do.Status, 200, 599),
				"headers": r.texts(&do.Headers, answerHeader),
				"body":    func(v pyjson.Value) { r.body(all, v) },
				"set":     r.settings(&do.Set, &all.fault.set),
				"cut": r.number(0, math.MaxInt32, func(n int64) {
					cut := int(n)
					do.Cut = &cut
				}),
				"bytes_per_second": r.int(&do.BytesPerSecond, 1, math.MaxInt32),
				"connection":       r.oneOf(&do.Connection, Close, Reset),
				"socket":           r.oneOf(&do.Socket, Drop, Hold, Double, Reorder, Cut, HoldPings, Restart),
			})
		},
	})
}

// body reads what is answered: a text, or a value that is written as JSON.
func (r *reader) body(all *rule, v pyjson.Value) {
	if v.Kind() == pyjson.String {
		if _, f := fastapi.String(v); f != nil {
			r.Fail(f, pyjson.Value{})
			return
		}
		all.Do.Body, all.fault.text = v.Text(), []byte(v.Text())
	} else {
		text := r.servable(v).Append(nil)
		all.Do.Body, all.fault.text = json.RawMessage(text), text
	}
	if len(all.fault.text) > maxText {
		r.Fail(wrong("want up to %d bytes", maxText), pyjson.Value{})
	}
}

// operation wants one that is there.
func (r *reader) operation(name string) *fastapi.Fault {
	if slices.Contains(r.operations, name) {
		return nil
	}
	for _, other := range r.operations {
		if strings.EqualFold(strings.ReplaceAll(name, "_", ""), other) {
			return wrong("there is no operation of this name: did you mean %s?", other)
		}
	}
	return wrong("there is no operation of this name: openhands-local contract status lists them")
}

// answerHeader wants one that an answer can have. Its length and its coding are
// the connection's.
func answerHeader(name, value string) *fastapi.Fault {
	switch {
	case !headerName.MatchString(name):
		return wrong("is no name of a header")
	case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
		return wrong("is no value of a header")
	case slices.Contains([]string{"Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Upgrade", "X-Local-Fault"}, http.CanonicalHeaderKey(name)):
		return wrong("cannot be set: cut and connection spoil an answer")
	}
	return nil
}

// check notes what does not go together.
func (r *reader) check(all *rule, v pyjson.Value) {
	m, do := &all.Match, &all.Do
	http := do.Status != 0 || do.Set != nil || do.Cut != nil || do.BytesPerSecond != 0 || do.Connection != "" || do.Body != nil || do.Headers != nil || do.At != ""
	refuse := func(format string, a ...any) {
		given, _ := v.Get("do")
		r.Push("do")
		r.Fail(wrong(format, a...), given)
		r.Pop()
	}
	switch {
	case do.Socket != "" && http:
		refuse("socket stands alone, but for the delay of hold")
	case do.Socket != "" && (m.Operation != "" || m.Status != 0):
		refuse("a socket's message has no operation and no status: match its method, such as oh_event")
	case do.Socket == HoldPings && (m.Method != "" || m.Body != nil):
		refuse("a ping has no method and no body")
	case (do.Socket == Hold) != (do.Delay != Delay{}) && do.Socket != "":
		refuse("hold goes with a delay, and no other does of a socket")
	case do.Socket != "":
	case !http && do.Delay == Delay{}, do.At != "" && do.Delay == Delay{} && do.Status == 0 && do.Set == nil && do.Cut == nil && do.BytesPerSecond == 0 && do.Connection == "":
		refuse("nothing goes wrong: want status, delay, set, cut, bytes_per_second, connection or socket")
	case do.Status == 0 && (do.Body != nil || do.Headers != nil):
		refuse("body and headers go with a status")
	case do.Body != nil && (do.Status == 204 || do.Status == 304):
		refuse("an answer of %d has no body", do.Status)
	case do.Set != nil && do.Status != 0:
		refuse("set changes the answer that there is: want no status")
	case do.Connection != "" && do.Cut == nil && (do.Status != 0 || do.Set != nil || do.BytesPerSecond != 0):
		refuse("connection is in the place of an answer, unless that is cut")
	case m.Status != 0 && do.At == Before:
		refuse("the status is known after the handler alone: want no at")
	}
	if do.At == "" && do.Socket == "" {
		do.At = Before
		if m.Status != 0 {
			do.At = After
		}
	}
}
