package main

import (
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/gen"
)

// contractCmd tells of the contract.
type contractCmd struct {
	Status contractStatusCmd `cmd:"" help:"List the operations: implemented, answered by 501, gone from the contract; and what is not validated."`
	Diff   contractDiffCmd   `cmd:"" help:"List the operations that another version's document adds and drops."`
}

type contractStatusCmd struct {
	Markdown bool `help:"Write the page COVERAGE.md: with each operation the recorded cases that ask it."`
}

func (c *contractStatusCmd) Run(e *env) error {
	if c.Markdown {
		return writeCoverage(e.stdout)
	}
	status, unvalidated := api.ContractStatus(), api.Contract().Unvalidated()
	fmt.Fprintf(e.stdout, "api %s: %d operations, %d implemented, %d by 501, %d orphaned; %d more of later versions; %d constructs not validated\n",
		api.Versions(), status.Operations(), len(status.Implemented), len(status.Unimplemented), len(status.Orphaned), len(status.Later), len(unvalidated))
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, op := range gen.Operations {
		state := "implemented"
		switch {
		case slices.Contains(status.Unimplemented, op.Name):
			state = "501"
		case op.Since != "":
			state = "of " + op.Since
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", state, op.Name, op.Method, op.Path)
	}
	for _, name := range status.Orphaned {
		fmt.Fprintf(w, "orphaned\t%s\t\t\n", name)
	}
	for _, pointer := range unvalidated {
		fmt.Fprintf(w, "not validated\t%s\t\t\n", pointer)
	}
	return w.Flush()
}

type contractDiffCmd struct {
	File string `arg:"" type:"existingfile" help:"An OpenAPI document, JSON or YAML, as published or as a server tells it."`
}

// Run compares operations by method and path. Those that only running servers
// tell of are compared when the document is a server's.
func (c *contractDiffCmd) Run(e *env) error {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	doc, err := document.Parse(c.File, text)
	if err != nil {
		return err
	}
	if err := doc.Check(); err != nil {
		return err
	}
	var unpublished []string
	here := map[string]gen.Operation{}
	for _, op := range gen.Operations {
		here[op.Method+" "+op.Path] = op
		if op.Unpublished {
			unpublished = append(unpublished, op.Path)
		}
	}
	implemented := slices.Concat(api.ContractStatus().Implemented, api.ContractStatus().Later)
	served := doc.Served(unpublished)
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	added, dropped := 0, 0
	there := map[string]bool{}
	for op := range doc.Operations() {
		there[op.String()] = true
		if known, ok := here[op.String()]; ok && known.Since == "" {
			continue
		}
		added++
		state := "501 until it is written"
		if slices.Contains(implemented, op.GoName) {
			state = "implemented"
		}
		fmt.Fprintf(w, "added\t%s\t%s\t%s\t%s\n", op.GoName, op.Method, op.Path, state)
	}
	for _, op := range gen.Operations {
		if there[op.Method+" "+op.Path] || op.Since != "" || op.Unpublished && !served {
			continue
		}
		dropped++
		fmt.Fprintf(w, "dropped\t%s\t%s\t%s\t\n", op.Name, op.Method, op.Path)
	}
	fmt.Fprintf(e.stdout, "api %s → %s: %d operations added, %d dropped\n", gen.Version, doc.Version(), added, dropped)
	return w.Flush()
}
