package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"github.com/openhands-local/openhands-local/server/faults"
)

// helpCmd is what run reads as --help, but of a topic.
type helpCmd struct {
	Command []string `arg:"" optional:"" help:"The command, or the topic: environment, faults."`
}

// topics are what help tells of beside commands, from what the program has.
var topics = map[string]func(*kong.Kong) string{
	"environment": helpEnvironment,
	"faults":      helpFaults,
}

func (h *helpCmd) Run(e *env, k *kong.Kong) error {
	_, err := fmt.Fprint(e.stdout, topics[h.Command[0]](k))
	return err
}

// isTopic tells whether the arguments of help are those of a topic.
func isTopic(args []string) bool {
	return len(args) == 1 && slices.Contains(slices.Collect(maps.Keys(topics)), args[0])
}

// columns aligns what tabs separate.
func columns(lines []string) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		_, _ = fmt.Fprintln(w, line)
	}
	_ = w.Flush() // a strings.Builder never fails
	return text.String()
}

func helpEnvironment(k *kong.Kong) string {
	commands := map[string][]string{}
	for _, node := range k.Model.Leaves(true) {
		for _, f := range node.Flags {
			if f.Name != "help" && f.Name != "version" {
				commands[f.Name] = append(commands[f.Name], strings.TrimPrefix(node.Path(), k.Model.Name+" "))
			}
		}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		lines = append(lines, fmt.Sprintf("%s\t--%s of %s", variable(name), name, strings.Join(commands[name], ", ")))
	}
	return "A variable counts where its flag is not given.\n\n" + columns(lines) + "\n" + (*serverFlags)(nil).Help() + "\n"
}

func helpFaults(*kong.Kong) string {
	var lines []string
	for _, p := range faults.Presets {
		lines = append(lines, fmt.Sprintf("%s\t%s (%s)", p.Name, p.What, p.Cites))
	}
	return "A fault is a rule: what it matches, and what goes wrong. Rules come in the file of --faults, or to\n" +
		"/_local/faults of a server. These have a name, as in {\"preset\":\"" + faults.Presets[0].Name + "\"}:\n\n" + columns(lines)
}
