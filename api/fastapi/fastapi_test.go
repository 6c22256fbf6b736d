package fastapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

func TestInvalid(t *testing.T) {
	err := &fastapi.Invalid{Errors: []fastapi.Error{
		{Type: "a", Loc: []any{"query", "b", 0}, Msg: "<is>\u2028wrong", Input: pyjson.StringOf("<&>\u2028"), Ctx: pyjson.ObjectOf(pyjson.Member{Key: "n", Value: pyjson.IntOf(1)})},
		fastapi.Missing.At(pyjson.Value{}, "body"),
	}}
	if got, want := err.Error(), "query.b.0: <is>\u2028wrong (and 1 more)"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	want := `{"detail":[{"type":"a","loc":["query","b",0],"msg":"<is>` + "\u2028" + `wrong","input":"<&>` + "\u2028" + `","ctx":{"n":1}},{"type":"missing","loc":["body"],"msg":"Field required","input":null}]}`
	if got := string(err.Body()); got != want {
		t.Errorf("Body() = %s, want %s", got, want)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(err); err != nil || b.String() != want+"\n" {
		t.Errorf("Encode = %s, %v, want %s", b.String(), err, want)
	}
}

// TestInvalidIsAlwaysEncoded: whatever was sent, the answer is JSON; what JSON
// cannot carry is null.
func TestInvalidIsAlwaysEncoded(t *testing.T) {
	for sent, want := range map[string]string{
		`NaN`: `null`, `-Infinity`: `null`, `[1,1e400]`: `null`, `{"a":"\ud800"}`: `null`, `{"\ud800":1}`: `null`,
		`[1,"é"]`: `[1,"é"]`, `1` + strings.Repeat("0", 400): `1` + strings.Repeat("0", 400),
	} {
		v, err := pyjson.Decode([]byte(sent))
		if err != nil {
			t.Fatal(err)
		}
		invalid := fastapi.ExtraForbidden.Refuse(v, "body", "\xed\xa0\x80", 1)
		got, err := json.Marshal(invalid)
		if err != nil || !strings.HasSuffix(string(got), `,"input":`+want+`}]}`) {
			t.Errorf("of %s: %s, %v, want input %s", sent, got, err, want)
		}
		if !strings.Contains(string(got), `"loc":["body","`+"\ufffd"+`",1]`) {
			t.Errorf("of %s: %s, want a place without the surrogate", sent, got)
		}
	}
}

// TestInvalidIsText: a value that came in a header is no UTF-8.
func TestInvalidIsText(t *testing.T) {
	got := fastapi.Missing.Refuse(pyjson.StringOf("a\xffb"), "header", "\xff").Body()
	if want := "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"header\",\"\ufffd\"],\"msg\":\"Field required\",\"input\":\"a\ufffdb\"}]}"; string(got) != want {
		t.Errorf("Body() = %q, want %q", got, want)
	}
}

func TestReader(t *testing.T) {
	r := &fastapi.Reader{}
	if err := r.Err(); err != nil {
		t.Errorf("Err = %v, want nil", err)
	}
	r.Push("body")
	r.Push("list")
	for i := range 1200 {
		r.PushItem(i)
		r.Read(fastapi.Int, pyjson.StringOf("x"))
		r.Pop()
	}
	invalid, _ := r.Err().(*fastapi.Invalid)
	if invalid == nil || len(invalid.Errors) != 1000 || invalid.Error() != "body.list.0: Input should be a valid integer, unable to parse string as an integer (and 999 more)" {
		t.Errorf("Err = %.200v, want 1000 errors", invalid)
	}
}
