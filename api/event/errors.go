package event

import (
	"fmt"
	"slices"
	"strings"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// example is what a person is shown who sent nothing of use.
const example = `{"action":"message","args":{"content":"Hi"}}`

// decoding is one body on its way; errs collects what is wrong.
type decoding struct {
	Options
	timestamp string // as it is written
	stored    bool   // another server has stored it: nobody mistyped it
	errs      []fastapi.Error
	entries   int // of its models, see maxEntries
}

// maxErrors bounds what a refusal tells: nobody reads on.
const maxErrors = 20

// enough tells whether a refusal is full.
func (d *decoding) enough() bool { return len(d.errs) >= maxErrors }

// fail adds an error in words of ours; loc is its place within the body.
func (d *decoding) fail(typ string, input pyjson.Value, msg string, loc ...any) {
	d.refuse(&fastapi.Fault{Type: typ, Msg: msg}, input, loc...)
}

// refuse adds an error; loc is its place within the body.
func (d *decoding) refuse(f *fastapi.Fault, input pyjson.Value, loc ...any) {
	if !d.enough() {
		d.errs = append(d.errs, f.At(input, append([]any{"body"}, loc...)...))
	}
}

// err is what is wrong, nil for nothing.
func (d *decoding) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	return &fastapi.Invalid{Errors: d.errs}
}

// syntax is the error of a body that is no JSON.
func syntax(body []byte, err error) error {
	e, ok := err.(*pyjson.SyntaxError)
	if ok && len(body) > 0 {
		return fastapi.JSONInvalid(e)
	}
	f := &fastapi.Fault{Type: "value_error", Msg: "JSON decode error: " + err.Error()}
	if ok {
		f = &fastapi.Fault{Type: "missing", Msg: "Field required: a JSON body such as " + example}
	}
	return f.Refuse(pyjson.Value{}, "body")
}

// nearest is the known name that one slip makes of the given one: one edit
// for names of up to five letters, two for longer ones.
func nearest(name string, known []string) string {
	most := 1
	if len(name) > 5 {
		most = 2
	}
	best := ""
	for _, k := range known {
		if d := distance(name, k, most); d <= most && d > 0 {
			best, most = k, d-1
			if most == 0 {
				break
			}
		}
	}
	return best
}

// distance is the number of edits between two names, counted up to most + 1;
// letters that changed places are one.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	before, row := []int(nil), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(next[j]+1, row[j+1]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// names are the keys of a table, sorted.
func names(table map[string]*kind) []string {
	all := make([]string, 0, len(table))
	for name := range table {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// quoted is a name that a client chose, cut to what a sentence or a header can
// hold.
func quoted(name string) string {
	const most = 60
	for i := range name {
		if i >= most {
			return fmt.Sprintf("%q…", name[:i])
		}
	}
	return fmt.Sprintf("%q", name)
}

// didYouMean ends a sentence about a name that is not known.
func didYouMean(name string, known []string) string {
	if n := nearest(name, known); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ". Known: " + strings.Join(known, ", ")
}
