package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
	"github.com/openhands-local/openhands-local/server/workshop/recorded"
)

var update = flag.Bool("update", false, "write testdata/page.txt anew")

const (
	module    = "../../.."
	contracts = module + "/api/contract/testdata/"
)

// A checkout is a copy of the module that git watches.
type checkout struct {
	t   *testing.T
	dir string
}

func newCheckout(t *testing.T) checkout {
	t.Helper()
	c := checkout{t, t.TempDir()}
	if err := copyModule(t.Context(), module, c.dir); err != nil {
		t.Fatal(err)
	}
	c.git("init", "--quiet")
	c.git("add", "--all")
	return c
}

func (c checkout) git(args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "git", args...)
	cmd.Dir = c.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// changed are the files that differ from what was checked out, or are new.
func (c checkout) changed() []string {
	c.t.Helper()
	return strings.Fields(c.git("ls-files", "--modified", "--others", "--deleted"))
}

// bump bumps the checkout, without its tests: those of this module are run
// beside this one. The copies lie in one place, for the sake of the compiler's
// cache.
func (c checkout) bump(spec string) (string, error) {
	var page bytes.Buffer
	b := bump{root: c.dir, spec: spec, noTests: true, copy: c.dir + "-copy", page: &page, progress: &bytes.Buffer{}}
	err := b.run(c.t.Context())
	return page.String(), err
}

// atRecorded skips a test that bumps from the recorded version, once the
// module is at another.
func atRecorded(t *testing.T) {
	t.Helper()
	b := bump{root: module}
	published, err := b.document(publishedFile)
	if err != nil {
		t.Fatal(err)
	}
	if v := published.Version(); v != recorded.Version {
		t.Skipf("the module is at %s", v)
	}
}

const nothingToDo = "openapi.json is 0.53.0 already (as a running server tells it). There is nothing to do.\n"

// TestBump bumps to the documents that the project has, and back.
func TestBump(t *testing.T) {
	atRecorded(t)
	if testing.Short() {
		t.Skip("builds the module several times")
	}
	c := newCheckout(t)

	page, err := c.bump(contracts + "served-0.53.0.json")
	if err != nil || page != nothingToDo {
		t.Errorf("bump to what is there = %v\n%s", err, page)
	}
	if changed := c.changed(); len(changed) > 0 {
		t.Errorf("bump to what is there changes %v", changed)
	}

	page, err = c.bump(contracts + "contract-0.52.0.json")
	if !errors.Is(err, errRefused) {
		t.Errorf("bump to 0.52.0 = %v, want %v", err, errRefused)
	}
	for _, want := range []string{
		`(?m)^Removed +1 operation\n  POST /api/conversations/\{conversation_id\}/exp-config\n      orphaned: AddExperimentConfigForConversation, api/runtime\.go:\d+$`,
		`(?m)^  api/overlay\.yaml:\d+: exp-config \(\$\.paths\): it refers to #/components/schemas/ExperimentConfig, which is not there$`,
		`(?m)^Code +1 place .*compile errors\n  api/runtime\.go:\d+: undefined: gen\.ExperimentConfig$`,
		`(?m)^  sub_exp_config: POST /api/conversations/\{conversation_id\}/exp-config is gone$`,
		`^\nContract 0\.53\.0 → 0\.52\.0, .*\n\nREFUSED\. Nothing was changed\.\nNext: let the places under Code do without what 0\.52\.0 does not have, and bump again\.\n\nCode `,
	} {
		if !regexp.MustCompile(want).MatchString(page) {
			t.Errorf("the page of 0.52.0 lacks %s:\n%s", want, page)
		}
	}
	if changed := c.changed(); len(changed) > 0 {
		t.Errorf("the refused bump changes %v", changed)
	}

	page, err = c.bump(contracts + "contract-0.55.0.json")
	if err != nil {
		t.Fatalf("bump to 0.55.0 = %v\n%s", err, page)
	}
	comparePage(t, page)
	want := []string{coverageFile, namesFile, servedFile, typesFile, versionFile, publishedFile}
	if got := c.changed(); !slices.Equal(sorted(got), sorted(want)) {
		t.Errorf("bump to 0.55.0 changes %v, want %v", got, want)
	}

	page, err = c.bump("testdata/served-1.0.0.json")
	if err != nil {
		t.Fatalf("bump to 1.0.0 = %v\n%s", err, page)
	}
	for _, want := range []string{
		"Mended         3 flaws of the document\n  line 56: #/paths/~1api~1v1~1sandboxes~1{id}/delete/parameters: id of the path is not declared",
		"  GET /api/v1/events/search\n      answered by 501 until a section of package api has the method\n      SearchEventsV1(c echo.Context, q gen.SearchEventsV1Params) error\n",
		"      DeleteSandbox(c echo.Context, id string, q gen.DeleteSandboxParams) error\n",
		"  POST /api/conversations/{conversation_id}/message\n      served by AddMessage, api/",
		"EventPage is EventPage_2 here, since the document has another of this name",
		"\n    5 lte: is no keyword of JSON Schema and says nothing; #/paths/",
		"Removed        none\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of 1.0.0 lacks %q:\n%s", want, page)
		}
	}

	for _, version := range []string{"0.54.0", "0.53.0"} {
		page, err := c.bump(contracts + "contract-" + version + ".json")
		if err != nil || !strings.Contains(page, "GREEN. In place: ") {
			t.Fatalf("bump to %s = %v\n%s", version, err, page)
		}
	}
	if diff := c.git("diff"); diff != "" {
		t.Errorf("git diff after the way back:\n%s", diff)
	}
	if changed := c.changed(); len(changed) > 0 {
		t.Errorf("changed after the way back: %v", changed)
	}
}

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

