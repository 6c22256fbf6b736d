package printable_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/printable"
)

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ text, line, lines string }{
		{"", "", ""},
		{"grüße 👩‍🚀 日本 שלום \u00a0\ufffd|", "grüße 👩‍🚀 日本 שלום \u00a0\ufffd|", "grüße 👩‍🚀 日本 שלום \u00a0\ufffd|"},
		{"a\tb\r\nc\n", `a\tb\r\nc\n`, "a\tb\\r\nc\n"},
		{"\x1b[2J\x1b]0;title\a", `\u001b[2J\u001b]0;title\u0007`, `\u001b[2J\u001b]0;title\u0007`},
		{"\x00\b\v\f\x7f", `\u0000\u0008\u000b\u000c\u007f`, `\u0000\u0008\u000b\u000c\u007f`},
		{"\u0080\u009b31m\u009f", `\u0080\u009b31m\u009f`, `\u0080\u009b31m\u009f`},
		{"\u061c\u200e\u200f", `\u061c\u200e\u200f`, `\u061c\u200e\u200f`},
		{"\u202a\u202b\u202c\u202d\u202e", `\u202a\u202b\u202c\u202d\u202e`, `\u202a\u202b\u202c\u202d\u202e`},
		{"\u2066\u2067\u2068\u2069", `\u2066\u2067\u2068\u2069`, `\u2066\u2067\u2068\u2069`},
		{"\x9b31m \xff\xc3", `\x9b31m \xff\xc3`, `\x9b31m \xff\xc3`},
		{"\xed\xa0\x80", `\xed\xa0\x80`, `\xed\xa0\x80`}, // a surrogate half
	} {
		if got := printable.Line(test.text); got != test.line {
			t.Errorf("Line(%q) = %s, want %s", test.text, got, test.line)
		}
		var b strings.Builder
		if n, err := (printable.Writer{W: &b}).Write([]byte(test.text)); n != len(test.text) || err != nil || b.String() != test.lines {
			t.Errorf("Write(%q) = %d, %v and writes %s, want %d and %s", test.text, n, err, b.String(), len(test.text), test.lines)
		}
	}
	in, out := io.Pipe()
	closed := errors.New("closed")
	in.CloseWithError(closed)
	if n, err := (printable.Writer{W: out}).Write([]byte("text")); n != 0 || err != closed {
		t.Errorf("Write = %d, %v, want 0, %v", n, err, closed)
	}
}

// TestLog: what log/slog lets through (bidirectional characters in JSON, DEL in
// both) is escaped, and JSON stays JSON.
func TestLog(t *testing.T) {
	const text = "a\x1b\x7f\u009b\u202e\n"
	var b strings.Builder
	w := printable.Writer{W: &b}
	slog.New(slog.NewTextHandler(w, nil)).Info("text", "a", text, "b", "\x7f")
	if !strings.HasSuffix(b.String(), `msg=text a="a\x1b\x7f\u009b\u202e\n" b=\u007f`+"\n") {
		t.Errorf("the record is %q", b.String())
	}
	b.Reset()
	slog.New(slog.NewJSONHandler(w, nil)).Info("text", "a", text)
	var record struct{ A string }
	if err := json.Unmarshal([]byte(b.String()), &record); err != nil || record.A != text || printable.Line(b.String()) != strings.TrimSuffix(b.String(), "\n")+`\n` {
		t.Errorf("the record is %q, and says %q (%v), want %q", b.String(), record.A, err, text)
	}
}

// FuzzLine: what Line returns is valid, stays as it is, and has nothing that a
// terminal obeys.
func FuzzLine(f *testing.F) {
	f.Add("\x1b[2J \u202e \xff ä\n")
	f.Fuzz(func(t *testing.T, text string) {
		line := printable.Line(text)
		if again := printable.Line(line); again != line || !utf8.ValidString(line) {
			t.Errorf("Line(Line(%q)) = %q, want %q", text, again, line)
		}
		for _, r := range line {
			if r < ' ' || 0x7f <= r && r < 0xa0 || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
				t.Errorf("Line(%q) = %q has %U", text, line, r)
			}
		}
	})
}
