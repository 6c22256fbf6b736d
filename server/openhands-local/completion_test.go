package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestComplete(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"ex", "exec export"},
		{"--log-f", "--log-format"},          // serve's, which is the default
		{"serve --log-format ", "json text"}, // the values of a flag
		{"serve --log-format = j", "json"},   // as bash splits --log-format=j
		{"serve --strict --see", "--seed"},   // a flag without a value
		{"serve --data ", ""},                // is for the shell
		{"contract ", "diff migration status"},
		{"contract diff --", "--help --uses --version"},
		{"exec -- ", ""},
		{"help f", "faults"},
		{"help contract d", "diff"},
		{"completion b", "bash"},
		{"nothing", ""},
	} {
		if got := strings.Join(complete(model(t).Model.Node, strings.Split(test.line, " ")), " "); got != test.want {
			t.Errorf("complete(%s) = %s, want %s", test.line, got, test.want)
		}
	}
	if got := complete(model(t).Model.Node, nil); got != nil {
		t.Errorf("complete of no words = %v", got)
	}
}

// TestCompletionScripts: each shell that is here takes its script, and bash
// completes with it.
func TestCompletionScripts(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Symlink(program, filepath.Join(folder, "openhands-local")); err != nil { // which TestMain makes the program
		t.Skip(err)
	}
	path := "PATH=" + folder + string(os.PathListSeparator) + os.Getenv("PATH")
	for shell, script := range completions {
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("%s is not here", shell)
			continue
		}
		check := exec.CommandContext(t.Context(), shell, "-n")
		check.Stdin = strings.NewReader(script)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", shell, err, out)
		}
	}
	bash := exec.CommandContext(t.Context(), "bash", "-c", `source <(openhands-local completion bash)
COMP_WORDS=(openhands-local contract '') COMP_CWORD=2
_openhands_local
echo "${COMPREPLY[@]}"`)
	bash.Env = append(os.Environ(), path)
	if out, err := bash.CombinedOutput(); err != nil || string(out) != "diff migration status\n" {
		t.Errorf("bash completes %q (%v)", out, err)
	}
}

// TestTopics: help names each topic, and has no command of its name.
func TestTopics(t *testing.T) {
	k := model(t)
	for topic, tell := range topics {
		if text := tell(k); len(text) < 200 {
			t.Errorf("help %s = %s", topic, text)
		}
		for _, node := range k.Model.Children {
			if node.Name == topic {
				t.Errorf("%s is a command, too", topic)
			}
			if node.Name == "help" && !strings.Contains(node.Positional[0].Help, topic) {
				t.Errorf("help does not name %s: %s", topic, node.Positional[0].Help)
			}
		}
	}
	if isTopic(nil) || isTopic([]string{"serve"}) || isTopic([]string{"faults", "serve"}) || !isTopic([]string{"faults"}) {
		t.Error("isTopic")
	}
	if !slices.Contains(strings.Fields(helpEnvironment(k)), "OPENHANDS_LOCAL_READY_FILE") {
		t.Error("help environment lacks OPENHANDS_LOCAL_READY_FILE")
	}
}