// comparePage holds a page to testdata/page.txt, but for where things are.
func comparePage(t *testing.T, page string) {
	t.Helper()
	for pattern, with := range map[string]string{
		`(?m)^Contract (.*), from \S+/`: "Contract $1, from ",
		`\.go:[\d,]+`:                   ".go:N",
	} {
		page = regexp.MustCompile(pattern).ReplaceAllString(page, with)
	}
	const file = "testdata/page.txt"
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if page != string(want) {
		t.Errorf("the page is not that of %s; -update writes it anew:\n%s", file, page)
	}
}

// TestBumpRefusals: what is no contract is refused before anything is tried,
// with the place, whether a file has it or an address.
func TestBumpRefusals(t *testing.T) {
	answers := map[string]string{"/page": "<html>", "/doc": `{"swagger": "2.0"}`}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "doc.yaml")
	text := "openapi: 3.1.0\ninfo: {version: '1'}\npaths:\n  /a:\n    get: {operationId: a, responses: {'200': {$ref: '#/components/responses/R'}}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]string{
		file:             file + ":5: #/paths/~1a/get/responses/200/$ref: #/components/responses/R leads nowhere",
		s.URL + "/page":  "is a web page, no OpenAPI document",
		s.URL + "/doc":   s.URL + "/doc:1: #/swagger: is OpenAPI 2.0",
		s.URL + "/other": "/other answers 404 Not Found",
		file + ".gone":   "no such file",
	} {
		var page bytes.Buffer
		b := bump{root: module, spec: spec, dry: true, page: &page, progress: &bytes.Buffer{}}
		if err := b.run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bump to %s = %v, want %s", spec, err, want)
		}
		if page.Len() > 0 {
			t.Errorf("bump to %s writes a page:\n%s", spec, &page)
		}
	}
}

// TestBumpUsesRefusals: what is no record of requests is refused before
// anything is tried.
func TestBumpUsesRefusals(t *testing.T) {
	atRecorded(t)
	for uses, want := range map[string]string{contracts + "contract-0.55.0.json": "contract-0.55.0.json is no HAR: it has no log.entries", "none.har": "none.har: no such file"} {
		var page bytes.Buffer
		b := bump{root: module, spec: contracts + "contract-0.55.0.json", uses: uses, dry: true, page: &page, progress: &bytes.Buffer{}}
		if err := b.run(t.Context()); err == nil || !strings.Contains(err.Error(), want) || page.Len() > 0 {
			t.Errorf("bump with the requests of %s = %v, want %s\n%s", uses, err, want, &page)
		}
	}
}

