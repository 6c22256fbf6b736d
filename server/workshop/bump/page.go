package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/printable"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
	"github.com/openhands-local/openhands-local/server/workshop/recorded"
)

// A result is what the page says.
type result struct {
	from, to, spec string
	served, dry    bool

	uses           map[string]int // how often a client asks each operation, "" for none of them; nil when nobody asked
	mends          []document.Mend
	added, removed []document.Operation
	names          []string          // of all operations that will be served
	methods        map[string]string // name => parameters of the method to write
	handlers       map[string]string // name => file:line of the method that there is
	changes        []change
	uncompared     string // why nothing is known of changes
	idle           []overlay.Idle
	cases          int
	inapplicable   []recorded.Case
	types          []changedType
	compileErrors  []string
	unvalidated    []string
	tests          tests
	failures       []failure // steps that went wrong, with what was said
	replaced       []string  // files
}

// A failure is a step or a test that went wrong.
type failure struct{ what, said string }

// A change is one that oasdiff found.
type change struct {
	ID        string `json:"id"`
	Text      string `json:"text"`
	Level     int    `json:"level"` // 3 is breaking, 2 may be
	Operation string `json:"operation"`
	Path      string `json:"path"`
}

func (r *result) ok() bool {
	return len(r.compileErrors) == 0 && len(r.failures) == 0 && len(r.tests.failed) == 0
}

// form tells which form the document had.
func (r *result) form() string {
	if r.served {
		return "as a running server tells it"
	}
	return "as published"
}

// page writes, and keeps the first error.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(format string, args ...any) {
	if _, err := fmt.Fprintf(p.w, format+"\n", args...); p.err == nil {
		p.err = err
	}
}

// item writes a line of what others wrote, which stays one.
func (p *page) item(format string, args ...any) {
	p.line("%s", printable.Line(fmt.Sprintf(format, args...)))
}

// section writes a heading: what it counts, or what it means that there is
// nothing.
func (p *page) section(title string, n int, none, some string, args ...any) {
	if n == 0 {
		p.line("%-14s %s", title, none)
		return
	}
	p.line("%-14s %s", title, fmt.Sprintf(some, args...))
}

// write writes the page. What a bump is refused for comes first, and what is
// told beside it after.
func (r *result) write(w io.Writer) error {
	p := &page{w: printable.Writer{W: w}}
	p.line("")
	p.item("Contract %s → %s, from %s (%s)", r.from, r.to, r.spec, r.form())
	p.line("")
	if !r.ok() {
		r.writeRefusal(p)
		r.writeProof(p)
		p.line("")
	}
	r.writeUses(p)
	r.writeMends(p)
	r.writeOperations(p)
	r.writeChanges(p)
	left := slices.DeleteFunc(slices.Clone(r.idle), func(i overlay.Idle) bool { return i.Aside })
	p.section("Overlay", len(r.idle), "every action has its target", "%s left out, %s for what the document has by itself", plural(len(left), "action is", "actions are"), plural(len(r.idle)-len(left), "steps aside", "step aside"))
	for _, i := range r.idle {
		p.item("  %s:%d: %s", overlayFile, i.Line, i)
	}
	p.section("Cases", len(r.inapplicable), fmt.Sprintf("all %d recorded cases apply", r.cases), "%d of %d recorded cases no longer apply, and their tests are skipped", len(r.inapplicable), r.cases)
	for _, c := range r.inapplicable {
		p.item("  %s: %s", c.Name, c.Reason)
	}
	p.section("Go types", len(r.types), "none under handlers changes", "%s under handlers", plural(len(r.types), "type changes", "types change"))
	for _, t := range r.types {
		p.line("  gen.%s  %s", t.name, strings.Join(t.used, " "))
		for _, what := range t.what {
			p.line("      %s", what)
		}
	}
	r.writeUnvalidated(p)
	if r.ok() {
		r.writeProof(p)
		r.writeVerdict(p)
	}
	return p.err
}

// writeProof tells what generating, building and testing came to.
func (r *result) writeProof(p *page) {
	for _, f := range r.failures {
		p.line("Failed         %s", f.what)
		p.said(f.said)
	}
	p.section("Code", len(r.compileErrors), "names nothing that the document does not have", "%s what the document does not have, or has otherwise: compile errors", plural(len(r.compileErrors), "place names", "places name"))
	for _, e := range r.compileErrors {
		p.line("  %s", e)
	}
	r.writeTests(p)
}

