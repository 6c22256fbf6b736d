package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/line"
	"github.com/openhands-local/openhands-local/api/printable"
)

// TestHostileServer: what a server answers does not rule the terminal, whatever
// command asks it and whatever it has to say.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	const evil = "\x1b]0;title\a\u202e\u009b2J\x7f\xff"
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/alive" {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"detail":"`+strings.NewReplacer("\x1b", `\u001b`, "\a", `\u0007`).Replace(evil)+`"}`+evil)
	}))
	defer s.Close()
	for _, args := range [][]string{
		{"conform", "--fast", "--only", "create_empty", s.URL},
		{"conform", "--fast", "--only", "create_empty", "--json", "-", s.URL},
		{"events", "--url", s.URL, evil},
		{"events", "--follow", "--url", s.URL, "c"},
		{"export", "--url", s.URL, "-c", evil, "--trajectory", t.TempDir() + "/file"},
		{"ready", s.URL + "/" + evil},
		{evil},
	} {
		if args[0] == "events" {
			status = http.StatusTeapot
		}
		var out, told bytes.Buffer
		err := run(t.Context(), args, func(string) (string, bool) { return "", false }, &out, &told)
		report(&told, err)
		text := out.String() + told.String()
		if at := strings.IndexFunc(text, func(r rune) bool {
			return r < ' ' && r != '\n' && r != '\t' || 0x7f <= r && r < 0xa0 || r == '\u202e'
		}); at >= 0 || !utf8.ValidString(text) || err == nil {
			t.Errorf("%q is %v and prints %q, want an error and nothing that a terminal obeys", args, err, text)
		}
	}
}

// TestBytes: an export to standard output is as it is stored, but on a terminal.
func TestBytes(t *testing.T) {
	device, err := os.OpenFile("/dev/zero", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no device to take for a terminal: ", err)
	}
	defer device.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for w, safe := range map[*os.File]bool{device: true, file: false} {
		e := &env{stdout: printable.Writer{W: w}}
		if _, is := e.bytes().(printable.Writer); is != safe {
			t.Errorf("the bytes for %s are made printable: %v, want %v", w.Name(), is, safe)
		}
	}
}

// TestNoticePrintable: a title is one line, and rules no terminal.
func TestNoticePrintable(t *testing.T) {
	var b strings.Builder
	title, err := line.Notice([]byte(`{"kind":"update","update":{"conversation_title":"a\n\u001b[2J"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := show(&b, title); err != nil || !strings.HasSuffix(b.String(), `  a\n\u001b[2J`+"\n") {
		t.Errorf("show = %v, and prints %q", err, b.String())
	}
}
