// Package page shows a server to people: its conversations and what happens in
// them, what it was asked and answered, what goes wrong on purpose.
//
//	p := page.New(page.Config{…})   // an http.Handler for /, /_local/ and below /_local/page/
//	p.Login()                       // in its place, for who has not said the key
//
// The pages are HTML that is made here (templates/) and needs no script: links,
// and forms that post to the page, which acts and sends the browser on. Where
// there is a script (script.js), rows come by themselves: a stream of
// server-sent events has the same HTML (stream.go), which the script puts in its
// place. So a row is written in one place, and what is not looked at costs
// nothing.
//
// What clients sent is shown as text: html/template escapes it, control
// characters and those that turn the direction of text are written out (package
// printable), bodies are bounded, and the policy of each page lets no script run
// but ours.
package page

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/printable"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/server/faults"
	"github.com/openhands-local/openhands-local/server/journal"
	"github.com/openhands-local/openhands-local/store"
)

const (
	// Home is the address of the first page, whatever else is at /.
	Home = "/_local/"
	// Prefix is what the addresses of the others begin with.
	Prefix = "/_local/page/"
)

// Is tells whether a path is one of the pages, wherever / leads.
func Is(path string) bool { return path == Home || strings.HasPrefix(path, Prefix) }

// maxRows is the most rows that a page shows.
const maxRows = 200

// maxForm is the most bytes of a form.
const maxForm = 4 << 20

// A Config says what is shown. All but Journal is required.
type Config struct {
	Facts         []Fact // of the server, for the first page
	Operations    []string
	Conversations *conversation.Service
	Journal       *journal.Journal // nil for none
	Faults        *faults.Set
	Clock         *clock.Clock
	// Move moves the clock as a body of /_local/clock says. Its error is a
	// [*fastapi.Invalid] or a [*clock.BusyError].
	Move func(context.Context, pyjson.Value) error
	// World is the name of the world that the pages are of, "" for the one without.
	World  string
	Worlds Worlds // of the server
	// Reset begins anew, as on an empty folder.
	Reset func(context.Context) error
	// LogIn lets a browser in that says the key, and tells whether it did.
	LogIn func(w http.ResponseWriter, r *http.Request, key string) bool
	// Stopping is closed when the server takes no more requests: streams end.
	Stopping <-chan struct{}
}

// A Fact is something to know of the server.
type Fact struct{ Name, Value string }

// A Page is a handler for all pages. Make one with [New].
type Page struct {
	Config
	mux   func() *http.ServeMux      // made when the first page is asked for
	cross http.CrossOriginProtection // a page of another port may not post here
}

//go:embed templates style.css script.js
var files embed.FS

// New returns the pages of a server.
func New(c Config) *Page {
	p := &Page{Config: c}
	p.mux = sync.OnceValue(p.routes)
	return p
}

func (p *Page) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /{$}":                        p.overview,
		"GET " + Home:                     p.overview,
		"GET " + Prefix:                   p.unknown,
		"GET " + Prefix + "live/overview": p.liveOverview,

		"GET " + Prefix + "conversations":              p.conversations,
		"POST " + Prefix + "conversations":             p.create,
		"GET " + Prefix + "conversations/{id}":         p.conversation,
		"GET " + Prefix + "conversations/{id}/{event}": p.event,
		"POST " + Prefix + "conversations/{id}/{act}":  p.act,
		"GET " + Prefix + "delete/{id}":                p.askDelete,
		"GET " + Prefix + "live/conversations":         p.liveConversations,
		"GET " + Prefix + "live/conversations/{id}":    p.liveConversation,

		"GET " + Prefix + "requests":       p.requests,
		"POST " + Prefix + "requests":      p.clearRequests,
		"GET " + Prefix + "requests/{seq}": p.request,
		"GET " + Prefix + "live/requests":  p.liveRequests,

		"GET " + Prefix + "faults":      p.faults,
		"POST " + Prefix + "faults":     p.changeFaults,
		"GET " + Prefix + "live/faults": p.liveFaults,

		"GET " + Prefix + "clock":      p.clock,
		"POST " + Prefix + "clock":     p.moveClock,
		"GET " + Prefix + "live/clock": p.liveClock,

		"GET " + Prefix + "worlds":                p.worlds,
		"POST " + Prefix + "worlds":               p.makeWorld,
		"GET " + Prefix + "worlds/{name}/delete":  p.askDeleteWorld,
		"POST " + Prefix + "worlds/{name}/delete": p.deleteWorld,

		"GET " + Prefix + "reset":  p.askReset,
		"POST " + Prefix + "reset": p.reset,
	} {
		mux.Handle(pattern, p.handle(h))
	}
	for name := range kinds {
		mux.HandleFunc("GET "+Prefix+name, func(w http.ResponseWriter, _ *http.Request) { asset(w, name) })
	}
	return mux
}