// TestBumpAddress: a document is taken from an address, too.
func TestBumpAddress(t *testing.T) {
	atRecorded(t)
	s := httptest.NewServer(http.FileServer(http.Dir(contracts)))
	defer s.Close()
	var page bytes.Buffer
	b := bump{root: module, spec: s.URL + "/served-0.53.0.json", page: &page, progress: &bytes.Buffer{}}
	if err := b.run(t.Context()); err != nil || page.String() != nothingToDo {
		t.Errorf("bump to an address = %v, %s", err, &page)
	}
}

// tryChanged looks at 0.53.0's document with old text replaced by new.
func tryChanged(t *testing.T, old, new string) *result {
	t.Helper()
	atRecorded(t)
	text, err := os.ReadFile(contracts + "contract-0.53.0.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("the document lacks %s", old)
	}
	published, err := document.Parse("published", text)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := document.Parse("doc", bytes.ReplaceAll(text, []byte(old), []byte(new)))
	if err != nil {
		t.Fatal(err)
	}
	actions, err := overlay.Read(filepath.Join(module, overlayFile))
	if err != nil {
		t.Fatal(err)
	}
	try := try{&bump{root: module}, &result{from: "0.53.0", to: "doc"}, ""}
	if err := try.contract(published, doc, actions); err != nil {
		t.Fatal(err)
	}
	return try.result
}

// TestBumpOperationGone: its method is told as orphaned, its cases by name,
// and its actions of the overlay.
func TestBumpOperationGone(t *testing.T) {
	r := tryChanged(t, "/api/user/suggested-tasks", "/api/user/other-tasks")
	code, err := readCode(module)
	if err != nil {
		t.Fatal(err)
	}
	r.handlers, r.methods = code.handlers, map[string]string{"GetSuggestedTasksAPIUser": ""}
	page := pageOf(t, r)
	for _, want := range []string{
		`(?m)^Added +1 operation\n  GET /api/user/other-tasks$`,
		`(?m)^Removed +1 operation\n  GET /api/user/suggested-tasks\n      orphaned: GetSuggestedTasks, api/user\.go:\d+$`,
		`(?m)^Overlay +1 action is left out, 0 step aside`,
		`(?m)^  user_no_settings: GET /api/user/suggested-tasks is gone$`,
		`GREEN.*\nNext: write 1 method under Added, delete the methods under Removed, make check, commit`,
	} {
		if !regexp.MustCompile(want).MatchString(page) {
			t.Errorf("the page lacks %s:\n%s", want, page)
		}
	}
}

// TestBumpNotValidated: what the 3.0 view cannot say is named.
func TestBumpNotValidated(t *testing.T) {
	r := tryChanged(t, `"title": "GETCustomSecrets"`, `"title": "GETCustomSecrets", "dependentRequired": {"a": ["b"]}`)
	want := "\nNot validated  1 construct has no like in OpenAPI 3.0 terms\n    1 dependentRequired: no field asks for another; #/components/schemas/GETCustomSecrets/dependentRequired\n"
	if page := pageOf(t, r); !strings.Contains(page, want) {
		t.Errorf("the page lacks %s:\n%s", want, page)
	}
}

