package event

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// Normalise makes an event of a posted body, or returns a *fastapi.Invalid that
// says what is wrong with it and where.
func Normalise(body []byte, o Options) (Event, error) {
	v, err := pyjson.Decode(body)
	if err != nil {
		return Event{}, syntax(body, err)
	}
	d := &decoding{Options: o, timestamp: string(appendTime(nil, o.Timestamp))}
	e := d.event(v)
	if err := d.err(); err != nil {
		return Event{}, err
	}
	return e, nil
}

// event finds out which kind a body is of.
func (d *decoding) event(v pyjson.Value) Event {
	if v.Kind() != pyjson.Object {
		d.fail("model_attributes_type", v, "Input should be an object with an action or an observation, such as "+example)
		return Event{}
	}
	if f := v.Unservable(); f != nil {
		what := "Input has " + f.What + ", which no JSON answer can carry"
		if f.Key {
			what = "A key has " + f.What + ", which no JSON answer can carry"
		}
		d.fail("value_error", pyjson.Value{}, what, f.Path...)
		return Event{}
	}
	s := observationSide
	name, ok := v.Get("action")
	if ok {
		s = actionSide
	} else if name, ok = v.Get("observation"); !ok {
		d.noKind(v)
		return Event{}
	}
	if name.Kind() != pyjson.String {
		d.fail("string_type", name, "Input should be the name of an "+s.member, s.member)
		return Event{}
	}
	if k := s.kinds()[name.Text()]; k != nil {
		return d.known(v, s, k)
	}
	return d.unknown(v, s, name.Text(), s.kinds())
}

// known makes an event of a kind that 0.53.0 has.
func (d *decoding) known(v pyjson.Value, s side, k *kind) Event {
	e := Event{Kind: k.name}
	args, given := v.Get(s.fields)
	if !given {
		args = pyjson.ObjectOf()
	}
	if args.Kind() != pyjson.Object {
		d.fail("dict_type", args, "Input should be an object", s.fields)
		return e
	}
	in := &instance{kind: k, content: pyjson.StringOf("")}
	if c, ok := v.Get("content"); ok {
		in.content = c
	}
	in.vals = d.match(k, s, args)
	t := d.topLevel(v, s)
	d.check(in)
	if to, ok := args.Get(s.member); ok && len(d.errs) == 0 {
		in = d.rename(in, s, to)
		k = in.kind
		e.Kind = k.name
	}
	if len(d.Secrets) > 0 {
		in.mask(d.Secrets)
		t.toolCallMetadata = mask(t.toolCallMetadata, d.Secrets)
		t.llmMetrics = mask(t.llmMetrics, d.Secrets)
		d.check(in) // upstream reads again what it has masked
	}
	if len(d.errs) > 0 {
		return e
	}
	message := k.message(d, in.value)
	if len(d.errs) > 0 {
		return e
	}
	e.JSON = d.appendEvent(make([]byte, 0, 1024), in, s, message, t)
	hidden := pyjson.Value{}
	if k.name == "run" {
		hidden = in.value("hidden")
	}
	e.Flags = flagsOf(e.JSON, d.Source, s.member, k.name, hidden)
	switch k.name {
	case "message":
		e.HasImages = in.value("image_urls").Truthy()
	case "change_agent_state":
		if state := in.value("agent_state"); state.Kind() == pyjson.String {
			e.state = state.Text()
		}
	}
	return e
}

// rename makes of an instance one of the kind that its args or extras name
// under the word action or observation: upstream's classes have a field of that
// name, which overrides the kind and must then fit the kind's fields.
func (d *decoding) rename(in *instance, s side, to pyjson.Value) *instance {
	renamed := &instance{kind: in.kind, vals: in.vals, content: in.content}
	try := &decoding{Options: d.Options}
	in.kind.message(try, in.value) // upstream writes it once under the old name
	if k := s.kinds()[to.Text()]; to.Kind() != pyjson.String || k == nil {
		try.fail("value_error", to, "Input should be the name of an "+s.member)
	} else if k != in.kind {
		members := make([]pyjson.Member, 0, len(in.vals))
		for i, f := range in.kind.fields {
			if !f.omitNull || !in.vals[i].IsNull() {
				members = append(members, pyjson.Member{Key: f.name, Value: in.vals[i]})
			}
		}
		renamed.kind, renamed.vals = k, try.match(k, s, pyjson.ObjectOf(members...))
		try.check(renamed)
	}
	if len(try.errs) > 0 {
		d.fail("value_error", to, fmt.Sprintf("This names another kind than %q, whose fields do not fit; leave it out", in.kind.name), s.fields, s.member)
		return in
	}
	return renamed
}

var sources = []string{"agent", "user", "environment"}

// A side is what tells actions and observations apart: the member with the
// kind's name and the member with its fields.
type side struct{ member, fields string }

var (
	actionSide      = side{"action", "args"}
	observationSide = side{"observation", "extras"}
)

// kinds are the kinds of a side, by name.
func (s side) kinds() map[string]*kind {
	if s == actionSide {
		return actions
	}
	return observations
}

