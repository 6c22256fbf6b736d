package settings

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// CheckMCP checks the member mcp_config of a body whose other members are
// judged elsewhere (POST /api/conversations). Its error is *Invalid.
func CheckMCP(body []byte) error {
	c, given, err := openBody(body)
	if err != nil {
		return err
	}
	c.optional(given, "mcp_config", mcpConfig, root)
	return c.err()
}

// mcpConfig checks an MCPConfig and writes it in full:
//
//	{"sse_servers":[{"url","api_key"}],
//	 "stdio_servers":[{"name","command","args":[…],"env":{…}}],
//	 "shttp_servers":[{"url","api_key"}]}
//
// A plain string among the sse and shttp servers is a URL. Arguments in one
// string are split as a shell splits them; an environment in one string is
// A=1,B=2 (recorded settings_all_fields, settings_mcp_invalid). A value of
// the wrong type where upstream answers 500 is a Problem here.
func mcpConfig(c *checker, v pyjson.Value, loc []any) pyjson.Value {
	if c.object(v, loc).IsNull() {
		return pyjson.Value{}
	}
	known := []struct {
		name   string
		server check
	}{{"sse_servers", urlServer}, {"stdio_servers", stdioServer}, {"shttp_servers", urlServer}}
	config := make([]pyjson.Member, len(known))
	for i, k := range known {
		servers := pyjson.ArrayOf()
		if given, ok := v.Get(k.name); ok {
			servers = c.list(given, k.server, at(loc, k.name))
		}
		config[i] = pyjson.Member{Key: k.name, Value: servers}
	}
	for _, m := range v.Members() {
		if !slices.ContainsFunc(config, func(k pyjson.Member) bool { return k.Key == m.Key }) {
			c.fail("extra_forbidden", "Extra inputs are not permitted", m.Value, at(loc, m.Key))
		}
	}
	return pyjson.ObjectOf(config...)
}

func (c *checker) list(v pyjson.Value, element check, loc []any) pyjson.Value {
	if v.Kind() != pyjson.Array {
		return c.fail("list_type", "Input should be a valid list", v, loc)
	}
	items := make([]pyjson.Value, len(v.Items()))
	for i, item := range v.Items() {
		items[i] = element(c, item, at(loc, i))
	}
	return pyjson.ArrayOf(items...)
}

func urlServer(c *checker, v pyjson.Value, loc []any) pyjson.Value {
	if v.Kind() == pyjson.String {
		v = pyjson.ObjectOf(pyjson.Member{Key: "url", Value: v})
	}
	if c.object(v, loc).IsNull() {
		return pyjson.Value{}
	}
	return pyjson.ObjectOf(
		pyjson.Member{Key: "url", Value: c.required(v, "url", rule(serverURL), loc)},
		pyjson.Member{Key: "api_key", Value: c.optional(v, "api_key", text, loc)},
	)
}

func stdioServer(c *checker, v pyjson.Value, loc []any) pyjson.Value {
	if c.object(v, loc).IsNull() {
		return pyjson.Value{}
	}
	args, env := pyjson.ArrayOf(), pyjson.ObjectOf()
	server := []pyjson.Member{
		{Key: "name", Value: c.required(v, "name", rule(serverName), loc)},
		{Key: "command", Value: c.required(v, "command", rule(command), loc)},
	}
	if given, _ := v.Get("args"); given.Truthy() {
		args = arguments(c, given, at(loc, "args"))
	}
	if given, _ := v.Get("env"); given.Truthy() {
		env = environment(c, given, at(loc, "env"))
	}
	return pyjson.ObjectOf(append(server, pyjson.Member{Key: "args", Value: args}, pyjson.Member{Key: "env", Value: env})...)
}

// rule is the check of a string that a function rewrites, or tells the
// problem of.
func rule(read func(string) (value, problem string)) check {
	return func(c *checker, v pyjson.Value, loc []any) pyjson.Value {
		if text(c, v, loc).IsNull() {
			return pyjson.Value{}
		}
		value, problem := read(v.Text())
		if problem != "" {
			return c.failValue(problem, v, loc)
		}
		return pyjson.StringOf(value)
	}
}

var (
	schemeForm   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)
	nameForm     = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	variableForm = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	notInURL     = strings.NewReplacer("\t", "", "\r", "", "\n", "")
)

