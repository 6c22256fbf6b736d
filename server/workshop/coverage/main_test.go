package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/gen"
)

// TestCoverage holds the page to the contract and the recorded cases.
func TestCoverage(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := writeCoverage(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../openhands-local/COVERAGE.md")
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("COVERAGE.md is stale (%v): %s", err, coverageCommand)
	}
}

// TestCountCoverage counts every request and every difference once, and finds
// requests of every operation that could be recorded.
func TestCountCoverage(t *testing.T) {
	t.Parallel()
	rows := countCoverage(conform.Cases(), conform.Declared())
	if got, want := len(rows), len(gen.Operations)+1; got != want {
		t.Fatalf("%d rows, want %d", got, want)
	}
	could := recordable(t)
	requests, differences, recorded := 0, 0, 0
	for i, row := range rows {
		requests += row.requests
		differences += len(row.differences)
		if of := i < len(gen.Operations); of && (row.state == notRecorded) == could[row.name] {
			t.Errorf("%s is %s, with %d recorded requests", row.name, row.state, row.requests)
		}
	}
	for _, c := range conform.Cases() {
		recorded += c.Requests()
	}
	if requests != recorded {
		t.Errorf("requests of all rows = %d, want %d", requests, recorded)
	}
	if want := len(conform.Declared()); differences != want {
		t.Errorf("differences of all rows = %d, want %d", differences, want)
	}
}

// recordable has the rows of operations that the recorded server had.
func recordable(t *testing.T) map[string]bool {
	name := "../../../api/contract/testdata/contract-" + api.Recorded + ".json"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := document.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for op := range doc.Operations() {
		rows["`"+op.String()+"`"] = true
	}
	for _, op := range gen.Operations {
		if op.Unpublished {
			rows["`"+op.Method+" "+op.Path+"`"] = true
		}
	}
	return rows
}

// TestRecordedVersion: the answers are those of the version that is claimed.
func TestRecordedVersion(t *testing.T) {
	t.Parallel()
	for _, c := range conform.Cases() {
		if want := "OpenHands " + api.Recorded; c.Recorded.Server != want {
			t.Errorf("case %s was recorded from %q, want %q", c.Name, c.Recorded.Server, want)
		}
	}
}
