package pyjson

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A SyntaxError is Python's JSONDecodeError: a phrase, and the place in
// characters, from 0.
type SyntaxError struct {
	Msg    string
	Offset int
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s: character %d", e.Msg, e.Offset) }

// What Decode refuses though its syntax is right.
var (
	ErrEncoding = errors.New("not valid text in UTF-8, UTF-16 or UTF-32")
	ErrDigits   = fmt.Errorf("an integer of more than %d digits", MaxDigits)
	ErrDepth    = fmt.Errorf("nested more than %d deep", MaxDepth)
)

const (
	// MaxDigits is how many digits Python reads as an integer.
	MaxDigits = 4300
	// MaxDepth is how deep arrays and objects may lie in each other. The real
	// server took 900 and failed at 5000 (recorded add_event_deep).
	MaxDepth = 1000
)

// Decode reads one JSON document as json.loads(bytes) does. Its error is a
// *SyntaxError, ErrEncoding, ErrDigits or ErrDepth.
func Decode(doc []byte) (Value, error) {
	text, err := toUTF8(doc)
	if err != nil {
		return Value{}, err
	}
	d := decoder{s: text}
	d.space()
	v, err := d.value(0)
	if err != nil {
		return Value{}, err
	}
	d.space()
	if d.i < len(d.s) {
		return Value{}, d.fail("Extra data", d.i)
	}
	return v, nil
}

// toUTF8 tells the encoding as json.detect_encoding does, and decodes.
func toUTF8(b []byte) (string, error) {
	has := func(prefix string) bool { return strings.HasPrefix(string(b[:min(4, len(b))]), prefix) }
	switch {
	case has("\x00\x00\xfe\xff"), has("\xff\xfe\x00\x00"):
		return fromUTF32(b[4:], b[0] == 0)
	case has("\xfe\xff"), has("\xff\xfe"):
		return fromUTF16(b[2:], b[0] == 0xfe)
	case has("\xef\xbb\xbf"):
		return checkUTF8(b[3:])
	}
	switch {
	case len(b) >= 4 && b[0] == 0:
		if b[1] != 0 {
			return fromUTF16(b, true)
		}
		return fromUTF32(b, true)
	case len(b) >= 4 && b[1] == 0:
		if b[2] != 0 || b[3] != 0 {
			return fromUTF16(b, false)
		}
		return fromUTF32(b, false)
	case len(b) == 2 && b[0] == 0:
		return fromUTF16(b, true)
	case len(b) == 2 && b[1] == 0:
		return fromUTF16(b, false)
	}
	return checkUTF8(b)
}

// checkUTF8 lets surrogates pass, as Python's "surrogatepass".
func checkUTF8(b []byte) (string, error) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	for rest := b; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			if !isSurrogate(rest) {
				return "", ErrEncoding
			}
			n = 3
		}
		rest = rest[n:]
	}
	return string(b), nil
}

func isSurrogate(b []byte) bool {
	return len(b) >= 3 && b[0] == 0xED && b[1] >= 0xA0 && b[1] <= 0xBF && b[2]&0xC0 == 0x80
}

func fromUTF16(b []byte, big bool) (string, error) {
	if len(b)%2 != 0 {
		return "", ErrEncoding
	}
	var order binary.ByteOrder = binary.LittleEndian
	if big {
		order = binary.BigEndian
	}
	var s strings.Builder
	for i := 0; i < len(b); i += 2 {
		r := rune(order.Uint16(b[i:]))
		if i+3 < len(b) {
			if both := utf16.DecodeRune(r, rune(order.Uint16(b[i+2:]))); both != utf8.RuneError {
				r = both
				i += 2
			}
		}
		writeRune(&s, r)
	}
	return s.String(), nil
}

