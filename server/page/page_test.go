package page_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/faults"
	"github.com/openhands-local/openhands-local/server/journal"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// A browser looks at the pages of a server.
type browser struct {
	*testing.T
	*servertest.Server
	http.Client
}

func open(t *testing.T, c server.Config) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, servertest.NewServer(t, c), http.Client{Jar: jar}}
	t.Cleanup(b.CloseIdleConnections)
	return b
}

// An answer is what a browser shows in the end.
type answer struct {
	status int
	path   string // where it is
	body   string
	header http.Header
}

func (b *browser) ask(method, path, contentType, body string, header ...string) answer {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, b.URL+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := b.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Request.URL.Path, string(text), resp.Header}
}

func (b *browser) get(path string) answer { b.Helper(); return b.ask("GET", path, "", "") }

// post posts a form, as a page of the server does.
func (b *browser) post(path string, fields ...string) answer {
	b.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.ask("POST", path, "application/x-www-form-urlencoded", form.Encode(), "Origin", b.URL, "Sec-Fetch-Site", "same-origin")
}

// say stores an event of a conversation.
func (b *browser) say(conversation, text string, header ...string) {
	b.Helper()
	content, err := json.Marshal(text)
	if err != nil {
		b.Fatal(err)
	}
	if a := b.ask("POST", "/api/conversations/"+conversation+"/events", "application/json", fmt.Sprintf(`{"action":"message","args":{"content":%s}}`, content), header...); a.status != http.StatusOK {
		b.Fatalf("an event is answered %d %s", a.status, a.body)
	}
}

// shows wants texts of an answer.
func (a answer) shows(t *testing.T, status int, path string, texts ...string) {
	t.Helper()
	if a.status != status || a.path != path {
		t.Errorf("%s answers %d, want %s and %d:\n%s", a.path, a.status, path, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("%s does not show %q:\n%s", a.path, text, a.body)
		}
	}
}

// A listener reads a stream of server-sent events.
type listener struct {
	*testing.T
	lines *bufio.Scanner
}

func (b *browser) listen(path string) *listener {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	b.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", b.URL+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := b.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		b.Fatalf("%s answers %s, %s", path, resp.Status, got)
	}
	return &listener{b.T, bufio.NewScanner(resp.Body)}
}

// hears waits for a line that has a text, and returns it.
func (l *listener) hears(text string) string {
	l.Helper()
	for l.lines.Scan() {
		if strings.Contains(l.lines.Text(), text) {
			return l.lines.Text()
		}
	}
	l.Fatalf("the stream ends without %q: %v", text, l.lines.Err())
	return ""
}

