package contract_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/fastapi"
)

const (
	searchEvents = "search_events_api_conversations__conversation_id__events_get"
	listAll      = "search_conversations_api_conversations_get"
	create       = "new_conversation_api_conversations_post"
	saveSettings = "store_settings_api_settings_post"
	rename       = "update_conversation_api_conversations__conversation_id__patch"
	addEvent     = "add_event_api_conversations__conversation_id__events_post"
	getOne       = "get_conversation_api_conversations__conversation_id__get"
	listModels   = "get_litellm_models_api_options_models_get"
	upload       = "upload_files_api_conversations__conversation_id__upload_files_post"
	contentFile  = "get_repository_microagent_content_api_user_repository__repository_name__microagents_content_get"
)

func TestQueryIsRewritten(t *testing.T) {
	for _, test := range []struct{ operation, sent, want string }{
		{searchEvents, "", ""},
		{searchEvents, "limit=x&limit=%2B1_0", "limit=10"},
		{searchEvents, "reverse=ON&start_id=-1.0&end_id=007", "end_id=7&reverse=true&start_id=-1"},
		{searchEvents, "limit=99999999999999999999&start_id=-99999999999999999999", "limit=9223372036854775807&start_id=-9223372036854775808"},
		{searchEvents, "a=1&limit=5&b=%zz&&a", "a=1&b=%zz&a&limit=5"},
		{searchEvents, "lim%69t=5", "limit=5"},
		{listAll, "page_id=a&page_id=b+%C3%A9", "page_id=b+%C3%A9"},
		{listAll, "page_id=\xc3", "page_id=%C3%83"}, // what is not ASCII came as Latin-1
		{listAll, "page_id=%ff", "page_id=%EF%BF%BD"},
		{listAll, "selected_repository", "selected_repository="},
		{listModels, "limit=x&limit=y", "limit=x&limit=y"}, // declares none
	} {
		op := load(t, served).Operation(test.operation)
		r := recording{Query: test.sent}.request(op)
		if _, err := check(op, r); err != nil || r.URL.RawQuery != test.want {
			t.Errorf("%s?%s: query = %q, %v, want %q", test.operation, test.sent, r.URL.RawQuery, err, test.want)
		}
	}
}

func TestBodyIsRewritten(t *testing.T) {
	for _, test := range []struct{ operation, sent, want string }{
		{saveSettings, `{"bogus":NaN,"confirmation_mode":"yes","max_iterations":"5.0","language":null}`, `{"language":null,"max_iterations":5,"confirmation_mode":true}`},
		{saveSettings, `{"max_iterations":1000000000000000000000}`, `{"max_iterations":1000000000000000000000}`},
		{saveSettings, `{"max_budget_per_task":"-inf"}`, `{"max_budget_per_task":null}`},
		{saveSettings, `{"max_budget_per_task":true}`, `{"max_budget_per_task":1.0}`},
		{saveSettings, `{"agent":"a","agent":"b"}`, `{"agent":"b"}`},
		{saveSettings, `{"mcp_config":{"stdio_servers":[{"name":" n ","command":"c","args":null,"env":0}]}}`, `{"mcp_config":{"stdio_servers":[{"name":"n","command":"c","args":[],"env":{}}]}}`},
		{saveSettings, "\xff\xfe{\x00}\x00", `{}`},
		{searchEvents, `{"exclude_hidden":1,"include_types":null,"query":"é"}`, `{"exclude_hidden":true,"query":"é","include_types":null}`},
		{searchEvents, ``, ``},
		{searchEvents, `null`, ``},
		{addEvent, `{"action":"`, ``}, // declares none
	} {
		op := load(t, served).Operation(test.operation)
		r := recording{Body: test.sent}.request(op)
		body, err := check(op, r)
		if err != nil || string(body.JSON) != test.want || string(body.Raw) != test.sent {
			t.Errorf("%s %s: body = %s, raw %s, %v, want %s", test.operation, test.sent, body.JSON, body.Raw, err, test.want)
			continue
		}
		want := test.want
		if want == "" {
			want = test.sent
		}
		if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != want || r.ContentLength != int64(len(want)) {
			t.Errorf("%s %s: r.Body = %s (%d), %v, want %s", test.operation, test.sent, rest, r.ContentLength, err, want)
		}
	}
}

