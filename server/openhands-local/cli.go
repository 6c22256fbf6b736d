package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/openhands-local/openhands-local/api"
)

// cli is every command and flag, with its environment variable.
type cli struct {
	Serve    serveCmd         `cmd:"" default:"withargs" help:"Serve the API (the default)."`
	Exec     execCmd          `cmd:"" help:"Run a command with a server of its own."`
	Ready    readyCmd         `cmd:"" help:"Exit with 0 once a server answers."`
	Events   eventsCmd        `cmd:"" help:"Print a conversation, one line an event."`
	Export   exportCmd        `cmd:"" help:"Write conversations to a file."`
	Import   importCmd        `cmd:"" help:"Take conversations from a file, or from a folder of OpenHands'."`
	Backup   backupCmd        `cmd:"" help:"Copy the store, also while a server runs."`
	Check    checkCmd         `cmd:"" help:"Look for damage in the store, and save what can be read."`
	Compact  compactCmd       `cmd:"" help:"Give the room of deleted conversations back."`
	Conform  conformCmd       `cmd:"" help:"Run the recorded cases against a server: this one, the real one, a later one."`
	Contract contractCmd      `cmd:"" help:"What is served of the contract."`
	Version  kong.VersionFlag `help:"Print the version." short:"V"`
}

// env is what a command may use of the world.
type env struct {
	context.Context
	lookup         func(string) (string, bool)
	stdout, stderr io.Writer
}

// exit is how kong ends the program when it has printed help or version.
type exit int

// failure is an error that ends the program with a status of its own. Without
// err there is nothing to say.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit status %d", f.status)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// report says what went wrong and returns the program's exit status.
func report(w io.Writer, err error) int {
	var f *failure
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &f):
		f = &failure{1, err}
	}
	if f.err != nil {
		fmt.Fprintln(w, "openhands-local:", err)
	}
	return f.status
}

// run carries out one command line.
func run(ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) (err error) {
	parser, err := kong.New(&cli{},
		kong.Name("openhands-local"),
		kong.Description("The OpenHands "+api.Recorded+" API as one binary: starts in milliseconds, keeps every event on disk."),
		kong.Writers(stdout, stderr),
		kong.Vars{"version": version()},
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.Resolvers(environment(lookup)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.ValueFormatter(helpWithVariable),
	)
	if err != nil {
		return err
	}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case exit:
			if p != 0 {
				err = fmt.Errorf("exit status %d", p)
			}
		default:
			panic(p)
		}
	}()
	command, err := parser.Parse(args)
	var wrong *kong.ParseError
	switch {
	case errors.As(err, &wrong) && wrong.Context.Selected() != nil && wrong.Context.Selected().Name == "exec":
		return &failure{statusNoServer, err}
	case err != nil:
		return err
	}
	return command.Run(&env{ctx, lookup, stdout, stderr})
}

// environment reads each flag's variable: OPENHANDS_LOCAL_ and its name.
func environment(lookup func(string) (string, bool)) kong.ResolverFunc {
	return func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if value, ok := lookup(variable(flag.Name)); ok {
			return value, nil
		}
		return nil, nil
	}
}

func variable(flag string) string {
	return "OPENHANDS_LOCAL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// helpWithVariable adds a flag's variable to its help.
func helpWithVariable(v *kong.Value) string {
	if v.Flag == nil || v.Name == "help" || v.Name == "version" {
		return kong.DefaultHelpValueFormatter(v)
	}
	return kong.DefaultHelpValueFormatter(v) + " [$" + variable(v.Name) + "]"
}

// version is the module's, and the commit where the build knows it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel (api " + api.Versions() + ")"
	}
	v, commit := info.Main.Version, ""
	if v == "" || v == "(devel)" {
		v = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = " " + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return v + commit + " (api " + api.Versions() + ")"
}
