package conform

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// vars are the values of a scenario's placeholders: {{cid}} and other captured values, {{cid:5}} their first five
// characters, {{base}} and {{base+3}} counted from the id that settle found, {{host}} the server's host and port, {{ws}} a
// conversation's workspace folder and {{root}} the folder above it. No request tells the last two: the first answer
// that holds one of them sets it, every later one must agree.
type vars map[string]string

var placeholder = regexp.MustCompile(`\{\{([a-z]+[0-9]*)(?:(:|[+-])([0-9]+))?\}\}`)

// learned are the placeholders that an answer may set.
func learned(name string) bool { return name == "ws" || name == "root" }

// lookup returns the value of one placeholder match (as found by FindStringSubmatch).
func (v vars) lookup(m []string) (string, bool) {
	value, ok := v[m[1]]
	if !ok || m[2] == "" {
		return value, ok
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
		case learned(m[1]):
			pattern.WriteString(`(.+?)`)
			names = append(names, m[1])
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
