// Package printable makes text that came from outside safe to print: a
// terminal obeys none of it, and shows it in the order in which it is stored.
//
// Control characters (C0, DEL, C1) and those that turn the direction of text
// (Unicode's Bidi_Control) are shown as JSON escapes them, bytes that are no
// UTF-8 as \xNN; all else stays as it is. So JSON that is made printable has the
// same value.
package printable

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line makes s a part of one line: line feeds and tabs are escaped too.
func Line(s string) string { return escape(s, "") }

// Text makes s printable lines: line feeds and tabs stay.
func Text(s string) string { return escape(s, "\n\t") }

// A Writer writes what it gets as [Text]. Each Write must get whole characters,
// as those of fmt and log/slog do; it may be called at once where that of W may.
type Writer struct{ W io.Writer }

func (w Writer) Write(b []byte) (int, error) {
	if _, err := io.WriteString(w.W, Text(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

func escape(s, keep string) string {
	unsafe := func(r rune) bool {
		if ' ' <= r && r <= '~' {
			return false // without a look at the tables
		}
		return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Bidi_Control) && !strings.ContainsRune(keep, r)
	}
	if strings.IndexFunc(s, unsafe) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == utf8.RuneError || !unsafe(r):
			b.WriteString(s[:size])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[size:]
	}
	return b.String()
}
