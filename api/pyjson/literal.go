package pyjson

import (
	"errors"
	"strconv"
	"strings"
)

// Errors of DecodeLiteral.
var (
	ErrLiteral = errors.New("not a Python literal")
	ErrNotJSON = errors.New("a Python literal that JSON cannot write")
)

// DecodeLiteral reads a Python literal (ast.literal_eval) of what JSON has:
// None, True, False, numbers, strings, lists and tuples, dictionaries with
// string keys. Its error is ErrLiteral, or ErrNotJSON for bytes, sets and
// other keys.
func DecodeLiteral(text string) (Value, error) {
	l := literal{decoder{s: text}}
	l.space()
	v, err := l.read(0)
	if err != nil {
		return Value{}, err
	}
	l.space()
	if l.i < len(l.s) {
		return Value{}, ErrLiteral
	}
	return v, nil
}

type literal struct{ decoder }

func (l *literal) read(depth int) (Value, error) {
	if depth > MaxDepth || l.i >= len(l.s) {
		return Value{}, ErrLiteral
	}
	for _, w := range []struct {
		text  string
		value Value
	}{{"None", Value{}}, {"True", BoolOf(true)}, {"False", BoolOf(false)}} {
		if strings.HasPrefix(l.s[l.i:], w.text) {
			l.i += len(w.text)
			return w.value, nil
		}
	}
	switch c := l.s[l.i]; {
	case c == '[' || c == '(':
		return l.sequence(c, depth)
	case c == '{':
		return l.dict(depth)
	case c == '\'' || c == '"':
		s, err := l.text(c)
		return StringOf(s), err
	case (c == 'b' || c == 'B') && l.i+1 < len(l.s) && strings.IndexByte(`'"`, l.s[l.i+1]) >= 0:
		return Value{}, ErrNotJSON
	case c >= '0' && c <= '9' || c == '-' && l.i+1 < len(l.s) && l.s[l.i+1] >= '0' && l.s[l.i+1] <= '9':
		v, err := l.number()
		if err != nil {
			err = ErrLiteral
		}
		return v, err
	}
	return Value{}, ErrLiteral
}

func (l *literal) sequence(open byte, depth int) (Value, error) {
	end := map[byte]byte{'[': ']', '(': ')'}[open]
	l.i++
	items := []Value{}
	for {
		l.space()
		if l.at(end) {
			l.i++
			return ArrayOf(items...), nil
		}
		v, err := l.read(depth + 1)
		if err != nil {
			return v, err
		}
		items = append(items, v)
		l.space()
		if l.at(end) {
			l.i++
			if open == '(' && len(items) == 1 {
				return items[0], nil // no comma: not a tuple
			}
			return ArrayOf(items...), nil
		}
		if !l.at(',') {
			return Value{}, ErrLiteral
		}
		l.i++
	}
}

func (l *literal) dict(depth int) (Value, error) {
	l.i++
	var members Builder
	for {
		l.space()
		if l.at('}') {
			l.i++
			return members.Object(), nil
		}
		key, err := l.read(depth + 1)
		if err != nil {
			return key, err
		}
		l.space()
		if l.at(',') || l.at('}') {
			return Value{}, ErrNotJSON // a set
		}
		if !l.at(':') {
			return Value{}, ErrLiteral
		}
		if key.kind != String {
			return Value{}, ErrNotJSON
		}
		l.i++
		l.space()
		v, err := l.read(depth + 1)
		if err != nil {
			return v, err
		}
		members.Set(key.text, v)
		l.space()
		if l.at(',') {
			l.i++
		} else if !l.at('}') {
			return Value{}, ErrLiteral
		}
	}
}

// text reads a string in single or double quotes.
func (l *literal) text(quote byte) (string, error) {
	l.i++
	var b strings.Builder
	for l.i < len(l.s) {
		c := l.s[l.i]
		switch {
		case c == quote:
			l.i++
			return b.String(), nil
		case c == '\n':
			return "", ErrLiteral
		case c != '\\':
			b.WriteByte(c)
			l.i++
			continue
		}
		if l.i+1 >= len(l.s) {
			return "", ErrLiteral
		}
		c = l.s[l.i+1]
		if at := strings.IndexByte(`\'"abfnrtv`, c); at >= 0 {
			b.WriteByte("\\'\"\a\b\f\n\r\t\v"[at])
			l.i += 2
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		if digits == 0 {
			b.WriteString(l.s[l.i : l.i+2])
			l.i += 2
			continue
		}
		if l.i+2+digits > len(l.s) {
			return "", ErrLiteral
		}
		n, err := strconv.ParseUint(l.s[l.i+2:l.i+2+digits], 16, 32)
		if err != nil || n > 0x10FFFF {
			return "", ErrLiteral
		}
		writeRune(&b, rune(n))
		l.i += 2 + digits
	}
	return "", ErrLiteral
}
