package main

import (
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/gen"
)

// contractCmd tells of the contract.
type contractCmd struct {
	Status contractStatusCmd `cmd:"" help:"List the operations: implemented, answered by 501, gone from the contract."`
}

type contractStatusCmd struct {
	Markdown bool `help:"Write the page COVERAGE.md: with each operation the recorded cases that ask it."`
}

func (c *contractStatusCmd) Run(e *env) error {
	if c.Markdown {
		return writeCoverage(e.stdout)
	}
	status := api.ContractStatus()
	fmt.Fprintf(e.stdout, "api %s: %d operations, %d implemented, %d by 501, %d orphaned\n",
		gen.Version, len(gen.Operations), len(status.Implemented), len(status.Unimplemented), len(status.Orphaned))
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, op := range gen.Operations {
		state := "implemented"
		if slices.Contains(status.Unimplemented, op.Name) {
			state = "501"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", state, op.Name, op.Method, op.Path)
	}
	for _, name := range status.Orphaned {
		fmt.Fprintf(w, "orphaned\t%s\t\t\n", name)
	}
	return w.Flush()
}
