package pyjson_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

func TestDecode(t *testing.T) {
	for _, tt := range decodings {
		v, err := pyjson.Decode([]byte(tt.doc))
		switch syntax := (*pyjson.SyntaxError)(nil); {
		case tt.msg == "encoding":
			if !errors.Is(err, pyjson.ErrEncoding) {
				t.Errorf("Decode(%q) = %v, %v, want ErrEncoding", tt.doc, v.Repr(), err)
			}
		case tt.msg != "":
			if !errors.As(err, &syntax) || syntax.Msg != tt.msg || syntax.Offset != tt.offset {
				t.Errorf("Decode(%q) = %v, %v, want %s: character %d", tt.doc, v.Repr(), err, tt.msg, tt.offset)
			}
		case err != nil:
			t.Errorf("Decode(%q): %v, want %s", tt.doc, err, tt.compact)
		default:
			if got := string(v.Append(nil)); got != tt.compact {
				t.Errorf("Decode(%q).Append = %q, want %q", tt.doc, got, tt.compact)
			}
			if got := string(v.AppendASCII(nil)); got != tt.ascii {
				t.Errorf("Decode(%q).AppendASCII = %q, want %q", tt.doc, got, tt.ascii)
			}
			if got := v.Repr(); got != tt.repr {
				t.Errorf("Decode(%q).Repr = %q, want %q", tt.doc, got, tt.repr)
			}
		}
	}
}

