package fastapi

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// testdata/coercions.json is what pydantic 2.11.5 makes of values: rows of
// type, value as JSON, what it becomes (null for what is not finite), the type
// of the error.
func TestCoercions(t *testing.T) {
	text, err := os.ReadFile("testdata/coercions.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][4]string
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		typ, sent, want, wantFault := row[0], row[1], row[2], row[3]
		v, err := pyjson.Decode([]byte(sent))
		if err != nil {
			t.Fatal(err)
		}
		scalar := map[string]func(pyjson.Value) (pyjson.Value, *Fault){"integer": Int, "boolean": Bool, "number": Float}[typ]
		if want == "null" {
			scalar = FloatOrNull
		}
		read, f := scalar(v)
		got, fault := string(read.Append(nil)), ""
		if f != nil {
			got, fault = "", f.Type
		}
		if got != want || fault != wantFault {
			t.Errorf("%s of %.60s = %s %s, want %s %s", typ, sent, got, fault, want, wantFault)
		}
	}
}

// TestNotFinite: what may not be null has to be finite.
func TestNotFinite(t *testing.T) {
	for _, sent := range []string{`NaN`, `-Infinity`, `1e400`, `"nan"`, `"-inf"`, `"1e400"`} {
		v, err := pyjson.Decode([]byte(sent))
		if err != nil {
			t.Fatal(err)
		}
		if got, f := Float(v); f != NotFinite {
			t.Errorf("Float(%s) = %s, %v, want %v", sent, got.Repr(), f, NotFinite)
		}
		if got, f := FloatOrNull(v); f != nil || !got.IsNull() {
			t.Errorf("FloatOrNull(%s) = %s, %v, want null", sent, got.Repr(), f)
		}
	}
}

// TestString: a text has no lone surrogate.
func TestString(t *testing.T) {
	for sent, want := range map[string]*Fault{`"é"`: nil, `""`: nil, `5`: StringType, `null`: StringType, `"\ud800"`: StringUnicode} {
		v, err := pyjson.Decode([]byte(sent))
		if err != nil {
			t.Fatal(err)
		}
		if _, f := String(v); f != want {
			t.Errorf("String(%s) = %v, want %v", sent, f, want)
		}
	}
}
