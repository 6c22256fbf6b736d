// The coverage command writes the page COVERAGE.md to standard output: with each
// operation of the contract the recorded cases that ask it.
//
//	go run ./server/workshop/coverage >server/openhands-local/COVERAGE.md
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/agentserver"
	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/gen"
	v1 "github.com/openhands-local/openhands-local/gen/agentserver"
)

// coverage is what the recorded cases ask of one operation.
type coverage struct {
	name        string // as Markdown
	state       string
	cases       []string // sorted
	requests    int
	differences []conform.Difference
}

// notRecorded is the state of an operation that the recorded server did not
// have, whether it is implemented or not: `contract status` tells that.
const notRecorded = "not recorded"

// coverageCommand makes the page, in the folder of the module.
const coverageCommand = "go run ./server/workshop/coverage >server/openhands-local/COVERAGE.md"

func main() {
	if err := writeCoverage(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
}

// writeCoverage writes the page COVERAGE.md.
func writeCoverage(w io.Writer) error {
	rows := countCoverage(conform.Cases(), conform.Declared())
	status := api.ContractStatus()
	_, err := fmt.Fprintf(w, `# Coverage of the contract

The %d operations of OpenHands %s and %d of later versions, and the requests
recorded from the real %s that ask them. A difference is one that
openhands-local declares, with its reason; `+"`openhands-local conform --differences`"+`
lists them one by one.

This page is generated: `+"`"+coverageCommand+"`"+` makes it anew.

| Operation | State | Cases | Requests | Differences |
|---|---|--:|--:|---|
`, status.Operations(), gen.Version, len(status.Later), api.Recorded)
	for _, row := range rows {
		_, e := fmt.Fprintf(w, "| %s | %s | %d | %d | %s |\n", row.name, row.state, len(row.cases), row.requests, reasons(row.differences))
		err = errors.Join(err, e)
	}
	return errors.Join(err, writeAgentServer(w))
}

// writeAgentServer writes which operations of the agent server's line are served.
func writeAgentServer(w io.Writer) error {
	status := agentserver.ContractStatus()
	_, err := fmt.Fprintf(w, `
## The agent server

Of the %d operations of the agent server %s (`+"`--agent-server`"+`), %d are
served; the others answer 501, whatever is sent. Its websocket
`+"`/sockets/events/{conversation_id}`"+` is served, and no other.

| Operation | State |
|---|---|
`, len(v1.Operations), v1.Version, len(status.Implemented))
	for _, op := range v1.Operations {
		state := "implemented"
		if slices.Contains(status.Unimplemented, op.Name) {
			state = "501"
		}
		_, e := fmt.Fprintf(w, "| `%s %s` | %s |\n", op.Method, op.Path, state)
		err = errors.Join(err, e)
	}
	return err
}

// countCoverage counts for each operation, in the order of the contract, and
// last for all requests that are of none.
func countCoverage(cases []conform.Case, declared []conform.Difference) []*coverage {
	contract := api.Contract()
	unimplemented := api.ContractStatus().Unimplemented
	var rows []*coverage
	byID := map[string]*coverage{}
	for _, op := range gen.Operations {
		row := &coverage{name: "`" + op.Method + " " + op.Path + "`", state: "implemented"}
		if slices.Contains(unimplemented, op.Name) {
			row.state = "501"
		}
		rows, byID[op.ID] = append(rows, row), row
	}
	other := &coverage{name: "none of them: unknown paths, other methods, pages, sockets", state: "–"}
	for _, c := range cases {
		only := c.Requests() == 1
		requests(&c, func(id string, s *conform.Step) {
			row := other
			path, _, _ := strings.Cut(s.Path, "?")
			if op, _ := contract.Match(s.Method, path); op != nil {
				row = byID[op.ID]
			}
			row.requests++
			if !slices.Contains(row.cases, c.Name) {
				row.cases = append(row.cases, c.Name)
			}
			for _, d := range declared {
				if d.Case == c.Name && (d.Step == id || d.Step == "" && only) {
					row.differences = append(row.differences, d)
				}
			}
		})
	}
	for _, row := range rows {
		if row.requests == 0 {
			row.state = notRecorded
		}
	}
	return append(rows, other)
}

// requests calls f for each request of a case with its name, as differences
// name it: "3", and "3.1" for one of those sent at once.
func requests(c *conform.Case, f func(id string, s *conform.Step)) {
	for i := range c.Steps {
		s := &c.Steps[i]
		if s.Method != "" {
			f(strconv.Itoa(i), s)
		}
		for j := range s.Steps {
			f(fmt.Sprintf("%d.%d", i, j), &s.Steps[j])
		}
	}
}

// reasons counts differences by reason: "full-allow 8, no-escape 1".
func reasons(differences []conform.Difference) string {
	var counted []string
	for reason := range conform.Reasons {
		n := 0
		for _, d := range differences {
			if d.Reason == reason {
				n++
			}
		}
		if n > 0 {
			counted = append(counted, fmt.Sprint(reason, " ", n))
		}
	}
	slices.Sort(counted)
	return strings.Join(counted, ", ")
}
