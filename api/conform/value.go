package conform

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// value is a JSON document that has kept the order of its keys and the text of its numbers: the real server
// writes both always in the same way, and clients compare bytes.
type value struct {
	kind byte // one of { [ " 0 t n, as in the first letter of the text; 0 for numbers, t for true and false
	text string
	keys []string
	list []value // elements, or the values of keys
}

// parseJSON reads exactly one document.
func parseJSON(b []byte) (value, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := readValue(d)
	if err != nil {
		return value{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return value{}, errors.New("more than one JSON document")
	}
	return v, nil
}

func readValue(d *json.Decoder) (value, error) {
	t, err := d.Token()
	if err != nil {
		return value{}, err
	}
	switch t := t.(type) {
	case string:
		return value{kind: '"', text: t}, nil
	case json.Number:
		return value{kind: '0', text: t.String()}, nil
	case bool:
		return value{kind: 't', text: strconv.FormatBool(t)}, nil
	case json.Delim:
		v := value{kind: byte(t)}
		for d.More() {
			if t == '{' {
				k, err := d.Token()
				if err != nil {
					return value{}, err
				}
				v.keys = append(v.keys, k.(string))
			}
			e, err := readValue(d)
			if err != nil {
				return value{}, err
			}
			v.list = append(v.list, e)
		}
		_, err := d.Token()
		return v, err
	}
	return value{kind: 'n', text: "null"}, nil
}

// get returns the member key of an object.
func (v value) get(key string) (value, bool) {
	for i, k := range v.keys {
		if k == key {
			return v.list[i], true
		}
	}
	return value{}, false
}

// str returns the string member key of an object, "" if there is none.
func (v value) str(key string) string {
	if m, ok := v.get(key); ok && m.kind == '"' {
		return m.text
	}
	return ""
}

// at resolves a JSON pointer (RFC 6901).
func (v value) at(pointer string) (value, bool) {
	if pointer == "" {
		return v, true
	}
	for _, token := range strings.Split(pointer, "/")[1:] {
		switch v.kind {
		case '{':
			m, ok := v.get(strings.NewReplacer("~1", "/", "~0", "~").Replace(token))
			if !ok {
				return value{}, false
			}
			v = m
		case '[':
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v.list) {
				return value{}, false
			}
			v = v.list[i]
		default:
			return value{}, false
		}
	}
	return v, true
}

// has tells whether v has these values: JSON pointer => value.
func (v value) has(until map[string]json.RawMessage) bool {
	for pointer, text := range until {
		want, err := parseJSON(text)
		got, ok := v.at(pointer)
		if err != nil || !ok || got.String() != want.String() {
			return false
		}
	}
	return true
}

func member(pointer, key string) string {
	return pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

func element(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }

// String is the compact form that the real server writes: no blanks, UTF-8 not escaped.
func (v value) String() string { return string(v.append(nil)) }

func (v value) append(b []byte) []byte {
	switch v.kind {
	case '"':
		return pyjson.AppendString(b, v.text)
	case '{', '[':
		b = append(b, v.kind)
		for i, e := range v.list {
			if i > 0 {
				b = append(b, ',')
			}
			if v.kind == '{' {
				b = append(pyjson.AppendString(b, v.keys[i]), ':')
			}
			b = e.append(b)
		}
		return append(b, v.kind+2) // } and ] follow two places after { and [
	}
	return append(b, v.text...)
}
