package event

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// Normalise makes an event of a posted body, or returns an *Invalid that says
// what is wrong with it and where.
func Normalise(body []byte, o Options) (Event, error) {
	v, err := pyjson.Decode(body)
	if err != nil {
		return Event{}, syntax(body, err)
	}
	d := &decoding{Options: o}
	e := d.event(v)
	if len(d.errs) > 0 {
		return Event{}, &Invalid{d.errs}
	}
	return e, nil
}

func (d *decoding) event(v pyjson.Value) (e Event) {
	if v.Kind() != pyjson.Object {
		d.fail("model_attributes_type", v, "Input should be an object with an action or an observation, such as "+example)
		return e
	}
	if f := v.Unservable(); f != nil {
		what := "Input has " + f.What + ", which no JSON answer can carry"
		if f.Key {
			what = "A key has " + f.What + ", which no JSON answer can carry"
		}
		d.errs = append(d.errs, Error{Type: "value_error", Loc: append([]any{"body"}, f.Path...), Msg: what})
		return e
	}
	member, table := "observation", observations
	name, ok := v.Get("action")
	if ok {
		member, table = "action", actions
		e.Flags |= IsAction
	} else if name, ok = v.Get("observation"); !ok {
		d.noKind(v)
		return e
	}
	if name.Kind() != pyjson.String {
		d.fail("string_type", name, "Input should be the name of an "+member, member)
		return e
	}
	e.Kind = name.Text()
	k := table[e.Kind]
	if k == nil {
		return d.unknown(e, v, member, table)
	}
	argsName := "args"
	if member == "observation" {
		argsName = "extras"
	}
	args, given := v.Get(argsName)
	if !given {
		args = pyjson.ObjectOf()
	}
	if args.Kind() != pyjson.Object {
		d.fail("dict_type", args, "Input should be an object", argsName)
		return e
	}
	content := pyjson.StringOf("")
	if c, ok := v.Get("content"); ok {
		content = c
	}
	vals := d.match(k, member, argsName, args)
	top := d.topLevel(v, e.Flags&IsAction != 0)
	if len(d.errs) > 0 {
		return e
	}
	in := instance{kind: k, vals: vals, content: content}
	for pass := range 2 {
		if k.check != nil {
			k.check(d, &in)
		}
		if len(d.errs) > 0 || pass == 1 || len(d.Secrets) == 0 {
			break
		}
		// Upstream reads again what it has masked.
		for i := range in.vals {
			in.vals[i] = mask(in.vals[i], d.Secrets)
		}
		in.content = mask(in.content, d.Secrets)
		for i := range top {
			if top[i].Key == "tool_call_metadata" || top[i].Key == "llm_metrics" {
				top[i].Value = mask(top[i].Value, d.Secrets)
			}
		}
	}
	if len(d.errs) > 0 {
		return e
	}
	message := k.message(d, in.value)
	if len(d.errs) > 0 {
		return e
	}
	d.write(&e, in, member, argsName, message, top)
	return e
}

// instance is a kind with its values.
type instance struct {
	kind    *kind
	vals    []pyjson.Value
	content pyjson.Value
}

func (in *instance) at(name string) *pyjson.Value {
	for i := range in.kind.fields {
		if in.kind.fields[i].name == name {
			return &in.vals[i]
		}
	}
	return &in.content
}

func (in *instance) value(name string) pyjson.Value { return *in.at(name) }

// noKind says what a body without action and observation lacks.
func (d *decoding) noKind(v pyjson.Value) {
	if _, ok := v.Get("role"); ok {
		d.fail("missing", v, "This is a message in the later V1 shape (role, content), which 0.53.0 does not have. Post "+example, "action")
		return
	}
	known := []string{"action", "observation"}
	for _, m := range v.Members() {
		if n := nearest(m.Key, known); n != "" {
			d.fail("missing", v, fmt.Sprintf("Field required: action or observation; did you mean %q for %q?", n, m.Key), n)
			return
		}
	}
	d.fail("missing", v, "Field required: action or observation, such as "+example, "action")
}

