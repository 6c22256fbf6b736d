package main

import (
	"fmt"
	"io"

	"github.com/openhands-local/openhands-local/store/boltstore"
)

// backupCmd copies the store's file.
type backupCmd struct {
	File string `arg:"" help:"The file to write."`
	source
}

// Help says what a backup is.
func (*backupCmd) Help() string {
	return "A backup is the file events.db as it is at one moment, with settings and secrets, which hold keys; files of workspaces are not in it. " +
		"It is checked before it takes its name, and a file that is there is replaced then. " +
		"Where a server has the data folder open it is asked, and goes on serving. SESSION_API_KEY is sent to a server that wants a key. " +
		"To go back to a backup, put it in the place of events.db in a data folder that no server has open."
}

func (c *backupCmd) Run(e *env) error {
	m := e.meter()
	defer m.end()
	report := boltstore.Report{}
	err := replaceFile(c.File,
		func(w io.Writer) error { return c.write(e, m, w) },
		func(temporary string) (err error) {
			var problems []error
			report, err = boltstore.Check(e, temporary, m.watch("check", func(problem error) { problems = append(problems, problem) }))
			if len(problems) > 0 {
				return fmt.Errorf("the data is damaged, and no backup was made: %w (openhands-local check tells more)", problems[0])
			}
			return err
		})
	if err != nil {
		return c.explain(e, err)
	}
	m.end()
	fmt.Fprintf(e.stderr, "%s: %s\n", c.File, contents(report))
	return nil
}

// write writes the copy, from a server or from the file.
func (c *backupCmd) write(e *env, m *meter, w io.Writer) error {
	base, token, err := c.serving(e)
	if err != nil {
		return err
	}
	out := &tail{w: w, show: func(n int64) { m.show("backup: %s", size(n)) }}
	if base == "" {
		file, err := c.file()
		if err != nil {
			return err
		}
		return boltstore.Backup(e, file, out)
	}
	_, err = out.download(e, base, "/_local/backup", token)
	return err
}

// contents says what a store has.
func contents(r boltstore.Report) string {
	return fmt.Sprintf("%s, %s, %s; %s, %s of it free",
		plural(int64(r.Conversations), "conversation", "conversations"), plural(int64(r.Events), "event", "events"),
		plural(int64(r.Records), "record", "records"), size(r.Size), size(r.Free))
}