// check applies the rules of a kind that go beyond its table, unless
// something is wrong already.
func (d *decoding) check(in *instance) {
	if in.kind.check != nil && len(d.errs) == 0 {
		in.kind.check(d, in)
	}
}

// instance is a kind with its values.
type instance struct {
	kind    *kind
	vals    []pyjson.Value
	content pyjson.Value
}

// mask replaces secrets in its values.
func (in *instance) mask(secrets []Secret) {
	for i := range in.vals {
		in.vals[i] = mask(in.vals[i], secrets)
	}
	in.content = mask(in.content, secrets)
}

// at is the place of a field's value, or of the content.
func (in *instance) at(name string) *pyjson.Value {
	if i := in.kind.field(name); i >= 0 {
		return &in.vals[i]
	}
	return &in.content
}

func (in *instance) value(name string) pyjson.Value { return *in.at(name) }

// noKind says what a body without action and observation lacks.
func (d *decoding) noKind(v pyjson.Value) {
	if _, ok := v.Get("role"); ok {
		d.fail("missing", v, "This is a message in the later V1 shape (role, content), which "+Version+" does not have. Post "+example, "action")
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

// unknown keeps a kind that 0.53.0 does not have as it came, its message too,
// or refuses it.
func (d *decoding) unknown(v pyjson.Value, s side, name string, table map[string]*kind) Event {
	known := names(table)
	if d.Strict || !d.stored && nearest(name, known) != "" {
		d.fail("value_error", pyjson.StringOf(name), "Input should be the name of an "+s.member+didYouMean(name, known), s.member)
		return Event{}
	}
	d.shapes(v, s)
	if len(d.errs) > 0 {
		return Event{}
	}
	var kept pyjson.Builder
	for _, m := range v.Members() {
		switch m.Key {
		case "id", "timestamp", "source":
			continue
		case s.member:
		default:
			m = maskMember(m, d.Secrets)
		}
		kept.Set(m.Key, m.Value)
	}
	b := append(d.appendHead(make([]byte, 0, 512)), ',')
	b = append(b, kept.Object().Append(nil)[1:]...)
	return Event{
		JSON:    b,
		Flags:   flagsOf(b, d.Source, s.member, name, pyjson.Value{}),
		Kind:    name,
		Lenient: fmt.Sprintf("unknown %s %s: %s refuses it", s.member, quoted(name), Version),
	}
}

// shapes holds the members of an unknown kind to the types that every kind
// has, so that whoever reads events can rely on them.
func (d *decoding) shapes(v pyjson.Value, s side) {
	d.topLevel(v, s)
	for _, name := range []string{"action", "observation"} {
		if m, ok := v.Get(name); ok && m.Kind() != pyjson.String {
			d.refuse(fastapi.StringType, m, name)
		}
	}
	for _, name := range []string{"args", "extras", "llm_metrics"} {
		if m, ok := v.Get(name); ok && m.Kind() != pyjson.Object {
			d.fail("dict_type", m, "Input should be an object", name)
		}
	}
}

// match sets the fields of a kind from args or extras, in the kind's order.
func (d *decoding) match(k *kind, s side, args pyjson.Value) []pyjson.Value {
	var members []pyjson.Member
	if s == actionSide {
		members = d.deprecatedArgs(args.Members())
	} else {
		members = deprecatedExtras(args.Members())
	}
	dropsUnknown := s == observationSide && k.name == "run"
	vals := make([]pyjson.Value, len(k.fields))
	set := make([]bool, len(k.fields))
	for i := range members {
		if d.enough() {
			return nil
		}
		m := &members[i]
		switch f := k.field(m.Key); {
		case f >= 0:
			vals[f], set[f] = m.Value, true
		case m.Key == s.member: // see rename
		case dropsUnknown && m.Key != "content":
		default:
			d.unknownField(k, s, m)
		}
	}
	for i := range k.fields {
		if set[i] {
			continue
		}
		f := &k.fields[i]
		vals[i] = f.def
		if f.required {
			d.fail("missing", args, fmt.Sprintf("Field required: the %s %s needs %s", k.name, s.member, f.name), s.fields, f.name)
		}
	}
	return vals
}

// field is the index of a field, -1 when the kind has none of the name.
func (k *kind) field(name string) int {
	for i := range k.fields {
		if k.fields[i].name == name {
			return i
		}
	}
	return -1
}

// unknownField says which fields a kind has and which may have been meant.
func (d *decoding) unknownField(k *kind, s side, m *pyjson.Member) {
	hint := "; it has none"
	if len(k.fields) > 0 {
		known := make([]string, len(k.fields))
		for i := range k.fields {
			known[i] = k.fields[i].name
		}
		hint = didYouMean(m.Key, known)
	}
	d.fail("extra_forbidden", m.Value, fmt.Sprintf("The %s %s has no field %s%s", k.name, s.member, quoted(m.Key), hint), s.fields, m.Key)
}

// topLevel reads the members beside the kind and its fields.
func (d *decoding) topLevel(v pyjson.Value, s side) (t top) {
	if id, ok := v.Get("id"); ok && !id.IsNull() {
		if n, ok := pyInt(id); !ok || n != "-1" {
			d.fail("value_error", id, "Input should be left out: the server gives ids", "id")
		}
	}
	if source, ok := v.Get("source"); ok {
		if source.Kind() != pyjson.String || !slices.Contains(sources, source.Text()) {
			d.refuse(fastapi.Enum(sources...), source, "source")
		}
	}
	if cause, ok := v.Get("cause"); ok && !cause.IsNull() {
		if n, ok := pyInt(cause); ok {
			t.cause = pyjson.IntOfDigits(n)
		} else {
			d.fail("int_type", cause, "Input should be the id of an event", "cause")
		}
	}
	if m, ok := v.Get("tool_call_metadata"); ok {
		t.toolCallMetadata = d.toolCallMetadata(m)
	}
	if m, ok := v.Get("llm_metrics"); ok {
		t.llmMetrics = d.llmMetrics(m)
	}
	if timeout, ok := v.Get("timeout"); ok && s == actionSide && !timeout.IsNull() {
		t.timeout = d.timeout(timeout)
	}
	return t
}

// timeout reads a number of seconds.
func (d *decoding) timeout(v pyjson.Value) pyjson.Value {
	switch v.Kind() {
	case pyjson.Int, pyjson.Float, pyjson.Bool:
		seconds := v.Float64()
		if math.IsInf(seconds, 0) {
			d.refuse(fastapi.NotFinite, v, "timeout")
		}
		return pyjson.FloatOf(seconds)
	}
	d.fail("float_type", v, "Input should be a number of seconds", "timeout")
	return v
}

// pyInt is Python's int() of a value, as text. A Float is finite: a body with
// another is refused before.
func pyInt(v pyjson.Value) (text string, ok bool) {
	switch v.Kind() {
	case pyjson.Int:
		return v.Text(), true
	case pyjson.Bool:
		if v.Bool() {
			return "1", true
		}
		return "0", true
	case pyjson.Float:
		n, _ := big.NewFloat(v.Float64()).Int(nil)
		return n.String(), true
	case pyjson.String:
		text := strings.TrimSpace(v.Text())
		digits := strings.TrimLeft(text, "+-") // more than one sign is no number
		if strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") || len(digits) > pyjson.MaxDigits {
			return "", false
		}
		n, ok := new(big.Int).SetString(strings.ReplaceAll(text, "_", ""), 10)
		return n.String(), ok
	}
	return "", false
}

// top are the members beside the kind and its fields; those that are null or
// absent are not written.
type top struct{ cause, toolCallMetadata, llmMetrics, timeout pyjson.Value }

// appendHead appends the members that every event begins with.
func (d *decoding) appendHead(b []byte) []byte {
	b = append(b, `{"timestamp":`...)
	b = pyjson.AppendString(b, d.timestamp)
	b = append(b, `,"source":`...)
	return pyjson.AppendString(b, d.Source)
}

// appendEvent appends an event in upstream's order of keys.
func (d *decoding) appendEvent(b []byte, in *instance, s side, message pyjson.Value, t top) []byte {
	b = d.appendHead(b)
	b = appendGiven(b, "message", message)
	b = appendGiven(b, "cause", t.cause)
	b = appendMember(b, pyjson.Member{Key: s.member, Value: pyjson.StringOf(in.kind.name)})
	b = appendGiven(b, "tool_call_metadata", t.toolCallMetadata)
	b = appendGiven(b, "llm_metrics", t.llmMetrics)
	if s == observationSide {
		b = appendMember(b, pyjson.Member{Key: "content", Value: in.content})
	}
	b = append(b, `,"`...)
	b = append(b, s.fields...)
	b = append(b, `":{`...)
	sep := ""
	for i := range in.kind.fields {
		f := &in.kind.fields[i]
		if f.omitNull && in.vals[i].IsNull() {
			continue
		}
		b = append(b, sep...)
		b = pyjson.AppendString(b, f.name)
		b = append(b, ':')
		b = in.vals[i].Append(b)
		sep = ","
	}
	b = append(b, '}')
	if s == observationSide {
		switch in.kind.name {
		case "run":
			code, _ := in.value("metadata").Get("exit_code")
			b = appendMember(b, pyjson.Member{Key: "success", Value: pyjson.BoolOf(code.Text() == "0")})
		case "run_ipython":
			b = appendMember(b, pyjson.Member{Key: "success", Value: pyjson.BoolOf(true)})
		}
	}
	b = appendGiven(b, "timeout", t.timeout)
	return append(b, '}')
}

// appendGiven appends a member unless it is null.
func appendGiven(b []byte, key string, v pyjson.Value) []byte {
	if v.IsNull() {
		return b
	}
	return appendMember(b, pyjson.Member{Key: key, Value: v})
}

func appendMember(b []byte, m pyjson.Member) []byte {
	b = append(b, ',')
	b = pyjson.AppendString(b, m.Key)
	b = append(b, ':')
	return m.Value.Append(b)
}