// TestPages: every link of every page leads to a page, which lets nothing run
// and load but what is ours.
func TestPages(t *testing.T) {
	t.Parallel()
	b := open(t, server.Config{MaxWorlds: 2})
	b.say("hello", "Hi")
	b.ask("POST", "/api/conversations/hello/events", "application/json", `{}`)
	b.Faults.Preset("rate-limit", "lost-in-replay")
	b.Faults.Clear()
	seen, ways := map[string]bool{}, []string{"/_local/"}
	link := regexp.MustCompile(`(?:href|src|data-stream)="([^"]*)"`)
	for len(ways) > 0 {
		path := ways[0]
		ways = ways[1:]
		if seen[path] || strings.HasPrefix(path, "/_local/page/live/") || strings.HasPrefix(path, "#") || path == "data:," {
			continue
		}
		seen[path] = true
		a := b.get(path)
		if a.status != http.StatusOK {
			t.Errorf("%s answers %d %s", path, a.status, a.body)
		}
		if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.HasPrefix(path, "/_local") {
			continue
		}
		if policy := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s has the policy %q", path, policy)
		}
		for _, m := range link.FindAllStringSubmatch(a.body, -1) {
			to := strings.ReplaceAll(m[1], "&amp;", "&")
			if !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "#") && to != "data:," || strings.HasPrefix(to, "//") {
				t.Errorf("%s leads to %s, which is not of this server", path, to)
			}
			if !strings.Contains(to, ".localhost:") {
				ways = append(ways, to)
			}
		}
	}
	for _, want := range []string{"/_local/page/conversations/hello/0", "/_local/page/delete/hello", "/_local/page/requests/2", "/_local/page/requests?operation=AddEvent", "/_local/requests?format=har", "/_local/page/style.css", "/_local/page/script.js"} {
		if !seen[want] {
			t.Errorf("no page leads to %s", want)
		}
	}
	b.get("/_local/page/requests/1").shows(t, http.StatusOK, "/_local/page/requests/1", "<dt>Evidence</dt><dd>lenient", "<dt>Later</dt>", "<dt>Lenient</dt>")
	b.ask("POST", "/api/conversations/hello/run", "application/json", "{}")
	last := b.Requests.Wait(journal.Query{Path: "/api/conversations/hello/run"}, 1)[0]
	asked := fmt.Sprint("/_local/page/requests/", last.Seq)
	b.get(asked).shows(t, http.StatusOK, asked, "<dt>Meant</dt><dd>POST /api/conversations/{conversation_id}/run is a call of the agent server")
	for path, text := range map[string]string{
		"/_local/page/nothing": "no such page", "/_local/page/conversations/none": "no such conversation", "/_local/page/delete/none": "no such conversation",
		"/_local/page/conversations/hello/7": "no event 7", "/_local/page/conversations/hello/x": "no such page", "/_local/page/requests/99": "no request 99", "/_local/page/requests/x": "no such page",
		"/_local/page/live/conversations/none": "no such conversation",
	} {
		b.get(path).shows(t, http.StatusNotFound, path, text)
	}
	for _, path := range []string{"/_local/page/requests?status=4", "/_local/page/requests?before=x", "/_local/page/conversations?skip=-1", "/_local/page/conversations/hello?before=1e3", "/_local/page/live/requests?after=x"} {
		if a := b.get(path); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s answers %d, want 422", path, a.status)
		}
	}
}

