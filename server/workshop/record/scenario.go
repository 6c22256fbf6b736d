package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/api/contract/document/node"
	"gopkg.in/yaml.v3"
)

// commonFile holds what all files of scenarios refer to by name: it is read before each of them.
const commonFile = "common.yaml"

// readScenarios reads all files of a folder. Their form is told in README.md.
func readScenarios(folder string) (cases []conform.Case, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	common, err := os.ReadFile(filepath.Join(folder, commonFile))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if filepath.Base(file) == commonFile {
			continue
		}
		more, err := parseScenarios(append(slices.Clone(common), text...))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		cases = append(cases, more...)
	}
	return cases, nil
}

func parseScenarios(text []byte) (cases []conform.Case, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	for _, c := range list(node.At(doc.Content[0], "cases")) {
		one, err := parseScenario(c)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", c.Line, err)
		}
		cases = append(cases, one)
	}
	return cases, nil
}

func list(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// parseScenario turns a scenario into the form of a recorded case, and checks it as one.
func parseScenario(n *yaml.Node) (conform.Case, error) {
	out := []byte("{")
	member := func(key string, value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(strconv.AppendQuote(out, key), ':')
		out = append(out, value...)
	}
	for key, value := range node.Pairs(n) {
		if key == "steps" {
			continue
		}
		text, err := toJSON(value)
		if err != nil {
			return conform.Case{}, err
		}
		member(key, text)
	}
	var steps [][]byte
	for _, s := range list(node.Field(n, "steps")) {
		more, err := parseStep(s)
		if err != nil {
			return conform.Case{}, fmt.Errorf("line %d: %w", s.Line, err)
		}
		steps = append(steps, more...)
	}
	member("steps", slices.Concat([]byte("["), bytes.Join(steps, []byte(",")), []byte("]")))
	return conform.ParseCase(append(out, '}'))
}

// parseStep turns one entry of a scenario's steps into steps of a case.
func parseStep(n *yaml.Node) ([][]byte, error) {
	n = resolved(n)
	first, body := n.Value, (*yaml.Node)(nil)
	extra := map[string]json.RawMessage{}
	if n.Kind == yaml.MappingNode {
		first, body = n.Content[0].Value, n.Content[1]
		for i := 2; i < len(n.Content); i += 2 {
			text, err := toJSON(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			extra[n.Content[i].Value] = text
		}
	}
	set := func(key string, v any) { extra[key], _ = json.Marshal(v) } // plain values
	verb, rest, _ := strings.Cut(first, " ")
	switch verb {
	case "each": // several bodies of one request, or several requests
		var steps [][]byte
		for _, one := range list(body) {
			if rest != "" {
				one = &yaml.Node{Kind: yaml.MappingNode, Content: append([]*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: rest}, one}, n.Content[2:]...)}
			}
			more, err := parseStep(one)
			if err != nil {
				return nil, err
			}
			steps = append(steps, more...)
		}
		return steps, nil
	case "restart", "release", "settle":
		set("op", verb)
	case "asked":
		set("op", verb)
		extra["count"] = json.RawMessage(node.Text(body))
	case "sleep":
		set("op", verb)
		extra["ms"] = json.RawMessage(node.Text(body))
	case "hangup":
		set("op", verb)
		set("var", rest)
	case "connect":
		set("op", verb)
		set("var", rest)
		set("path", node.Text(body))
	case "receive":
		set("op", verb)
		set("var", rest)
		for key, value := range node.Pairs(resolved(body)) {
			text, err := toJSON(value)
			if err != nil {
				return nil, err
			}
			extra[key] = text
		}
	case "send":
		set("op", verb)
		set("var", rest)
		if err := setBody(body, set); err != nil {
			return nil, err
		}
	case "await": // a request that is sent until its answer has these values
		until, err := toJSON(body)
		if err != nil {
			return nil, err
		}
		extra["until"] = until
		verb, rest, _ = strings.Cut(rest, " ")
		set("method", verb)
		set("path", rest)
	default:
		set("method", verb)
		set("path", rest)
		if err := setBody(body, set); err != nil {
			return nil, err
		}
		if _, given := extra["headers"]; !given && extra["body_raw"] != nil {
			set("headers", [][2]string{{"Content-Type", "application/json"}})
		}
	}
	text, err := json.Marshal(extra)
	return [][]byte{text}, err
}

// setBody sets the body of a request: a text as it is, anything else as JSON.
func setBody(n *yaml.Node, set func(string, any)) error {
	n = resolved(n)
	switch {
	case n == nil, n.Tag == "!!null":
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str":
		set("body_raw", n.Value)
	default:
		text, err := toJSON(n)
		if err != nil {
			return err
		}
		set("body_raw", string(text))
	}
	return nil
}

func toJSON(n *yaml.Node) ([]byte, error) {
	var b, compact bytes.Buffer
	if err := node.WriteJSON(&b, resolved(n), ""); err != nil {
		return nil, err
	}
	err := json.Compact(&compact, b.Bytes())
	return compact.Bytes(), err
}

// resolved is n with aliases and merged mappings replaced by what they stand for.
func resolved(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return resolved(n.Alias)
	}
	if len(n.Content) == 0 {
		return n
	}
	out := *n
	out.Anchor, out.Content = "", nil
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Tag == "!!merge" {
			for key, value := range node.Pairs(resolved(n.Content[i+1])) {
				if node.Field(n, key) == nil {
					out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
				}
			}
			continue
		}
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Tag == "!!merge" {
			continue
		}
		out.Content = append(out.Content, resolved(c))
	}
	return &out
}