// serverURL takes a URL apart as Python's urlparse does, but looks at nothing
// within the host.
func serverURL(s string) (value, problem string) {
	s = strip(s)
	if s == "" {
		return "", "URL cannot be empty"
	}
	rest := notInURL.Replace(strings.TrimLeftFunc(s, func(r rune) bool { return r <= ' ' }))
	scheme := schemeForm.FindString(rest)
	host := ""
	if after, ok := strings.CutPrefix(rest[len(scheme):], "//"); ok {
		end := strings.IndexAny(after+"/", "/?#")
		host = after[:end]
	}
	switch scheme = strings.ToLower(scheme); {
	case strings.Contains(host, "[") != strings.Contains(host, "]"):
		return "", "Invalid IPv6 URL"
	case scheme == "":
		return "", "URL must include a scheme (http:// or https://)"
	case host == "":
		return "", "URL must include a valid domain/host"
	case !slices.Contains([]string{"http:", "https:", "ws:", "wss:"}, scheme):
		return "", "URL scheme must be http, https, ws, or wss"
	}
	return s, ""
}

func serverName(s string) (value, problem string) {
	switch s = strip(s); {
	case s == "":
		return "", "Server name cannot be empty"
	case !nameForm.MatchString(s):
		return "", "Server name can only contain letters, numbers, hyphens, and underscores"
	}
	return s, ""
}

func command(s string) (value, problem string) {
	switch s = strip(s); {
	case s == "":
		return "", "Command cannot be empty"
	case strings.Contains(s, " "):
		return "", "Command should be a single executable without spaces (use arguments field for parameters)"
	}
	return s, ""
}

// strip is Python's str.strip.
func strip(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f })
}

// arguments are a list of strings, or one string.
func arguments(c *checker, v pyjson.Value, loc []any) pyjson.Value {
	if v.Kind() != pyjson.String {
		return c.list(v, text, loc)
	}
	words, problem := splitWords(strip(v.Text()))
	if problem != "" {
		return c.failValue("Invalid argument format: "+problem+`. Use shell-like format, e.g., "arg1 arg2" or '--config "value with spaces"'`, v, loc)
	}
	items := make([]pyjson.Value, len(words))
	for i, w := range words {
		items[i] = pyjson.StringOf(w)
	}
	return pyjson.ArrayOf(items...)
}

// splitWords is Python's shlex.split: single quotes keep everything, double
// quotes all but \" and \\, outside of quotes a backslash keeps the next
// character.
func splitWords(s string) (words []string, problem string) {
	const none = -1
	var (
		word  []rune
		begun bool // there is a word, though it may be empty
		quote rune = none
		text       = []rune(s)
	)
	for i := 0; i < len(text); i++ {
		switch r := text[i]; {
		case r == quote:
			quote = none
		case r == '\\' && quote != '\'':
			i++
			if i == len(text) {
				return nil, "No escaped character"
			}
			if quote == '"' && text[i] != '"' && text[i] != '\\' {
				word = append(word, '\\')
			}
			word, begun = append(word, text[i]), true
		case quote != none:
			word = append(word, r)
		case r == '"' || r == '\'':
			quote, begun = r, true
		case strings.ContainsRune(" \t\r\n", r):
			if begun {
				words = append(words, string(word))
			}
			word, begun = nil, false
		default:
			word, begun = append(word, r), true
		}
	}
	if quote != none {
		return nil, "No closing quotation"
	}
	if begun {
		words = append(words, string(word))
	}
	return words, ""
}

// environment is an object of strings, or one string.
func environment(c *checker, v pyjson.Value, loc []any) pyjson.Value {
	switch v.Kind() {
	case pyjson.String:
		env, problem := splitEnvironment(v.Text())
		if problem != "" {
			return c.failValue(problem, v, loc)
		}
		return pyjson.ObjectOf(env...)
	case pyjson.Object:
		for _, m := range v.Members() {
			text(c, m.Value, at(loc, m.Key))
		}
		return v
	}
	return c.fail("dict_type", "Input should be a valid dictionary", v, loc)
}

// splitEnvironment reads A=1,B=2. A name that comes twice has its first place
// and its last value.
func splitEnvironment(s string) (env []pyjson.Member, problem string) {
	for pair := range strings.SplitSeq(s, ",") {
		pair = strip(pair)
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strip(name)
		switch {
		case !ok:
			return nil, "Environment variable '" + pair + "' must be in KEY=VALUE format"
		case name == "":
			return nil, "Environment variable key cannot be empty"
		case !variableForm.MatchString(name):
			return nil, "Invalid environment variable name '" + name + "'. Must start with letter or underscore, contain only alphanumeric characters and underscores"
		}
		m := pyjson.Member{Key: name, Value: pyjson.StringOf(value)}
		if i := slices.IndexFunc(env, func(m pyjson.Member) bool { return m.Key == name }); i >= 0 {
			env[i] = m
		} else {
			env = append(env, m)
		}
	}
	return env, ""
}
