package server_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// TestDocs asks for the page at /docs and for all that it names, as a browser
// would: every file is there, with its type, and none is elsewhere.
func TestDocs(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	page := request(t, "GET", s.URL+"/docs", "")
	types := map[string]string{".css": "text/css", ".js": "/javascript", ".png": "image/png", ".json": "application/json"}
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:href|src)="([^"]*)"|url: "([^"]*)"`).FindAllStringSubmatch(page.body, -1) {
		path := m[1] + m[2]
		if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
			t.Errorf("/docs names %s, which is not of this server", path)
			continue
		}
		ending := path[strings.LastIndex(path, "."):]
		a := request(t, "GET", s.URL+path, "")
		if got := a.header.Get("Content-Type"); a.status != http.StatusOK || a.body == "" || !strings.Contains(got, types[ending]) {
			t.Errorf("%s: %d, %s, %d bytes, want %s", path, a.status, got, len(a.body), types[ending])
		}
		found[ending] = true
	}
	for ending := range types {
		if !found[ending] {
			t.Errorf("/docs names no %s", ending)
		}
	}
	if a := request(t, "GET", s.URL+"/docs/nothing.js", ""); a.status != http.StatusNotFound || a.body != `{"detail":"Not Found"}` {
		t.Errorf("a file that there is not: %d %s, want 404 as everywhere", a.status, a.body)
	}
}

// TestAsyncAPI: what is said of sockets is served beside the contract, is of the
// version that was recorded, and refers to what there is.
func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	a := request(t, "GET", s.URL+"/asyncapi.json", "")
	var sockets, contract map[string]any
	if err := json.Unmarshal([]byte(a.body), &sockets); err != nil || a.status != http.StatusOK {
		t.Fatalf("/asyncapi.json: %d, %v", a.status, err)
	}
	if err := json.Unmarshal(gen.OpenAPI, &contract); err != nil {
		t.Fatal(err)
	}
	if version := at(sockets, "info", "version"); version != api.Recorded {
		t.Errorf("info.version = %v, want %s", version, api.Recorded)
	}
	refs := regexp.MustCompile(`"\$ref": *"([^#"]*)#/([^"]*)"`).FindAllStringSubmatch(a.body, -1)
	for _, ref := range refs {
		doc := map[string]map[string]any{"": sockets, "openapi.json": contract}[ref[1]]
		if at(doc, strings.Split(ref[2], "/")...) == nil {
			t.Errorf("%s#/%s is not there", ref[1], ref[2])
		}
	}
	if len(refs) == 0 {
		t.Error("it refers to nothing")
	}
	if page := request(t, "GET", s.URL+"/docs", ""); !strings.Contains(page.body, "/asyncapi.json") {
		t.Error("/docs does not show it")
	}
}