// Where the real server answers 500 to a client's mistake.
func TestClearRefusals(t *testing.T) {
	const nonUnicode = `{"detail":[{"type":"string_unicode","loc":["body","agent"],"msg":"Input should be a valid string, unable to parse raw data as a unicode string","input":null}]}`
	for _, test := range []struct {
		operation, contentType, body string
		status                       int
		answer                       string
	}{
		{create, "", `{"bogus":NaN}`, 422, `{"detail":[{"type":"extra_forbidden","loc":["body","bogus"],"msg":"Extra inputs are not permitted","input":null}]}`},
		{create, "", `{"bogus":[-Infinity]}`, 422, `{"detail":[{"type":"extra_forbidden","loc":["body","bogus"],"msg":"Extra inputs are not permitted","input":null}]}`},
		{create, "", `{"\ud800":1}`, 422, "{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"\ufffd\"],\"msg\":\"Extra inputs are not permitted\",\"input\":1}]}"},
		{saveSettings, "", `{"agent":"\ud800"}`, 422, nonUnicode},
		{saveSettings, "", `{"max_iterations":1e400}`, 422, `{"detail":[{"type":"finite_number","loc":["body","max_iterations"],"msg":"Input should be a finite number","input":null}]}`},
		{saveSettings, "text/plain", "\xff", 400, `{"detail":"There was an error parsing the body"}`},
		{saveSettings, "", strings.Repeat("[", 2000), 400, `{"detail":"There was an error parsing the body"}`},
		{saveSettings, "", `{"mcp_config":{"sse_servers":5}}`, 422, `{"detail":[{"type":"list_type","loc":["body","mcp_config","sse_servers"],"msg":"Input should be a valid list","input":5}]}`},
		{saveSettings, "", `{"mcp_config":{"stdio_servers":[{"name":5,"command":"c"}]}}`, 422, `{"detail":[{"type":"string_type","loc":["body","mcp_config","stdio_servers",0,"name"],"msg":"Input should be a valid string","input":5}]}`},
		{saveSettings, "", `{"mcp_config":{"shttp_servers":{"x":1}}}`, 422, `{"detail":[{"type":"value_error","loc":["body","mcp_config","shttp_servers",0,"url"],"msg":"Value error, URL must include a scheme (http:// or https://)","input":"x","ctx":{"error":{}}}]}`},
		{saveSettings, "", `{"mcp_config":{"sse_servers":"a"}}`, 422, `{"detail":[{"type":"value_error","loc":["body","mcp_config","sse_servers",0,"url"],"msg":"Value error, URL must include a scheme (http:// or https://)","input":"a","ctx":{"error":{}}}]}`},
		{saveSettings, "", `{"mcp_config":{"sse_servers":["http://[a"]}}`, 422, `{"detail":[{"type":"value_error","loc":["body","mcp_config","sse_servers",0,"url"],"msg":"Value error, Invalid IPv6 URL","input":"http://[a","ctx":{"error":{}}}]}`},
		{upload, "multipart/form-data; boundary=BB", "--BB\r\nContent-Disposition: form-data; name=files\r\n\r\n\xe9\r\n--BB--", 422, `{"detail":[{"type":"value_error","loc":["body","files",0],"msg":"Value error, Expected UploadFile, received: <class 'str'>","input":"é","ctx":{"error":{}}}]}`},
		{upload, "multipart/form-data; boundary=BB", "--BB\r\nContent-Disposition: form-data\r\n\r\nx\r\n--BB--", 400, `{"detail":"The Content-Disposition header field \"name\" must be provided."}`},
		{upload, "multipart/form-data; boundary=BB", "--BB\r\nContent-Disposition: form-data; name=\"a\x01\"\r\n\r\nx\r\n--BB--", 422, `{"detail":[{"type":"missing","loc":["body","files"],"msg":"Field required","input":null}]}`},
		{upload, "multipart/form-data; boundary=BB", "--BB\r\n\x00\r\n\r\nx\r\n--BB--", 400, `{"detail":"There was an error parsing the body"}`},
	} {
		op := load(t, served).Operation(test.operation)
		_, err := check(op, recording{ContentType: test.contentType, Body: test.body}.request(op))
		if status, text := answer(t, err); status != test.status || text != test.answer {
			t.Errorf("%s %.80q: check = %d %s\nwant %d %s", test.operation, test.body, status, text, test.status, test.answer)
		}
	}
}

