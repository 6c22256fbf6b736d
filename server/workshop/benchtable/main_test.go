package main

import (
	"strings"
	"testing"
)

const output = `goos: linux
BenchmarkStop-2    	       1	       341.0 stop-ms
BenchmarkStop-2    	       1	       141.0 stop-ms
BenchmarkStop-2    	       1	       210.0 stop-ms
BenchmarkAddEvent/connections=64/conversations=1-2 	 100	 26123 req/s	 0.4211 x-noop
BenchmarkOther-2   	       1	         2.000 ns/op
PASS
`

func TestRun(t *testing.T) {
	var got strings.Builder
	if err := run(strings.NewReader(output), &got); err != nil {
		t.Fatal(err)
	}
	const want = output + `
| what | measured | aim |
|---|---|---|
| … 64 connections, 1 conversation | 0.42 ×, 26,123/s | ≥ 0.50 ×, missed |
| SIGTERM with 100 open sockets: end of the process | 210 ms | ≤ 300 ms |
`
	if got.String() != want {
		t.Errorf("run wrote\n%s\nwant\n%s", &got, want)
	}
}

func TestRunFails(t *testing.T) {
	var got strings.Builder
	if err := run(strings.NewReader(output+"FAIL\tpackage\t1.0s\n"), &got); err == nil {
		t.Error("run = nil for an input that says FAIL")
	}
}

// TestRows: a figure that is shown twice, or has two aims, is a slip.
func TestRows(t *testing.T) {
	seen := map[[2]string]bool{}
	for _, r := range rows {
		key := [2]string{r.benchmark, r.metric}
		if seen[key] || r.atLeast > 0 && r.atMost > 0 {
			t.Errorf("row %v stands twice or has two aims", key)
		}
		seen[key] = true
	}
}