// kinds are the types of the files that pages load.
var kinds = map[string]string{"style.css": "text/css; charset=utf-8", "script.js": "text/javascript; charset=utf-8"}

// asset answers with one of them.
func asset(w http.ResponseWriter, name string) {
	text, _ := files.ReadFile(name) // it is embedded
	w.Header().Set("Content-Type", kinds[name])
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text)
}

// ServeHTTP answers a request for a page.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux().ServeHTTP(w, r) }

// Login asks for the key, in the place of every page.
func (p *Page) Login() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, ok := strings.CutPrefix(r.URL.Path, Prefix); ok && kinds[name] != "" {
			asset(w, name)
			return
		}
		p.handle(p.login).ServeHTTP(w, r)
	})
}

func (p *Page) login(w http.ResponseWriter, r *http.Request) error {
	wrong := false
	if r.Method == http.MethodPost && r.URL.Path == Prefix+"login" {
		if p.LogIn(w, r, r.PostFormValue("key")) {
			return seeOther(w, r, Home)
		}
		wrong = true
	}
	exchange.From(r.Context()).Refusal = &exchange.Refusal{Msg: "the page asks for the key"}
	return p.show(w, http.StatusUnauthorized, "login", view{Title: "Key", Content: wrong})
}

// A handler shows a page, or returns why not.
type handler func(http.ResponseWriter, *http.Request) error

// handle shows what a handler returns, and refuses what comes of another page.
func (p *Page) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := p.cross.Check(r)
		if err != nil {
			err = &failure{http.StatusForbidden, "This form was posted by a page of another address."}
		} else {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			err = h(w, r)
		}
		if err == nil || errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			return
		}
		f := failureOf(err)
		why := &exchange.Refusal{Msg: f.text}
		if f.status >= http.StatusInternalServerError {
			why.Err = err
		}
		exchange.From(r.Context()).Refusal = why
		_ = p.show(w, f.status, "error", view{Title: http.StatusText(f.status), Content: f.text})
	})
}

// A failure is why a page is not shown.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

// failureOf says in words what an error means.
func failureOf(err error) *failure {
	var (
		f       *failure
		invalid *fastapi.Invalid
		large   *http.MaxBytesError
	)
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &invalid):
		return &failure{http.StatusUnprocessableEntity, strings.Join(reasons(invalid), "\n")}
	case errors.As(err, &large):
		return &failure{http.StatusRequestEntityTooLarge, fmt.Sprintf("The form is larger than %d bytes.", large.Limit)}
	case errors.Is(err, store.ErrNotFound):
		return &failure{http.StatusNotFound, "There is no such conversation."}
	case errors.Is(err, conversation.ErrStopped):
		return &failure{http.StatusConflict, "The conversation is stopped. Start it first."}
	case errors.Is(err, conversation.ErrNoSettings), errors.Is(err, conversation.ErrNoLLMKey):
		return &failure{http.StatusBadRequest, "There are no settings, or none with a key for the model: a conversation is made once POST /api/settings has stored some."}
	}
	return &failure{http.StatusInternalServerError, err.Error()}
}

// reasons are the places of a refusal, a line each.
func reasons(e *fastapi.Invalid) (lines []string) {
	for _, each := range e.Errors {
		loc := make([]string, len(each.Loc))
		for i, part := range each.Loc {
			loc[i] = fmt.Sprint(part)
		}
		lines = append(lines, strings.Join(loc, ".")+": "+each.Msg)
	}
	return lines
}

func (p *Page) unknown(http.ResponseWriter, *http.Request) error {
	return &failure{http.StatusNotFound, "There is no such page."}
}

// seeOther sends a browser to another page, after a form.
func seeOther(w http.ResponseWriter, r *http.Request, path string) error {
	http.Redirect(w, r, path, http.StatusSeeOther)
	return nil
}

// A view is what layout.html shows.
type view struct {
	Title   string
	Section string // of the navigation
	Content any
	World   string
}

