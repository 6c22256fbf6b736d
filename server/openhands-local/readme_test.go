package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// The root of the module, where the README's commands run.
var root = filepath.Join("..", "..")

// A page is what the tests want of the README.
type page struct {
	text   string
	prose  string // text without the blocks
	blocks []block
}

// A block is a fenced one: commands or a transcript when it begins with a
// program's name.
type block struct {
	section  string // the heading above
	language string
	text     string
}

// programs are what a block of commands begins with. One of a program that is
// not here would not be tested.
var programs = regexp.MustCompile(`^(\$ )?(go|make|curl|openhands-local|docker|pip|npm|npx|python3|node|sh|bash) `)

func readme(t *testing.T) page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	p := page{text: string(text)}
	section := ""
	var open *block
	for line := range strings.Lines(p.text) {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &block{section: section, language: strings.TrimSpace(fence)}
		case isFence:
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.text += line
		default:
			p.prose += line
			if strings.HasPrefix(line, "#") {
				section = strings.TrimSpace(strings.TrimLeft(line, "#"))
			}
		}
	}
	if open != nil {
		t.Error("README.md has a block without an end")
	}
	return p
}

// commands are the lines of blocks of commands, but for comments. In a
// transcript they are those after "$ ", each with its output.
func (p page) commands() (all []transcript) {
	for _, b := range p.blocks {
		if !programs.MatchString(b.text) {
			continue
		}
		shown := strings.HasPrefix(b.text, "$ ")
		for line := range strings.Lines(b.text) {
			command, isCommand := strings.CutPrefix(line, "$ ")
			switch {
			case shown && !isCommand:
				all[len(all)-1].output += line
			case strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
				all = append(all, transcript{command: strings.TrimSpace(command), shown: shown})
			}
		}
	}
	return all
}

// A transcript is a command, and what it prints if that is shown.
type transcript struct {
	command, output string
	shown           bool
}

var (
	codeSpan    = regexp.MustCompile("`([^`\n]+)`")
	commandName = regexp.MustCompile(`^[a-z]+( [a-z]+)?`) // without arguments
	flagName    = regexp.MustCompile(`^--[a-z][-a-z]*`)
	aTime       = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+`)
	hasTarget   = regexp.MustCompile(`(?m)^([a-z]+):`)
)

// words splits a command line as far as the README needs it.
func words(line string) []string {
	line, _, _ = strings.Cut(line, " #")
	return strings.Fields(strings.NewReplacer(`"`, "", `'`, "", "…", "x").Replace(line))
}

func model(t *testing.T) *kong.Kong {
	t.Helper()
	k, err := kong.New(&cli{}, kong.Name("openhands-local"), kong.Vars{"version": ""}, kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ownFlags are those of a command, but for help and version.
func ownFlags(node *kong.Node) (flags []*kong.Flag) {
	for _, f := range node.Flags {
		if !f.Hidden && f.Name != "help" && f.Name != "version" {
			flags = append(flags, f)
		}
	}
	return flags
}

// rows are the cells of the table whose header begins with a word.
func (p page) rows(header string) (rows [][]string) {
	inside := false
	for line := range strings.Lines(p.prose) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case inside && !strings.HasPrefix(line, "|---"):
			rows = append(rows, cells)
		case cells[0] == header:
			inside = true
		}
	}
	return rows
}

// flags are those that a text has as code, without the dashes.
func flags(text string) (names []string) {
	for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
		for _, word := range words(span[1]) {
			if name := flagName.FindString(word); name != "" {
				names = append(names, name[2:])
			}
		}
	}
	return names
}