// writeUses tells of each operation that the client asks what becomes of it.
func (r *result) writeUses(p *page) {
	if r.uses == nil {
		return
	}
	asked := len(r.uses)
	if r.uses[""] > 0 {
		asked--
	}
	p.line("Used           the client asks %s", plural(asked, "operation", "operations"))
	becomes := func(name string) string {
		is := func(op document.Operation) bool { return op.String() == name }
		if slices.ContainsFunc(r.removed, is) {
			return "is removed"
		}
		if slices.ContainsFunc(r.added, is) {
			return "is added"
		}
		changes, breaking := 0, 0
		for _, c := range r.changes {
			if c.Operation+" "+c.Path == name {
				changes++
				if c.Level == 3 {
					breaking++
				}
			}
		}
		switch {
		case r.uncompared != "":
			return "stays, and may change"
		case changes == 0:
			return "stays as it is"
		}
		return fmt.Sprintf("changes in %s, %d breaking", plural(changes, "place", "places"), breaking)
	}
	for _, name := range slices.Sorted(maps.Keys(r.uses)) {
		if name == "" {
			continue
		}
		p.item("  %s: asked %s, %s", name, plural(r.uses[name], "time", "times"), becomes(name))
	}
	if n := r.uses[""]; n > 0 {
		p.line("  none of them: asked %s", plural(n, "time", "times"))
	}
}

func (r *result) writeMends(p *page) {
	p.section("Mended", len(r.mends), "nothing", "%s of the document", plural(len(r.mends), "flaw", "flaws"))
	for _, m := range r.mends {
		p.item("  line %d: %s", m.Line, m)
	}
}

// instead is what the validation does where a keyword has no like in OpenAPI
// 3.0.
var instead = map[string]string{
	"prefixItems":           "the items are taken as they come",
	"contains":              "no item is looked for",
	"minContains":           "no item is looked for",
	"maxContains":           "no item is looked for",
	"unevaluatedItems":      "further items pass",
	"patternProperties":     "fields of such names take any value",
	"propertyNames":         "fields may have any name",
	"dependentRequired":     "no field asks for another",
	"dependentSchemas":      "no field asks for another",
	"unevaluatedProperties": "further fields pass",
	"if":                    "no condition is looked at",
	"then":                  "no condition is looked at",
	"else":                  "no condition is looked at",
	"contentSchema":         "the text is not decoded",
	"$dynamicRef":           "any value passes",
	"$defs":                 "what refers to them is what counts",
	"webhooks":              "none is sent",
}

// writeUnvalidated counts the constructs by kind, most first, with what the
// validation does instead and where the first is.
func (r *result) writeUnvalidated(p *page) {
	p.section("Not validated", len(r.unvalidated), "none", "%s in OpenAPI 3.0 terms", plural(len(r.unvalidated), "construct has no like", "constructs have no like"))
	by := map[string][]string{}
	for _, pointer := range r.unvalidated {
		kind := pointer[strings.LastIndexByte(pointer, '/')+1:]
		if strings.HasPrefix(pointer, webhooks) {
			kind = "webhooks"
		}
		by[kind] = append(by[kind], pointer)
	}
	kinds := slices.SortedFunc(maps.Keys(by), func(a, b string) int { return cmp.Or(cmp.Compare(len(by[b]), len(by[a])), cmp.Compare(a, b)) })
	for _, kind := range kinds {
		does := cmp.Or(instead[kind], "is no keyword of JSON Schema and says nothing")
		p.item("  %3d %s: %s; %s", len(by[kind]), kind, does, by[kind][0])
	}
}

func (r *result) writeOperations(p *page) {
	p.section("Added", len(r.added), "none", "%s", plural(len(r.added), "operation", "operations"))
	for _, op := range r.added {
		p.item("  %v", op)
		if at := r.handlers[op.GoName]; at != "" {
			p.line("      served by %s, %s", op.GoName, at)
			continue
		}
		p.line("      answered by 501 until a section of package api has the method")
		if parameters, ok := r.methods[op.GoName]; ok { // else nothing was generated
			p.item("      %s(%s) error", op.GoName, parameters)
		}
	}
	p.section("Removed", len(r.removed), "none", "%s", plural(len(r.removed), "operation", "operations"))
	for _, op := range r.removed {
		p.item("  %v", op)
		switch at := r.handlers[op.GoName]; {
		case slices.Contains(r.names, op.GoName):
			p.line("      %s now serves another path", op.GoName)
		case at != "":
			p.line("      orphaned: %s, %s", op.GoName, at)
		}
	}
}

