package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/printable"
	"github.com/openhands-local/openhands-local/gen"
)

// contractCmd tells of the contract.
type contractCmd struct {
	Status contractStatusCmd `cmd:"" help:"List the operations: implemented, answered by 501, gone from the contract; and what is not validated."`
	Diff   contractDiffCmd   `cmd:"" help:"List the operations that another version's document adds and drops, and those that a client uses."`

	Migration contractMigrationCmd `cmd:"" help:"List what replaces the calls of this API in OpenHands V1: all of them, or those that a client uses."`
}

type contractStatusCmd struct{}

func (c *contractStatusCmd) Run(e *env) error {
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
	Uses string `type:"existingfile" placeholder:"FILE" help:"Requests of a client, as HAR 1.2: how often it asks each operation."`
}

// Run compares operations by method and path. Those that only running servers
// tell of are compared when the document is a server's. Operations that the
// client uses are listed also when they stay.
func (c *contractDiffCmd) Run(e *env) error {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	doc, err := document.Parse(c.File, text)
	if err != nil {
		return err
	}
	var unpublished, served []string
	here := map[string]gen.Operation{}
	doc.Names = map[string]string{}
	status := api.ContractStatus()
	for _, op := range gen.Operations {
		name := op.Method + " " + op.Path
		here[name], doc.Names[name] = op, op.Name
		if op.Unpublished {
			unpublished = append(unpublished, op.Path)
		}
		if slices.Contains(status.Implemented, op.Name) {
			served = append(served, name)
		}
	}
	doc.Mend()
	if err := cmp.Or(doc.Check(), doc.Another(served)); err != nil {
		return err
	}
	uses, err := c.uses(doc)
	if err != nil {
		return err
	}
	implemented := slices.Concat(status.Implemented, status.Later)
	isServed := doc.Served(unpublished)
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	count := map[string]int{}
	list := func(what, goName, name, state string) {
		count[what]++
		method, path, _ := strings.Cut(name, " ")
		if n := uses[name]; n > 0 {
			state = fmt.Sprintf("%s\tused %d×", state, n)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", what, goName, method, printable.Line(path), state)
	}
	there := map[string]bool{}
	for op := range doc.Operations() {
		name := op.String()
		there[name] = true
		known, isHere := here[name]
		switch {
		case isHere && known.Since == "" && uses[name] > 0:
			list("stays", op.GoName, name, "")
		case isHere && known.Since == "":
		case slices.Contains(implemented, op.GoName):
			list("added", op.GoName, name, "implemented")
		default:
			list("added", op.GoName, name, "501 until it is written")
		}
	}
	for _, op := range gen.Operations {
		if name := op.Method + " " + op.Path; !there[name] && op.Since == "" && (isServed || !op.Unpublished) {
			list("dropped", op.Name, name, "")
		}
	}
	fmt.Fprintf(e.stdout, "api %s → %s: %d operations added, %d dropped\n", gen.Version, doc.Version(), count["added"], count["dropped"])
	if n := uses[""]; n > 0 {
		fmt.Fprintf(e.stdout, "%s: %d that ask no operation of either\n", c.Uses, n)
	}
	return w.Flush()
}

// uses counts the requests of the client by operation of the document or of
// the contract.
func (c *contractDiffCmd) uses(doc *document.Document) (map[string]int, error) {
	if c.Uses == "" {
		return nil, nil
	}
	har, err := os.ReadFile(c.Uses)
	if err != nil {
		return nil, err
	}
	text, err := doc.JSON()
	if err != nil {
		return nil, err
	}
	there, err := contract.Load(text, nil)
	if err != nil {
		return nil, err
	}
	uses, err := document.Uses(har, func(method, path string) string {
		for _, one := range []*contract.Contract{there, api.Contract()} {
			if op, _ := one.Match(method, path); op != nil {
				return op.Method + " " + op.Path
			}
		}
		return ""
	})
	if err != nil {
		return nil, fmt.Errorf("%s %w", c.Uses, err)
	}
	return uses, nil
}
