package main

import (
	"fmt"

	"github.com/openhands-local/openhands-local/store/boltstore"
)

// compactCmd gives free pages back.
type compactCmd struct{ dataFlags }

// Help says how it is done.
func (*compactCmd) Help() string {
	return "Writes events.db anew without the room that deleted conversations have left, reads that back, and puts it in the place of the old file. " +
		"An interruption at any moment leaves the one or the other. There must be room for both; no server may have the file open."
}

func (c *compactCmd) Run(e *env) error {
	file, err := c.file()
	if err != nil {
		return err
	}
	m := e.meter()
	defer m.end()
	before, after, err := boltstore.Compact(e, file, m.watch("compact", func(problem error) {
		m.end()
		fmt.Fprintln(e.stderr, "damaged:", problem)
	}))
	if err != nil {
		return c.explain(e, err)
	}
	m.end()
	fmt.Fprintf(e.stderr, "%s: %s before, %s after\n", file, size(before.Size), size(after.Size))
	return nil
}
