package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/contract/document/node"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
	"github.com/openhands-local/openhands-local/server/workshop/recorded"
)

// A try is a bump carried out in a copy of the module.
type try struct {
	*bump
	*result
	dir string
}

// run fills the result. Its error is what kept it from finding out; a bump
// that cannot be is no error.
func (t *try) run(ctx context.Context, published, doc *document.Document, actions []overlay.Action, code *code) error {
	t.say("generating")
	changes := make(chan error, 1)
	go func() { changes <- t.changelog(ctx) }()
	err := t.contract(published, doc, actions)
	if err == nil {
		err = t.build(ctx, code)
	}
	if err == nil && t.ok() && !t.noTests {
		err = t.test(ctx)
	}
	return errors.Join(err, <-changes)
}

// contract tells of operations, actions, cases and constructs.
func (t *try) contract(published, doc *document.Document, actions []overlay.Action) error {
	served, err := t.bump.document(servedFile)
	if err != nil {
		return err
	}
	before := map[string]bool{}
	for op := range published.Operations() {
		before[op.String()] = true
	}
	for op := range doc.Operations() {
		if !before[op.String()] {
			t.added = append(t.added, op)
		}
	}
	idle, err := overlay.Join(doc, actions) // from here on doc is what will be served
	if err != nil {
		return err
	}
	t.idle = idle
	after := map[string]bool{}
	for op := range doc.Operations() {
		after[op.String()] = true
		t.names = append(t.names, op.GoName)
	}
	for op := range served.Operations() {
		if !after[op.String()] {
			t.removed = append(t.removed, op)
		}
	}
	text, err := doc.JSON()
	if err != nil {
		return err
	}
	loaded, err := contract.Load(text, nil)
	if err != nil {
		t.failures = append(t.failures, failure{"the contract does not load", err.Error()})
		return nil
	}
	if text, err = served.JSON(); err != nil {
		return err
	}
	now, err := contract.Load(text, nil)
	if err != nil {
		return err
	}
	if t.result.uses, err = t.countUses(loaded, now); err != nil {
		return err
	}
	t.unvalidated = loaded.Unvalidated()
	for name := range node.Pairs(node.Field(doc.Root(), "webhooks")) {
		t.unvalidated = append(t.unvalidated, webhooks+node.Escape(name))
	}
	was, err := recorded.Contract(t.root)
	if err != nil {
		return err
	}
	t.cases, t.inapplicable = len(conform.Cases()), recorded.Inapplicable(was, loaded, conform.Cases())
	return nil
}

// webhooks begins the pointers to those of a document, which the contract does
// not load.
const webhooks = "#/webhooks/"

// changelog asks oasdiff what changed in operations that were there. A document
// that it cannot compare can be served all the same.
func (t *try) changelog(ctx context.Context) error {
	out, err := t.command(ctx, t.root, "go", "tool", "-modfile=.tools.mod", "oasdiff", "changelog", "--format", "json",
		publishedFile, filepath.Join(t.dir, publishedFile))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		t.uncompared = string(out)
		return nil
	}
	if len(bytes.TrimSpace(out)) == 0 {
		return nil // nothing but the version
	}
	return json.Unmarshal(out, &t.changes)
}

// programPackage has everything that is compiled with package gen, but for
// tests.
const programPackage = "./server/openhands-local"

// coveragePackage writes the page of the recorded cases.
const coveragePackage = "./server/workshop/coverage"

// build generates and compiles, and compares what was generated.
func (t *try) build(ctx context.Context, code *code) error {
	if len(t.failures) > 0 {
		return nil
	}
	if out, err := t.command(ctx, t.dir, "go", "generate", "./gen"); err != nil {
		said := overlayNote.ReplaceAllString(string(out), "") // the page tells them by itself
		t.failures = append(t.failures, failure{"go generate ./gen", said})
		return ctx.Err()
	}
	was, err := readGenerated(filepath.Join(t.root, typesFile))
	if err != nil {
		return err
	}
	is, err := readGenerated(filepath.Join(t.dir, typesFile))
	if err != nil {
		return err
	}
	t.methods, t.types = is.methods, changedTypes(was, is, code)
	t.say("building")
	program := filepath.Join(t.dir, ".bin", "openhands-local")
	if out, err := t.follow(ctx, io.Discard, released, t.dir, "go", "build", "-o", program, programPackage); err != nil {
		all, _ := t.follow(ctx, io.Discard, released, t.dir, "go", "build", "-gcflags=-e", "-o", program, programPackage) // not only the first ten errors
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if t.compileErrors = compileErrors(string(all)); len(t.compileErrors) == 0 {
			t.failures = append(t.failures, failure{"go build " + programPackage, string(out)})
		}
		return nil
	}
	out, err := t.follow(ctx, io.Discard, released, t.dir, "go", "run", coveragePackage)
	if err != nil {
		t.failures = append(t.failures, failure{"go run " + coveragePackage, string(out)})
		return ctx.Err()
	}
	return os.WriteFile(filepath.Join(t.dir, coverageFile), out, 0o644)
}

// overlayNote is a line of server/workshop/generate on an idle action.
var overlayNote = regexp.MustCompile(`(?m)^generate: ` + regexp.QuoteMeta(overlayFile) + `:.*\n`)

var compileError = regexp.MustCompile(`(?m)^(?:\./)?([^\s:]+\.go):(\d+):(?:\d+:)? (.*(?:\n\t.*)*)$`)

