package conform

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// vars are the values of a scenario's placeholders: {{cid}} and other captured values, {{cid:5}} their first five
// characters, {{cid:hex}} those of a UUID without its dashes, {{base}} and {{base+3}} counted from the id that settle
// found, {{host}} the server's host and port, {{llm}} the address of the model, {{ws}} a conversation's workspace folder
// and {{root}} the folder above it, {{id1}} a UUID, {{hex1}} one without dashes, {{time1}} a date and time without its
// zone, {{stamp1}} one in digits alone. No request tells the last six: the first answer that holds one of them sets it, every later one must agree.
// {{new1}} is a UUID of the engine's own; {{text}} and {{number}} are anything of that form.
type vars map[string]string

var placeholder = regexp.MustCompile(`\{\{([a-z]+[0-9]*)(?:(:|[+-])([0-9]+|hex))?\}\}`)

const (
	uuidForm  = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`
	hexForm   = `[0-9a-f]{32}`
	timeForm  = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?`
	stampForm = `\d{20}`
)

var numbered = regexp.MustCompile(`\A(id|hex|time|stamp)[0-9]+\z`)

// form is the regular expression of what an answer may set the placeholder to; "" if it may not.
func form(name string) string {
	if name == "ws" || name == "root" {
		return `.+?`
	}
	if m := numbered.FindStringSubmatch(name); m != nil {
		return map[string]string{"id": uuidForm, "hex": hexForm, "time": timeForm, "stamp": stampForm}[m[1]]
	}
	return ""
}

// anyForm are the forms of the placeholders that have no value.
var anyForm = map[string]string{"text": `(?s:.*?)`, "number": `-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?`}

// lookup returns the value of one placeholder match (as found by FindStringSubmatch).
func (v vars) lookup(m []string) (string, bool) {
	value, ok := v[m[1]]
	if !ok && strings.HasPrefix(m[1], "new") {
		value, ok = newUUID(), true
		v[m[1]] = value
	}
	if !ok || m[2] == "" {
		return value, ok
	}
	if m[3] == "hex" {
		return strings.ReplaceAll(value, "-", ""), m[2] == ":"
	}
	n, err := strconv.Atoi(m[2][len(m[2])-len(strings.TrimLeft(m[2], ":")):] + m[3])
	if err != nil {
		return "", false
	}
	if m[2] == ":" {
		return string([]rune(value)[:min(n, len([]rune(value)))]), true
	}
	base, err := strconv.Atoi(value)
	return strconv.Itoa(base + n), err == nil
}

// expand fills in the placeholders of a request. One that has no value is an error if it is in due, the names that an
// earlier answer should have set; any other text in double braces is sent as it stands, as the recorder did.
func (v vars) expand(s string, due map[string]bool) (string, error) {
	var missing error
	s = placeholder.ReplaceAllStringFunc(s, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		value, ok := v.lookup(m)
		if !ok {
			if due[m[1]] {
				missing = fmt.Errorf("%s has no value", p)
			}
			return p
		}
		return value
	})
	return s, missing
}

// matches compares a recorded string with the one that came, and sets the learned placeholders that have no value yet.
func (v vars) matches(recorded, got string) bool {
	if !strings.Contains(recorded, "{{") {
		return recorded == got
	}
	var pattern strings.Builder
	var names []string
	pattern.WriteString(`\A`)
	rest := recorded
	for {
		at := placeholder.FindStringSubmatchIndex(rest)
		if at == nil {
			break
		}
		m := placeholder.FindStringSubmatch(rest)
		pattern.WriteString(regexp.QuoteMeta(rest[:at[0]]))
		value, ok := v.lookup(m)
		switch {
		case ok:
			pattern.WriteString(regexp.QuoteMeta(value))
		case form(m[1]) != "" && m[2] == "":
			pattern.WriteString(`(` + form(m[1]) + `)`)
			names = append(names, m[1])
		case anyForm[m[1]] != "":
			pattern.WriteString(anyForm[m[1]])
		default:
			pattern.WriteString(regexp.QuoteMeta(m[0]))
		}
		rest = rest[at[1]:]
	}
	pattern.WriteString(regexp.QuoteMeta(rest) + `\z`)
	found := regexp.MustCompile(pattern.String()).FindStringSubmatch(got)
	if found == nil {
		return false
	}
	set := vars{}
	for i, name := range names {
		if old, ok := set[name]; ok && old != found[i+1] {
			return false
		}
		set[name] = found[i+1]
	}
	for name, value := range set {
		v[name] = value
	}
	return true
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