// Changes of oasdiff that are told as added and removed.
var operationChanges = []string{"endpoint-added", "endpoint-removed", "api-removed-without-deprecation", "api-path-removed-without-deprecation",
	"api-removed-before-sunset", "api-path-removed-before-sunset", "api-path-removed-with-deprecation", "api-removed-with-deprecation"}

// elsewhere is where changes are told that are of no operation.
const elsewhere = "beside the operations"

func (r *result) writeChanges(p *page) {
	if r.uncompared != "" {
		p.line("Changed        is not known, since oasdiff cannot compare the two")
		p.said(r.uncompared)
		return
	}
	var order []string
	by := map[string][]change{}
	breaking := 0
	for _, c := range r.changes {
		if slices.Contains(operationChanges, c.ID) {
			continue
		}
		name := c.Operation + " " + c.Path
		if c.Path == "" {
			name = elsewhere
		}
		if by[name] == nil {
			order = append(order, name)
		}
		by[name] = append(by[name], c)
		if c.Level == 3 {
			breaking++
		}
	}
	slices.Sort(order)
	operations := len(order)
	if by[elsewhere] != nil {
		operations--
	}
	p.section("Changed", len(order), "none", "%s, %s for clients", plural(operations, "operation", "operations"), plural(breaking, "breaking change", "breaking changes"))
	for _, name := range order {
		p.item("  %s", name)
		for _, c := range by[name] {
			mark := "         "
			switch c.Level {
			case 3:
				mark = "breaking "
			case 2:
				mark = "may break"
			}
			p.item("      %s %s", mark, strings.ReplaceAll(c.Text, "`", ""))
		}
	}
}

func (r *result) writeTests(p *page) {
	s := &r.tests
	if s.took == 0 {
		p.line("Tests          not run")
		return
	}
	p.line("Tests          %d passed, %d failed, %d skipped, in %v", s.passed, len(s.failed), len(s.skipped), s.took.Round(time.Second))
	for _, f := range s.failed {
		p.line("  failed   %s", f.what)
		p.said(f.said)
	}
	r.writeSkipped(p)
}

// writeSkipped names the skipped tests. Many parts of one test that were
// skipped for the same reason are counted.
func (r *result) writeSkipped(p *page) {
	const most = 3
	together := func(f failure) string {
		test, _, _ := strings.Cut(f.what, "/")
		return test + ": " + f.said
	}
	count := map[string]int{}
	for _, f := range r.tests.skipped {
		count[together(f)]++
	}
	for _, f := range r.tests.skipped {
		switch all := together(f); {
		case count[all] > most:
			p.line("  skipped  %d of %s", count[all], all)
			count[all] = 0
		case count[all] > 0:
			p.line("  skipped  %s: %s", f.what, f.said)
		}
	}
}

// said writes what a step or a test said, the middle of a long text left out.
func (p *page) said(text string) {
	const most = 25
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if left := len(lines) - most; left > 0 {
		lines = slices.Replace(lines, most/2, most/2+left, fmt.Sprintf("… %d more lines", left))
	}
	for _, l := range lines {
		p.line("      %s", l)
	}
}

func (r *result) writeRefusal(p *page) {
	p.line("REFUSED. Nothing was changed.")
	if len(r.compileErrors) > 0 {
		p.line("Next: let the places under Code do without what %s does not have, and bump again.\n", r.to)
	} else {
		p.line("Next: mend what failed, and bump again.\n")
	}
}

func (r *result) writeVerdict(p *page) {
	if r.dry {
		p.line("\nGREEN. It was only tried: nothing was changed. Next: the same without DRY=1.")
		return
	}
	p.line("\nGREEN. In place: %s.", strings.Join(r.replaced, " "))
	unwritten := 0
	for _, op := range r.added {
		if r.handlers[op.GoName] == "" {
			unwritten++
		}
	}
	var next []string
	if unwritten > 0 {
		next = append(next, fmt.Sprintf("write %s under Added", plural(unwritten, "method", "methods")))
	}
	orphaned := slices.ContainsFunc(r.removed, func(op document.Operation) bool {
		return r.handlers[op.GoName] != "" && !slices.Contains(r.names, op.GoName)
	})
	if orphaned {
		next = append(next, "delete the methods under Removed")
	}
	next = append(next, "make check", "commit")
	p.line("Next: %s. The answers stay those recorded from %s.", strings.Join(next, ", "), recorded.Version)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
