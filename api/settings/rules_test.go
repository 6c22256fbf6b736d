package settings

import (
	"slices"
	"testing"
)

// The wanted words are those of Python's shlex.split.
func TestSplitWords(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
		err  string
	}{
		{" \t\r\n", nil, ""},
		{"-a b", []string{"-a", "b"}, ""},
		{`--config "value with spaces"`, []string{"--config", "value with spaces"}, ""},
		{`a""b ''`, []string{"ab", ""}, ""},
		{`a\ b "\x" "\"" '\'`, []string{"a b", `\x`, `"`, `\`}, ""},
		{"a#b #c", []string{"a#b", "#c"}, ""},
		{"x\vy", []string{"x\vy"}, ""},
		{`a\`, nil, "No escaped character"},
		{`"a\`, nil, "No escaped character"},
		{`"a`, nil, "No closing quotation"},
		{`a 'b`, nil, "No closing quotation"},
	} {
		got, problem := splitWords(test.text)
		if !slices.Equal(got, test.want) || problem != test.err {
			t.Errorf("splitWords(%q) = %q, %s, want %q, %s", test.text, got, problem, test.want, test.err)
		}
	}
}

// The wanted faults are those of Python's urlparse.
func TestServerURL(t *testing.T) {
	const scheme, host = "URL must include a scheme (http:// or https://)", "URL must include a valid domain/host"
	for text, want := range map[string]string{
		" http://a ": "", "HTTP://x": "", "wss://a/b?c#d": "", "http://:80": "", "http://[::1]": "", "http://@": "",
		" ": "URL cannot be empty", "a": scheme, "//x": scheme, "1a://x": scheme, "ht tp://x": scheme,
		"a:b": host, "http:/x": host, "http:////x": host, "http://?x": host, "http://#x": host,
		"http://[a": "Invalid IPv6 URL", "http://a]": "Invalid IPv6 URL", "ftp://a": "URL scheme must be http, https, ws, or wss",
	} {
		if _, got := serverURL(text); got != want {
			t.Errorf("serverURL(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	for _, test := range []struct{ text, want, fault string }{
		{"", `{}`, ""},
		{" A = 1=2 ,,B=", `{"A":" 1=2","B":""}`, ""},
		{"A", "", "Environment variable 'A' must be in KEY=VALUE format"},
		{" =1", "", "Environment variable key cannot be empty"},
		{"A-B=1", "", "Invalid environment variable name 'A-B'. Must start with letter or underscore, contain only alphanumeric characters and underscores"},
	} {
		v, problem := environment(test.text)
		got := ""
		if problem == "" {
			got = string(v.Append(nil))
		}
		if got != test.want || problem != test.fault {
			t.Errorf("environment(%q) = %s, %q, want %s, %q", test.text, got, problem, test.want, test.fault)
		}
	}
}
