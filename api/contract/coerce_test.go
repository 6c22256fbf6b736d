package contract

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// testdata/coercions.json is what pydantic 2.11.5 makes of values: rows of
// type, value as JSON, what it becomes (64 bits of an integer, null for what
// is not finite), the type of the error.
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
		r := &reader{}
		got := string(r.read(&schema{typ: typ, nullable: want == "null"}, v).Append(nil))
		fault := ""
		if len(r.errs) > 0 {
			got, fault = "", r.errs[0].Type
		}
		if got != want || fault != wantFault {
			t.Errorf("read(%s, %.60s) = %s %s, want %s %s", typ, sent, got, fault, want, wantFault)
		}
	}
}
