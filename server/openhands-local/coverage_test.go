package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/gen"
)

// TestCoverage holds the page to the contract and the recorded cases.
func TestCoverage(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := writeCoverage(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("COVERAGE.md")
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("COVERAGE.md is stale (%v): %s", err, coverageCommand)
	}
}

// TestCountCoverage counts every request and every difference once, and asks
// every operation.
func TestCountCoverage(t *testing.T) {
	t.Parallel()
	rows := countCoverage(conform.Cases(), conform.Declared())
	if got, want := len(rows), len(gen.Operations)+1; got != want {
		t.Fatalf("%d rows, want %d", got, want)
	}
	requests, differences, recorded := 0, 0, 0
	for _, row := range rows {
		requests += row.requests
		differences += len(row.differences)
		if row.requests == 0 {
			t.Errorf("no recorded request asks %s", row.name)
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
