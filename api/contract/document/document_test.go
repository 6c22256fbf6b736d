package document_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract/document"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parse(t *testing.T, name string, text []byte) *document.Document {
	t.Helper()
	d, err := document.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A document that is no contract is refused, with the place.
func TestRefusals(t *testing.T) {
	const (
		head    = `{"openapi":"3.1.0","info":{"title":"t","version":"1"},`
		answers = `"responses":{"200":{"description":""}}`
	)
	for _, c := range []struct{ name, text, want string }{
		{"empty", " \n", "doc: is empty"},
		{"too large", strings.Repeat("x", document.MaxSize+1), "doc: has more than 16777216 bytes"},
		{"web page", "<!doctype html><html></html>", "doc: is a web page, no OpenAPI document: give the address of the document itself (a server has it at /openapi.json)"},
		{"broken JSON", "{\n\"openapi\": \"3.1.0\",\n\"paths\": {\n}", "doc:4: is neither JSON nor YAML: did not find expected ',' or '}'"},
		{"broken YAML", "openapi: 3.1.0\npaths:\n\t/alive: {}\n", "doc:3: is neither JSON nor YAML: found character that cannot start any token"},
		{"list", "[]", "doc: is no OpenAPI document: it is no object"},
		{"text", "Not found", "doc: is no OpenAPI document: it is no object"},
		{"alias within itself", "openapi: 3.1.0\npaths: &a\n  /x: *a\n", "doc: its aliases make more than 1048576 nodes"},
		{"key twice", head + `"paths":{"/a":{},"/a":{}}}`, "doc:1: #/paths/~1a: the key is there twice"},
		{"OpenAPI 2", `{"swagger":"2.0"}`, "doc:1: #/swagger: is OpenAPI 2.0; only 3.0 and 3.1 can be read"},
		{"no OpenAPI", `{"a":1}`, `doc: #/openapi: is ""; an OpenAPI document of 3.0 or 3.1 says so here`},
		{"OpenAPI 4", `{"openapi":"4.0.0"}`, `doc:1: #/openapi: is "4.0.0"; an OpenAPI document of 3.0 or 3.1 says so here`},
		{"ours", head + `"x-served-by":"openhands-local","paths":{}}`, "doc:1: #/x-served-by: is openhands-local's own contract, which was made from a published one: give that, or a real server's"},
		{"no version", `{"openapi":"3.1.0","info":{},"paths":{"/a":{"get":{"operationId":"a",` + answers + `}}}}`, "doc:1: #/info/version: there is no version"},
		{"no paths", head + `"paths":{}}`, "doc:1: #/paths: there are no operations"},
		{"no path", head + `"paths":{"a":{"get":{"operationId":"a",` + answers + `}}}}`, "doc:1: #/paths/a: is no path: it begins with a slash and has an object"},
		{"operation is a text", head + `"paths":{"/a":{"get":"a"}}}`, "doc:1: #/paths/~1a/get: an operation is an object"},
		{"no operationId", head + `"paths":{"/a":{"get":{` + answers + `}}}}`, "doc:1: #/paths/~1a/get/operationId: the operation has no operationId"},
		{"no name", head + `"paths":{"/a":{"get":{"operationId":"1",` + answers + `}}}}`, `doc:1: #/paths/~1a/get/operationId: "1" makes no name in Go`},
		{"no answers", head + `"paths":{"/a":{"get":{"operationId":"a"}}}}`, "doc:1: #/paths/~1a/get/responses: the operation has no answers"},
		{"two of one id", head + `"paths":{"/a":{"get":{"operationId":"a",` + answers + `}},"/b":{"get":{"operationId":"a",` + answers + `}}}}`,
			"doc:1: #/paths/~1b/get/operationId: a is the operationId of GET /a too"},
		{"reference to nothing", head + `"paths":{"/a":{"get":{"operationId":"a","responses":{"200":{"description":"","content":{"application/json":{"schema":{"$ref":"#/components/schemas/A"}}}}}}}}}`,
			"doc:1: #/paths/~1a/get/responses/200/content/application~1json/schema/$ref: #/components/schemas/A leads nowhere"},
		{"reference out of it", head + `"paths":{"/a":{"get":{"operationId":"a","responses":{"200":{"$ref":"other.json#/a"}}}}}}`,
			"doc:1: #/paths/~1a/get/responses/200/$ref: other.json#/a leads out of the document, which cannot be followed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := document.Parse("doc", []byte(c.text))
			if err == nil {
				err = d.Check()
			}
			var problem *document.Problem
			if err == nil || err.Error() != c.want || !errors.As(err, &problem) {
				t.Errorf("err = %v, want %s", err, c.want)
			}
		})
	}
}

// A reference in an example is no reference, nor is a property of that name.
func TestReferencesOfValues(t *testing.T) {
	d := parse(t, "doc", []byte(`{"openapi":"3.1.0","info":{"version":"1"},"paths":{"/a":{"get":{"operationId":"a","responses":{"200":{"description":"",
		"content":{"application/json":{"example":{"$ref":"#/nowhere"},"schema":{"properties":{"$ref":{"type":"string"},"default":{"$ref":"#/info"}}}}}}}}}}}`))
	if err := d.Check(); err != nil {
		t.Error(err)
	}
}
