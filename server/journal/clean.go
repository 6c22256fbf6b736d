package journal

import (
	"bytes"
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// hiddenHeaders carry keys, right or wrong ones.
var hiddenHeaders = []string{"Authorization", "Cookie", "Proxy-Authorization", "Set-Cookie", "X-Local-Token", "X-Session-Api-Key"}

// linkHeaders have an address, and its query what was asked with.
var linkHeaders = []string{"Location", "Referer"}

// hiddenParams are those of a query that carry a key: of sockets and streams, and
// of the login link.
var hiddenParams = []string{"session_api_key", "key"}

// clean takes keys and secrets out of an entry, and flattens its headers.
func (j *Journal) clean(e *Entry, withheld bool) {
	var secrets []string
	if j.o.Secrets != nil {
		values, err := j.o.Secrets()
		secrets, withheld = j.written(values), withheld || err != nil
	}
	e.Query = mask(hideParams(e.Query), secrets)
	for _, text := range []*string{&e.Path, &e.Conversation} {
		*text = mask(*text, secrets)
	}
	if e.Refusal != nil {
		e.Refusal.Msg, e.Refusal.Error = mask(e.Refusal.Msg, secrets), mask(e.Refusal.Error, secrets)
	}
	for _, m := range []*Message{&e.Request, &e.Response} {
		m.flat, m.Header = flatten(m.Header, secrets), nil
		if withheld {
			m.Body, m.Cut, m.Withheld = nil, false, m.Bytes > 0
		} else {
			m.Body = cleanBody(m.Body, m.Cut, secrets)
		}
	}
}

// forms are values, and the ways in which they may stand in a request.
type forms struct{ values, all []string }

// written returns the forms of values, made anew when the values changed.
func (j *Journal) written(values []string) []string {
	if len(values) == 0 {
		return nil
	}
	f := j.forms.Load()
	if f == nil || !slices.Equal(f.values, values) {
		f = &forms{values, written(values)}
		j.forms.Store(f)
	}
	return f.all
}

// written are the ways in which values may stand in a request, the longest first:
// what has another in it is hidden whole.
func written(values []string) (forms []string) {
	for _, v := range values {
		if v == "" {
			continue
		}
		text := pyjson.StringOf(v)
		for _, quoted := range [][]byte{text.Append(nil), text.AppendASCII(nil)} {
			forms = append(forms, string(quoted[1:len(quoted)-1]))
		}
		forms = append(forms, v, url.QueryEscape(v), url.PathEscape(v))
	}
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(forms)
}

func mask(text string, secrets []string) string {
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, event.Hidden)
	}
	return text
}

// flatten writes the fields of a header as lines, without what nobody may see. One
// text instead of a map and its parts leaves the garbage collector little to follow.
func flatten(h http.Header, secrets []string) string {
	text := make([]byte, 0, 1<<10) // on the stack
	for name, values := range h {
		for _, v := range values {
			switch {
			case slices.Contains(hiddenHeaders, name):
				v = event.Hidden
			case slices.Contains(linkHeaders, name):
				if to, query, ok := strings.Cut(v, "?"); ok {
					v = to + "?" + hideParams(query)
				}
			}
			v = strings.ReplaceAll(mask(v, secrets), "\n", " ") // as it is sent
			text = append(append(append(append(text, name...), ": "...), v...), '\n')
		}
	}
	return string(text)
}

// inflate is the header of what flatten wrote.
func inflate(text string) http.Header {
	if text == "" {
		return nil
	}
	h := http.Header{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		h[name] = append(h[name], value)
	}
	return h
}

// hideParams hides the values of hiddenParams. The others stay as they were sent.
func hideParams(query string) string {
	if query == "" {
		return ""
	}
	params := strings.Split(query, "&")
	for i, p := range params {
		name, _, _ := strings.Cut(p, "=")
		if plain, err := url.QueryUnescape(name); err == nil && slices.Contains(hiddenParams, plain) {
			params[i] = name + "=" + url.QueryEscape(event.Hidden)
		}
	}
	return strings.Join(params, "&")
}

// cleanBody hides secrets, of one that is cut also the beginning of one, and half
// a character, at its end.
func cleanBody(body []byte, cut bool, secrets []string) []byte {
	for _, s := range secrets {
		if bytes.Contains(body, []byte(s)) {
			body = bytes.ReplaceAll(body, []byte(s), []byte(event.Hidden))
		}
	}
	if !cut {
		return body
	}
	body = body[:min(len(body), MaxBody)]
	for _, s := range secrets {
		for n := min(len(s), len(body)); n > 0; n-- {
			if bytes.HasSuffix(body, []byte(s[:n])) {
				body = body[:len(body)-n]
				break
			}
		}
	}
	for range utf8.UTFMax - 1 {
		if r, size := utf8.DecodeLastRune(body); r == utf8.RuneError && size == 1 {
			body = body[:len(body)-1]
		}
	}
	return body
}