// TestHome: the page is at / where nothing else is. Upstream has none there
// (recorded misc_unknown_paths), and neither has Strict.
func TestHome(t *testing.T) {
	t.Parallel()
	b := open(t, server.Config{})
	home := b.get("/")
	home.shows(t, http.StatusOK, "/", "This server", "curl http://"+strings.TrimPrefix(b.URL, "http://")+"/api/conversations/hello/events")
	if got := home.header.Get("X-Local-Lenient"); got != "0.53.0 answers 404" {
		t.Errorf("X-Local-Lenient = %q", got)
	}
	b.get("/_local").shows(t, http.StatusOK, "/_local/", "This server")

	strict := open(t, server.Config{Strict: true})
	strict.get("/").shows(t, http.StatusNotFound, "/", `{"detail":"Not Found"}`)
	strict.get("/_local/").shows(t, http.StatusOK, "/_local/", "This server")

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("<frontend>"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := open(t, server.Config{Frontend: dir})
	with.get("/").shows(t, http.StatusOK, "/", "<frontend>")
	with.get("/_local/").shows(t, http.StatusOK, "/_local/", "This server")
}

// TestHostile: what clients send is text wherever it is shown.
func TestHostile(t *testing.T) {
	t.Parallel()
	const script = `"'><script>alert(1)</script><img src=x onerror=alert(1)>` + "\u202e\x07"
	b := open(t, server.Config{Agent: "none"})
	b.say("c", script, "X-Evil", `"'><script>alert(1)</script>`, "User-Agent", "<script>alert(1)</script>")
	b.ask("PATCH", "/api/conversations/c", "application/json", fmt.Sprintf(`{"title":%q}`, strings.TrimSuffix(script, "\x07")))
	b.ask("GET", "/api/x"+url.PathEscape(script)+"?q="+url.QueryEscape(script), "", "")
	b.ask("GET", "/api/conversations/"+url.PathEscape(`c"><script>alert(1)<`)+"/events", "", "")
	b.ask("POST", "/api/conversations/c/events", "application/json", `{"action":"message","args":{"`+`<script>alert(1)</script>`+`":1}}`)
	wrong := b.post("/_local/page/faults", "do", "add", "rule", `</textarea><script>alert(1)</script>`+"\u202e")
	wrong.shows(t, http.StatusUnprocessableEntity, "/_local/page/faults", "&lt;/textarea&gt;&lt;script&gt;")
	pages := []answer{wrong}
	for _, path := range []string{"/_local/page/conversations", "/_local/page/conversations/c", "/_local/page/conversations/c/0", "/_local/page/delete/c", "/_local/page/requests", "/_local/page/requests?operation=" + url.QueryEscape(script)} {
		pages = append(pages, b.get(path))
	}
	for seq := 1; seq <= 5; seq++ {
		pages = append(pages, b.get(fmt.Sprint("/_local/page/requests/", seq)))
	}
	own := regexp.MustCompile(`<script src="/_local/page/script.js" defer></script>`)
	escaped := 0
	for _, a := range pages {
		escaped += strings.Count(a.body, "&lt;script&gt;")
		rest := own.ReplaceAllString(a.body, "")
		for _, bad := range []string{"<script", "<img", "\u202e", "\x07"} {
			if strings.Contains(rest, bad) {
				t.Errorf("%s has %q", a.path, bad)
			}
		}
	}
	if escaped < 10 {
		t.Errorf("the pages show a script %d times, want what was sent", escaped)
	}
	for _, path := range []string{"/_local/page/live/conversations/c?after=", "/_local/page/live/requests?after=0"} {
		if row := b.listen(path).hears("alert(1)"); strings.Contains(row, "<script") || strings.Contains(row, "<img") || strings.Contains(row, "\u202e") {
			t.Errorf("%s sends %s", path, row)
		}
	}
}

// TestForms: forms do what they say, and the browser is where that is seen.
func TestForms(t *testing.T) {
	t.Parallel()
	b := open(t, server.Config{Agent: "none"})
	made := b.post("/_local/page/conversations")
	path := made.path
	if made.status != http.StatusOK || !strings.HasPrefix(path, "/_local/page/conversations/") {
		t.Fatalf("a new conversation leads to %s, %d %s", path, made.status, made.body)
	}
	id := strings.TrimPrefix(path, "/_local/page/conversations/")
	b.post(path+"/say", "text", "Hello <you>").shows(t, http.StatusOK, path, "Hello &lt;you&gt;")
	b.post(path+"/inject", "source", "agent", "event", `{"action":"message","args":{"content":"Injected"}}`).shows(t, http.StatusOK, path, "Injected", "<td>agent</td>")
	b.post(path+"/inject", "source", "agent", "event", `{`).shows(t, http.StatusUnprocessableEntity, path+"/inject", "body")
	b.post(path+"/inject", "source", "nobody", "event", `{}`).shows(t, http.StatusUnprocessableEntity, path+"/inject", "want one of agent")
	b.post(path+"/stop").shows(t, http.StatusOK, path, "STOPPED")
	b.post(path+"/start").shows(t, http.StatusOK, path, "RUNNING")
	b.post(path+"/eat").shows(t, http.StatusNotFound, path+"/eat")
	b.get("/_local/page/delete/"+id).shows(t, http.StatusOK, "/_local/page/delete/"+id, "Are you sure?", `action="`+path+`/delete"`)
	b.post(path+"/delete").shows(t, http.StatusOK, "/_local/page/conversations", "0 in all")
	b.post(path+"/say", "text", "x").shows(t, http.StatusNotFound, path+"/say")

	const at = "/_local/page/faults"
	b.post(at, "do", "preset", "name", "rate-limit").shows(t, http.StatusOK, at, `<tr id="f-fault-1">`, "Take out fault-1")
	b.post(at, "do", "preset", "name", "none").shows(t, http.StatusUnprocessableEntity, at)
	b.post(at, "do", "add", "rule", "{\"name\":\"mine\",\r\n\"do\":{\"status\":503}}").shows(t, http.StatusOK, at, `<tr id="f-mine">`)
	b.post(at, "do", "add", "rule", `{"do":{"status":7}}`).shows(t, http.StatusUnprocessableEntity, at, "body.do.status", `{&#34;do&#34;:{&#34;status&#34;:7}}`)
	b.post(at, "do", "delete", "name", "fault-1").shows(t, http.StatusOK, at)
	b.post(at, "do", "delete", "name", "fault-1").shows(t, http.StatusNotFound, at)
	b.post(at, "do", "dance").shows(t, http.StatusUnprocessableEntity, at)
	if all := b.Faults.List(); len(all) != 1 || all[0].Name != "mine" {
		t.Errorf("the rules are %v, want mine", all)
	}
	b.post(at, "do", "clear").shows(t, http.StatusOK, at)
	b.post(at, "do", "add", "rule", strings.Repeat(" ", 5<<20)).shows(t, http.StatusUnprocessableEntity, at) // cut: no field is there

	const clock = "/_local/page/clock"
	b.post(clock, "do", "freeze").shows(t, http.StatusOK, clock, "<b>frozen</b>", "2025-01-01T")
	b.post(clock, "do", "advance", "by", "24h").shows(t, http.StatusOK, clock, "2025-01-02T")
	b.post(clock, "do", "set", "by", "2030-02-03T04:05:06").shows(t, http.StatusOK, clock, "2030-02-03T04:05:06")
	b.post(clock, "do", "advance", "by", "soon").shows(t, http.StatusUnprocessableEntity, clock, "body.advance", `value="soon"`)
	b.post(clock, "do", "set", "by", "noon").shows(t, http.StatusUnprocessableEntity, clock, "body.set")
	b.post(clock, "do", "wind").shows(t, http.StatusUnprocessableEntity, clock, "want one of freeze")
	if now := b.Clock.Now(); now.Year() != 2030 {
		t.Errorf("the clock is at %v, want 2030", now)
	}
	if a := b.post(clock, "do", "resume"); strings.Contains(a.body, "<b>frozen</b>") {
		t.Error("a clock that was resumed is frozen")
	}
	b.post(clock, "do", "reset").shows(t, http.StatusOK, clock, "2025-01-01T")

	b.say("kept", "until the reset")
	b.get("/_local/page/reset").shows(t, http.StatusOK, "/_local/page/reset", "1 conversation and all", `action="/_local/page/reset"`)
	b.get("/_local/page/conversations").shows(t, http.StatusOK, "/_local/page/conversations", "1 in all")
	b.post("/_local/page/reset").shows(t, http.StatusOK, "/_local/", "0</a>, 0 running")
	b.post("/_local/page/requests").shows(t, http.StatusOK, "/_local/page/requests", "0 kept")
}

// TestForeignForms: a page of another port, which may ask the API, posts no form
// here.
func TestForeignForms(t *testing.T) {
	t.Parallel()
	b := open(t, server.Config{})
	b.say("kept", "x")
	for _, header := range [][]string{{"Origin", "http://localhost:1"}, {"Origin", b.URL, "Sec-Fetch-Site", "cross-site"}, {"Origin", b.URL, "Sec-Fetch-Site", "same-site"}} {
		b.ask("POST", "/_local/page/reset", "application/x-www-form-urlencoded", "", header...).shows(t, http.StatusForbidden, "/_local/page/reset", "another address")
	}
	b.get("/_local/page/conversations/kept").shows(t, http.StatusOK, "/_local/page/conversations/kept")
}

// TestKey: who has not said the key is asked for it, and sees nothing else.
func TestKey(t *testing.T) {
	t.Parallel()
	const key = "k&y = +"
	b := open(t, server.Config{Key: key})
	b.say("secret-conversation", "x", "X-Session-API-Key", key)
	for _, path := range []string{"/", "/_local/", "/_local/page/conversations", "/_local/page/requests/1", "/_local/page/live/conversations", "/_local/page/login", "/_local/page/nothing"} {
		a := b.get(path)
		a.shows(t, http.StatusUnauthorized, path, `<input id="key" name="key" type="password"`)
		if strings.Contains(a.body, "secret-conversation") || strings.Contains(a.body, "wrong") {
			t.Errorf("%s shows %s", path, a.body)
		}
	}
	b.post("/_local/page/reset").shows(t, http.StatusUnauthorized, "/_local/page/reset")
	b.get("/_local/page/style.css").shows(t, http.StatusOK, "/_local/page/style.css")
	b.post("/_local/page/login", "key", "k&y").shows(t, http.StatusUnauthorized, "/_local/page/login", "The key is wrong")
	b.ask("POST", "/_local/page/login?key="+url.QueryEscape(key), "", "").shows(t, http.StatusUnauthorized, "/_local/page/login")
	b.post("/_local/page/login", "key", key).shows(t, http.StatusOK, "/_local/", "This server")
	b.get("/_local/page/conversations").shows(t, http.StatusOK, "/_local/page/conversations", "secret-conversation")
	for _, e := range b.Requests.All(journal.Query{}) {
		if strings.HasPrefix(e.Path, "/_local/page/") {
			t.Errorf("the journal has %v", e)
		}
	}
}

// TestLive: a stream sends the rows of what comes, once, and goes on after the
// last that a browser has.
func TestLive(t *testing.T) {
	t.Parallel()
	b := open(t, server.Config{Agent: "none"})
	b.say("c", "first")
	b.say("c", "second")
	events, all := b.listen("/_local/page/live/conversations/c?after=0"), b.listen("/_local/page/live/conversations")
	if got := events.hears("<tr"); !strings.Contains(got, `id="e-1"`) || !strings.Contains(got, "second") || strings.Contains(got, "first") {
		t.Errorf("the stream begins with %s, want what comes after event 0", got)
	}
	events.hears("RUNNING") // a run may have begun or ended since the page was made
	all.hears(`<tr id="c-c">`)
	b.say("c", "third")
	events.hears("third")
	all.hears(`<tr id="c-c">`)
	b.post("/_local/page/conversations/c/stop")
	events.hears("run ended")
	events.hears("STOPPED")

	asked := b.listen("/_local/page/live/requests?after=0&operation=AddEvent&status=4xx")
	b.ask("POST", "/api/conversations/c/events", "application/json", `{}`)
	if got := asked.hears("<tr"); !strings.Contains(got, ">422<") {
		t.Errorf("the stream has %s, want what is asked for alone", got)
	}

	rules := b.listen("/_local/page/live/faults")
	b.Faults.Add(faults.Rule{Name: "later", Do: faults.Do{Status: 503}})
	rules.hears(`id="f-later"`)
	b.get("/api/options/models")
	if got := rules.hears(`id="f-later"`); !strings.Contains(got, "<b>1</b>") {
		t.Errorf("a rule that was used is %s", got)
	}
	b.Faults.Clear()
	rules.hears("event: gone")
	rules.hears("f-later")

	hand := b.listen("/_local/page/live/clock")
	hand.hears("2025-01-01T")
	b.Clock.Freeze()
	hand.hears("<b>frozen</b>")
	b.Clock.Resume()

	counts := b.listen("/_local/page/live/overview")
	counts.hears(">1</a>, 0 running")
	b.say("d", "x")
	counts.hears(">2</a>, 1 running")
	if a := b.ask("DELETE", "/api/conversations/d", "", ""); a.status != http.StatusOK {
		t.Fatal(a)
	}
	all.hears("event: gone")
	all.hears("c-d")
}

// TestMany: a page has 200 rows and a link to those before, and a stream that is
// behind sends the latest alone.
func TestMany(t *testing.T) {
	t.Parallel()
	b := open(t, server.Config{Agent: "none", Journal: 2000})
	for i := range 450 {
		b.say("c", fmt.Sprint("message ", i))
	}
	rows := regexp.MustCompile(`<tr id="[er]-(\d+)"`)
	for path, older := range map[string]string{"/_local/page/conversations/c": "/_local/page/conversations/c", "/_local/page/requests": "/_local/page/requests"} {
		total := 0
		for next := path; next != ""; {
			a := b.get(next)
			found := rows.FindAllStringSubmatch(a.body, -1)
			if len(found) > 200 {
				t.Errorf("%s has %d rows", next, len(found))
			}
			total += len(found)
			next = ""
			if m := regexp.MustCompile(`rel="next" href="([^"]*)"`).FindStringSubmatch(a.body); m != nil {
				next = older + m[1]
			}
		}
		if total != 450 {
			t.Errorf("the pages from %s have %d rows, want 450", path, total)
		}
	}
	first := b.listen("/_local/page/live/conversations/c?after=").hears("<tr")
	if n := len(rows.FindAllString(first, -1)); n != 200 || !strings.Contains(first, "message 449") {
		t.Errorf("a stream from the beginning sends %d rows, want the latest 200", n)
	}
}

// TestDeep: JSON whose layout would be large is shown as it came.
func TestDeep(t *testing.T) {
	t.Parallel()
	b := open(t, server.Config{Agent: "none"})
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	b.ask("POST", "/api/conversations/c/events", "application/json", `{"action":"message","args":{"content":"x"},"deep":`+deep+`}`)
	if a := b.get("/_local/page/requests/1"); a.status != http.StatusOK || len(a.body) > 100_000 || !strings.Contains(a.body, "[[[[") {
		t.Errorf("a deep body is shown in %d bytes, %d", len(a.body), a.status)
	}
	b.say("c", strings.Repeat("long ", 100_000))
	id := "0"
	if strings.Contains(b.get("/_local/page/conversations/c").body, `id="e-1"`) {
		id = "1"
	}
	if a := b.get("/_local/page/conversations/c/" + id); len(a.body) > 100_000 || !strings.Contains(a.body, "bytes more are not shown") {
		t.Errorf("a long event is shown in %d bytes", len(a.body))
	}
}

// TestOff: without a journal, and without worlds, the page says how to get them.
func TestOff(t *testing.T) {
	t.Parallel()
	srv, err := server.New(t.Context(), server.Config{Addr: "127.0.0.1:0", Data: server.Memory})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for path, want := range map[string]string{"requests": "--journal 1000", "live/requests": "--journal 1000", "requests/1": "--journal 1000", "worlds": "--max-worlds 256"} {
		resp, err := http.Get(srv.Info().URL + "/_local/page/" + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusConflict || err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %s %s, want 409 that says %s", path, resp.Status, text, want)
		}
	}
}

// TestRateLimit: the limit of the API holds nobody up who looks, or who goes on
// with a clock that stands.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	b := open(t, server.Config{RateLimit: true})
	b.Clock.Freeze()
	for range 30 {
		b.get("/_local/page/clock").shows(t, http.StatusOK, "/_local/page/clock", "frozen")
	}
	b.post("/_local/page/clock", "do", "resume").shows(t, http.StatusOK, "/_local/page/clock")
}

