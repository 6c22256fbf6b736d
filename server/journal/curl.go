package journal

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/exchange"
)

// ownHeaders are curl's own, or of the connection.
var ownHeaders = []string{"Accept-Encoding", "Connection", "Content-Length", "Expect", "Host", "Transfer-Encoding", "User-Agent"}

// keyHeader is the one hidden header that is known to who runs the line.
const keyHeader = "X-Session-Api-Key"

// Curl is the command that asks again, with the key of SESSION_API_KEY where a
// key was shown. Of what cannot be asked again (a message of a socket, a body
// that is cut, withheld or no text) it is a comment that says so. base is the
// server's address.
func (e *Entry) Curl(base string) string {
	switch body := e.Request; {
	case e.Transport == exchange.Socket:
		return fmt.Sprintf("# #%d is a message of a socket", e.Seq)
	case body.Cut || body.Withheld:
		return fmt.Sprintf("# #%d %s: not all of its body is kept", e.Seq, e.url(""))
	case !utf8.Valid(body.Body) || bytes.ContainsFunc(body.Body, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return fmt.Sprintf("# #%d %s: its body is no text", e.Seq, e.url(""))
	}
	words := []string{"curl", quote(e.url(base))}
	if e.Method != "GET" {
		words = slices.Insert(words, 1, "-X", quote(e.Method))
	}
	for _, h := range pairs(e.Request.Header) {
		switch {
		case h.Name == keyHeader:
			words = append(words, "-H", `"X-Session-API-Key: $SESSION_API_KEY"`)
		case !slices.Contains(ownHeaders, h.Name) && !slices.Contains(hiddenHeaders, h.Name):
			words = append(words, "-H", quote(h.Name+": "+h.Value))
		}
	}
	if len(e.Request.Body) > 0 {
		if e.Request.Header.Get("Content-Type") == "" {
			words = append(words, "-H", quote("Content-Type:")) // curl would say one of its own
		}
		words = append(words, "--data-raw", quote(string(e.Request.Body)))
	}
	return strings.Join(words, " ")
}

// url is the whole address of a request.
func (e *Entry) url(base string) string {
	path := (&url.URL{Path: e.Path}).EscapedPath()
	if e.Query != "" {
		path += "?" + e.Query
	}
	return base + exchange.BaseOf(e.World) + path
}

// quote writes a word for a POSIX shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
