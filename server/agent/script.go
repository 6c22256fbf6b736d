package agent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Script is what an agent answers to what.
type Script struct{ Rules []Rule }

// A Rule answers the messages that a regular expression matches, anywhere
// unless it says ^ and $.
type Rule struct {
	On    *regexp.Regexp
	Steps []Step
}

// A Step is one thing that an agent does. It has at most one of Event, Fail
// and Confirm.
type Step struct {
	Wait time.Duration // before
	// Event is stored as given, of the agent unless it has a source; null is
	// none. An observation without a cause gets the last action's id. In a
	// Rule its strings are templates of the match: $0, $1, ${name}; $$ is a
	// dollar.
	Event pyjson.Value
	// Fail ends the answer in the state error, with this reason.
	Fail string
	// Confirm asks the user and goes on when the answer is yes.
	Confirm *Confirm
}

// Confirm is a question, with the steps that follow a no in place of the rest.
type Confirm struct{ Rejected []Step }

// Echo answers every message with itself.
func Echo() *Script {
	return &Script{Rules: []Rule{{On: regexp.MustCompile(`(?s)^.*$`), Steps: []Step{{Event: say("$0")}}}}}
}

// say is an agent's message that hands over to the user.
func say(text string) pyjson.Value {
	return object("action", pyjson.StringOf("message"),
		"args", object("content", pyjson.StringOf(text), "wait_for_response", pyjson.BoolOf(true)))
}

// object makes an object of keys and values.
func object(pairs ...any) pyjson.Value {
	var o pyjson.Builder
	for pair := range slices.Chunk(pairs, 2) {
		o.Set(pair[0].(string), pair[1].(pyjson.Value))
	}
	return o.Object()
}

// ByName returns the script that a flag names: nil for "none", [Echo] for
// "echo", that of a file for "script:FILE".
func ByName(name string) (*Script, error) {
	file, isScript := strings.CutPrefix(name, "script:")
	switch {
	case name == "none":
		return nil, nil
	case name == "echo":
		return Echo(), nil
	case isScript && file != "":
		return Load(file)
	}
	return nil, fmt.Errorf("agent %q: want echo, none or script:FILE", name)
}

// Load reads a script from a file of YAML or JSON. The first rule that matches
// a message answers it; one that none matches gets no answer but the states.
//
//	rules:
//	  - on: (?i)list the (\w+)         # a regular expression
//	    steps:
//	      - event:                     # the body of an Add Event, beside it source and cause
//	          action: run
//	          args: {command: "ls $1"}
//	      - confirm: {rejected: [{say: "As you like."}]}
//	      - wait: 300ms                # before what the step does
//	        event: {observation: run, content: README.md, extras: {command: "ls $1", metadata: {exit_code: 0}}}
//	      - say: Done.                 # a message that hands over to the user
//	      - fail: no credit is left    # the state error, and the end of the answer
//
// An event with a kind is one of the agent server's line: an ActionEvent has a
// tool_name and an action, an ObservationEvent an observation, whose content may
// be a text. A rule answers in the line whose events it has; one that has none
// but what is said answers in both.
//
//   - event: {kind: ActionEvent, tool_name: terminal, action: {kind: TerminalAction, command: ls}}
//   - event: {kind: ObservationEvent, observation: {kind: TerminalObservation, content: README.md}}
//
// After the last step the agent awaits the user's input, unless it was a
// finish or reject action. A mistake is told with its line.
func Load(file string) (*Script, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("script: %w", err)
	}
	var root yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("script %s: %w", file, err)
	}
	s := &Script{}
	if len(root.Content) == 0 {
		err = errors.New("line 1: want rules")
	} else {
		err = s.read(root.Content[0])
	}
	if err != nil {
		return nil, fmt.Errorf("script %s: %w", file, err)
	}
	return s, nil
}

func (s *Script) read(n *yaml.Node) error {
	f, err := fields(n, "rules")
	if err != nil {
		return err
	}
	if s.Rules, err = list(f["rules"], n, "rules", readRule); err == nil && len(s.Rules) == 0 {
		err = wrong(n, "want at least one rule")
	}
	return err
}

func readRule(n *yaml.Node) (r Rule, err error) {
	f, err := fields(n, "on", "steps")
	if err != nil {
		return r, err
	}
	if f["on"] == nil {
		return r, wrong(n, "a rule needs on, a regular expression")
	}
	if r.On, err = regexp.Compile(f["on"].Value); err != nil {
		return r, wrong(f["on"], "on: %v", err)
	}
	r.Steps, err = list(f["steps"], n, "steps", readStep)
	return r, err
}