// TestReadmeFlags: the table of settings has each flag of serve once, with its
// default; the table of commands has every command, with its flags beside
// serve's; and neither has another.
func TestReadmeFlags(t *testing.T) {
	p, k := readme(t), model(t)
	defaults := map[string]string{}
	for _, row := range p.rows("flag") {
		given := strings.Split(row[1], ",")
		for i, name := range flags(row[0]) {
			if _, twice := defaults[name]; twice {
				t.Errorf("the table of flags has --%s twice", name)
			}
			defaults[name] = ""
			if i < len(given) {
				defaults[name] = strings.Trim(strings.TrimSpace(given[i]), "`")
			}
		}
	}
	commands := map[string][]string{}
	for _, row := range p.rows("command") {
		name := codeSpan.FindStringSubmatch(row[0])
		if name == nil {
			t.Errorf("the table of commands has a row without one: %v", row)
			continue
		}
		commands[commandName.FindString(name[1])] = flags(strings.Join(row[1:], " "))
	}

	serve := map[string]string{} // what its flags do
	for _, node := range k.Model.Leaves(true) {
		if node.Name != "serve" {
			continue
		}
		for _, f := range ownFlags(node) {
			serve[f.Name] = f.Help
			want := f.Default
			if f.IsBool() && !f.HasDefault {
				want = "off"
			}
			if got, listed := defaults[f.Name]; !listed {
				t.Errorf("the table of flags has no row for --%s, default %q: %s", f.Name, want, f.Help)
			} else if got != want {
				t.Errorf("the table of flags has the default %q of --%s, want %q", got, f.Name, want)
			}
			delete(defaults, f.Name)
		}
	}
	for name := range defaults {
		t.Errorf("the table of flags has --%s, which serve has not", name)
	}
	for _, node := range k.Model.Leaves(true) {
		if node.Name == "serve" {
			continue
		}
		path := strings.TrimPrefix(node.FullPath(), "openhands-local ")
		listed, ok := commands[path]
		if !ok {
			t.Errorf("the table of commands has no row for `%s`: %s", path, node.Help)
			continue
		}
		delete(commands, path)
		for _, f := range ownFlags(node) {
			if i := slices.Index(listed, f.Name); i >= 0 {
				listed = slices.Delete(listed, i, i+1)
			} else if serve[f.Name] != f.Help { // it is not serve's
				t.Errorf("the row of `%s` does not name --%s: %s", path, f.Name, f.Help)
			}
		}
		if len(listed) > 0 {
			t.Errorf("the row of `%s` names --%s, which it has not", path, strings.Join(listed, ", --"))
		}
	}
	for name := range commands {
		t.Errorf("the table of commands has `%s`, which is none", name)
	}
}

// TestReadmeNames: what the README calls by name is there: the files of its
// links, targets of make, flags, and commands of the program with all their
// arguments.
func TestReadmeNames(t *testing.T) {
	p, k := readme(t), model(t)
	for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(p.prose, -1) {
		file, _, _ := strings.Cut(link[1], "#")
		if strings.Contains(file, "://") || file == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			t.Errorf("a link leads nowhere: %v", err)
		}
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range hasTarget.FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	all := map[string]bool{}
	for _, f := range k.Model.Flags {
		all[f.Name] = true
	}
	for _, node := range k.Model.Leaves(true) {
		for _, f := range node.Flags {
			all[f.Name] = true
		}
	}
	var lines []string
	for _, span := range codeSpan.FindAllStringSubmatch(p.prose, -1) {
		lines = append(lines, span[1])
	}
	for _, c := range p.commands() {
		lines = append(lines, c.command)
	}
	for _, line := range lines {
		w := words(line)
		if len(w) == 0 {
			continue
		}
		image := slices.Index(w, "openhands-local")
		switch {
		case w[0] == "make" && len(w) > 1 && !targets[w[1]]:
			t.Errorf("%s: the Makefile has no such target", line)
		case flagName.FindString(w[0]) == w[0] && w[0] != "" && !all[w[0][2:]]:
			t.Errorf("%s is no flag of any command", line)
		case w[0] == "docker" && w[1] == "run" && image > 0:
			line = strings.Join(w[image:], " ")
			fallthrough
		case w[0] == "openhands-local":
			parse(t, model(t), line)
		}
	}
}

// parse wants that the program takes a command line: up to where the shell
// takes over.
func parse(t *testing.T, k *kong.Kong, line string) {
	t.Helper()
	args := words(line)[1:]
	if i := slices.IndexFunc(args, func(a string) bool { return strings.ContainsAny(a, "<>|;&") }); i >= 0 {
		args = args[:i]
	}
	for i := range args {
		if args[i] == "N" {
			args[i] = "1"
		}
	}
	if len(args) > 0 {
		if _, err := k.Parse(args); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestReadmeCommands starts the server as the README says, and runs its
// commands one after the other against it.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("the README's commands need curl: ", err)
	}
	var url string
	ran := 0
	for _, c := range readme(t).commands() {
		switch w := words(c.command); {
		case w[0] == "go" && w[1] == "run" && w[2] == "./server/openhands-local" && len(w) == 3:
			url = goRun(t, c.command)
		case strings.Contains(c.command, "| datamodel-codegen "): // is no program of Go's: make interop runs it
		case w[0] == "curl" && url == "":
			t.Errorf("%s: no server runs yet", c.command)
		case w[0] == "curl":
			ran++
			runCurl(t, c, url)
		case w[0] == "go" && (w[1] == "run" || w[1] == "test"):
			for _, name := range w[2:] {
				if !strings.HasPrefix(name, "./") {
					continue
				}
				list := exec.CommandContext(t.Context(), "go", "list", name)
				list.Dir = root
				if out, err := list.Output(); err != nil || len(out) == 0 {
					t.Errorf("%s: no package %s: %v", c.command, name, err)
				}
			}
		case c.shown:
			t.Errorf("%s: its output is shown, and no test runs it", c.command)
		}
	}
	if ran < 2 {
		t.Errorf("%d commands of the README ran, want a first event and its answer at least", ran)
	}
}

