package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore"
)

// What the commands on a data folder share: export, import, backup, check,
// compact.

// dataFlags name what a command works on.
type dataFlags struct {
	Data string `default:"openhands-data" help:"The data folder."`
}

// file is the store's file, which must be there.
func (d *dataFlags) file() (string, error) {
	file, err := server.DataFile(d.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s has no store (no events.db): choose the data folder with --data", d.Data)
	}
	return file, err
}

// explain adds to an error what the user can do about it.
func (d *dataFlags) explain(e *env, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{statusInterrupted, errors.New("interrupted: nothing was changed")}
	case errors.Is(err, store.ErrInUse) && server.InFolder(d.Data):
		who := "another process"
		if i, _, asked := server.Holder(e, d.Data, e.key()); asked == nil {
			who = fmt.Sprintf("openhands-local %s (pid %d, %s)", i.Version, i.PID, i.URL)
		}
		return fmt.Errorf("%s is in use by %s: stop that first", d.Data, who)
	}
	return err
}

// key is what servers are shown.
func (e *env) key() string {
	key, _ := e.lookup("SESSION_API_KEY")
	return key
}

// A target is a server, or a world of it, that is asked.
type target struct {
	URL   string `default:"http://localhost:3000" help:"Base URL of the server."`
	World string `help:"The world of the server that is asked." placeholder:"NAME"`
}

// base is the URL that all paths are below.
func (t *target) base() string { return baseOf(t.URL, t.World) }

func baseOf(server, world string) string {
	return strings.TrimSuffix(server, "/") + exchange.BaseOf(url.PathEscape(world))
}

// A source is where something is read from: a server, or a data folder that no
// server has open.
type source struct {
	dataFlags
	URL   string `help:"Base URL of the server to ask, in place of a folder." placeholder:"URL"`
	World string `help:"The world of the server that is asked." placeholder:"NAME"`
}

// serving returns the server to ask and the token that it may want, "" when
// there is none and the folder is to be read.
func (s *source) serving(e *env) (url, token string, err error) {
	if s.URL != "" {
		// The token is for who can read its folder: here, often, we can.
		if i, err := server.Ask(e, s.URL, e.key()); err == nil {
			_, token, _ = server.Holder(e, i.Data, e.key())
		}
		return baseOf(s.URL, s.World), token, nil
	}
	if _, err := s.file(); err != nil {
		return "", "", err
	}
	i, token, err := server.Holder(e, s.Data, e.key())
	switch {
	case err == nil:
		return baseOf(i.URL, s.World), token, nil
	case s.World != "":
		return "", "", fmt.Errorf("no server has %s open, and worlds are a server's alone: say which with --url", s.Data)
	}
	return "", "", nil // nobody, or a process that tells nothing: the store's lock will say
}

// A refusal is an answer that is not 200.
type refusal struct {
	url, text string // text is what the server says, "" if that is not for people
	status    int
}

func (r *refusal) Error() string {
	text := r.text
	switch {
	case text == "":
		text = "not an answer of OpenHands"
	case r.status == http.StatusUnauthorized:
		text += ": set SESSION_API_KEY to the server's key"
	case r.status == http.StatusNotFound:
		text += ": " + r.url + "/api/conversations lists those there are"
	}
	return fmt.Sprintf("%s answers %d %s: %s", r.url, r.status, http.StatusText(r.status), text)
}

// sentence is what an answer says to people: its detail, that of the first of
// its refused fields, or its message.
func sentence(body []byte) (text string) {
	var answer struct {
		Detail  json.RawMessage
		Message string
	}
	var fields []struct{ Msg string }
	switch {
	case json.Unmarshal(body, &answer) != nil:
	case json.Unmarshal(answer.Detail, &text) == nil:
	case json.Unmarshal(answer.Detail, &fields) == nil && len(fields) > 0:
		text = fields[0].Msg
	default:
		text = answer.Message
	}
	return text
}

// get asks the server at a base URL; what is not answered 200 is a [*refusal].
func (e *env) get(base, path, token string) (*http.Response, error) {
	return e.ask(http.MethodGet, base, path, token, nil)
}

// ask is get with another method, where 204 will do too, and with a body that is sent
// as JSON unless it is nil.
func (e *env) ask(method, base, path, token string, body any) (*http.Response, error) {
	base = strings.TrimSuffix(base, "/")
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usage("%q is not the URL of a server: want one such as http://localhost:3000", base)
	}
	var text io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		text = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(e, method, base+path, text)
	if err != nil {
		return nil, err
	}
	if key := e.key(); key != "" {
		r.Header.Set("X-Session-API-Key", key)
	}
	if token != "" {
		r.Header.Set(api.TokenHeader, token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy
	answer, err := client.Do(r)
	var failed *url.Error
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return nil, fmt.Errorf("%s does not serve (%w): start it with openhands-local --addr %s", base, dial.Err, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")))
	case errors.As(err, &failed):
		return nil, fmt.Errorf("%s does not answer: %w", base, failed.Err)
	case answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNoContent:
		defer answer.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
		return nil, &refusal{base, sentence(body), answer.StatusCode}
	}
	return answer, nil
}

// bytes is standard output for what is no text: unchanged, but on a terminal.
func (e *env) bytes() io.Writer {
	if isTerminal(e.stdout.W) {
		return e.stdout
	}
	return e.stdout.W
}

// replaceFile writes a file whole or not at all: to a temporary one beside it
// (mode 0600), which is synced and renamed over it once write and then check,
// when it is set, have returned nil. What is there under that name is untouched
// until then.
func replaceFile(name string, write func(io.Writer) error, check func(temporary string) error) error {
	folder := filepath.Dir(name)
	f, err := os.CreateTemp(folder, "."+filepath.Base(name)+"-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // not there any more once it is renamed
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if check != nil {
		if err := check(f.Name()); err != nil {
			return err
		}
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncFolder(folder)
}

// syncFolder makes a name survive the death of the machine.
func syncFolder(name string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be synced there
	}
	folder, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// A meter shows how far long work is, at most once a second.
type meter struct {
	w    io.Writer
	line bool // each time on the same line
	last time.Time
}

// meterTime is how long work must take to be shown, and between two lines.
const meterTime = time.Second

func (e *env) meter() *meter {
	return &meter{w: e.stderr.W, line: isTerminal(e.stderr.W), last: time.Now()}
}

func (m *meter) show(format string, a ...any) {
	if time.Since(m.last) < meterTime {
		return
	}
	m.last = time.Now()
	before, after := "", "\n"
	if m.line {
		before, after = "\r\x1b[K", ""
	}
	fmt.Fprintf(m.w, before+format+after, a...)
}

// end clears the line.
func (m *meter) end() {
	if m.line {
		fmt.Fprint(m.w, "\r\x1b[K")
	}
}

// watch shows the progress of work on a store's file.
func (m *meter) watch(what string, problem func(error)) boltstore.Watcher {
	return boltstore.Watcher{
		Progress: func(done, total int64) { m.show("%s: %s of %s", what, size(done), size(total)) },
		Problem:  problem,
	}
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