func pageOf(t *testing.T, r *result) string {
	t.Helper()
	var page bytes.Buffer
	if err := r.write(&page); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// TestPageFailures: what failed is told, and nothing is said to be in place.
func TestPageFailures(t *testing.T) {
	var s tests
	s.read([]byte(`{"Action":"output","Package":"m/a","Test":"TestA","Output":"    a_test.go:1: went wrong\n"}
{"Action":"fail","Package":"m/a","Test":"TestA/inner"}
{"Action":"fail","Package":"m/a","Test":"TestA"}
{"Action":"output","Package":"m/a","Test":"TestB","Output":"    b_test.go:7: GET /x is not in the contract\n"}
{"Action":"skip","Package":"m/a","Test":"TestB"}
{"Action":"pass","Package":"m/a","Test":"TestC"}
{"Action":"fail","Package":"m/a"}
{"Action":"build-output","ImportPath":"m/b","Output":"b/b_test.go:3:5: undefined: gen.X\n"}
{"Action":"fail","Package":"m/b"}
`))
	s.took = 1
	page := pageOf(t, &result{tests: s, compileErrors: compileErrors(s.build), failures: []failure{{"go generate ./gen", strings.Repeat("line\n", 40)}}})
	for _, want := range []string{
		"Tests          1 passed, 2 failed, 1 skipped, in 0s\n  failed   m/a TestA/inner\n",
		"  failed   m/b\n",
		"  skipped  TestB: GET /x is not in the contract\n",
		"\n  b/b_test.go:3: undefined: gen.X\n",
		"Failed         go generate ./gen\n      line\n",
		"      … 15 more lines\n",
		"REFUSED. Nothing was changed.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "GREEN") {
		t.Errorf("the page says that it passed:\n%s", page)
	}
}

// TestPagePrintable: what a document says does not rule the terminal.
func TestPagePrintable(t *testing.T) {
	page := pageOf(t, &result{to: "0.1\x1b[2J", changes: []change{{Text: "\u202eadded", Operation: "GET", Path: "/a\u009bb\nGREEN"}}})
	if strings.ContainsAny(page, "\x1b\u202e\u009b") || !strings.Contains(page, `0.1\u001b[2J`) || !strings.Contains(page, `\u202eadded`) || !strings.Contains(page, `b\nGREEN`) {
		t.Errorf("the page is %q", page)
	}
}

// TestPageUses tells a client's author what becomes of what he asks.
func TestPageUses(t *testing.T) {
	op := func(path string) []document.Operation { return []document.Operation{{Method: "GET", Path: path}} }
	r := result{
		uses:  map[string]int{"GET /gone": 1, "GET /new": 2, "GET /same": 3, "GET /other": 4, "": 5},
		added: op("/new"), removed: op("/gone"),
		changes: []change{{Operation: "GET", Path: "/other", Level: 3}, {Operation: "GET", Path: "/other"}, {Operation: "GET", Path: "/more"}},
	}
	want := "\nUsed           the client asks 4 operations\n" +
		"  GET /gone: asked 1 time, is removed\n" +
		"  GET /new: asked 2 times, is added\n" +
		"  GET /other: asked 4 times, changes in 2 places, 1 breaking\n" +
		"  GET /same: asked 3 times, stays as it is\n" +
		"  none of them: asked 5 times\n"
	if page := pageOf(t, &r); !strings.Contains(page, want) {
		t.Errorf("the page lacks %s:\n%s", want, page)
	}
	r.uncompared = "why"
	if page := pageOf(t, &r); !strings.Contains(page, "GET /same: asked 3 times, stays, and may change\n") || !strings.Contains(page, "\nChanged        is not known, since oasdiff cannot compare the two\n      why\n") {
		t.Errorf("the page knows changes that it does not:\n%s", page)
	}
}

// TestPageKinds counts constructs by kind, most first.
func TestPageKinds(t *testing.T) {
	r := result{unvalidated: []string{"#/a/lte", "#/a/prefixItems", "#/b/prefixItems", "#/webhooks/prefixItems"}}
	want := "Not validated  4 constructs have no like in OpenAPI 3.0 terms\n" +
		"    2 prefixItems: the items are taken as they come; #/a/prefixItems\n" +
		"    1 lte: is no keyword of JSON Schema and says nothing; #/a/lte\n" +
		"    1 webhooks: none is sent; #/webhooks/prefixItems\n"
	if page := pageOf(t, &r); !strings.Contains(page, want) {
		t.Errorf("the page lacks %s:\n%s", want, page)
	}
}

// TestPageSkipped counts the parts of a test that were skipped for one reason.
func TestPageSkipped(t *testing.T) {
	r := result{tests: tests{took: 1, skipped: []failure{{"TestA/1", "x"}, {"TestA/2", "x"}, {"TestA/3", "y"}, {"TestA/4", "x"}, {"TestB", "x"}, {"TestA/5", "x"}}}}
	want := "\n  skipped  4 of TestA: x\n  skipped  TestA/3: y\n  skipped  TestB: x\n"
	if page := pageOf(t, &r); !strings.Contains(page, want) {
		t.Errorf("the page lacks %s:\n%s", want, page)
	}
}

// TestBumpReasonFirst: the one error of a document that cannot be generated
// from is told first, and not among the notes on the overlay.
func TestBumpReasonFirst(t *testing.T) {
	atRecorded(t)
	if testing.Short() {
		t.Skip("generates")
	}
	text, err := os.ReadFile(contracts + "contract-0.52.0.json")
	if err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(t.TempDir(), "doc.json")
	text = bytes.Replace(text, []byte(`"title": "GETCustomSecrets"`), []byte(`"title": "GETCustomSecrets", "allOf": [{"type": "object", "properties": {"a\"b": {}}}]`), 1)
	if err := os.WriteFile(spec, text, 0o600); err != nil {
		t.Fatal(err)
	}
	page, err := newCheckout(t).bump(spec)
	if !errors.Is(err, errRefused) {
		t.Fatalf("bump = %v, want %v\n%s", err, errRefused, page)
	}
	reason, notes := strings.Index(page, "may not contain a double quote"), strings.Index(page, "api/overlay.yaml")
	if reason < 0 || reason > notes || strings.Count(page, "exp-config ($.paths)") != 1 || !strings.Contains(page[:reason], "Failed         go generate ./gen\n") {
		t.Errorf("the page tells the reason at %d, the first note at %d:\n%s", reason, notes, page)
	}
}

// TestBumpAnother: another API is refused in one sentence.
func TestBumpAnother(t *testing.T) {
	atRecorded(t)
	var paths strings.Builder
	for i := range 30 {
		fmt.Fprintf(&paths, ` "/api/v1/x%d": {"get": {"operationId": "x%[1]d", "responses": {"200": {"description": ""}}}},`, i)
	}
	spec := filepath.Join(t.TempDir(), "doc.json")
	text := `{"openapi": "3.1.0", "info": {"title": "Teapots", "version": "7"}, "paths": {` + paths.String() +
		`"/api/settings": {"get": {"operationId": "x", "responses": {"200": {"description": ""}}}}}}`
	if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	b := bump{root: module, spec: spec, dry: true, page: &page, progress: &bytes.Buffer{}}
	err := b.run(t.Context())
	want := spec + ": Teapots 7 has 1 of the 47 operations that are served here, so it is another API and no version of this one: "
	if err == nil || !strings.Contains(err.Error(), want) || page.Len() > 0 {
		t.Errorf("bump = %v, want %s\n%s", err, want, &page)
	}
}

// TestPutInPlace: all files or none.
func TestPutInPlace(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		write(from, name, "new")
		write(to, name, "old")
	}
	if changed, err := putInPlace(from, to, []string{"a", "b", "c"}); err == nil {
		t.Errorf("putInPlace without c changes %v", changed)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if read("a") != "old" || read("b") != "old" {
		t.Errorf("a, b = %q, %q, want both as they were", read("a"), read("b"))
	}
	write(from, "b", "old")
	changed, err := putInPlace(from, to, []string{"a", "b"})
	if err != nil || !slices.Equal(changed, []string{"a"}) || read("a") != "new" {
		t.Errorf("putInPlace = %v, %v; a = %q", changed, err, read("a"))
	}
	if entries, _ := os.ReadDir(to); len(entries) != 2 {
		t.Errorf("%d files are left, want 2", len(entries))
	}
}
