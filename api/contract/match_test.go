package contract_test

import (
	"fmt"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract"
)

// TestMatch: a parameter is one segment that is not empty, repository_name
// spans slashes (recorded user_repo_paths), and a path that is written out
// comes before one of parameters, unless it lacks the method.
func TestMatch(t *testing.T) {
	operation := func(id string) string {
		return fmt.Sprintf(`{"operationId": %q, "responses": {"200": {"description": ""}}}`, id)
	}
	c, err := contract.Load([]byte(`{"openapi": "3.1.0", "info": {"title": "", "version": ""}, "paths": {
		"/a/{x}": {"get": `+operation("getX")+`, "post": `+operation("postX")+`},
		"/a/search": {"get": `+operation("search")+`},
		"/a/{x}/b/{y}": {"get": `+operation("two")+`},
		"/f/{name}.json": {"get": `+operation("file")+`},
		"/r/{repository_name}/m": {"get": `+operation("m")+`},
		"/r/{repository_name}/m/content": {"get": `+operation("content")+`}}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ method, path, id, params string }{
		{"GET", "/a/1", "getX", "map[x:1]"},
		{"POST", "/a/1", "postX", "map[x:1]"},
		{"GET", "/a/search", "search", "map[]"},
		{"POST", "/a/search", "postX", "map[x:search]"},
		{"GET", "/a/\n", "getX", "map[x:\n]"},
		{"GET", "/a/1/b/2", "two", "map[x:1 y:2]"},
		{"GET", "/f/n.x.json", "file", "map[name:n.x]"},
		{"GET", "/r/o/r/m", "m", "map[repository_name:o/r]"},
		{"GET", "/r//m", "m", "map[repository_name:]"},
		{"GET", "/r/m/m/m", "m", "map[repository_name:m/m]"},
		{"GET", "/r/o/r/m/content", "content", "map[repository_name:o/r]"},
		{"GET", "/a/", "", ""},
		{"GET", "/a//b/2", "", ""},
		{"GET", "/a/1/", "", ""},
		{"GET", "/f/xjson", "", ""},
		{"get", "/a/1", "", ""},
		{"HEAD", "/a/1", "", ""},
		{"GET", "x/a/1", "", ""},
		{"GET", "", "", ""},
	} {
		op, params := c.Match(tt.method, tt.path)
		id, got := "", ""
		if op != nil {
			id, got = op.ID, fmt.Sprint(params)
		}
		if id != tt.id || got != tt.params {
			t.Errorf("Match(%s, %q) = %q, %s, want %q, %s", tt.method, tt.path, id, got, tt.id, tt.params)
		}
	}
	for path, want := range map[string]string{"/a/1": "[GET POST]", "/a/search": "[GET]", "/b": "[]"} {
		methods := []string{}
		for _, op := range c.At(path) {
			methods = append(methods, op.Method)
		}
		if got := fmt.Sprint(methods); got != want {
			t.Errorf("At(%s) has %s, want %s", path, got, want)
		}
	}
}