// policy lets a page load nothing but ours.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// show answers with a page.
func (p *Page) show(w http.ResponseWriter, status int, name string, v view) error {
	v.World = p.World
	text, err := render(name, "layout", v)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	_, err = w.Write(text)
	return err
}

// templates are those of each page, by its name, read when the first one is shown.
var templates = sync.OnceValue(func() map[string]*template.Template {
	type navigation struct {
		Path, Name string
		Here       bool
	}
	base := template.Must(template.New("").Funcs(template.FuncMap{
		"link": func(here, section, path, name string) navigation { return navigation{path, name, here == section} },
		"path": url.PathEscape,
		"time": func(t time.Time) string { return t.Local().Format("15:04:05.000") },
		"when": func(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") },
	}).ParseFS(files, "templates/layout.html", "templates/rows.html"))
	all := map[string]*template.Template{}
	names, _ := files.ReadDir("templates")
	for _, file := range names {
		name := strings.TrimSuffix(file.Name(), ".html")
		all[name] = template.Must(template.Must(base.Clone()).ParseFS(files, "templates/"+file.Name()))
	}
	return all
})

// render makes the HTML of a page, or of a part of it.
func render(page, part string, v any) ([]byte, error) {
	var b bytes.Buffer
	if err := templates()[page].ExecuteTemplate(&b, part, v); err != nil {
		return nil, err
	}
	return []byte(printable.Text(b.String())), nil
}

// An overview is what the first page shows.
type overview struct {
	Facts  []Fact
	Host   string
	Counts counts
}

// counts are what changes of it.
type counts struct {
	Conversations, Running, Requests, Faults, Used, Followers int
	Dropped                                                   int64
	Journal                                                   bool
}

func (p *Page) counts(ctx context.Context) (n counts, err error) {
	_, n.Conversations, err = p.Conversations.List(ctx, 0, 1)
	if damaged := new(store.DamagedConversations); err != nil && !errors.As(err, &damaged) {
		return n, err
	}
	n.Running, n.Followers = p.Conversations.Running(), p.Conversations.Followers()
	if n.Journal = p.Journal != nil; n.Journal {
		n.Requests, n.Dropped = p.Journal.Count()
	}
	for _, f := range p.Faults.List() {
		n.Faults++
		n.Used += f.Used
	}
	return n, nil
}

func (p *Page) overview(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path != "/" && r.URL.Path != Home {
		return p.unknown(w, r)
	}
	n, err := p.counts(r.Context())
	if err != nil {
		return err
	}
	return p.show(w, http.StatusOK, "overview", view{Title: "Overview", Section: "overview", Content: overview{p.Facts, r.Host, n}})
}

// liveOverview looks once a second: it counts what tells nobody that it changed.
func (p *Page) liveOverview(w http.ResponseWriter, r *http.Request) error {
	shown := counts{}
	return p.live(w, r, every(time.Second), func(s *stream) error {
		n, err := p.counts(r.Context())
		if err != nil || n == shown {
			return err
		}
		shown = n
		return s.put("counts", n)
	})
}

func (p *Page) askReset(w http.ResponseWriter, r *http.Request) error {
	n, err := p.counts(r.Context())
	if err != nil {
		return err
	}
	return p.show(w, http.StatusOK, "question", view{Title: "Reset", Section: "reset", Content: question{
		Text:   fmt.Sprintf("Reset this server? %s and all that is in them, their files, settings and secrets are gone then, and every socket is closed.", plural(n.Conversations, "conversation", "conversations")),
		Action: Prefix + "reset", Yes: "Reset", Back: Home,
	}})
}

// A question is asked before what cannot be taken back.
type question struct{ Text, Action, Yes, Back string }

func (p *Page) reset(w http.ResponseWriter, r *http.Request) error {
	if err := p.Reset(r.Context()); err != nil {
		return err
	}
	return seeOther(w, r, Home)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// number reads a number of a query, -1 for none.
func number(r *http.Request, name string) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, &failure{http.StatusUnprocessableEntity, fmt.Sprintf("%s is %q: want a number.", name, text)}
	}
	return n, nil
}

// known returns the value of a form's field that has to be one of some.
func known(r *http.Request, name string, values ...string) (string, error) {
	v := r.PostFormValue(name)
	if !slices.Contains(values, v) {
		return "", &failure{http.StatusUnprocessableEntity, fmt.Sprintf("%s is %q: want one of %s.", name, v, strings.Join(values, ", "))}
	}
	return v, nil
}