func TestTitleIsMeasuredInCharacters(t *testing.T) {
	op := load(t, served).Operation(rename)
	for n, want := range map[int]int{1: 0, 200: 0, 201: 422} {
		_, err := check(op, recording{Body: `{"title":"` + strings.Repeat("😀", n) + `"}`}.request(op))
		if status, text := answer(t, err); status != want {
			t.Errorf("title of %d: check = %d %s, want %d", n, status, text, want)
		}
	}
}

func TestPathParameters(t *testing.T) {
	op := load(t, served).Operation(getOne)
	for _, id := range []string{"x", "a/b", "", ".x", ";x=1", "a,b", "é", "\xff", "\xed\xa0\x80", " "} {
		r := recording{}.request(op)
		body, err := op.ReadBody(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := op.Validate(r, map[string]string{"conversation_id": id}, body); err != nil {
			t.Errorf("Validate of id %q = %v, want nil", id, err)
		}
	}
}

func TestErrorsAreBounded(t *testing.T) {
	op := load(t, served).Operation(create)
	_, err := check(op, recording{Body: `{"image_urls":[` + strings.Repeat("1,", 5000) + `1]}`}.request(op))
	var invalid *fastapi.Invalid
	if !errors.As(err, &invalid) || len(invalid.Errors) != 1000 {
		t.Errorf("check = %.200v, want 1000 errors", err)
	}
}

func TestTooLargeBody(t *testing.T) {
	op := load(t, served).Operation(create)
	r := recording{Body: `{"initial_user_msg":"long"}`}.request(op)
	r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, 10)
	var tooLarge *http.MaxBytesError
	if _, err := op.ReadBody(r); !errors.As(err, &tooLarge) {
		t.Errorf("ReadBody = %v, want a MaxBytesError", err)
	}
}