// unknown keeps a kind that 0.53.0 does not have as it came, or refuses it.
func (d *decoding) unknown(e Event, v pyjson.Value, member string, table map[string]*kind) Event {
	known := names(table)
	article := "a"
	if member == "action" || member == "observation" {
		article = "an"
	}
	if near := nearest(e.Kind, known); near != "" || d.Strict {
		name, _ := v.Get(member)
		d.fail("value_error", name, fmt.Sprintf("Input should be the name of %s %s%s", article, member, didYouMean(e.Kind, known)), member)
		return e
	}
	e.Lenient = fmt.Sprintf("unknown %s %q: 0.53.0 refuses it", member, e.Kind)
	b := append(make([]byte, 0, 256), `{"timestamp":"`...)
	b = append(append(append(b, formatTime(d.Timestamp)...), `","source":`...), ""...)
	b = pyjson.AppendString(b, d.Source)
	kept := pyjson.ObjectOf(slices.DeleteFunc(slices.Clone(v.Members()), func(m pyjson.Member) bool {
		return m.Key == "id" || m.Key == "timestamp" || m.Key == "source"
	})...)
	if len(d.Secrets) > 0 {
		kept = mapMembers(kept, func(m pyjson.Member) pyjson.Member {
			if m.Key != member {
				m.Value = mask(m.Value, d.Secrets)
			}
			return m
		})
	}
	b = append(b, ',')
	e.JSON = append(b, kept.Append(nil)[1:]...)
	e.Flags |= d.flags(kept, member, e.Kind)
	return e
}

// match sets the fields of a kind from args or extras.
func (d *decoding) match(k *kind, member, argsName string, args pyjson.Value) []pyjson.Value {
	members := args.Members()
	isRun := false
	if member == "action" {
		members = d.deprecatedArgs(k, members)
	} else {
		isRun = k.name == "run"
		members = deprecatedExtras(members)
	}
	vals := make([]pyjson.Value, len(k.fields))
	set := make([]bool, len(k.fields))
	for _, m := range members {
		i := slices.IndexFunc(k.fields, func(f field) bool { return f.name == m.Key })
		switch {
		case i >= 0:
			vals[i], set[i] = m.Value, true
		case isRun && m.Key != "content" && m.Key != "observation": // drops what it does not know
		default:
			known := make([]string, len(k.fields))
			for i, f := range k.fields {
				known[i] = f.name
			}
			hint := didYouMean(m.Key, known)
			if len(known) == 0 {
				hint = ". It has none"
			}
			d.fail("extra_forbidden", m.Value, fmt.Sprintf("The %s %s has no field %q%s", k.name, member, m.Key, hint), argsName, m.Key)
		}
	}
	for i, f := range k.fields {
		if set[i] {
			continue
		}
		vals[i] = f.def
		if f.required {
			d.fail("missing", args, fmt.Sprintf("Field required: the %s %s needs %s", k.name, member, f.name), argsName, f.name)
		}
	}
	return vals
}

// topLevel reads the members beside the kind and its fields, in the order in
// which they are written: cause, tool_call_metadata, llm_metrics, timeout.
func (d *decoding) topLevel(v pyjson.Value, isAction bool) []pyjson.Member {
	if id, ok := v.Get("id"); ok && !id.IsNull() {
		if n, ok := pyInt(id); !ok || n != "-1" {
			d.fail("value_error", id, "Input should be left out: the server gives ids", "id")
		}
	}
	if source, ok := v.Get("source"); ok {
		if source.Kind() != pyjson.String || !slices.Contains([]string{"agent", "user", "environment"}, source.Text()) {
			d.errs = append(d.errs, Error{Type: "enum", Loc: []any{"body", "source"}, Msg: "Input should be 'agent', 'user' or 'environment'", Input: source})
		}
	}
	var top []pyjson.Member
	if cause, ok := v.Get("cause"); ok && !cause.IsNull() {
		if n, ok := pyInt(cause); ok {
			top = append(top, pyjson.Member{Key: "cause", Value: intText(n)})
		} else {
			d.fail("int_type", cause, "Input should be the id of an event", "cause")
		}
	}
	if m, ok := v.Get("tool_call_metadata"); ok {
		top = append(top, pyjson.Member{Key: "tool_call_metadata", Value: d.toolCallMetadata(m)})
	}
	if m, ok := v.Get("llm_metrics"); ok {
		top = append(top, pyjson.Member{Key: "llm_metrics", Value: d.llmMetrics(m)})
	}
	if t, ok := v.Get("timeout"); ok && isAction && !t.IsNull() {
		switch t.Kind() {
		case pyjson.Int, pyjson.Float, pyjson.Bool:
			f := t.Float64()
			if math.IsInf(f, 0) {
				d.fail("finite_number", t, "Input should be a finite number", "timeout")
			}
			top = append(top, pyjson.Member{Key: "timeout", Value: pyjson.FloatOf(f)})
		default:
			d.fail("float_type", t, "Input should be a number of seconds", "timeout")
		}
	}
	return top
}