func fromUTF32(b []byte, big bool) (string, error) {
	if len(b)%4 != 0 {
		return "", ErrEncoding
	}
	var order binary.ByteOrder = binary.LittleEndian
	if big {
		order = binary.BigEndian
	}
	var s strings.Builder
	for i := 0; i < len(b); i += 4 {
		r := order.Uint32(b[i:])
		if r > utf8.MaxRune {
			return "", ErrEncoding
		}
		writeRune(&s, rune(r))
	}
	return s.String(), nil
}

// writeRune writes a character, a lone surrogate as three bytes.
func writeRune(s *strings.Builder, r rune) {
	if utf16.IsSurrogate(r) {
		s.Write([]byte{0xE0 | byte(r>>12), 0x80 | byte(r>>6)&0x3F, 0x80 | byte(r)&0x3F})
		return
	}
	s.WriteRune(r)
}

// characters counts as Python does: a surrogate is one.
func characters(s string) int {
	n := 0
	for i := range len(s) {
		if s[i]&0xC0 != 0x80 {
			n++
		}
	}
	return n
}

type decoder struct {
	s string
	i int
}

func (d *decoder) fail(msg string, at int) error {
	return &SyntaxError{Msg: msg, Offset: characters(d.s[:at])}
}

func (d *decoder) space() {
	for d.i < len(d.s) {
		switch d.s[d.i] {
		case ' ', '\t', '\n', '\r':
			d.i++
		default:
			return
		}
	}
}

// at tells whether the next byte is c.
func (d *decoder) at(c byte) bool { return d.i < len(d.s) && d.s[d.i] == c }

var words = []struct {
	text  string
	value Value
}{
	{"null", Value{}}, {"true", Value{kind: Bool, bool: true}}, {"false", Value{kind: Bool}},
	{"NaN", Value{kind: Float, text: "NaN"}}, {"Infinity", Value{kind: Float, text: "Infinity"}}, {"-Infinity", Value{kind: Float, text: "-Infinity"}},
}

func (d *decoder) value(depth int) (Value, error) {
	if depth > MaxDepth {
		return Value{}, ErrDepth
	}
	if d.i >= len(d.s) {
		return Value{}, d.fail("Expecting value", d.i)
	}
	switch c := d.s[d.i]; {
	case c == '"':
		s, err := d.string()
		return Value{kind: String, text: s}, err
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.array(depth)
	case c >= '0' && c <= '9' || c == '-' && d.i+1 < len(d.s) && d.s[d.i+1] >= '0' && d.s[d.i+1] <= '9':
		return d.number()
	}
	for _, w := range words {
		if strings.HasPrefix(d.s[d.i:], w.text) {
			d.i += len(w.text)
			return w.value, nil
		}
	}
	return Value{}, d.fail("Expecting value", d.i)
}

func (d *decoder) object(depth int) (Value, error) {
	var object Builder
	d.i++
	d.space()
	if d.at('}') {
		d.i++
		return object.Object(), nil
	}
	for {
		if !d.at('"') {
			return Value{}, d.fail("Expecting property name enclosed in double quotes", d.i)
		}
		key, err := d.string()
		if err != nil {
			return Value{}, err
		}
		d.space()
		if !d.at(':') {
			return Value{}, d.fail("Expecting ':' delimiter", d.i)
		}
		d.i++
		d.space()
		x, err := d.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		object.Set(key, x)
		d.space()
		if d.at('}') {
			d.i++
			return object.Object(), nil
		}
		if !d.at(',') {
			return Value{}, d.fail("Expecting ',' delimiter", d.i)
		}
		d.i++
		d.space()
	}
}

func (d *decoder) array(depth int) (Value, error) {
	var items []Value
	d.i++
	d.space()
	if d.at(']') {
		d.i++
		return ArrayOf(items...), nil
	}
	for {
		x, err := d.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		if len(items) == cap(items) {
			items = slices.Grow(items, max(4, len(items))) // double: append grows long ones by a quarter
		}
		items = append(items, x)
		d.space()
		if d.at(']') {
			d.i++
			return ArrayOf(items...), nil
		}
		if !d.at(',') {
			return Value{}, d.fail("Expecting ',' delimiter", d.i)
		}
		d.i++
		d.space()
	}
}