// goRun starts the server by the README's command, on a free port, with a
// folder of its own, and returns its address.
func goRun(t *testing.T, command string) string {
	t.Helper()
	folder := t.TempDir()
	ready := filepath.Join(folder, "ready.json")
	c := exec.Command("sh", "-c", command)
	c.Dir = root
	log := new(bytes.Buffer)
	c.Stdout, c.Stderr = log, log
	c.Env = append(os.Environ(), "OPENHANDS_LOCAL_ADDR=localhost:0", "OPENHANDS_LOCAL_READY_FILE="+ready,
		"OPENHANDS_LOCAL_DATA="+filepath.Join(folder, "openhands-data"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var info struct {
			URL string
			PID int
		}
		if text, err := os.ReadFile(ready); err == nil && json.Unmarshal(text, &info) == nil {
			t.Cleanup(func() {
				// go run passes no signal on.
				if p, err := os.FindProcess(info.PID); err == nil {
					_ = p.Signal(syscall.SIGTERM)
				}
				<-done
			})
			return info.URL
		}
		select {
		case err := <-done:
			t.Fatalf("%s: %v\n%s", command, err, log)
		default:
		}
	}
	_ = c.Process.Kill()
	t.Fatalf("%s: no server after five minutes\n%s", command, log)
	return ""
}

// runCurl wants an answer that is no refusal, and the one that is shown but
// for its time. Of a stream the first line is enough.
func runCurl(t *testing.T, c transcript, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := strings.ReplaceAll(c.command, "http://localhost:3000", url)
	command = strings.ReplaceAll(command, "localhost:3000", "localhost"+url[strings.LastIndex(url, ":"):]) // curl finds NAME.localhost itself
	curl := exec.CommandContext(ctx, "sh", "-c", "exec "+strings.Replace(command, "curl ", "curl --silent --show-error --fail-with-body ", 1))
	curl.Dir = t.TempDir()
	if strings.Contains(command, "|") {
		curl.Args[2] = strings.TrimPrefix(curl.Args[2], "exec ")
	}
	out := new(bytes.Buffer)
	curl.Stderr = out
	stdout, err := curl.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := curl.Start(); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(words(command), "-N") {
		first := make([]byte, 1)
		if _, err := stdout.Read(first); err != nil {
			t.Errorf("%s: %v %s", command, err, out)
		}
		cancel()
		_ = curl.Wait()
		return
	}
	got, err := io.ReadAll(stdout)
	if wait := curl.Wait(); err != nil || wait != nil {
		t.Errorf("%s: %v, %v\n%s%s", command, err, wait, got, out)
		return
	}
	if c.shown && mask(string(got)) != mask(c.output) {
		t.Errorf("%s prints\n%s\nwant, but for the time,\n%s", command, got, c.output)
	}
}

func mask(output string) string {
	return strings.TrimSpace(aTime.ReplaceAllString(output, "TIME"))
}

// TestReadmeExtend: the code of "Extend" is that of the recipes, which
// [TestExtend] carries out.
func TestReadmeExtend(t *testing.T) {
	var recipes string
	names, err := filepath.Glob("testdata/extend/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		recipes += string(text)
	}
	shown := 0
	for _, b := range readme(t).blocks {
		if b.section != "Extend" {
			continue
		}
		shown++
		if !strings.Contains(recipes, b.text) {
			t.Errorf("no recipe of testdata/extend has this block:\n%s", b.text)
		}
	}
	if shown == 0 {
		t.Error("Extend has no code")
	}
}