// pyInt is Python's int() of a value, as text.
func pyInt(v pyjson.Value) (string, bool) {
	switch v.Kind() {
	case pyjson.Int:
		return v.Text(), true
	case pyjson.Bool:
		if v.Bool() {
			return "1", true
		}
		return "0", true
	case pyjson.Float:
		f := v.Float64()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return "", false
		}
		n, _ := big.NewFloat(f).Int(nil)
		return n.String(), true
	case pyjson.String:
		text := strings.TrimSpace(v.Text())
		digits := strings.TrimPrefix(strings.TrimPrefix(text, "+"), "-")
		if digits == "" || strings.ContainsFunc(digits, func(r rune) bool { return r != '_' && (r < '0' || r > '9') }) ||
			strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") || len(digits) > 4300 {
			return "", false
		}
		n, ok := new(big.Int).SetString(strings.ReplaceAll(strings.TrimPrefix(text, "+"), "_", ""), 10)
		if !ok {
			return "", false
		}
		return n.String(), true
	}
	return "", false
}

func intText(n string) pyjson.Value {
	v, _ := pyjson.Decode([]byte(n))
	return v
}

// write makes the event's JSON, in upstream's order of keys.
func (d *decoding) write(e *Event, in instance, member, argsName string, message pyjson.Value, top []pyjson.Member) {
	b := append(make([]byte, 0, 512), `{"timestamp":"`...)
	b = append(b, formatTime(d.Timestamp)...)
	b = append(b, `","source":`...)
	b = pyjson.AppendString(b, d.Source)
	if !message.IsNull() {
		b = append(b, `,"message":`...)
		b = message.Append(b)
	}
	var timeout []pyjson.Member
	for i, m := range top {
		if m.Key == "timeout" {
			timeout, top = top[i:i+1], top[:i]
			break
		}
	}
	for len(top) > 0 && top[0].Key == "cause" {
		b = appendMember(b, top[0])
		top = top[1:]
	}
	b = appendMember(b, pyjson.Member{Key: member, Value: pyjson.StringOf(in.kind.name)})
	for _, m := range top {
		b = appendMember(b, m)
	}
	if member == "observation" {
		b = appendMember(b, pyjson.Member{Key: "content", Value: in.content})
	}
	b = append(b, `,"`...)
	b = append(b, argsName...)
	b = append(b, `":{`...)
	first := true
	for i, f := range in.kind.fields {
		if f.omitNull && in.vals[i].IsNull() {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = pyjson.AppendString(b, f.name)
		b = append(b, ':')
		b = in.vals[i].Append(b)
	}
	b = append(b, '}')
	if member == "observation" {
		switch in.kind.name {
		case "run":
			code, _ := in.value("metadata").Get("exit_code")
			b = appendMember(b, pyjson.Member{Key: "success", Value: pyjson.BoolOf(code.Text() == "0")})
		case "run_ipython":
			b = appendMember(b, pyjson.Member{Key: "success", Value: pyjson.BoolOf(true)})
		}
	}
	for _, m := range timeout {
		b = appendMember(b, m)
	}
	e.JSON = append(b, '}')

	extras := make([]pyjson.Member, len(in.vals))
	for i, f := range in.kind.fields {
		extras[i] = pyjson.Member{Key: f.name, Value: in.vals[i]}
	}
	all := append(append([]pyjson.Member{{Key: "content", Value: in.content}}, top...), pyjson.Member{Key: argsName, Value: pyjson.ObjectOf(extras...)})
	e.Flags |= d.flags(pyjson.ObjectOf(all...), member, in.kind.name)
	if e.Kind == "change_agent_state" && member == "action" {
		if s := in.value("agent_state"); s.Kind() == pyjson.String {
			e.state = s.Text()
		}
	}
}

func appendMember(b []byte, m pyjson.Member) []byte {
	b = append(b, ',')
	b = pyjson.AppendString(b, m.Key)
	b = append(b, ':')
	return m.Value.Append(b)
}

// flags tells what readers must know of an event.
func (d *decoding) flags(v pyjson.Value, member, name string) (f Flags) {
	if hasKey(v, func(key string) bool { return strings.HasPrefix(key, "_sa") }) {
		f |= ServedDiffers
	}
	extras, isObservation := v.Get("extras")
	if isObservation && member == "observation" {
		if hasKey(extras, func(key string) bool { return unexported[key] }) {
			f |= ExportDiffers
		}
	}
	if name == "run" {
		args := extras
		if member == "action" {
			args, _ = v.Get("args")
		}
		if hidden, _ := args.Get("hidden"); hidden.Truthy() {
			f |= IsHidden
		}
	}
	if name == "null" {
		f |= IsNull
	}
	if member == "action" && name == "recall" {
		f |= IsRecallAction
	}
	if member == "observation" && name == "agent_state_changed" {
		f |= IsStateChange
	}
	if d.Source == "environment" {
		f |= IsEnvironment
		if member == "observation" && slices.Contains([]string{"run", "agent_state_changed", "recall", "error"}, name) {
			f |= IsLiveEnv
		}
	}
	return f
}
