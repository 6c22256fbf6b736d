package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/printable"
	"github.com/openhands-local/openhands-local/server"
)

// cli is every command and flag, with its environment variable.
type cli struct {
	Serve    serveCmd         `cmd:"" default:"withargs" help:"Serve the API (the default)."`
	Exec     execCmd          `cmd:"" help:"Run a command with a server of its own."`
	Ready    readyCmd         `cmd:"" help:"Exit with 0 once a server answers."`
	Events   eventsCmd        `cmd:"" help:"Print a conversation, one line an event."`
	Requests requestsCmd      `cmd:"" help:"Print what a server was asked and answered, one line a request."`
	Clock    clockCmd         `cmd:"" help:"Show the clock of a server, stop it, move it, set it."`
	Export   exportCmd        `cmd:"" help:"Write conversations to a file."`
	Import   importCmd        `cmd:"" help:"Take conversations from a file, or from a folder of OpenHands'."`
	Backup   backupCmd        `cmd:"" help:"Copy the store, also while a server runs."`
	Check    checkCmd         `cmd:"" help:"Look for damage in the store, and save what can be read."`
	Compact  compactCmd       `cmd:"" help:"Give the room of deleted conversations back."`
	Conform  conformCmd       `cmd:"" help:"Run the recorded cases against a server: this one, the real one, a later one."`
	Contract contractCmd      `cmd:"" help:"What is served of the contract."`
	Help     helpCmd          `cmd:"" help:"Tell what a command does, as --help, or of a topic."`
	Complete completionCmd    `cmd:"" name:"completion" help:"Make a shell complete command lines."`
	Ver      versionCmd       `cmd:"" name:"version" help:"Print the version."`
	Version  kong.VersionFlag `help:"Print the version." short:"V"`
}

type versionCmd struct{}

func (*versionCmd) Run(e *env) error {
	_, err := fmt.Fprintln(e.stdout, version())
	return err
}

// env is what a command may use of the world.
type env struct {
	context.Context
	lookup         func(string) (string, bool)
	stdout, stderr printable.Writer // for text; what they have as W is for bytes
}

// Exit statuses. Those of exec are its own.
const (
	statusFailed      = 1
	statusUsage       = 2
	statusLeftOut     = 3   // a command did what it could, and left something out
	statusInterrupted = 130 // a signal ended it, as of a shell
)

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

// usage is the error of a command line that makes no sense.
func usage(format string, a ...any) error { return &failure{statusUsage, fmt.Errorf(format, a...)} }

// report says what went wrong and returns the program's exit status.
func report(w io.Writer, err error) int {
	var f *failure
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &f):
		f = &failure{statusFailed, err}
	}
	if f.err != nil {
		fmt.Fprintln(printable.Writer{W: w}, "openhands-local:", err)
	}
	return f.status
}

// run carries out one command line.
func run(ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) (err error) {
	e := &env{ctx, lookup, printable.Writer{W: stdout}, printable.Writer{W: stderr}}
	parser, err := kong.New(&cli{},
		kong.Name("openhands-local"),
		kong.Description("The OpenHands "+api.Recorded+" API as one binary: starts in milliseconds, keeps every event on disk."),
		kong.Writers(e.stdout, e.stderr),
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
	if len(args) > 0 && args[0] == "help" && !isTopic(args[1:]) {
		args = slices.Concat(args[1:], []string{"--help"})
	}
	command, err := parser.Parse(args)
	var wrong *kong.ParseError
	if errors.As(err, &wrong) {
		return notParsed(args, wrong)
	}
	err = command.Run(e, parser)
	var f *failure
	var config server.ConfigError
	if errors.As(err, &f) && f.status == statusUsage || f == nil && errors.As(err, &config) {
		return withHelp(statusUsage, err, command.Selected().FullPath())
	}
	return err
}

// notParsed says what is wrong with a command line, also where the parser's
// words lead nowhere.
func notParsed(args []string, wrong *kong.ParseError) error {
	node, err := wrong.Context.Selected(), error(wrong)
	switch {
	case node != nil && node.Name == "exec":
		return withHelp(statusNoServer, err, node.FullPath())
	case node != nil && node.Name != "serve":
		return withHelp(statusUsage, err, node.FullPath())
	case len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "serve": // kong takes it for an argument of the default
		return withHelp(statusUsage, fmt.Errorf("there is no command %s", args[0]), "openhands-local")
	case strings.HasPrefix(err.Error(), "unknown flag --port"):
		err = errors.New("unknown flag --port: --addr localhost:PORT chooses the port")
	}
	return withHelp(statusUsage, err, "openhands-local serve")
}

// withHelp makes an error of the command line name --help.
func withHelp(status int, err error, command string) error {
	return &failure{status, fmt.Errorf("%w\n%s --help tells what it takes", err, command)}
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

// version is the module's, with the commit where the build knows it, and the
// contract's: "v1.2.3 0123456789ab (api 0.53.0)". The go command's own version of
// what has no tag has the commit in it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	return versionOf(info) + " (api " + api.Versions() + ")"
}

func versionOf(info *debug.BuildInfo) string {
	v := strings.Trim(info.Main.Version, "()")
	if v == "" {
		v = "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			if commit := s.Value[:min(12, len(s.Value))]; !strings.Contains(v, commit) {
				v += " " + commit
			}
		}
	}
	return v
}
