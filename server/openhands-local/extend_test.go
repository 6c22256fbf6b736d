package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestExtend carries out the recipes of the README's "Extend", each a file of
// testdata/extend, in one copy of the module. A file of theirs is a new one,
// or its name goes on with "before" and a text: then it is put before the
// line that has it. The lines of the comment that begin with a tab are run.
func TestExtend(t *testing.T) {
	t.Parallel()
	module := copyModule(t)
	names, err := filepath.Glob("testdata/extend/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("recipes: %v, %v", names, err)
	}
	recipes := map[string]*txtar.Archive{}
	for _, name := range names {
		recipe, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		recipes[name] = recipe
		for _, f := range recipe.Files {
			if err := extend(module, f); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ran := 0
			for line := range strings.Lines(string(recipes[name].Comment)) {
				command, isCommand := strings.CutPrefix(line, "\t")
				if !isCommand {
					continue
				}
				ran++
				c := exec.CommandContext(t.Context(), "sh", "-c", command)
				c.Dir = module
				if strings.HasPrefix(command, "go test") {
					// As other tests build the program, so that it is built once.
					c.Env = append(c.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -vet=off")
				}
				if out, err := c.CombinedOutput(); err != nil || strings.Contains(string(out), "no tests to run") {
					t.Fatalf("%s: %v\n%s", command, err, out)
				}
			}
			if ran == 0 {
				t.Error("the recipe has no command")
			}
		})
	}
}

// copyModule copies what git would commit into a folder.
func copyModule(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	index, module := t.TempDir(), filepath.Join(t.TempDir(), "module")
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"--work-tree=" + root, "add", "--all"},
		{"checkout-index", "--all", "--prefix=" + module + "/"},
	} {
		c := exec.CommandContext(t.Context(), "git", args...)
		c.Dir = index
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return module
}

// extend makes a new file, or puts a text into one that is there.
func extend(module string, f txtar.File) error {
	name, mark, inside := strings.Cut(f.Name, " before ")
	name = filepath.Join(module, name)
	text := string(f.Data)
	if !inside {
		if _, err := os.Stat(name); err == nil {
			return &os.PathError{Op: "extend", Path: f.Name, Err: os.ErrExist}
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		return os.WriteFile(name, []byte(text), 0o644)
	}
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	at := strings.Index(string(old), mark)
	if at < 0 {
		return &os.PathError{Op: "extend", Path: f.Name, Err: os.ErrNotExist}
	}
	at = strings.LastIndexByte(string(old[:at]), '\n') + 1
	return os.WriteFile(name, []byte(string(old[:at])+text+string(old[at:])), 0o644)
}
