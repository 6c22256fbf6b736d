package contract

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3filter"

	"github.com/openhands-local/openhands-local/api/fastapi"
)

// fuzzed checks a request in every way that must hold of any: no panic, the
// answer is JSON, and what passes is what kin-openapi passes when it reads the
// rewritten request itself.
func fuzzed(t *testing.T, op *Operation, query, contentType, text string) {
	t.Helper()
	r, err := http.NewRequest(op.Method, "http://localhost/x", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.URL.RawQuery = query
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	params := map[string]string{"conversation_id": "x"}
	body, err := op.ReadBody(r)
	if err == nil {
		err = op.Validate(r, params, body)
	}
	var invalid *fastapi.Invalid
	var refusal *Refusal
	switch {
	case errors.As(err, &invalid):
		decodeAnswer(t, invalid.Body())
		if i := slices.IndexFunc(invalid.Errors, func(e fastapi.Error) bool { return strings.Contains(e.Msg, viewReason) }); i >= 0 {
			t.Errorf("%s %q %q: %s, want reading to find it", op.ID, query, text, invalid.Body())
		}
		return
	case errors.As(err, &refusal):
		decodeAnswer(t, refusal.Body())
		return
	case err != nil:
		t.Fatalf("%s: %v, want an Invalid or a Refusal", op.ID, err)
	}
	if body.JSON != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	err = openapi3filter.ValidateRequest(t.Context(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: op.route,
		Options: &openapi3filter.Options{SkipSettingDefaults: true, ExcludeRequestBody: body.JSON == nil},
	})
	if err != nil {
		t.Errorf("%s %q %q: rewritten to %q %s, which kin-openapi refuses: %v", op.ID, query, text, r.URL.RawQuery, body.JSON, err)
	}
	for name, values := range r.URL.Query() {
		if slices.ContainsFunc(op.query, func(p parameter) bool { return p.name == name }) && len(values) != 1 {
			t.Errorf("%q: rewritten to %q, want one %s", query, r.URL.RawQuery, name)
		}
	}
	rest, err := io.ReadAll(r.Body)
	if err != nil || body.JSON != nil && string(rest) != string(body.JSON) {
		t.Errorf("body after Validate = %q, %v, want %q", rest, err, body.JSON)
	}
}

func FuzzQuery(f *testing.F) {
	for _, query := range []string{"", "limit=5&limit=+7_0&start_id=-1.0", "reverse=Yes", "end_id=%00", "limit=%", "a;b=c&&=", "limit=99999999999999999999", "start_id=\xff&end_id=%ff"} {
		f.Add(query)
	}
	c := mustLoad(f, document(f, "served-0.53.0.json"))
	ids := slices.Sorted(maps.Keys(c.operations))
	f.Fuzz(func(t *testing.T, query string) {
		for _, id := range ids {
			if op := c.operations[id]; op.query != nil {
				fuzzed(t, op, query, "", "")
			}
		}
	})
}

func FuzzFilter(f *testing.F) {
	for _, body := range []string{"", "null", `{"exclude_hidden":1.0,"include_types":[]}`, `{"query":"\ud800"}`, `{"source":NaN}`, "\xff\xfe", "[]"} {
		f.Add("application/json", body)
		f.Add("text/plain", body)
	}
	op := mustLoad(f, document(f, "served-0.53.0.json")).Operation("search_events_api_conversations__conversation_id__events_get")
	f.Fuzz(func(t *testing.T, contentType, body string) { fuzzed(t, op, "", contentType, body) })
}

func FuzzSettings(f *testing.F) {
	for _, body := range []string{`{}`, `{"max_iterations":"5","max_budget_per_task":"nan","confirmation_mode":"on"}`,
		`{"mcp_config":{"sse_servers":["http://x",{"url":"ws://y"}],"stdio_servers":[{"name":"n","command":"c","args":"a 'b c'","env":"A=1,B=2"}]}}`,
		`{"secrets_store":{"custom_secrets":{"a":"b"}},"bogus":[NaN,1e400]}`, `{"mcp_config":{"sse_servers":"ab","shttp_servers":{"http://x":1}}}`} {
		f.Add(body)
	}
	op := mustLoad(f, document(f, "served-0.53.0.json")).Operation("store_settings_api_settings_post")
	f.Fuzz(func(t *testing.T, body string) { fuzzed(t, op, "", "", body) })
}

func FuzzForm(f *testing.F) {
	for _, body := range []string{"", "--BB\r\n\r\n--BB--", "--BB\r\nContent-Disposition: form-data; name=\"files\"; filename=\"f\"\r\n\r\nx\r\n--BB--\r\n", "files=x&files=%ff"} {
		f.Add("multipart/form-data; boundary=BB", body)
		f.Add("application/x-www-form-urlencoded", body)
	}
	op := mustLoad(f, document(f, "served-0.53.0.json")).Operation("upload_files_api_conversations__conversation_id__upload_files_post")
	f.Fuzz(func(t *testing.T, contentType, body string) { fuzzed(t, op, "", contentType, body) })
}

// decodeAnswer fails unless an answer is JSON in UTF-8.
func decodeAnswer(t *testing.T, answer []byte) {
	t.Helper()
	if !json.Valid(answer) || !utf8.Valid(answer) {
		t.Errorf("answer %q is not JSON in UTF-8", answer)
	}
}
