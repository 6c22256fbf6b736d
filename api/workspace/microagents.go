package workspace

import (
	"context"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// microagentsFolder holds the microagents of a workspace.
const microagentsFolder = ".openhands/microagents"

// legacyMicroagent is a file that is one microagent as a whole.
const legacyMicroagent = ".openhands_instructions"

// A Microagent is a text of instructions for agents, always in force ("repo")
// or called up by words in a message ("knowledge"). It has the form, and the
// order of keys, of GET microagents [sub_microagents].
type Microagent struct {
	Name     string            `json:"name"` // the path below microagentsFolder, without .md
	Type     string            `json:"type"` // "repo" or "knowledge"
	Content  string            `json:"content"`
	Triggers []string          `json:"triggers"` // never nil; empty for "repo"
	Inputs   []MicroagentInput `json:"inputs"`   // never nil
	Tools    []string          `json:"tools"`    // names of MCP servers; never nil
}

// A MicroagentInput is something a microagent asks the user for.
type MicroagentInput struct {
	Name        string `json:"name" yaml:"name"`
	Description string `json:"description" yaml:"description"`
}

// frontMatter is what the head of a microagent's file says.
type frontMatter struct {
	Name     string
	Type     string
	Triggers []string
	Inputs   []MicroagentInput
	MCPTools *struct {
		Servers []struct{ Name string } `yaml:"stdio_servers"`
	} `yaml:"mcp_tools"`
}

// fence is the line before and after the head.
var fence = regexp.MustCompile(`(?m)^-{3,}\s*$`)

// Microagents returns the microagents of the workspace: the file
// .openhands_instructions, and each .md file but README.md in
// [microagentsFolder] and below. Those of type "repo" come first, each type in
// the order of the paths. A file begins with YAML between two lines of ---,
// which may be missing: inputs and triggers make it "knowledge". A file that
// is larger than [maxDiff], or whose head is wrong, is left out. The error is
// that of ctx or of the system.
func (w *Workspace) Microagents(ctx context.Context) ([]Microagent, error) {
	agents := []Microagent{}
	if b, err := w.readFile(legacyMicroagent, maxDiff); err == nil {
		agents = append(agents, newMicroagent("repo_legacy", strings.ToValidUTF8(string(b), "\uFFFD")))
	}
	agents, err := w.microagents(ctx, microagentsFolder, agents)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(agents, func(a, b Microagent) int { return -strings.Compare(a.Type, b.Type) })
	return agents, nil
}

// microagents adds those in a folder.
func (w *Workspace) microagents(ctx context.Context, dir string, agents []Microagent) ([]Microagent, error) {
	entries, err := w.readDir(dir)
	if w.absent(err) {
		return agents, nil
	} else if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		local := path.Join(dir, e.Name())
		if e.IsDir() {
			if agents, err = w.microagents(ctx, local, agents); err != nil {
				return nil, err
			}
		} else if path.Ext(local) == ".md" && e.Name() != "README.md" {
			b, err := w.readFile(local, maxDiff)
			if err != nil {
				continue
			}
			name := strings.TrimSuffix(strings.TrimPrefix(local, microagentsFolder+"/"), ".md")
			if agent, ok := parseMicroagent(name, strings.ToValidUTF8(string(b), "\uFFFD")); ok {
				agents = append(agents, agent)
			}
		}
	}
	return agents, nil
}

func newMicroagent(name, content string) Microagent {
	return Microagent{Name: name, Type: "repo", Content: newlines.Replace(content), Triggers: []string{}, Inputs: []MicroagentInput{}, Tools: []string{}}
}

// parseMicroagent reads a file; ok is false when its head is wrong.
func parseMicroagent(name, text string) (agent Microagent, ok bool) {
	text = strings.TrimSpace(text)
	head := frontMatter{Name: "default", Type: "repo"}
	if parts := fence.Split(text, 3); len(parts) == 3 && parts[0] == "" {
		if err := yaml.Unmarshal([]byte(parts[1]), &head); err != nil {
			return Microagent{}, false
		}
		text = strings.TrimSpace(parts[2])
	}
	agent = newMicroagent(name, text)
	if head.MCPTools != nil {
		for _, s := range head.MCPTools.Servers {
			agent.Tools = append(agent.Tools, s.Name)
		}
	}
	agent.Inputs = append(agent.Inputs, head.Inputs...)
	if len(head.Inputs) > 0 && !slices.Contains(head.Triggers, "/"+head.Name) {
		head.Triggers = append(head.Triggers, "/"+head.Name)
	}
	if len(head.Triggers) > 0 {
		agent.Type, agent.Triggers = "knowledge", head.Triggers
	}
	known := slices.Contains([]string{"repo", "knowledge", "task"}, head.Type)
	return agent, known && (head.MCPTools == nil || len(agent.Tools) > 0)
}