// compileErrors are those in what the go command wrote, as file:line: text,
// which may have further lines.
func compileErrors(out string) []string {
	var all []string
	for _, m := range compileError.FindAllStringSubmatch(out, -1) {
		line := fmt.Sprintf("%s:%s: %s", filepath.ToSlash(m[1]), m[2], strings.ReplaceAll(m[3], "\n\t", "\n      "))
		if !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	return all
}

// test runs the tests that can see package gen. No other can be changed by a
// contract.
func (t *try) test(ctx context.Context) error {
	packages, err := t.packages(ctx)
	if err != nil {
		return err
	}
	t.say("testing %s", strings.Join(packages, ", "))
	args := append([]string{"test", "-json", "-vet=off", "-skip", leftOut}, packages...)
	started := time.Now()
	out, err := t.follow(ctx, &progress{say: t.say}, released, t.dir, "go", args...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.tests.took = time.Since(started)
	t.tests.read(out)
	if t.compileErrors = compileErrors(t.tests.build); err != nil && len(t.compileErrors) == 0 && len(t.tests.failed) == 0 {
		t.failures = append(t.failures, failure{"go " + strings.Join(args, " "), string(out)})
	}
	return nil
}

// packages are those whose tests import gen, directly or not.
func (t *try) packages(ctx context.Context) ([]string, error) {
	out, err := t.command(ctx, t.dir, "go", "list", "-test", "-f", "{{if .ForTest}}{{.ForTest}} {{join .Deps \" \"}}{{end}}", "./...")
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, out)
	}
	var all []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || !slices.ContainsFunc(fields[1:], func(d string) bool { return d == genPackage }) {
			continue
		}
		if name := "." + strings.TrimPrefix(fields[0], modulePath); !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all, nil
}

// command runs one in a folder and returns what it wrote: its output, and
// when it failed what it said of that.
func (t *try) command(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	return t.follow(ctx, io.Discard, nil, dir, name, args...)
}

// released is the environment in which the program is released, and built by
// tests: so every package is compiled once, and one that does not see package
// gen is cached wherever the copy lies.
var released = []string{"CGO_ENABLED=0", "GOFLAGS=-trimpath"}

// follow is command in an environment, which writes the output to w as it
// comes, too.
func (t *try) follow(ctx context.Context, w io.Writer, env []string, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append(env, "GOWORK=off")...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go test ends what it started
	cmd.WaitDelay = 10 * time.Second
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, w), &said
	err := cmd.Run()
	if err != nil {
		out.Write(said.Bytes())
	}
	return out.Bytes(), err
}

// A progress tells of each package when its tests have ended, from what go
// test -json writes.
type progress struct {
	say   func(format string, args ...any)
	rest  []byte // of a line that has not ended
	tests map[string]int
}

func (p *progress) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		line, rest, ended := bytes.Cut(p.rest, []byte("\n"))
		if !ended {
			return len(b), nil
		}
		p.rest = rest
		var e struct {
			Action, Package, Test string
			Elapsed               float64
		}
		_ = json.Unmarshal(line, &e) // what is no JSON tells nothing
		switch {
		case e.Test != "" && (e.Action == "pass" || e.Action == "fail"):
			if p.tests == nil {
				p.tests = map[string]int{}
			}
			p.tests[e.Package]++
		case e.Test == "" && (e.Action == "pass" || e.Action == "fail"):
			p.say("%s: %s, %s in %.0f s", e.Action, strings.TrimPrefix(e.Package, modulePath), plural(p.tests[e.Package], "test", "tests"), e.Elapsed)
		}
	}
}

// tests is what became of them.
type tests struct {
	passed  int
	skipped []failure // with the reason
	failed  []failure
	build   string // what the compiler said
	took    time.Duration
}

// read takes what go test -json wrote.
func (s *tests) read(out []byte) {
	said := map[string]*strings.Builder{}
	var inner []string // tests with a failed one within
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var e struct{ Action, Package, Test, Output string }
		if err := d.Decode(&e); err != nil {
			if !errors.Is(err, io.EOF) {
				s.failed = append(s.failed, failure{"go test", err.Error()})
			}
			return
		}
		key := e.Package + " " + e.Test
		switch {
		case e.Action == "build-output":
			s.build += e.Output
		case e.Action == "output":
			if said[key] == nil {
				said[key] = &strings.Builder{}
			}
			said[key].WriteString(e.Output)
		case e.Test == "" && e.Action != "fail":
		case e.Action == "pass":
			s.passed++
		case e.Action == "skip":
			s.skipped = append(s.skipped, failure{e.Test, reason(said[key])})
		case e.Action == "fail" && !slices.Contains(inner, key):
			if e.Test == "" && slices.ContainsFunc(s.failed, func(f failure) bool { return strings.HasPrefix(f.what, e.Package) }) {
				continue // told by its tests
			}
			text := ""
			if said[key] != nil {
				text = said[key].String()
			}
			s.failed = append(s.failed, failure{strings.TrimSpace(key), text})
			for name := e.Test; strings.Contains(name, "/"); {
				name = name[:strings.LastIndexByte(name, '/')]
				inner = append(inner, e.Package+" "+name)
			}
		}
	}
}

var skipLine = regexp.MustCompile(`(?m)^\s+\S+\.go:\d+: (.*)$`)

// reason is what a skipped test said.
func reason(said *strings.Builder) string {
	if said == nil {
		return "skipped"
	}
	m := skipLine.FindStringSubmatch(said.String())
	if m == nil {
		return "skipped"
	}
	return m[1]
}
