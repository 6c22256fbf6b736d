package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/server"
)

// conformCmd runs the recorded cases against any server.
type conformCmd struct {
	URL           string   `arg:"" optional:"" help:"Base URL of the server."`
	Line          string   `enum:"v0,agent" default:"v0" help:"Whose recordings: v0, the API of OpenHands 0.53.0, or agent, that of its agent server."`
	Only          []string `help:"Run these cases alone: names or patterns." placeholder:"CASE"`
	AllowSettings bool     `help:"Also cases that change settings, secrets or tokens, and those that need settings where there are none."`
	AllowHarm     bool     `help:"Also cases that hung or escaped the recorded server, or, with --line agent, write files or run commands."`
	AllowAgent    bool     `help:"Also cases that make an agent act. With --line agent it asks a model: conform stands in for it, on loopback."`
	Fast          bool     `help:"As many requests a second as the server takes; fewer than 10 otherwise."`
	JSON          string   `help:"Write the report here as JSON too; - for standard output instead of the table." placeholder:"FILE"`
	JUnit         string   `name:"junit" help:"Write the report here as JUnit XML too." placeholder:"FILE"`
	Differences   bool     `help:"Print in what openhands-local --strict differs on purpose, and why."`
}

// Help says what a run does to a server.
func (*conformCmd) Help() string {
	return "Cases touch only conversations and secrets which they made, and delete them. With --allow-settings the settings are put back at the end; " +
		"keys and tokens are lost, for a server does not tell them: store them again. What could not be put back is listed. " +
		"What is not sent is counted by reason, and fails nothing. " +
		"SESSION_API_KEY is sent to a server that wants a key. Exit status 0: no answer that was compared differs."
}

var (
	errDiffers = errors.New("the server differs from the recorded one")
	errStopped = errors.New("conform: stopped before all cases were run")
)

func (c *conformCmd) Run(e *env) error {
	line := map[string]conform.Line{"v0": conform.V0, "agent": conform.AgentServer}[c.Line]
	if c.Differences {
		return conform.WriteDifferences(e.stdout, line.Declared())
	}
	if c.URL == "" {
		return usage("conform: want the URL of a server, such as http://localhost:3000")
	}
	key, _ := e.lookup("SESSION_API_KEY")
	target := conform.Target{URL: c.URL, Key: key}
	if err := target.Check(); err != nil {
		return usage("conform: %w", err)
	}
	o := conform.Options{
		Line: line, Only: c.Only, AllowSettings: c.AllowSettings, AllowHarm: c.AllowHarm, AllowAgent: c.AllowAgent, Fast: c.Fast,
		Progress: func(done, all int, c conform.CaseResult) {
			fmt.Fprintf(e.stderr, "%d/%d %s: %s\n", done, all, c.Name, c.Summary())
		},
		Notice: func(what string) { fmt.Fprintln(e.stderr, what) },
	}
	if err := (&readyCmd{URL: c.URL}).wait(e); err != nil {
		return err
	}
	// What we declare is true of our own server alone.
	if info, err := server.Ask(e, c.URL, key); err == nil {
		o.Differences = line.Declared()
		if !info.Strict {
			fmt.Fprintln(e.stderr, "this openhands-local is lenient, which is counted apart: start it with --strict --settings none --agent none to have the recorded refusals too")
		}
	}
	report, err := conform.Run(e, target, o)
	if errors.Is(err, context.Canceled) {
		err = errStopped
	} else if err != nil {
		return err
	}
	if c.JSON == "-" {
		err = errors.Join(err, report.WriteJSON(e.stdout))
	} else {
		err = errors.Join(err, report.WriteText(e.stdout), writeFile(c.JSON, report.WriteJSON))
	}
	err = errors.Join(err, writeFile(c.JUnit, report.WriteJUnit))
	if err == nil && !report.OK() {
		err = errDiffers
	}
	return err
}

// writeFile writes a report; no name, no file.
func writeFile(name string, write func(io.Writer) error) error {
	if name == "" || name == "-" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