func TestRefusal(t *testing.T) {
	if got, want := (&contract.Refusal{Status: 400, Detail: "no"}).Error(), "400 no"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

// parameters is a contract of what the OpenHands ones do not have.
const parameters = `{"openapi":"3.1.0","info":{"title":"t","version":"1"},"paths":{"/p/{n}":{
	"parameters":[{"name":"n","in":"path","required":true,"schema":{"type":"integer"}}],
	"post":{"operationId":"p","parameters":[
		{"name":"ids","in":"query","schema":{"anyOf":[{"type":"array","items":{"type":"integer"}},{"type":"null"}]}},
		{"$ref":"#/components/parameters/low"},
		{"name":"X-H","in":"header","required":true,"schema":{"type":"string"}}],
	"requestBody":{"content":{"application/json":{"schema":{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer","maximum":5}},"w":{"type":"string","enum":["x"]},"n":{"type":"string","nullable":true},"f":{"type":"number"},"m":{"type":"object"},"any":{}},"additionalProperties":{"type":"integer"}}}}},
	"responses":{"200":{"description":""}}},
	"patch":{"operationId":"form","requestBody":{"content":{"multipart/form-data":{"schema":{"type":"object","properties":{"n":{"type":"integer"}}}}}},"responses":{"200":{"description":""}}},
	"put":{"operationId":"raw","requestBody":{"x-not-validated":true,"required":true,"content":{"application/json":{"schema":{"type":"object"}}}},"responses":{"200":{"description":""}}}}},
	"components":{"parameters":{"low":{"name":"low","in":"query","schema":{"type":"integer","minimum":5}}}}}`

func TestOtherContracts(t *testing.T) {
	c, err := contract.Load([]byte(parameters), nil)
	if err != nil {
		t.Fatal(err)
	}
	op := c.Operation("p")
	for _, test := range []struct {
		n, query, body, header string
		want                   string // the answer, or the query, or the body
	}{
		{"1", "ids=1&ids=%202", `{}`, "h", "ids=1&ids=2"},
		{"x", "ids=1&ids=y", `{}`, "h", `{"detail":[{"type":"int_parsing","loc":["path","n"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"},{"type":"int_parsing","loc":["query","ids",1],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"y"}]}`},
		{"1", "low=4", `{}`, "h", `{"detail":[{"type":"greater_than_equal","loc":["query","low"],"msg":"Input should be greater than or equal to 5","input":"4","ctx":{"ge":5}}]}`},
		{"1", "", `{}`, "", `{"detail":[{"type":"value_error","loc":["header","X-H"],"msg":"Value error, not as the contract says: parameter \"X-H\" in header has an error: value is required but missing","input":"","ctx":{"error":{}}}]}`},
		{"1", "", `{"a":[1,6]}`, "h", `{"detail":[{"type":"less_than_equal","loc":["body","a",1],"msg":"Input should be less than or equal to 5","input":6,"ctx":{"le":5}}]}`},
		{"1", "", `{"w":"y","f":"inf"}`, "h", `{"detail":[{"type":"literal_error","loc":["body","w"],"msg":"Input should be 'x'","input":"y","ctx":{"expected":"'x'"}},{"type":"finite_number","loc":["body","f"],"msg":"Input should be a finite number","input":"inf"}]}`},
		{"1", "", `{"n":null,"m":{"a":[1.5]},"more":"5"}`, "h", `{"n":null,"m":{"a":[1.5]},"more":5}`},
		{"1", "", `{"any":NaN}`, "h", `{"detail":[{"type":"value_error","loc":["body","any"],"msg":"Value error, NaN, Infinity and lone surrogates cannot be stored","input":null,"ctx":{"error":{}}}]}`},
	} {
		r := recording{Query: test.query, Body: test.body}.request(op)
		if test.header != "" {
			r.Header.Set("X-H", test.header)
		}
		body, err := op.ReadBody(r)
		if err == nil {
			err = op.Validate(r, map[string]string{"n": test.n}, body)
		}
		got := r.URL.RawQuery
		if err != nil {
			_, got = answer(t, err)
		} else if got == "" {
			got = string(body.JSON)
		}
		if got != test.want {
			t.Errorf("%+v:\ngot  %s", test, got)
		}
	}
	form := c.Operation("form")
	r := recording{ContentType: "multipart/form-data; boundary=B", Body: "--B\r\nContent-Disposition: form-data; name=n\r\n\r\nx\r\n--B--"}.request(form)
	body, err := form.ReadBody(r)
	if err == nil {
		err = form.Validate(r, map[string]string{"n": "1"}, body)
	}
	if _, got := answer(t, err); got != `{"detail":[{"type":"int_parsing","loc":["body","n"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"}]}` {
		t.Errorf("form: %s", got)
	}
	raw := c.Operation("raw")
	r = recording{Body: "not JSON"}.request(raw)
	body, err = raw.ReadBody(r)
	if err == nil {
		err = raw.Validate(r, map[string]string{"n": "1"}, body)
	}
	if err != nil || string(body.Raw) != "not JSON" || body.JSON != nil {
		t.Errorf("x-not-validated: body = %+v, %v, want it raw", body, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, test := range []struct{ doc, want string }{
		{`{`, "contract: Expecting property name enclosed in double quotes: character 1"},
		{`{"swagger":"2.0"}`, "contract: not an OpenAPI 3 document"},
		{`{"openapi":"3.1.0","components":{"schemas":{"A":{"items":{"$ref":"#/components/schemas/B"}}}}}`, `contract: #/components/schemas/A/items/$ref: no component "#/components/schemas/B"`},
		{`{"openapi":"3.1.0","components":{"schemas":{"A":5}}}`, "contract: #/components/schemas/A: a schema is an object"},
		{`{"openapi":"3.1.0","components":{"schemas":{"A":{"properties":{"a":5}}}}}`, "contract: #/components/schemas/A/properties/a: a schema is an object"},
		{`{"openapi":"3.1.0","components":{"schemas":{"A":{"anyOf":[5]}}}}`, "contract: #/components/schemas/A/anyOf/0: a schema is an object"},
		{`{"openapi":"3.1.0","components":{"schemas":{"A":{"not":5}}}}`, "contract: #/components/schemas/A/not: a schema is an object"},
		{`{"openapi":"3.1.0","paths":{"/a/b":{"get":{"parameters":[{"name":"a"}]}}}}`, "contract: #/paths/~1a~1b/get/parameters/0/schema: a schema is an object"},
		{`{"openapi":"3.1.0","paths":{"/":{"get":{"requestBody":{"content":{"application/json":{}}}}}}}`, "contract: #/paths/~1/get/requestBody: no schema"},
		{`{"openapi":"3.1.0","paths":{"/":{"get":{"requestBody":{"content":{"application/json":{"schema":5}}}}}}}`, "contract: #/paths/~1/get/requestBody/content/application~1json/schema: a schema is an object"},
		{`{"openapi":"3.1.0","paths":{"/":{"get":{"responses":{"200":{"content":{"a":{"schema":5}}}}}}}}`, "contract: #/paths/~1/get/responses/200/content/a/schema: a schema is an object"},
	} {
		if _, err := contract.Load([]byte(test.doc), nil); err == nil || err.Error() != test.want {
			t.Errorf("Load(%s) = %v, want %s", test.doc, err, test.want)
		}
	}
}

func TestOperations(t *testing.T) {
	for name, want := range map[string]int{served: 47, published: 43, "contract-0.52.0.json": 43, "contract-0.54.0.json": 43, "contract-0.55.0.json": 45} {
		c := load(t, name)
		all := c.Operations()
		if len(all) != want {
			t.Errorf("%s: %d operations, want %d", name, len(all), want)
		}
		for _, op := range all {
			if c.Operation(op.ID) != op || op.Method == "" || op.Path == "" {
				t.Errorf("%s: Operation(%q) = %v, want %v", name, op.ID, c.Operation(op.ID), op)
			}
		}
		if op := c.Operation("none"); op != nil {
			t.Errorf("%s: Operation(none) = %v, want nil", name, op)
		}
	}
}

func TestValidateResponse(t *testing.T) {
	for _, test := range []struct {
		operation   string
		status      int
		contentType string
		body        string
		ok          bool
	}{
		{getOne, 200, "application/json", `null`, true},
		{getOne, 200, "application/json", `{"conversation_id":"x","title":"t","created_at":"2025-01-01T00:00:00Z"}`, true},
		{getOne, 200, "application/json", `{"conversation_id":"x"}`, false},
		{getOne, 200, "application/json", `{"conversation_id":"x","title":"t","created_at":"yesterday"}`, false},
		{getOne, 200, "text/plain", `null`, false},
		{getOne, 418, "application/json", `null`, false},
		{getOne, 200, "application/json", `{`, false},
		{searchEvents, 200, "application/json", `{"events":[],"has_more":false}`, true},
		{searchEvents, 422, "application/json", `{"detail":[{"type":"t","loc":["query",0],"msg":"m","input":null}]}`, true},
		{searchEvents, 422, "application/json", `{"detail":[{"loc":[null],"msg":"m","type":"t"}]}`, false},
		{"load_settings_api_settings_get", 200, "application/json", `{"llm_api_key_set":true,"llm_api_key":null}`, true},
		{"load_settings_api_settings_get", 200, "application/json", `{"llm_api_key_set":true,"llm_api_key":"secret"}`, false}, // writeOnly
	} {
		err := load(t, served).Operation(test.operation).ValidateResponse(test.status, http.Header{"Content-Type": {test.contentType}}, []byte(test.body))
		if (err == nil) != test.ok {
			t.Errorf("%s: ValidateResponse(%d, %s, %s) = %v, want ok %v", test.operation, test.status, test.contentType, test.body, err, test.ok)
		}
	}
}

func TestSpanningParameter(t *testing.T) {
	op := load(t, served).Operation(contentFile)
	if op == nil {
		t.Fatal("no such operation")
	}
	r := recording{Query: "file_path=x"}.request(op)
	body, err := op.ReadBody(r)
	if err == nil {
		err = op.Validate(r, map[string]string{"repository_name": "owner/repo/more"}, body)
	}
	if err != nil {
		t.Errorf("Validate = %v, want nil", err)
	}
}