func TestDecodeLiteral(t *testing.T) {
	for _, tt := range literals {
		v, err := pyjson.DecodeLiteral(tt.text)
		got := string(v.Append(nil))
		switch {
		case errors.Is(err, pyjson.ErrLiteral):
			got = "invalid"
		case errors.Is(err, pyjson.ErrNotJSON):
			got = "not JSON"
		case err != nil:
			t.Errorf("DecodeLiteral(%q): %v", tt.text, err)
		}
		if got != tt.want {
			t.Errorf("DecodeLiteral(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func decode(t *testing.T, doc string) pyjson.Value {
	t.Helper()
	v, err := pyjson.Decode([]byte(doc))
	if err != nil {
		t.Fatalf("Decode(%.60q): %v", doc, err)
	}
	return v
}

func TestDecodeLimits(t *testing.T) {
	nested := func(open, inner, end string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	for _, tt := range []struct {
		name, doc string
		want      error
	}{
		{"digits", strings.Repeat("9", 4300), nil},
		{"too many digits", strings.Repeat("9", 4301), pyjson.ErrDigits},
		{"digits behind a sign", "-" + strings.Repeat("9", 4300), nil},
		{"digits of a float", strings.Repeat("9", 4301) + ".5", nil},
		{"arrays", nested("[", "1", "]", pyjson.MaxDepth), nil},
		{"too many arrays", nested("[", "1", "]", pyjson.MaxDepth+1), pyjson.ErrDepth},
		{"objects", nested(`{"a":`, "1", "}", pyjson.MaxDepth), nil},
		{"too many objects", nested(`{"a":`, "1", "}", pyjson.MaxDepth+1), pyjson.ErrDepth},
	} {
		if _, err := pyjson.Decode([]byte(tt.doc)); !errors.Is(err, tt.want) {
			t.Errorf("%s: Decode = %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := pyjson.DecodeLiteral(nested("[", "1", "]", pyjson.MaxDepth+1)); !errors.Is(err, pyjson.ErrLiteral) {
		t.Errorf("a literal nested too deep = %v, want %v", err, pyjson.ErrLiteral)
	}
	if _, err := pyjson.DecodeLiteral(strings.Repeat("9", 4301)); !errors.Is(err, pyjson.ErrLiteral) {
		t.Errorf("a literal of too many digits = %v, want %v", err, pyjson.ErrLiteral)
	}
}

func TestSyntaxError(t *testing.T) {
	_, err := pyjson.Decode([]byte(`["é",]`))
	if want := "Expecting value: character 5"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestTruthyAndFloat64(t *testing.T) {
	for _, tt := range []struct {
		doc    string
		truthy bool
		number float64
	}{
		{"null", false, 0}, {"true", true, 1}, {"false", false, 0}, {"0", false, 0}, {"-7", true, -7}, {"0.0", false, 0},
		{"-0.0", false, 0}, {"2.5", true, 2.5}, {"NaN", true, math.NaN()}, {"Infinity", true, math.Inf(1)}, {"-Infinity", true, math.Inf(-1)},
		{`""`, false, 0}, {`"0"`, true, 0}, {"[]", false, 0}, {"[0]", true, 0}, {"{}", false, 0}, {`{"a":0}`, true, 0},
	} {
		v := decode(t, tt.doc)
		if v.Truthy() != tt.truthy {
			t.Errorf("Truthy(%s) = %v, want %v", tt.doc, v.Truthy(), tt.truthy)
		}
		if got := v.Float64(); got != tt.number && !(math.IsNaN(got) && math.IsNaN(tt.number)) {
			t.Errorf("Float64(%s) = %v, want %v", tt.doc, got, tt.number)
		}
	}
}

func TestStr(t *testing.T) {
	for doc, want := range map[string]string{`"it's"`: "it's", "null": "None", `["it's"]`: `["it's"]`} {
		if got := decode(t, doc).Str(); got != want {
			t.Errorf("Str(%s) = %s, want %s", doc, got, want)
		}
	}
}

func TestConstructors(t *testing.T) {
	v := pyjson.ObjectOf(
		pyjson.Member{Key: "list", Value: pyjson.ArrayOf(pyjson.BoolOf(true), pyjson.IntOf(-3), pyjson.FloatOf(3), pyjson.Value{})},
		pyjson.Member{Key: "text", Value: pyjson.StringOf("\x00\"é")})
	want := `{"list":[true,-3,3.0,null],"text":"\u0000\"é"}`
	if got, err := v.MarshalJSON(); string(got) != want || err != nil {
		t.Errorf("MarshalJSON = %s, %v, want %s", got, err, want)
	}
	if list, ok := v.Get("list"); !ok || list.Kind() != pyjson.Array || len(list.Items()) != 4 || !list.Items()[0].Bool() || !list.Items()[3].IsNull() {
		t.Errorf("Get(list) = %s, %v", list.Append(nil), ok)
	}
	if _, ok := v.Get("none"); ok {
		t.Error("Get of a key that is not there = true")
	}
}

func TestBuilder(t *testing.T) {
	var b pyjson.Builder
	const keys = 100
	for round := range 2 {
		for i := range keys {
			b.Set(strings.Repeat("k", i), pyjson.IntOf(int64(round)))
		}
	}
	members := b.Object().Members()
	if len(members) != keys {
		t.Fatalf("%d members, want %d", len(members), keys)
	}
	for i, m := range members {
		if m.Key != strings.Repeat("k", i) || m.Value.Text() != "1" {
			t.Errorf("member %d = %s: %s", i, m.Key, m.Value.Text())
		}
	}
}

func TestUnservable(t *testing.T) {
	for _, tt := range []struct {
		doc  string
		path []any
		what string
		key  bool
	}{
		{doc: `{"a":[1,"é",{"b":1.5}]}`},
		{doc: `"힣\ud7ff\ue000"`},
		{doc: `{"a":[1,NaN]}`, path: []any{"a", 1}, what: "NaN"},
		{doc: `[{"b":-1e999}]`, path: []any{0, "b"}, what: "-Infinity"},
		{doc: `{"a":{"b":"x\ud800"}}`, path: []any{"a", "b"}, what: "a lone surrogate"},
		{doc: `{"a":{"힣\udfff":1}}`, path: []any{"a"}, what: "a lone surrogate", key: true},
	} {
		f := decode(t, tt.doc).Unservable()
		switch {
		case f == nil && tt.what == "":
		case f == nil || f.What != tt.what || f.Key != tt.key || !equal(f.Path, tt.path):
			t.Errorf("Unservable(%s) = %+v, want %v %s", tt.doc, f, tt.path, tt.what)
		}
	}
}

func equal(a, b []any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Large documents must take time in proportion to their length. The bound is
// far above what they take, far below what a square would.
func TestDecodeIsLinear(t *testing.T) {
	const size = 2 << 20
	number := func(i int) string { return string(pyjson.IntOf(int64(i)).Append(nil)) }
	var keys strings.Builder
	for i := 0; keys.Len() < size; i++ {
		keys.WriteString(`"` + number(i) + `":0,`)
	}
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for name, doc := range map[string]string{
		"keys":           "{" + keys.String() + `"":0}`,
		"duplicate keys": "{" + fill(`"a":1,`) + `"":0}`,
		"deep":           "[" + fill(strings.Repeat("[", 900)+strings.Repeat("]", 900)+",") + "0]",
		"escapes":        `"` + fill(`\ud83d\ude00\n`) + `"`,
		"surrogates":     `"` + fill(`\ud83d`) + `"`,
		"text":           `"` + fill("é") + `"`,
		"numbers":        "[" + fill("1.5,") + "0]",
		"error":          "[" + fill("é,"),
	} {
		start := time.Now()
		v, err := pyjson.Decode([]byte(doc))
		if (err != nil) != (name == "error") {
			t.Errorf("%s: %v", name, err)
		}
		decoded := time.Since(start)
		out := v.AppendASCII(v.Append(nil))
		v.Unservable()
		took := time.Since(start)
		if took > 10*time.Second {
			t.Errorf("%s: %v for %d bytes", name, took, len(doc))
		}
		t.Logf("%s: %v, decoded in %v, %d bytes written", name, took, decoded, len(out))
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range decodings {
		f.Add([]byte(tt.doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if v, err := pyjson.DecodeLiteral(string(doc)); err == nil {
			v.Repr()
		}
		v, err := pyjson.Decode(doc)
		if err != nil {
			if e := (*pyjson.SyntaxError)(nil); errors.As(err, &e) && (e.Msg == "" || e.Offset < 0 || e.Offset > len(doc)) {
				t.Errorf("error %+v of %d bytes", e, len(doc))
			}
			return
		}
		first := v.Append(nil)
		again, err := pyjson.Decode(first)
		if err != nil {
			t.Fatalf("Decode(%q) of %q: %v", first, doc, err)
		}
		if second := again.Append(nil); !bytes.Equal(first, second) {
			t.Errorf("%q becomes %q", first, second)
		}
		ascii, err := pyjson.Decode(v.AppendASCII(nil))
		if err != nil || ascii.Repr() != v.Repr() {
			t.Errorf("in ASCII %q becomes %q: %v", v.Repr(), ascii.Repr(), err)
		}
	})
}
