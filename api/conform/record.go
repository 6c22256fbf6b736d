package conform

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Recorder makes cases: it sends the requests of a case that has no answers yet, and keeps what comes.
//
// What another run would not have is kept as a placeholder: captured values and those of the engine, UUIDs, dates and
// times. A UUID or time that stands in a request of the case is kept as it is.
type Recorder struct {
	// Kept tells what of a member is kept, by its name or "parent.name": a placeholder such as {{text}} or {{object}}.
	Kept map[string]string
	// Longest is how many characters a text may have; of longer ones it is kept that there was one. 0 is no limit.
	Longest int
	// Places are folders and the like whose names stand in answers: placeholder's name => value.
	Places map[string]string
}

// Record runs the steps of c against the server and returns c with the answers.
func (r Recorder) Record(ctx context.Context, server Server, c Case) (Case, error) {
	own := &runner{target: Target{Start: func(context.Context, map[string]string) (Server, error) { return server, nil }}}
	own.options.clock = clock{now: time.Now, sleep: realSleep}
	defer func() { own.model.close() }()
	c.Steps = slices.Clone(c.Steps)
	c.each(func(_ string, st *Step) { st.Answer = &Recorded{} })
	s := own.newScenario(&c)
	s.server = server
	if err := s.moved(); err != nil {
		return Case{}, err
	}
	defer s.hangUpAll()
	maps.Copy(s.vars, r.Places)
	k := &keeper{Recorder: r, vars: s.vars, sent: c.requests(), next: map[string]int{}}
	for i := range c.Steps {
		if err := s.recordStep(ctx, k, &c.Steps[i]); err != nil {
			return Case{}, fmt.Errorf("case %s step %d: %w", c.Name, i, err)
		}
	}
	return c, nil
}

// recordStep does one step and sets its answer.
func (s *scenario) recordStep(ctx context.Context, k *keeper, st *Step) error {
	if !s.compared(st) {
		return s.step(ctx, "", st)
	}
	if st.Op == "receive" {
		socket := s.sockets[st.Var]
		if socket == nil {
			return errNoSocket
		}
		frames, end := socket.collect(ctx, st.enough, st.Count == 0 && st.Until == nil && st.MS == 0, time.Duration(st.MS)*time.Millisecond)
		st.Answer = &Recorded{Status: 101, End: end}
		for _, frame := range frames {
			st.Answer.Frames = append(st.Answer.Frames, k.json([]byte(frame)))
		}
		return nil
	}
	m, err := s.prepare(st)
	if err != nil {
		return err
	}
	if st.Op == "connect" {
		socket, a := s.open(ctx, m)
		if socket != nil {
			s.sockets[st.Var] = socket
		}
		st.Answer = k.answer(a)
		return nil
	}
	a := send(ctx, s.base, m, foreignTimeout)
	for begun := time.Now(); !a.has(st.Until); a = send(ctx, s.base, m, foreignTimeout) {
		if time.Since(begun) > untilTimeout || ctx.Err() != nil {
			return fmt.Errorf("the answer does not become %v: %.1000s", st.Until, a.Body)
		}
		realSleep(ctx, pollInterval)
	}
	st.Answer = &Recorded{Status: a.Status}
	s.capture(st, a)
	st.Answer = k.answer(a)
	return nil
}

func (s *scenario) compared(st *Step) bool {
	return st.isRequest() || st.Op == "connect" || st.Op == "receive"
}

// enough tells whether the frames are all that a recorder shall receive.
func (st *Step) enough(frames []string) bool {
	switch {
	case st.Until != nil:
		if len(frames) == 0 {
			return false
		}
		last, err := parseJSON([]byte(frames[len(frames)-1]))
		return err == nil && last.has(st.Until)
	case st.Count > 0:
		return len(frames) >= st.Count
	}
	return st.MS > 0
}

// requests is all text of the requests of c.
func (c *Case) requests() string {
	var b strings.Builder
	for i := range c.Steps {
		for _, s := range append([]Step{c.Steps[i]}, c.Steps[i].Steps...) {
			fmt.Fprintln(&b, s.Path, s.Headers, s.BodyRaw)
		}
	}
	for _, r := range c.LLM {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

// keeper puts placeholders where a value is of this run alone.
type keeper struct {
	Recorder
	vars vars
	sent string
	next map[string]int
}

func (k *keeper) answer(a Answer) *Recorded {
	w := &Recorded{Status: a.Status, Headers: map[string]string{}}
	for _, name := range comparedHeaders {
		if v, ok := a.header(name); ok && name != "access-control-allow-headers" {
			w.Headers[name] = k.text(v)
		}
	}
	switch {
	case len(a.Body) == 0:
	case w.Headers["content-type"] == "application/json":
		w.Body = k.json(a.Body)
	case !utf8.Valid(a.Body) || k.Longest > 0 && len(a.Body) > k.Longest:
		w.BodyOmitted = true
	default:
		w.Body, _ = json.Marshal(k.text(string(a.Body))) // a string
	}
	return w
}

func (k *keeper) json(text []byte) json.RawMessage {
	v, err := parseJSON(text)
	if err != nil {
		v = value{kind: '"', text: string(text)}
	}
	return k.value("", "", v).append(nil)
}

func (k *keeper) value(parent, name string, v value) value {
	for _, key := range []string{parent + "." + name, name} {
		if kept, ok := k.Kept[key]; ok && v.kind != 'n' && key != "" {
			if kind, typed := kinds[kept]; !typed || kind == 0 || kind == v.kind {
				return value{kind: '"', text: kept}
			}
		}
	}
	switch v.kind {
	case '"':
		if k.Longest > 0 && utf8.RuneCountInString(v.text) > k.Longest {
			v.text = "{{text}}"
		}
		v.text = k.text(v.text)
	case '[':
		for i := range v.list {
			v.list[i] = k.value(parent, name, v.list[i])
		}
	case '{':
		for i := range v.list {
			v.list[i] = k.value(name, v.keys[i], v.list[i])
			v.keys[i] = k.text(v.keys[i])
		}
	}
	return v
}

var forms = []struct {
	name string
	re   *regexp.Regexp
}{
	{"id", regexp.MustCompile(`\b` + uuidForm + `\b`)},
	{"hex", regexp.MustCompile(`\b` + hexForm + `\b`)},
	{"time", regexp.MustCompile(timeForm)},
	{"stamp", regexp.MustCompile(stampForm)},
}

// text puts placeholders for what is known, and new ones for what has the form of an id or a time.
func (k *keeper) text(s string) string {
	for _, name := range slices.SortedFunc(maps.Keys(k.vars), func(x, y string) int {
		return cmp.Or(len(k.vars[y])-len(k.vars[x]), strings.Compare(x, y))
	}) {
		if len(k.vars[name]) >= 6 {
			s = strings.ReplaceAll(s, k.vars[name], "{{"+name+"}}")
		}
		if hex := strings.ReplaceAll(k.vars[name], "-", ""); len(hex) == 32 {
			s = strings.ReplaceAll(s, hex, "{{"+name+":hex}}")
		}
	}
	for _, f := range forms {
		s = f.re.ReplaceAllStringFunc(s, func(found string) string {
			if strings.Contains(k.sent, found) {
				return found
			}
			for name, value := range k.vars { // found twice in s
				if value == found {
					return "{{" + name + "}}"
				}
			}
			k.next[f.name]++
			name := fmt.Sprintf("%s%d", f.name, k.next[f.name])
			k.vars[name] = found
			return "{{" + name + "}}"
		})
	}
	return s
}