func (d *decoder) digits() int {
	start := d.i
	for d.i < len(d.s) && d.s[d.i] >= '0' && d.s[d.i] <= '9' {
		d.i++
	}
	return d.i - start
}

func (d *decoder) number() (Value, error) {
	start := d.i
	if d.s[d.i] == '-' {
		d.i++
	}
	n := 1
	if d.s[d.i] == '0' {
		d.i++
	} else {
		n = d.digits()
	}
	isFloat := false
	if d.at('.') {
		back := d.i
		d.i++
		if d.digits() == 0 {
			d.i = back
		} else {
			isFloat = true
		}
	}
	if d.at('e') || d.at('E') {
		back := d.i
		d.i++
		if d.at('+') || d.at('-') {
			d.i++
		}
		if d.digits() == 0 {
			d.i = back
		} else {
			isFloat = true
		}
	}
	text := d.s[start:d.i]
	if isFloat {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil && !math.IsInf(f, 0) {
			return Value{}, d.fail("Expecting value", start)
		}
		return Value{kind: Float, text: FloatRepr(f)}, nil
	}
	if n > MaxDigits {
		return Value{}, ErrDigits
	}
	return IntOfDigits(text), nil
}

// string reads a string; the next byte is its quote.
func (d *decoder) string() (string, error) {
	begin := d.i
	d.i++
	start := d.i
	for d.i < len(d.s) && d.s[d.i] != '"' && d.s[d.i] != '\\' && d.s[d.i] >= ' ' {
		d.i++
	}
	if d.at('"') {
		d.i++
		return d.s[start : d.i-1], nil
	}
	var b strings.Builder
	b.WriteString(d.s[start:d.i])
	for {
		if d.i >= len(d.s) {
			return "", d.fail("Unterminated string starting at", begin)
		}
		switch c := d.s[d.i]; {
		case c == '"':
			d.i++
			return b.String(), nil
		case c < ' ':
			return "", d.fail("Invalid control character at", d.i)
		case c != '\\':
			start := d.i
			for d.i < len(d.s) && d.s[d.i] != '"' && d.s[d.i] != '\\' && d.s[d.i] >= ' ' {
				d.i++
			}
			b.WriteString(d.s[start:d.i])
			continue
		}
		if d.i+1 >= len(d.s) {
			return "", d.fail("Unterminated string starting at", begin)
		}
		if d.s[d.i+1] == 'u' {
			r, err := d.unicode()
			if err != nil {
				return "", err
			}
			writeRune(&b, r)
			continue
		}
		at := strings.IndexByte(`"\/bfnrt`, d.s[d.i+1])
		if at < 0 {
			return "", d.fail(`Invalid \escape`, d.i)
		}
		b.WriteByte("\"\\/\b\f\n\r\t"[at])
		d.i += 2
	}
}

// unicode reads \uXXXX, and a second one that makes a pair with it.
func (d *decoder) unicode() (rune, error) {
	r, ok := hex4(d.s, d.i+2)
	if !ok {
		return 0, d.fail(`Invalid \uXXXX escape`, d.i+1)
	}
	d.i += 6
	if r >= 0xD800 && r < 0xDC00 && d.i+6 < len(d.s) && d.s[d.i] == '\\' && d.s[d.i+1] == 'u' {
		low, ok := hex4(d.s, d.i+2)
		if !ok {
			return 0, d.fail(`Invalid \uXXXX escape`, d.i+1)
		}
		if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
			d.i += 6
			return both, nil
		}
	}
	return r, nil
}

// hex4 reads four hexadecimal digits, after which there must be more text.
func hex4(s string, at int) (rune, bool) {
	if at+4 >= len(s) {
		return 0, false
	}
	n, err := strconv.ParseUint(s[at:at+4], 16, 32)
	return rune(n), err == nil && !strings.ContainsAny(s[at:at+4], "_+-")
}
