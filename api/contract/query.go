package contract

import (
	"net/url"
	"strings"
)

// A pair is one `name=value` of a query, as sent and as read.
type pair struct {
	raw         string
	name, value string
}

// parseQuery splits a query as Starlette does: at `&` only, a name without
// `=` has an empty value, bad percent signs stand for themselves.
func parseQuery(raw string) []pair {
	var pairs []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		pairs = append(pairs, pair{part, unquote(name), unquote(value)})
	}
	return pairs
}

// valuesOf has the values of a name, in the order sent.
func valuesOf(pairs []pair, name string) []string {
	var values []string
	for _, p := range pairs {
		if p.name == name {
			values = append(values, p.value)
		}
	}
	return values
}

// unquote decodes a name or value as Python's unquote_plus does what came as
// Latin-1: bytes that are not UTF-8 become U+FFFD.
func unquote(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool { return c == '%' || c == '+' || c >= 0x80 }) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b.WriteByte(' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteByte(fromHex(s[i+1])<<4 | fromHex(s[i+2]))
			i += 2
		case c >= 0x80:
			b.WriteRune(rune(c))
		default:
			b.WriteByte(c)
		}
	}
	return string([]rune(b.String()))
}

func isHex(c byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", c) >= 0 }

func fromHex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// writeQuery is the query with the canonical values of the names that were
// read, and everything else as it was sent.
func writeQuery(pairs []pair, read url.Values) string {
	var parts []string
	for _, p := range pairs {
		if _, ok := read[p.name]; !ok {
			parts = append(parts, p.raw)
		}
	}
	if len(read) > 0 {
		parts = append(parts, read.Encode())
	}
	return strings.Join(parts, "&")
}
