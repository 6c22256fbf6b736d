package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/openhands-local/openhands-local/api/archive"
	"github.com/openhands-local/openhands-local/store/boltstore"
)

// exportCmd writes conversations to a file.
type exportCmd struct {
	File         string   `arg:"" help:"The file to write; - for standard output."`
	Conversation []string `short:"c" help:"Only this conversation; may be given several times." placeholder:"ID"`
	Trajectory   bool     `help:"Write the trajectory of the one conversation, as the API answers it, in place of NDJSON."`
	WithSecrets  bool     `help:"Settings and secrets too: both hold keys."`
	source
}

// Help says what is written, and what is not.
func (*exportCmd) Help() string {
	return "NDJSON: one JSON object a line, conversations and their events as they are stored, which openhands-local import takes. " +
		"Settings and secrets are left out unless --with-secrets is given; files of workspaces and idempotency keys always are: " +
		"openhands-local backup has the keys. A file that is there is replaced when the new one is whole. " +
		"Where a server has the data folder open it is asked. SESSION_API_KEY is sent to a server that wants a key. " +
		"Exit status 3: what is damaged was left out."
}

func (c *exportCmd) Run(e *env) error {
	if c.Trajectory && (len(c.Conversation) != 1 || c.WithSecrets) {
		return usage("export: --trajectory wants one --conversation, and goes without --with-secrets")
	}
	var sum archive.Summary
	write := func(w io.Writer) (err error) {
		sum, err = c.write(e, w)
		return err
	}
	var err error
	if c.File == "-" {
		err = write(e.bytes())
	} else {
		err = replaceFile(c.File, write, nil)
	}
	if err != nil {
		return c.explain(e, err)
	}
	if c.Trajectory {
		fmt.Fprintln(e.stderr, "exported the trajectory of", c.Conversation[0])
	} else {
		secrets := "; settings and secrets are left out (--with-secrets)"
		if c.WithSecrets {
			secrets = ", settings and secrets"
		}
		fmt.Fprintf(e.stderr, "exported %s, %s%s\n", plural(int64(sum.Conversations), "conversation", "conversations"), plural(int64(sum.Events), "event", "events"), secrets)
	}
	if sum.LeftOut > 0 {
		return &failure{statusLeftOut, errors.New("export: what is damaged was left out: openhands-local check tells what")}
	}
	return nil
}

// write writes the export, from a server or from the file.
func (c *exportCmd) write(e *env, w io.Writer) (archive.Summary, error) {
	base, token, err := c.serving(e)
	if err != nil {
		return archive.Summary{}, err
	}
	m := e.meter()
	defer m.end()
	if base != "" {
		return c.ask(e, w, m, base, token)
	}
	file, err := c.file()
	if err != nil {
		return archive.Summary{}, err
	}
	s, err := boltstore.Open(file, boltstore.Options{})
	if err != nil {
		return archive.Summary{}, err
	}
	defer s.Close() // nothing was written
	if c.Trajectory {
		return archive.Trajectory(e, s, w, c.Conversation[0])
	}
	return archive.Export(e, s, w, archive.ExportOptions{
		Conversations: c.Conversation, Secrets: c.WithSecrets,
		Progress: func(sum archive.Summary) {
			m.show("export: %d conversations, %d events", sum.Conversations, sum.Events)
		},
	})
}

// ask copies what a server answers.
func (c *exportCmd) ask(e *env, w io.Writer, m *meter, base, token string) (archive.Summary, error) {
	query := url.Values{"conversation": c.Conversation}
	if c.WithSecrets {
		query.Set("secrets", "true")
	}
	path := "/_local/export?" + query.Encode()
	if c.Trajectory {
		path = "/api/conversations/" + url.PathEscape(c.Conversation[0]) + "/trajectory"
	}
	out := &tail{w: w, show: func(n int64) { m.show("export: %s", size(n)) }}
	answer, err := out.download(e, base, path, token)
	if err != nil {
		return archive.Summary{}, err
	}
	if !c.Trajectory {
		return archive.Ended(out.last)
	}
	sum := archive.Summary{Conversations: 1}
	if answer.Header.Get(damagedHeader)+answer.Trailer.Get(damagedHeader) != "" {
		sum.LeftOut = 1
	}
	return sum, nil
}

// damagedHeader, or the trailer of this name, says that an answer leaves out
// what is damaged.
const damagedHeader = "X-Local-Damaged"

// A tail passes on what is written, and remembers the end of it.
type tail struct {
	w    io.Writer
	show func(written int64)
	n    int64
	last []byte
}

// lastBytes is how much a tail remembers: more than the last line of an export.
const lastBytes = 512

func (t *tail) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	t.n += int64(n)
	t.show(t.n)
	t.last = append(t.last, b[max(0, len(b)-lastBytes):]...)
	t.last = t.last[max(0, len(t.last)-lastBytes):]
	return n, err
}

// download writes what a server answers. The body of the answer has been read.
func (t *tail) download(e *env, base, path, token string) (*http.Response, error) {
	answer, err := e.get(base, path, token)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(t, answer.Body); err != nil {
		return nil, fmt.Errorf("%s: %w", base, err)
	}
	return answer, nil
}
