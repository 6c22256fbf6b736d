package journal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/server/journal"
)

// required are the members that HAR 1.2 requires, with their types, by object.
var required = map[string]string{
	"log":      "version string, creator object, entries array",
	"creator":  "name string, version string",
	"entry":    "startedDateTime string, time number, request object, response object, cache object, timings object",
	"request":  "method string, url string, httpVersion string, cookies array, headers array, queryString array, headersSize number, bodySize number",
	"response": "status number, statusText string, httpVersion string, cookies array, headers array, content object, redirectURL string, headersSize number, bodySize number",
	"timings":  "send number, wait number, receive number",
	"content":  "size number, mimeType string",
	"postData": "mimeType string, params array, text string",
	"pair":     "name string, value string",
}

// object is v as an object that has what is required of it.
func object(t *testing.T, kind string, v any) map[string]any {
	t.Helper()
	o, _ := v.(map[string]any)
	for member := range strings.SplitSeq(required[kind], ", ") {
		name, want, _ := strings.Cut(member, " ")
		got := map[string]string{"string": "string", "float64": "number", "map[string]interface {}": "object", "[]interface {}": "array"}[fmt.Sprintf("%T", o[name])]
		if got != want {
			t.Errorf("%s: %s is %v, want a %s", kind, name, o[name], want)
		}
	}
	return o
}

func list(v any) []any { all, _ := v.([]any); return all }

