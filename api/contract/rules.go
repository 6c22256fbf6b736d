package contract

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// rules are what a model of OpenHands does beyond what its schema says. They
// are found by the name of the schema.
type rules struct {
	// class is the name of a dataclass; "" for the other models. The two
	// refuse what is not an object in different words.
	class string
	// before changes an object before its fields are read.
	before func(pyjson.Value) pyjson.Value
	// fields have rules of their own, applied before the field's schema.
	fields map[string]rule
}

// A rule reads a value before its schema does. It notes faults in the reader;
// ok is false when there were some.
type rule func(r *reader, v pyjson.Value) (read pyjson.Value, ok bool)

// rulesOf has the rules that the contract cannot say.
//
//	EventFilter           a dataclass; its types are classes, which JSON has none of: only null and [] pass
//	                      (recorded search_filter_body2)
//	MCPConfig             a server may be its URL alone
//	MCP…ServerConfig      URLs, names, commands, arguments and variables (recorded settings_mcp_invalid,
//	                      settings_all_fields)
var rulesOf = map[string]*rules{
	"EventFilter": {
		class:  "EventFilter",
		fields: map[string]rule{"include_types": eventTypes, "exclude_types": eventTypes},
	},
	"MCPConfig":            {before: expandServers},
	"MCPSSEServerConfig":   {fields: map[string]rule{"url": ofText(serverURL)}},
	"MCPSHTTPServerConfig": {fields: map[string]rule{"url": ofText(serverURL)}},
	"MCPStdioServerConfig": {fields: map[string]rule{
		"name":    ofText(serverName),
		"command": ofText(serverCommand),
		"args":    arguments,
		"env":     variables,
	}},
}

// of is the rule of a field, nil when it has none.
func (r *rules) of(field string) rule {
	if r == nil {
		return nil
	}
	return r.fields[field]
}

// notObject is the fault of what is not an object.
func (r *rules) notObject() *fault {
	if r == nil || r.class == "" {
		return modelType
	}
	return &fault{"dataclass_type", "Input should be a dictionary or an instance of " + r.class, ctx("class_name", pyjson.StringOf(r.class))}
}

// prepare changes an object before its fields are read.
func (r *rules) prepare(v pyjson.Value) pyjson.Value {
	if r == nil || r.before == nil {
		return v
	}
	return r.before(v)
}

// ofText is a rule that judges, and may change, a text. Other values are left
// to the schema.
func ofText(judge func(string) (string, error)) rule {
	return func(r *reader, v pyjson.Value) (pyjson.Value, bool) {
		if v.Kind() != pyjson.String {
			return v, true
		}
		text, err := judge(v.Text())
		if err != nil {
			return r.fail(valueError(err.Error()), v), false
		}
		return pyjson.StringOf(text), true
	}
}

var (
	tupleType  = &fault{kind: "tuple_type", msg: "Input should be a valid tuple"}
	isSubclass = &fault{"is_subclass_of", "Input should be a subclass of Event", ctx("class", pyjson.StringOf("Event"))}
)

// eventTypes reads a tuple of classes.
func eventTypes(r *reader, v pyjson.Value) (pyjson.Value, bool) {
	switch v.Kind() {
	case pyjson.Null:
		return v, true
	case pyjson.Array:
	default:
		return r.fail(tupleType, v), false
	}
	for i, item := range v.Items() {
		r.pushItem(i)
		r.fail(isSubclass, item)
		r.pop()
	}
	return v, len(v.Items()) == 0
}

// expandServers makes an object of each server that is a URL alone. As in
// Python, a text is a list of its characters and an object one of its keys.
func expandServers(v pyjson.Value) pyjson.Value {
	members := make([]pyjson.Member, len(v.Members()))
	for i, m := range v.Members() {
		members[i] = m
		if m.Key == "sse_servers" || m.Key == "shttp_servers" {
			members[i].Value = expandURLs(m.Value)
		}
	}
	return pyjson.ObjectOf(members...)
}

func expandURLs(v pyjson.Value) pyjson.Value {
	var servers []pyjson.Value
	switch v.Kind() {
	case pyjson.Array:
		servers = append(servers, v.Items()...)
	case pyjson.String:
		for _, c := range v.Text() {
			servers = append(servers, pyjson.StringOf(string(c)))
		}
	case pyjson.Object:
		for _, m := range v.Members() {
			servers = append(servers, pyjson.StringOf(m.Key))
		}
	default:
		return v
	}
	for i, s := range servers {
		if s.Kind() == pyjson.String {
			servers[i] = pyjson.ObjectOf(pyjson.Member{Key: "url", Value: s})
		}
	}
	return pyjson.ArrayOf(servers...)
}

