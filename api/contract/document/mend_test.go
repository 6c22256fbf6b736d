package document_test

import (
	"slices"
	"strings"
	"testing"
)

// TestMend: each harmless flaw is mended and told, and the document is fit
// then; what is not mended is refused as before.
func TestMend(t *testing.T) {
	const (
		head = `{"openapi":"3.1.0","info":{"title":"t","version":"1"},"paths":`
		ok   = `"responses":{"200":{"description":""}}`
		text = `"schema":{"type":"string"}`
	)
	body := func(content string) string {
		return `{"/a":{"post":{"operationId":"a","requestBody":{"content":` + content + `},` + ok + `}}}`
	}
	for _, c := range []struct {
		name, paths string
		mends       []string
		want        string // in the document, without blanks
		refused     string
	}{
		{"nothing to mend", `{"/a/{id}":{"get":{"operationId":"a","parameters":[{"name":"id","in":"path","required":true,` + text + `}],` + ok + `}}}`, nil, `"in":"path"`, ""},
		{"parameter of the path", `{"/a/{id}":{"get":{"operationId":"a",` + ok + `}}}`,
			[]string{"#/paths/~1a~1{id}/get/parameters: id of the path is not declared: it is declared as any text here"},
			`"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}]`, ""},
		{"parameter of the path, another in the query", `{"/a/{id}":{"delete":{"operationId":"a","parameters":[{"name":"a_id","in":"query","required":true,` + text + `}],` + ok + `}}}`,
			[]string{"#/paths/~1a~1{id}/delete/parameters: id of the path is not declared: it is declared as any text here"},
			`"parameters":[{"name":"a_id","in":"query","required":true,"schema":{"type":"string"}},{"name":"id","in":"path","required":true,"schema":{"type":"string"}}]`, ""},
		{"declared elsewhere", `{"/a/{id}":{"get":{"operationId":"a","parameters":[{"name":"id","in":"query",` + text + `}],` + ok + `}}}`,
			[]string{"#/paths/~1a~1{id}/get/parameters: id is declared in the query: it is declared in the path here"},
			`{"name":"id","in":"path","schema":{"type":"string"},"required":true}`, ""},
		{"under another name", `{"/a/{id}":{"get":{"operationId":"a","parameters":[{"name":"a_id","in":"path","required":true,` + text + `}],` + ok + `}}}`,
			[]string{"#/paths/~1a~1{id}/get/parameters: id of the path is declared as a_id: it is declared as id here"},
			`"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}]`, ""},
		{"not in the path", `{"/a":{"get":{"operationId":"a","parameters":[{"name":"id","in":"path","required":true,` + text + `}],` + ok + `}}}`,
			[]string{"#/paths/~1a/get/parameters: id is not in the path: it is left out"}, `"parameters":[]`, ""},
		{"not required", `{"/a/{id}":{"get":{"operationId":"a","parameters":[{"name":"id","in":"path",` + text + `}],` + ok + `}}}`,
			[]string{"#/paths/~1a~1{id}/get/parameters: id of the path is not required: it is required here"}, `"required":true`, ""},
		{"shared by the path", `{"/a/{id}":{"parameters":[{"$ref":"#/paths/~1b~1{x}/get/parameters/0"}],"get":{"operationId":"a",` + ok + `}},` +
			`"/b/{x}":{"get":{"operationId":"b","parameters":[{"name":"x","in":"path","required":true,` + text + `}],` + ok + `}}}`,
			[]string{"#/paths/~1a~1{id}/parameters/0/$ref: #/paths/~1b~1{x}/get/parameters/0 is no component: it is copied here",
				"#/paths/~1a~1{id}/get/parameters: id of the path is declared as x: it is declared as id here"},
			`"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],"responses"`, ""},
		{"twice", `{"/a":{"get":{"operationId":"a","parameters":[{"name":"q","in":"query",` + text + `},{"name":"q","in":"query",` + text + `}],` + ok + `}}}`,
			[]string{"#/paths/~1a/get/parameters: q is declared twice in the query: the first counts"}, `"parameters":[{"name":"q","in":"query","schema":{"type":"string"}}]`, ""},
		{"no schema of a parameter", `{"/a":{"get":{"operationId":"a","parameters":[{"name":"q","in":"query"}],` + ok + `}}}`,
			[]string{"#/paths/~1a/get/parameters: q has no schema: any text passes"}, `"parameters":[{"name":"q","in":"query","schema":{"type":"string"}}]`, ""},
		{"one path under two names", `{"/a/{x}":{"get":{"operationId":"a","parameters":[{"name":"x","in":"path","required":true,` + text + `}],` + ok + `}},"/a/{y}":{"get":{"operationId":"b",` + ok + `}}}`,
			[]string{"#/paths/~1a~1{y}/get: no request comes here, since GET /a/{x} takes all: it is left out"}, `"paths":{"/a/{x}":{"get":`, ""},
		{"within a schema", body(`{"application/json":{"schema":{"properties":{"a":{"type":"array","items":{"$ref":"#/paths/~1a/post/requestBody/content/application~1json/schema/$defs/b"}}},"$defs":{"b":{"type":"string"}}}}}`),
			[]string{"#/paths/~1a/post/requestBody/content/application~1json/schema/properties/a/items/$ref: #/paths/~1a/post/requestBody/content/application~1json/schema/$defs/b is no component: it is copied here"},
			`"items":{"type":"string"}`, ""},
		{"within itself", body(`{"application/json":{"schema":{"properties":{"a":{"$ref":"#/paths/~1a/post/requestBody/content/application~1json/schema"}}}}}`), nil, `"$ref":"#/paths/`, ""},
		{"one id twice", `{"/b":{"get":{"operationId":"x","responses":{}}},"/a":{"get":{"operationId":"x","responses":{}}}}`,
			[]string{"#/paths/~1b/get/operationId: x is the operationId of GET /a too: it is x_b_get here"}, `"operationId":"x_b_get"`, ""},
		{"one function of two methods", `{"/a":{"post":{"operationId":"x_a_get","responses":{}},"get":{"operationId":"x_a_get","responses":{}}}}`,
			[]string{"#/paths/~1a/post/operationId: x_a_get is the operationId of GET /a too: it is x_a_post here"}, `"operationId":"x_a_post"`, ""},
		{"the new id is there", `{"/b":{"get":{"operationId":"x","responses":{}}},"/a":{"get":{"operationId":"x","responses":{}}},"/c":{"get":{"operationId":"x_b_get","responses":{}}}}`,
			[]string{"#/paths/~1b/get/operationId: x is the operationId of GET /a too: it is x_b_get_2 here"}, `"operationId":"x_b_get_2"`, ""},
		{"schema of nothing", body(`{"application/json":{"schema":{"properties":{"a":{"$ref":"#/components/schemas/Gone"},"b":{"$ref":"#/$defs/Gone"}}}}}`),
			[]string{"#/paths/~1a/post/requestBody/content/application~1json/schema/properties/a/$ref: #/components/schemas/Gone leads nowhere: any value passes there",
				"#/paths/~1a/post/requestBody/content/application~1json/schema/properties/b/$ref: #/$defs/Gone leads nowhere: any value passes there"},
			`"properties":{"a":{},"b":{}}`, ""},
		{"answer of nothing", `{"/a":{"get":{"operationId":"a","responses":{"200":{"$ref":"#/components/responses/Gone"}}}}}`, nil, "",
			"doc:1: #/paths/~1a/get/responses/200/$ref: #/components/responses/Gone leads nowhere"},
		{"body that is not read", body(`{"image/*":{"schema":{}}}`),
			[]string{"#/paths/~1a/post/requestBody: a body of image/* is not read: it is not validated"}, `"x-not-validated":true`, ""},
		{"body of nothing", body(`{}`), []string{"#/paths/~1a/post/requestBody: a body of no media type is not read: it is not validated"}, `"x-not-validated":true`, ""},
		{"body of several", body(`{"text/plain":{},"application/x+json":{},"application/json":{"schema":{}}}`),
			[]string{"#/paths/~1a/post/requestBody/content: a body of text/plain is left out: application/json is read",
				"#/paths/~1a/post/requestBody/content: a body of application/x+json is left out: application/json is read"},
			`"content":{"application/json":{"schema":{}}}`, ""},
		{"body without a schema", body(`{"multipart/form-data":{}}`),
			[]string{"#/paths/~1a/post/requestBody/content/multipart~1form-data: there is no schema: any value passes"}, `{"multipart/form-data":{"schema":{}}}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := parse(t, "doc", []byte(head+c.paths+"}"))
			var got []string
			for _, m := range d.Mend() {
				if m.Line != 1 {
					t.Errorf("%v: Line = %d, want 1", m, m.Line)
				}
				got = append(got, m.String())
			}
			if !slices.Equal(got, c.mends) {
				t.Errorf("Mend() = %q, want %q", got, c.mends)
			}
			err := d.Check()
			if c.refused != "" {
				if err == nil || err.Error() != c.refused {
					t.Errorf("Check() = %v, want %s", err, c.refused)
				}
				return
			}
			json, jsonErr := d.JSON()
			if err != nil || jsonErr != nil {
				t.Fatal(err, jsonErr)
			}
			if plain := strings.NewReplacer(" ", "", "\n", "").Replace(string(json)); !strings.Contains(plain, c.want) {
				t.Errorf("the document lacks %s: %s", c.want, plain)
			}
			if again := parse(t, "doc", json).Mend(); len(again) > 0 {
				t.Errorf("Mend() of what was mended = %v", again)
			}
		})
	}
}

// TestMendIDKept: an operation of the current contract keeps its id.
func TestMendIDKept(t *testing.T) {
	d := written(t, []operation{{"GET", "/a", "x"}, {"GET", "/b", "x"}})
	d.Names = map[string]string{"GET /b": "X"}
	d.Mend()
	got := map[string]string{}
	for o := range d.Operations() {
		got[o.String()] = o.ID + " " + o.GoName
	}
	if got["GET /b"] != "x X" || got["GET /a"] != "x_a_get XA" {
		t.Errorf("operations = %v", got)
	}
}

// The documents of the project have nothing to mend.
func TestMendNothing(t *testing.T) {
	for _, name := range []string{"contract-0.52.0.json", "contract-0.53.0.json", "contract-0.54.0.json", "contract-0.55.0.json", "served-0.53.0.json"} {
		if mends := parse(t, name, read(t, name)).Mend(); len(mends) > 0 {
			t.Errorf("%s: Mend() = %v", name, mends)
		}
	}
}