// TestHAR: the archive has what HAR 1.2 requires, the bodies, and the messages of
// sockets at the request that opened them.
func TestHAR(t *testing.T) {
	j := journal.New(journal.Options{Limit: 20})
	j.Add(asked("POST", "/api/a b/ü", "AddEvent", "a", 422), &journal.Entry{
		Query:    "x=1&x=2&y=%C3%BC",
		Request:  journal.Message{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"a":1}`), Bytes: 7},
		Response: journal.Message{Header: http.Header{"Content-Type": {"text/plain"}, "Location": {"/b"}}, Body: []byte("\xffa"), Bytes: 9, Cut: true},
	})
	socket := asked("GET", "/socket.io/", "/socket.io", "", http.StatusSwitchingProtocols)
	said := func(connection, name, body string, sent bool) {
		x := exchange.New(exchange.Socket, name, "/socket.io/")
		x.Connection, x.Sent, x.Conversation = connection, sent, "a"
		e := &journal.Entry{Request: message(body)}
		if sent {
			e = &journal.Entry{Response: message(body)}
		}
		j.Add(x, e)
	}
	said(socket.ID, "connect", "", true)
	said(socket.ID, "oh_user_action", `{"action":"null"}`, false)
	j.Add(socket, new(journal.Entry)) // when it is closed
	said("still open", "oh_event", `{"id":1}`, true)

	var b bytes.Buffer
	if err := journal.WriteHAR(&b, j.Page(journal.Query{}).Entries, "http://localhost:3000", "v1"); err != nil {
		t.Fatal(err)
	}
	var whole struct{ Log any }
	if err := json.Unmarshal(b.Bytes(), &whole); err != nil {
		t.Fatal(err)
	}
	log := object(t, "log", whole.Log)
	object(t, "creator", log["creator"])
	if log["version"] != "1.2" {
		t.Errorf("version = %v", log["version"])
	}
	var got []string
	for _, v := range list(log["entries"]) {
		e := object(t, "entry", v)
		request, response := object(t, "request", e["request"]), object(t, "response", e["response"])
		object(t, "timings", e["timings"])
		object(t, "content", response["content"])
		if p := request["postData"]; p != nil {
			object(t, "postData", p)
		}
		for _, p := range slices.Concat(list(request["headers"]), list(request["queryString"]), list(response["headers"])) {
			object(t, "pair", p)
		}
		if _, err := time.Parse(time.RFC3339, e["startedDateTime"].(string)); err != nil {
			t.Error(err)
		}
		if u, err := url.Parse(request["url"].(string)); err != nil || !u.IsAbs() {
			t.Errorf("url = %v, %v", u, err)
		}
		line := fmt.Sprint(request["method"], " ", request["url"], " ", response["status"])
		for _, m := range list(e["_webSocketMessages"]) {
			m := m.(map[string]any)
			line += fmt.Sprint(" ", m["type"], m["data"])
		}
		got = append(got, line)
	}
	want := []string{
		`POST http://localhost:3000/api/a%20b/%C3%BC?x=1&x=2&y=%C3%BC 422`,
		`GET http://localhost:3000/socket.io/ 101 receive["connect"] send["oh_user_action",{"action":"null"}]`,
		`GET http://localhost:3000/socket.io/ 101 receive["oh_event",{"id":1}]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("entries are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	first := list(log["entries"])[0].(map[string]any)
	post := first["request"].(map[string]any)["postData"].(map[string]any)
	content := first["response"].(map[string]any)["content"].(map[string]any)
	if post["text"] != `{"a":1}` || content["text"] != base64.StdEncoding.EncodeToString([]byte("\xffa")) || content["encoding"] != "base64" || content["size"] != 9.0 || content["comment"] == nil {
		t.Errorf("postData %v, content %v", post, content)
	}
}

// TestEmptyHAR: an archive of nothing is one too.
func TestEmptyHAR(t *testing.T) {
	var b bytes.Buffer
	if err := journal.WriteHAR(&b, nil, "", ""); err != nil || !strings.Contains(b.String(), `"entries":[]`) {
		t.Errorf("WriteHAR = %s, %v", &b, err)
	}
}

// TestCurl: the line is one command with these words, as a shell reads it, however
// hostile the request was; what cannot be asked again is a comment.
func TestCurl(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("the lines are for a POSIX shell: ", err)
	}
	entry := func(method, path, query string, m journal.Message) *journal.Entry {
		j := journal.New(journal.Options{Limit: 1})
		j.Add(asked(method, path, "", "", 200), &journal.Entry{Query: query, Request: m})
		return j.Page(journal.Query{}).Entries[0]
	}
	const base = "http://localhost:3000"
	for _, tt := range []struct {
		e    *journal.Entry
		want []string // nil for a comment
	}{
		{entry("GET", "/alive", "", journal.Message{}), []string{base + "/alive"}},
		{entry("POST", "/a b", "q='$(id)'", message("it's @`id` $HOME\n")), []string{"-X", "POST", base + "/a%20b?q='$(id)'", "-H", "Content-Type:", "--data-raw", "it's @`id` $HOME\n"}},
		{entry("GET", "/x", "", journal.Message{Header: http.Header{"X-A": {"'; id; '"}, "Content-Length": {"3"}, "Cookie": {"a"}, "X-Session-Api-Key": {"k"}}}),
			[]string{base + "/x", "-H", "X-A: '; id; '", "-H", "X-Session-API-Key: said"}},
		{entry("POST", "/x", "", message("\xff")), nil},
		{entry("POST", "/x", "", message("\x1b[2J")), nil},
		{entry("POST", "/x\n id", "", message(strings.Repeat("x", journal.MaxBody+1))), nil},
		{entry("POST", "/x", "", journal.Message{Withheld: true}), nil},
		{&journal.Entry{Transport: exchange.Socket}, nil},
	} {
		line := tt.e.Curl(base)
		if tt.want == nil {
			if !strings.HasPrefix(line, "# ") || strings.Contains(line, "\n") {
				t.Errorf("Curl = %q, want a comment", line)
			}
			continue
		}
		shell := exec.CommandContext(t.Context(), "sh", "-c", `curl() { for w; do printf '%s\0' "$w"; done; }; `+line)
		shell.Env = []string{"SESSION_API_KEY=said"}
		out, err := shell.CombinedOutput()
		if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s has the words %q (%v), want %q", line, got, err, tt.want)
		}
	}
}