// TestWorlds: a world has pages of its own, and those of the server make and delete
// it.
func TestWorlds(t *testing.T) {
	t.Parallel()
	b := open(t, server.Config{Agent: "none", MaxWorlds: 2})
	const worlds, base = "/_local/page/worlds", "/_local/worlds/shop"
	b.post(worlds, "name", "No name").shows(t, http.StatusUnprocessableEntity, worlds, "want 1 to 63", `value="No name"`)
	b.post(worlds, "name", "shop").shows(t, http.StatusOK, worlds, `href="http://shop.localhost:`)
	b.say("c", "of the server")
	b.ask("POST", base+"/api/conversations/c/events", "application/json", `{"action":"message","args":{"content":"of the shop"}}`)

	const path, header, name = "/_local/page/conversations/c", "X-Local-World", "shop"
	inside := b.ask("GET", path, "", "", header, name)
	inside.shows(t, http.StatusOK, path, "of the shop", "<b>openhands-local: shop</b>")
	if strings.Contains(inside.body, "of the server") {
		t.Error("the page of a world shows what is not in it")
	}
	b.ask("POST", worlds+"/shop/delete", "application/x-www-form-urlencoded", "", header, name).shows(t, http.StatusConflict, worlds+"/shop/delete")
	b.get("/_local/page/conversations/c").shows(t, http.StatusOK, "/_local/page/conversations/c", "of the server")
	b.get(worlds+"/shop/delete").shows(t, http.StatusOK, worlds+"/shop/delete", "Are you sure?")
	b.post(worlds+"/shop/delete").shows(t, http.StatusOK, worlds)
	if a := b.get(worlds); strings.Contains(a.body, "shop.localhost") {
		t.Errorf("a world that was deleted is there: %s", a.body)
	}
}
