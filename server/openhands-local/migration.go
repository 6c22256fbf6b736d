package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/migration"
	"github.com/openhands-local/openhands-local/api/printable"
)

// contractMigrationCmd tells what replaces the calls of V0.
type contractMigrationCmd struct {
	HAR string `name:"har" type:"existingfile" placeholder:"FILE" help:"Only what this client asks: its requests as HAR 1.2, as exec --har leaves them."`
}

func (c *contractMigrationCmd) Run(e *env) error {
	uses, err := c.uses()
	if err != nil {
		return err
	}
	asked, without := 0, 0
	var list strings.Builder
	for _, call := range migration.Calls() {
		n := uses[call]
		delete(uses, call)
		if c.HAR != "" && n == 0 {
			continue
		}
		s, _ := migration.Of(call)
		asked++
		if s.None {
			without++
		}
		if c.HAR != "" {
			call = fmt.Sprintf("%s  %d×", call, n)
		}
		fmt.Fprintln(&list, call)
		if err := writeSuccessors(&list, s); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stdout, "OpenHands %s → %s %s, %s %s: %s, %d without a successor\n", api.Recorded,
		migration.AgentServer.Name, migration.AgentServer.Version, migration.AppServer.Name, migration.AppServer.Version, plural(int64(asked), "call", "calls"), without)
	if _, err := io.WriteString(e.stdout, list.String()); err != nil {
		return err
	}
	for _, line := range []*migration.Line{migration.AgentServer, migration.AppServer} {
		if n := uses[line.Name]; n > 0 {
			fmt.Fprintf(e.stdout, "%s: %s of the %s already\n", printable.Line(c.HAR), plural(int64(n), "request", "requests"), line.Name)
		}
		delete(uses, line.Name)
	}
	for _, call := range slices.Sorted(maps.Keys(uses)) {
		fmt.Fprintf(e.stdout, "%s: %s of %s\n", printable.Line(c.HAR), plural(int64(uses[call]), "request", "requests"), call)
	}
	return nil
}

// noCall is what a request asks that asks no call of any line.
const noCall = "none of these calls: pages, unknown paths, what is openhands-local's alone"

// uses counts the requests of the client by the call of V0 that each asks, else
// by the name of its line.
func (c *contractMigrationCmd) uses() (map[string]int, error) {
	if c.HAR == "" {
		return nil, nil
	}
	har, err := os.ReadFile(c.HAR)
	if err != nil {
		return nil, err
	}
	uses, err := document.Uses(har, func(method, path string) string {
		if call := migration.Match(method, path); call != "" {
			return call
		}
		if op, _ := api.Contract().Match(method, path); op != nil { // which knows what spans slashes
			return op.Method + " " + op.Path
		}
		switch {
		case migration.AgentServer.Match(method, path) != "":
			return migration.AgentServer.Name
		case migration.AppServer.Match(method, path) != "":
			return migration.AppServer.Name
		}
		return noCall
	})
	if err != nil {
		return nil, fmt.Errorf("%s %w", c.HAR, err)
	}
	return uses, nil
}

// writeSuccessors writes what replaces a call, one line for each.
func writeSuccessors(w io.Writer, s migration.Successors) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range []struct {
		*migration.Line
		calls []string
	}{{migration.AgentServer, s.AgentServer}, {migration.AppServer, s.AppServer}} {
		for i, call := range l.calls {
			name := l.Name
			if i > 0 {
				name = "and"
			}
			fmt.Fprintf(t, "  %s\t%s\n", name, call)
		}
	}
	if s.None {
		fmt.Fprintf(t, "  no successor\t\n")
	}
	if s.Note != "" {
		fmt.Fprintf(t, "  note\t%s\n", s.Note)
	}
	return t.Flush()
}
