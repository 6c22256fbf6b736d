package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/archive"
	"github.com/openhands-local/openhands-local/api/printable"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/store"
)

// importCmd takes conversations into a data folder.
type importCmd struct {
	Path    string `arg:"" help:"An export, a trajectory, events, or a folder of OpenHands' (the one with sessions in it, sessions itself, or that of one conversation); - for standard input."`
	ID      string `name:"id" help:"Id of the conversation that a trajectory or events become; unless set, the one that the file tells, or the file's name." placeholder:"ID"`
	Skip    bool   `help:"Leave conversations that exist already as they are." xor:"existing"`
	Replace bool   `help:"Replace conversations that exist already, and settings and secrets." xor:"existing"`
	dataFlags
}

// Help says how an import goes.
func (*importCmd) Help() string {
	return "Events are a list, one a line, or under the key events, as in a saved page of them; a conversation may stand beside them. " +
		"Each conversation is stored whole or not at all; one that exists already is refused unless --skip or --replace is given, and the others are stored. " +
		"What cannot be read as an event, such as a file that is cut, is named and left out. " +
		"The data folder is made when it is missing, unless nothing is imported; no server may have it open: serve --import begins with an import. " +
		"Exit status 3: something was left out."
}

func (c *importCmd) Run(e *env) error {
	m := e.meter()
	o := archive.ImportOptions{
		Settings: api.SettingsRecord,
		ID:       c.ID,
		LeftOut: func(what string, why error) {
			m.end()
			fmt.Fprintln(e.stderr, "left out:", printable.Line(fmt.Sprintf("%s: %v", what, why)))
		},
		Progress: func(sum archive.Summary) {
			m.show("import: %d conversations, %d events", sum.Conversations, sum.Events)
		},
	}
	switch {
	case c.Skip:
		o.Existing = archive.Skip
	case c.Replace:
		o.Existing = archive.Replace
	}
	if c.Path != "-" {
		if _, err := os.Stat(c.Path); err != nil { // before a folder is made for it
			return err
		}
	}
	var sum archive.Summary
	err := server.Import(e, server.Config{Data: c.Data, Key: e.key()}, func(s store.Store) (err error) {
		if c.Path == "-" {
			sum, err = archive.ImportFrom(e, s, os.Stdin, "standard input", o)
		} else {
			sum, err = archive.Import(e, s, c.Path, o)
		}
		if err == nil && sum.LeftOut > 0 && sum.Conversations+sum.Records+sum.Existing == 0 {
			err = &failure{statusLeftOut, fmt.Errorf("import: nothing was imported, %s left out", plural(int64(sum.LeftOut), "thing was", "things were"))}
		}
		return err
	})
	m.end()
	if err == nil || sum.Conversations+sum.Records > 0 {
		records := ""
		if sum.Records > 0 {
			records = ", " + plural(int64(sum.Records), "record of settings or secrets", "records of settings and secrets")
		}
		fmt.Fprintf(e.stderr, "imported %s, %s%s\n", plural(int64(sum.Conversations), "conversation", "conversations"), plural(int64(sum.Events), "event", "events"), records)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{statusInterrupted, errors.New("interrupted: what was imported is whole, the rest is not there")}
	case errors.Is(err, archive.ErrExists):
		return fmt.Errorf("import: %s already: --skip leaves them, --replace replaces them", plural(int64(sum.Existing), "thing exists", "things exist"))
	case err != nil:
		return c.explain(e, err)
	case sum.LeftOut > 0:
		return &failure{statusLeftOut, fmt.Errorf("import: %s left out", plural(int64(sum.LeftOut), "thing was", "things were"))}
	}
	return nil
}
