package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints what makes a shell complete command lines. Each script asks
// the program again at every word, so that what it offers is what the program
// takes: openhands-local completion words -- WORD… prints what the last one could be.
type completionCmd struct {
	Shell string   `arg:"" enum:"bash,zsh,fish,words" help:"The shell: bash, zsh or fish."`
	Words []string `arg:"" optional:"" passthrough:"" help:"Of \"words\": the command line so far, after --."`
}

// Help says where the output goes.
func (*completionCmd) Help() string {
	return "In ~/.bashrc: source <(openhands-local completion bash). In ~/.zshrc, after compinit: source <(openhands-local completion zsh). " +
		"In ~/.config/fish/config.fish: openhands-local completion fish | source."
}

var completions = map[string]string{
	"bash": `_openhands_local() {
  COMPREPLY=($(openhands-local completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}"))
}
complete -o default -F _openhands_local openhands-local
`,
	"zsh": `_openhands_local() {
  local -a found=(${(f)"$(openhands-local completion words -- "${(@)words[2,CURRENT]}")"})
  (( $#found )) && compadd -a found || _files
}
compdef _openhands_local openhands-local
`,
	"fish": `complete -c openhands-local -a '(openhands-local completion words -- (commandline -opc)[2..] (commandline -ct))'
`,
}

func (c *completionCmd) Run(e *env, k *kong.Kong) error {
	text, ok := completions[c.Shell]
	if !ok {
		words := c.Words
		if len(words) > 0 && words[0] == "--" {
			words = words[1:]
		}
		for _, word := range complete(k.Model.Node, words) {
			text += word + "\n"
		}
	}
	_, err := fmt.Fprint(e.stdout, text)
	return err
}

// complete returns what the last word of a command line could be, in order. None
// is for the shell to offer files.
func complete(node *kong.Node, words []string) (found []string) {
	if len(words) == 0 {
		return nil
	}
	last, words := words[len(words)-1], words[:len(words)-1]
	last = strings.TrimPrefix(last, "=") // bash makes three words of --flag=value
	words = slices.DeleteFunc(slices.Clone(words), func(word string) bool { return word == "=" })
	if len(words) > 0 && words[0] == "help" {
		words = words[1:]
		for topic := range topics {
			if len(words) == 0 {
				found = append(found, topic)
			}
		}
	}
	var value *kong.Flag // whose value the next word is
	for _, word := range words {
		switch {
		case value != nil:
			value = nil
		case word == "--":
			return nil
		case strings.HasPrefix(word, "-"):
			value = flagOf(node, word)
		default:
			if i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == word }); i >= 0 {
				node = node.Children[i]
			}
		}
	}
	switch {
	case value != nil:
		found = value.EnumSlice()
	case strings.HasPrefix(last, "-"):
		for _, f := range takes(node) {
			found = append(found, "--"+f.Name)
		}
	default:
		for _, n := range node.Children {
			found = append(found, n.Name)
		}
		for _, p := range node.Positional {
			found = append(found, p.EnumSlice()...)
		}
	}
	found = slices.DeleteFunc(found, func(word string) bool { return word == "" || !strings.HasPrefix(word, last) })
	slices.Sort(found)
	return found
}

// takes are the flags that a command line may have after a command.
func takes(node *kong.Node) (flags []*kong.Flag) {
	for _, group := range node.AllFlags(true) {
		flags = append(flags, group...)
	}
	if node.DefaultCmd != nil {
		flags = append(flags, node.DefaultCmd.Flags...)
	}
	return flags
}

// flagOf returns the flag whose value comes after a word, nil for none.
func flagOf(node *kong.Node, word string) *kong.Flag {
	for _, f := range takes(node) {
		if !f.IsBool() && (word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short)) {
			return f
		}
	}
	return nil
}
