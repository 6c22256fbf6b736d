package pyjson

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Append appends json.dumps(v, separators=(",", ":"), ensure_ascii=False),
// NaN and Infinity bare.
func (v Value) Append(b []byte) []byte {
	switch v.kind {
	case Null:
		return append(b, "null"...)
	case Bool:
		return strconv.AppendBool(b, v.bool)
	case Int, Float:
		return append(b, v.text...)
	case String:
		return AppendString(b, v.text)
	case Array:
		b = append(b, '[')
		for i, x := range v.Items() {
			if i > 0 {
				b = append(b, ',')
			}
			b = x.Append(b)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	for i, m := range v.Members() {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, m.Key)
		b = append(b, ':')
		b = m.Value.Append(b)
	}
	return append(b, '}')
}

// MarshalJSON lets a Value stand in what encoding/json writes.
func (v Value) MarshalJSON() ([]byte, error) { return v.Append(nil), nil }

const hexDigits = "0123456789abcdef"

// AppendString appends a JSON string, every character but quotes, backslashes
// and controls as it is.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		b = appendEscaped(b, c)
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscaped(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	case '\b':
		return append(b, `\b`...)
	case '\f':
		return append(b, `\f`...)
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// AppendASCII appends json.dumps(v): ", " and ": ", every character but
// printable ASCII escaped.
func (v Value) AppendASCII(b []byte) []byte {
	switch v.kind {
	case String:
		return appendASCIIString(b, v.text)
	case Array:
		b = append(b, '[')
		for i, x := range v.Items() {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = x.AppendASCII(b)
		}
		return append(b, ']')
	case Object:
		b = append(b, '{')
		for i, m := range v.Members() {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendASCIIString(b, m.Key)
			b = append(b, ": "...)
			b = m.Value.AppendASCII(b)
		}
		return append(b, '}')
	}
	return v.Append(b)
}

func appendASCIIString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == 0x7f:
				b = appendU(b, rune(c))
			case c >= ' ' && c != '"' && c != '\\':
				b = append(b, c)
			default:
				b = appendEscaped(b, c)
			}
			continue
		}
		r, n := decodeRune(s[i:])
		i += n
		if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
			b = appendU(appendU(b, hi), lo)
		} else {
			b = appendU(b, r)
		}
	}
	return append(b, '"')
}

func appendU(b []byte, r rune) []byte {
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// decodeRune reads a character, a surrogate too.
func decodeRune(s string) (rune, int) {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 && isSurrogate([]byte(s[:min(3, len(s))])) {
		return rune(s[0]&0x0F)<<12 | rune(s[1]&0x3F)<<6 | rune(s[2]&0x3F), 3
	}
	return r, n
}

// Str is Python's str(v).
func (v Value) Str() string {
	if v.kind == String {
		return v.text
	}
	return v.Repr()
}

// Repr is Python's repr(v).
func (v Value) Repr() string {
	var b strings.Builder
	v.repr(&b)
	return b.String()
}

func (v Value) repr(b *strings.Builder) {
	switch v.kind {
	case Null:
		b.WriteString("None")
	case Bool:
		if v.bool {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case Int:
		b.WriteString(v.text)
	case Float:
		switch v.text {
		case "NaN":
			b.WriteString("nan")
		case "Infinity":
			b.WriteString("inf")
		case "-Infinity":
			b.WriteString("-inf")
		default:
			b.WriteString(v.text)
		}
	case String:
		reprString(b, v.text)
	case Array:
		b.WriteByte('[')
		for i, x := range v.Items() {
			if i > 0 {
				b.WriteString(", ")
			}
			x.repr(b)
		}
		b.WriteByte(']')
	case Object:
		b.WriteByte('{')
		for i, m := range v.Members() {
			if i > 0 {
				b.WriteString(", ")
			}
			reprString(b, m.Key)
			b.WriteString(": ")
			m.Value.repr(b)
		}
		b.WriteByte('}')
	}
}

// reprString uses single quotes, unless the text has one and no double quote.
func reprString(b *strings.Builder, s string) {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	hex := func(prefix byte, r rune, digits int) {
		b.WriteByte('\\')
		b.WriteByte(prefix)
		for i := digits - 1; i >= 0; i-- {
			b.WriteByte(hexDigits[r>>(4*i)&15])
		}
	}
	b.WriteByte(quote)
	for i := 0; i < len(s); {
		r, n := decodeRune(s[i:])
		i += n
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			hex('x', r, 2)
		case r < 0x7f || printable(r):
			b.WriteRune(r)
		case r <= 0xff:
			hex('x', r, 2)
		case r <= 0xffff:
			hex('u', r, 4)
		default:
			hex('U', r, 8)
		}
	}
	b.WriteByte(quote)
}

// printable is Python's str.isprintable of one character: not one of the
// categories Other and Separator, but for the space.
func printable(r rune) bool {
	return r == ' ' || !utf16.IsSurrogate(r) && unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S)
}
