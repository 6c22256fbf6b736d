package document_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
)

const overlayFile = "../../overlay.yaml"

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

func actions(t *testing.T) []document.Action {
	t.Helper()
	all, err := overlay.Read(overlayFile)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func text(t *testing.T, d *document.Document) string {
	t.Helper()
	b, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// diff fails with the first line that differs.
func diff(t *testing.T, what, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("%s: line %d = %q, want %q", what, i+1, g[i], w[i])
			return
		}
	}
	if len(g) != len(w) {
		t.Errorf("%s: %d lines, want %d", what, len(g), len(w))
	}
}

// A published document is left as it is.
func TestPublishPublished(t *testing.T) {
	like := parse(t, "like", read(t, "contract-0.53.0.json"))
	for _, name := range []string{"contract-0.52.0.json", "contract-0.53.0.json", "contract-0.54.0.json", "contract-0.55.0.json"} {
		d := parse(t, name, read(t, name))
		if err := d.Check(); err != nil {
			t.Errorf("%s: Check() = %v", name, err)
		}
		if d.Publish(like, document.Unpublished(actions(t))) {
			t.Errorf("%s: Publish() says that it is a server's", name)
		}
		diff(t, name, text(t, d), string(read(t, name)))
	}
}

// What a server tells of itself becomes the published document, in whichever
// way it was started and the document was written down.
func TestPublishServed(t *testing.T) {
	published := string(read(t, "contract-0.53.0.json"))
	served := read(t, "served-0.53.0.json")
	var asYAML any
	if err := yaml.Unmarshal(served, &asYAML); err != nil {
		t.Fatal(err)
	}
	sorted, err := yaml.Marshal(asYAML)
	if err != nil {
		t.Fatal(err)
	}
	withKey := bytes.Replace([]byte(published), []byte(`"servers": [`), []byte(`"x-servers": [`), 1)
	withProse := bytes.ReplaceAll(served, []byte(`"operationId":`), []byte(`"description": "Words of a function.", "operationId":`))
	for name, c := range map[string]struct {
		text []byte
		same bool // byte for byte; else but for the order of keys
	}{
		"as served":              {served, true},
		"with a SESSION_API_KEY": {bytes.Replace(withKey, []byte(`"x-servers"`), []byte(`"x-none"`), 1), false},
		"with prose":             {withProse, true},
		"as YAML":                {sorted, false},
	} {
		t.Run(name, func(t *testing.T) {
			like := parse(t, "like", []byte(published))
			d := parse(t, name, c.text)
			if !d.Publish(like, document.Unpublished(actions(t))) {
				t.Error("Publish() says that it is the published one")
			}
			if c.same {
				diff(t, name, text(t, d), published)
				return
			}
			var got, want map[string]any
			if err := errors.Join(yaml.Unmarshal([]byte(text(t, d)), &got), yaml.Unmarshal([]byte(published), &want)); err != nil {
				t.Fatal(err)
			}
			delete(got, "x-none")
			g, _ := yaml.Marshal(got)
			w, _ := yaml.Marshal(want)
			diff(t, name, string(g), string(w))
		})
	}
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
		{"two of one name", head + `"paths":{"/a":{"get":{"operationId":"do_it__a_get",` + answers + `}},"/b":{"put":{"operationId":"doIt_b_put",` + answers + `}}}}`,
			"doc:1: #/paths/~1b/put/operationId: the operation has the Go name DoIt, as has GET /a"},
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

// The overlay has a use in the contract that it was written for, but for what
// it adds to another.
func TestJoin(t *testing.T) {
	for name, want := range map[string][]string{
		"contract-0.53.0.json": nil,
		"contract-0.55.0.json": nil,
		"contract-0.52.0.json": {
			"exp-config ($.paths): it refers to #/components/schemas/ExperimentConfig, which is not there",
			"schema ExperimentConfig ($.components.schemas.ExperimentConfig): there is no such target",
		},
	} {
		d := parse(t, name, read(t, name))
		idle, err := d.Join(actions(t))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range idle {
			if i.Line == 0 {
				t.Errorf("%s: %v: Line = 0", name, i)
			}
			got = append(got, i.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: idle actions = %q, want %q", name, got, want)
		}
		if name == "contract-0.52.0.json" && strings.Contains(text(t, d), "ExperimentConfig") {
			t.Errorf("%s: an action that was left out left something behind", name)
		}
	}
}

// What the overlay adds of a later version steps aside for that version's own.
func TestJoinStepsAside(t *testing.T) {
	const path = "/api/conversations/{conversation_id}/message"
	later := laterContract(t)
	d := parse(t, "later", later)
	idle, err := d.Join(actions(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range idle {
		if !i.Aside {
			t.Errorf("%v: Aside = false", i)
		}
		got = append(got, i.String())
	}
	want := []string{
		"body of Add Message ($.components.schemas): steps aside, since the document has it by itself",
		"message ($.paths): steps aside, since the document has it by itself",
	}
	if !slices.Equal(got, want) {
		t.Errorf("idle actions = %q, want %q", got, want)
	}
	joined := text(t, d)
	if n := strings.Count(joined, path); n != 1 {
		t.Errorf("%s is there %d times, want 1", path, n)
	}
	if strings.Contains(joined, "x-since") {
		t.Error("the operation is still said to be of a later version")
	}
	for _, kept := range []string{"Appends a message of the user", `"description": "Its text."`, "Of the document alone"} {
		if !strings.Contains(joined, kept) {
			t.Errorf("the joined document lacks %q", kept)
		}
	}
}

// laterContract is 0.55.0's with the operation that 0.59.0 adds, as FastAPI
// writes it.
func laterContract(t *testing.T) []byte {
	doc := string(read(t, "contract-0.55.0.json"))
	doc = strings.Replace(doc, `"paths": {`, `"paths": {
    "/api/conversations/{conversation_id}/message": {
      "post": {
        "summary": "Add Message",
        "operationId": "add_message_api_conversations__conversation_id__message_post",
        "security": [{"APIKeyHeader": []}],
        "parameters": [{"name": "conversation_id", "in": "path", "required": true, "schema": {"type": "string", "title": "Conversation Id"}}],
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AddMessageRequest"}}}},
        "responses": {
          "200": {"description": "Successful Response", "content": {"application/json": {"schema": {}}}},
          "422": {"description": "Validation Error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}}
        }
      }
    },`, 1)
	return []byte(strings.Replace(doc, `"schemas": {`, `"schemas": {
      "AddMessageRequest": {"properties": {"message": {"type": "string", "title": "Message"}, "also": {"type": "string", "title": "Of the document alone"}}, "type": "object", "required": ["message"], "title": "AddMessageRequest"},`, 1))
}