func readStep(n *yaml.Node) (s Step, err error) {
	f, err := fields(n, "wait", "event", "say", "fail", "confirm")
	if err != nil {
		return s, err
	}
	if w := f["wait"]; w != nil {
		if s.Wait, err = time.ParseDuration(w.Value); err != nil || s.Wait < 0 {
			return s, wrong(w, "wait %q: want a time such as 300ms or 2s", w.Value)
		}
		delete(f, "wait")
	}
	if len(f) != 1 {
		return s, wrong(n, "a step has one of event, say, fail and confirm")
	}
	switch {
	case f["say"] != nil:
		s.Event = say(f["say"].Value)
	case f["event"] != nil:
		if s.Event, err = valueOf(f["event"]); err == nil {
			err = s.check()
		}
		if err != nil {
			return s, wrong(f["event"], "event: %v", err)
		}
	case f["fail"] != nil:
		if s.Fail = f["fail"].Value; s.Fail == "" {
			return s, wrong(f["fail"], "fail: want a reason")
		}
	default:
		c, err := fields(f["confirm"], "rejected")
		if err != nil {
			return s, err
		}
		s.Confirm = &Confirm{}
		s.Confirm.Rejected, err = list(c["rejected"], f["confirm"], "rejected", readStep)
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// valueOf is the JSON value that a node of YAML says.
func valueOf(n *yaml.Node) (pyjson.Value, error) {
	var v any
	if err := n.Decode(&v); err != nil {
		return pyjson.Value{}, err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return pyjson.Value{}, err // YAML has a few values that JSON has not
	}
	return pyjson.Decode(text)
}

// check tells what is wrong with an event.
func (s Step) check() error {
	if s.Event.Kind() != pyjson.Object {
		return errors.New("want an object")
	}
	if s.kind() != "" {
		return s.checkTurn()
	}
	if !slices.Contains([]string{"agent", "environment", "user"}, s.source()) {
		return fmt.Errorf("source %q: want agent, environment or user", s.source())
	}
	_, err := event.Normalise(s.body(-1), event.Options{Timestamp: time.Unix(0, 0), Source: s.source()})
	return err
}

// source is whom the event is of.
func (s Step) source() string {
	source, _ := s.Event.Get("source")
	return cmp.Or(source.Text(), "agent")
}

// action is the name of the action that the event is, "" when it is none.
func (s Step) action() string {
	action, _ := s.Event.Get("action")
	return action.Text()
}

// arg is an argument of the action that the event is.
func (s Step) arg(name string) pyjson.Value {
	args, _ := s.Event.Get("args")
	v, _ := args.Get(name)
	return v
}

// body is the event's JSON. An observation is caused by the last action, if
// there was one.
func (s Step) body(cause int64) []byte {
	e := s.Event.Without("source")
	if _, given := e.Get("cause"); !given && s.action() == "" && cause >= 0 {
		e = pyjson.ObjectOf(append(e.Members(), pyjson.Member{Key: "cause", Value: pyjson.IntOf(cause)})...)
	}
	return e.Append(nil)
}

// match returns the steps that answer a message, their templates filled in; a
// nil script has none. Rules that unfit excludes are passed over.
func (s *Script) match(message string, unfit func(Step) bool) []Step {
	if s == nil {
		return nil
	}
	for _, r := range s.Rules {
		if slices.ContainsFunc(r.Steps, unfit) {
			continue
		}
		if found := r.On.FindStringSubmatchIndex(message); found != nil {
			return fillSteps(r.Steps, func(template string) string {
				return string(r.On.ExpandString(nil, template, message, found))
			})
		}
	}
	return nil
}

func fillSteps(steps []Step, expand func(string) string) []Step {
	steps = slices.Clone(steps)
	for i, s := range steps {
		steps[i].Event = fill(s.Event, expand)
		steps[i].Fail = expand(s.Fail)
		if s.Confirm != nil {
			steps[i].Confirm = &Confirm{fillSteps(s.Confirm.Rejected, expand)}
		}
	}
	return steps
}

// fill expands the strings of a value.
func fill(v pyjson.Value, expand func(string) string) pyjson.Value {
	switch v.Kind() {
	case pyjson.String:
		return pyjson.StringOf(expand(v.Text()))
	case pyjson.Array:
		filled := make([]pyjson.Value, len(v.Items()))
		for i, item := range v.Items() {
			filled[i] = fill(item, expand)
		}
		return pyjson.ArrayOf(filled...)
	case pyjson.Object:
		filled := make([]pyjson.Member, len(v.Members()))
		for i, m := range v.Members() {
			filled[i] = pyjson.Member{Key: m.Key, Value: fill(m.Value, expand)}
		}
		return pyjson.ObjectOf(filled...)
	}
	return v
}

// fields are the members of an object, which may have no others.
func fields(n *yaml.Node, names ...string) (map[string]*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, wrong(n, "want an object with %s", strings.Join(names, ", "))
	}
	f := map[string]*yaml.Node{}
	for pair := range slices.Chunk(n.Content, 2) {
		name := pair[0].Value
		if !slices.Contains(names, name) {
			return nil, wrong(pair[0], "unknown %q: want %s", name, strings.Join(names, ", "))
		}
		f[name] = pair[1]
	}
	return f, nil
}

// list reads the items of a list; in is where it is missing.
func list[T any](n, in *yaml.Node, name string, read func(*yaml.Node) (T, error)) ([]T, error) {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil, wrong(in, "%s: want a list", name)
	}
	var all []T
	for _, item := range n.Content {
		v, err := read(item)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func wrong(n *yaml.Node, format string, a ...any) error {
	return fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, a...))
}
