package settings

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// Rules are what the contract cannot say of settings. A secrets_store may be any
// object (recorded settings_secrets_store). An MCP server may be its URL alone;
// arguments in one string are split as a shell splits them; an environment in one
// string is A=1,B=2 (recorded settings_all_fields, settings_mcp_invalid).
var Rules = fastapi.Rules{
	"Settings":             {Fields: map[string]fastapi.Rule{"secrets_store": secretsStore}},
	"MCPConfig":            {Before: expandServers},
	"MCPSSEServerConfig":   {Fields: map[string]fastapi.Rule{"url": fastapi.Text(serverURL)}},
	"MCPSHTTPServerConfig": {Fields: map[string]fastapi.Rule{"url": fastapi.Text(serverURL)}},
	"MCPStdioServerConfig": {Fields: map[string]fastapi.Rule{
		"name":    fastapi.Text(serverName),
		"command": fastapi.Text(command),
		"args":    textOr(pyjson.ArrayOf(), arguments),
		"env":     textOr(pyjson.ObjectOf(), environment),
	}},
}

// secretsStore takes any object for an empty one, as nothing of it is kept.
func secretsStore(r *fastapi.Reader, v pyjson.Value) (pyjson.Value, bool) {
	if v.Kind() != pyjson.Object {
		return r.Fail(fastapi.ValueError("UserSecrets must be initialized with a dictionary"), v), false
	}
	return pyjson.ObjectOf(), true
}

// The members of servers, and their values unless they are given.
var (
	urlServer   = []pyjson.Member{{Key: "url"}, {Key: "api_key"}}
	stdioServer = []pyjson.Member{{Key: "name"}, {Key: "command"}, {Key: "args", Value: pyjson.ArrayOf()}, {Key: "env", Value: pyjson.ObjectOf()}}
)

// fillMCP writes an MCPConfig in full:
//
//	{"sse_servers":[{"url","api_key"}],
//	 "stdio_servers":[{"name","command","args":[…],"env":{…}}],
//	 "shttp_servers":[{"url","api_key"}]}
func fillMCP(v pyjson.Value) pyjson.Value {
	if v.IsNull() {
		return v
	}
	servers := func(name string, members []pyjson.Member) pyjson.Member {
		given, _ := v.Get(name)
		filled := make([]pyjson.Value, len(given.Items()))
		for i, server := range given.Items() {
			all := slices.Clone(members)
			for j := range all {
				if x, ok := server.Get(all[j].Key); ok {
					all[j].Value = x
				}
			}
			filled[i] = pyjson.ObjectOf(all...)
		}
		return pyjson.Member{Key: name, Value: pyjson.ArrayOf(filled...)}
	}
	return pyjson.ObjectOf(servers("sse_servers", urlServer), servers("stdio_servers", stdioServer), servers("shttp_servers", urlServer))
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

// textOr is the rule of what may be one string. What Python takes for false is
// empty.
func textOr(empty pyjson.Value, read func(string) (pyjson.Value, string)) fastapi.Rule {
	rule := fastapi.Text(read)
	return func(r *fastapi.Reader, v pyjson.Value) (pyjson.Value, bool) {
		if !v.Truthy() {
			return empty, true
		}
		return rule(r, v)
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
func serverURL(s string) (v pyjson.Value, problem string) {
	s = strip(s)
	if s == "" {
		return v, "URL cannot be empty"
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
		return v, "Invalid IPv6 URL"
	case scheme == "":
		return v, "URL must include a scheme (http:// or https://)"
	case host == "":
		return v, "URL must include a valid domain/host"
	case !slices.Contains([]string{"http:", "https:", "ws:", "wss:"}, scheme):
		return v, "URL scheme must be http, https, ws, or wss"
	}
	return pyjson.StringOf(s), ""
}

func serverName(s string) (v pyjson.Value, problem string) {
	switch s = strip(s); {
	case s == "":
		return v, "Server name cannot be empty"
	case !nameForm.MatchString(s):
		return v, "Server name can only contain letters, numbers, hyphens, and underscores"
	}
	return pyjson.StringOf(s), ""
}

func command(s string) (v pyjson.Value, problem string) {
	switch s = strip(s); {
	case s == "":
		return v, "Command cannot be empty"
	case strings.Contains(s, " "):
		return v, "Command should be a single executable without spaces (use arguments field for parameters)"
	}
	return pyjson.StringOf(s), ""
}

// strip is Python's str.strip.
func strip(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f })
}

// arguments splits a text as a shell does.
func arguments(s string) (v pyjson.Value, problem string) {
	words, problem := splitWords(strip(s))
	if problem != "" {
		return v, "Invalid argument format: " + problem + `. Use shell-like format, e.g., "arg1 arg2" or '--config "value with spaces"'`
	}
	items := make([]pyjson.Value, len(words))
	for i, w := range words {
		items[i] = pyjson.StringOf(w)
	}
	return pyjson.ArrayOf(items...), ""
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

// environment reads A=1,B=2. A name that comes twice has its first place
// and its last value.
func environment(s string) (v pyjson.Value, problem string) {
	var env pyjson.Builder
	for pair := range strings.SplitSeq(s, ",") {
		pair = strip(pair)
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strip(name)
		switch {
		case !ok:
			return v, "Environment variable '" + pair + "' must be in KEY=VALUE format"
		case name == "":
			return v, "Environment variable key cannot be empty"
		case !variableForm.MatchString(name):
			return v, "Invalid environment variable name '" + name + "'. Must start with letter or underscore, contain only alphanumeric characters and underscores"
		}
		env.Set(name, pyjson.StringOf(value))
	}
	return env.Object(), ""
}
