package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/printable"
	"github.com/openhands-local/openhands-local/server/workshop/recorded"
)

// A result is what the page says.
type result struct {
	from, to, spec string
	served, dry    bool

	added, removed []document.Operation
	names          []string          // of all operations that will be served
	methods        map[string]string // name => parameters of the method to write
	handlers       map[string]string // name => file:line of the method that there is
	changes        []change
	idle           []document.Idle
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

// section writes a heading: what it counts, or what it means that there is
// nothing.
func (p *page) section(title string, n int, none, some string, args ...any) {
	if n == 0 {
		p.line("%-14s %s", title, none)
		return
	}
	p.line("%-14s %s", title, fmt.Sprintf(some, args...))
}

func (r *result) write(w io.Writer) error {
	p := &page{w: printable.Writer{W: w}}
	p.line("\nContract %s → %s, from %s (%s)\n", r.from, r.to, r.spec, r.form())
	r.writeOperations(p)
	r.writeChanges(p)
	left := slices.DeleteFunc(slices.Clone(r.idle), func(i document.Idle) bool { return i.Aside })
	p.section("Overlay", len(r.idle), "every action has its target", "%s left out, %s for what the document has by itself", plural(len(left), "action is", "actions are"), plural(len(r.idle)-len(left), "steps aside", "step aside"))
	for _, i := range r.idle {
		p.line("  %s:%d: %s", overlayFile, i.Line, i)
	}
	p.section("Cases", len(r.inapplicable), fmt.Sprintf("all %d recorded cases apply", r.cases), "%d of %d recorded cases no longer apply, and their tests are skipped", len(r.inapplicable), r.cases)
	for _, c := range r.inapplicable {
		p.line("  %s: %s", c.Name, c.Reason)
	}
	p.section("Go types", len(r.types), "none under handlers changes", "%s under handlers", plural(len(r.types), "type changes", "types change"))
	for _, t := range r.types {
		p.line("  gen.%s  %s", t.name, strings.Join(t.used, " "))
		for _, what := range t.what {
			p.line("      %s", what)
		}
	}
	p.section("Code", len(r.compileErrors), "names nothing that the document does not have", "%s what the document does not have, or has otherwise: compile errors", plural(len(r.compileErrors), "place names", "places name"))
	for _, e := range r.compileErrors {
		p.line("  %s", e)
	}
	p.section("Not validated", len(r.unvalidated), "none", "%s in OpenAPI 3.0 terms", plural(len(r.unvalidated), "construct has no like", "constructs have no like"))
	for _, pointer := range r.unvalidated {
		p.line("  %s", pointer)
	}
	r.writeTests(p)
	for _, f := range r.failures {
		p.line("Failed         %s", f.what)
		p.said(f.said)
	}
	r.writeVerdict(p)
	return p.err
}

func (r *result) writeOperations(p *page) {
	p.section("Added", len(r.added), "none", "%s", plural(len(r.added), "operation", "operations"))
	for _, op := range r.added {
		p.line("  %v", op)
		if at := r.handlers[op.GoName]; at != "" {
			p.line("      served by %s, %s", op.GoName, at)
			continue
		}
		p.line("      answered by 501 until a section of package api has the method")
		p.line("      %s(%s) error", op.GoName, r.methods[op.GoName])
	}
	p.section("Removed", len(r.removed), "none", "%s", plural(len(r.removed), "operation", "operations"))
	for _, op := range r.removed {
		p.line("  %v", op)
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
		p.line("  %s", name)
		for _, c := range by[name] {
			mark := "         "
			switch c.Level {
			case 3:
				mark = "breaking "
			case 2:
				mark = "may break"
			}
			p.line("      %s %s", mark, strings.ReplaceAll(c.Text, "`", ""))
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
	for _, name := range s.skipped {
		p.line("  skipped  %s", name)
	}
}

// said writes the beginning of what a step or a test said.
func (p *page) said(text string) {
	const most = 25
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, l := range lines {
		if i == most {
			p.line("      … %d more lines", len(lines)-most)
			return
		}
		p.line("      %s", l)
	}
}

func (r *result) writeVerdict(p *page) {
	switch {
	case !r.ok():
		p.line("\nREFUSED. Nothing was changed.")
		if len(r.compileErrors) > 0 {
			p.line("Next: let the places under Code do without what %s does not have, and bump again.", r.to)
		} else {
			p.line("Next: mend what failed, and bump again.")
		}
		return
	case r.dry:
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
