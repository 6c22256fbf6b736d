package main

import (
	"errors"
	"fmt"

	"github.com/openhands-local/openhands-local/store/boltstore"
)

// checkCmd looks for damage, and saves what can be read.
type checkCmd struct {
	Salvage string `help:"Write a new store to this file, of all that can be read." placeholder:"FILE"`
	dataFlags
}

// Help says what is looked at.
func (*checkCmd) Help() string {
	return "Reads all of events.db (--data takes the name of such a file, too): pages, checksums, and that conversations and events belong together. " +
		"The file is never changed; no server may have it open. Exit status 1: something is damaged, and what is printed says what. " +
		"With --salvage it is 0 once the new store is written: put that in the place of events.db."
}

var errDamaged = errors.New("the store is damaged")

func (c *checkCmd) Run(e *env) error {
	file, err := c.file()
	if err != nil {
		return err
	}
	m := e.meter()
	defer m.end()
	problems := 0
	watch := m.watch("check", func(problem error) {
		problems++
		m.end()
		fmt.Fprintln(e.stdout, "damaged:", problem)
	})
	if c.Salvage != "" {
		report, err := boltstore.Salvage(e, file, c.Salvage, watch)
		if err != nil {
			return c.explain(e, err)
		}
		m.end()
		fmt.Fprintf(e.stdout, "%s: %s\nTo go on with it, stop the server and put it in the place of %s.\n", c.Salvage, contents(report), file)
		return nil
	}
	report, err := boltstore.Check(e, file, watch)
	if err != nil {
		return c.explain(e, err)
	}
	m.end()
	fmt.Fprintf(e.stdout, "%s: %s\n", file, contents(report))
	if problems == 0 {
		fmt.Fprintln(e.stdout, "nothing is damaged")
		return nil
	}
	fmt.Fprintf(e.stdout, "Keep a copy of the file. Then restore a backup, or save what can be read:\n\topenhands-local check --data %s --salvage saved.db\nand put saved.db in the place of %s.\n", c.Data, file)
	return errDamaged
}