// A textError is what a rule says of a text. It is shown to clients in
// upstream's words.
type textError string

func (e textError) Error() string { return string(e) }

var schemes = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*):`)

// serverURL judges the URL of a server, by the parts that Python's urlparse
// finds.
func serverURL(text string) (string, error) {
	text = strings.TrimSpace(text)
	scheme := schemes.FindStringSubmatch(text)
	rest := ""
	if scheme != nil {
		rest = text[len(scheme[0]):]
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
	host, _, _ = strings.Cut(host, "?")
	host, _, _ = strings.Cut(host, "#")
	switch {
	case text == "":
		return "", textError("URL cannot be empty")
	case scheme == nil:
		return "", textError("URL must include a scheme (http:// or https://)")
	case strings.Contains(host, "[") != strings.Contains(host, "]"):
		return "", textError("Invalid IPv6 URL")
	case !strings.HasPrefix(rest, "//") || host == "":
		return "", textError("URL must include a valid domain/host")
	}
	switch strings.ToLower(scheme[1]) {
	case "http", "https", "ws", "wss":
		return text, nil
	}
	return "", textError("URL scheme must be http, https, ws, or wss")
}

var (
	serverNames   = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	variableNames = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

func serverName(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", textError("Server name cannot be empty")
	case !serverNames.MatchString(text):
		return "", textError("Server name can only contain letters, numbers, hyphens, and underscores")
	}
	return text, nil
}

func serverCommand(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", textError("Command cannot be empty")
	case strings.Contains(text, " "):
		return "", textError("Command should be a single executable without spaces (use arguments field for parameters)")
	}
	return text, nil
}

// arguments reads a list, or a text as a shell splits it. What Python takes
// for false is an empty list.
func arguments(r *reader, v pyjson.Value) (pyjson.Value, bool) {
	if v.Kind() != pyjson.String {
		if !v.Truthy() {
			v = pyjson.ArrayOf()
		}
		return v, true
	}
	words, err := shellSplit(v.Text())
	if err != nil {
		return r.fail(valueError(fmt.Sprintf(`Invalid argument format: %v. Use shell-like format, e.g., "arg1 arg2" or '--config "value with spaces"'`, err)), v), false
	}
	items := make([]pyjson.Value, len(words))
	for i, w := range words {
		items[i] = pyjson.StringOf(w)
	}
	return pyjson.ArrayOf(items...), true
}

// variables reads a map, or a text of NAME=value joined by commas.
func variables(r *reader, v pyjson.Value) (pyjson.Value, bool) {
	if v.Kind() != pyjson.String {
		if !v.Truthy() {
			v = pyjson.ObjectOf()
		}
		return v, true
	}
	var members []pyjson.Member
	for pair := range strings.SplitSeq(v.Text(), ",") {
		pair = strings.TrimSpace(pair)
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		var err error
		switch {
		case !ok:
			err = textError(fmt.Sprintf("Environment variable '%s' must be in KEY=VALUE format", pair))
		case name == "":
			err = textError("Environment variable key cannot be empty")
		case !variableNames.MatchString(name):
			err = textError(fmt.Sprintf("Invalid environment variable name '%s'. Must start with letter or underscore, contain only alphanumeric characters and underscores", name))
		}
		if err != nil {
			return r.fail(valueError(err.Error()), v), false
		}
		members = append(members, pyjson.Member{Key: name, Value: pyjson.StringOf(value)})
	}
	return pyjson.ObjectOf(members...), true
}

// shellSplit splits a text into words as Python's shlex.split does: quotes,
// backslashes, no comments and no expansion.
func shellSplit(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote, escaped := false, rune(0), false
	for _, c := range text {
		switch {
		case escaped:
			if quote == '"' && c != '"' && c != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			inWord, escaped = true, true
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word.WriteRune(c)
			}
		case c == '\'' || c == '"':
			inWord, quote = true, c
		case strings.ContainsRune(" \t\r\n", c):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			inWord = true
			word.WriteRune(c)
		}
	}
	switch {
	case escaped:
		return nil, textError("No escaped character")
	case quote != 0:
		return nil, textError("No closing quotation")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
