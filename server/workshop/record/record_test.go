package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/conform"
)

// Every scenario is recorded, and every recording has the scenario's steps.
func TestScenariosAreRecorded(t *testing.T) {
	scenarios, err := readScenarios("scenarios")
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]conform.Case{}
	for _, c := range conform.AgentServer.Cases() {
		recorded[c.Name] = c
	}
	for _, s := range scenarios {
		c, ok := recorded[s.Name]
		if !ok {
			t.Errorf("scenario %s is not recorded", s.Name)
			continue
		}
		delete(recorded, s.Name)
		steps := slices.Clone(c.Steps)
		for i := range steps {
			steps[i].Answer = nil
		}
		want, _ := json.Marshal(s.Steps)
		got, _ := json.Marshal(steps)
		if string(got) != string(want) {
			t.Errorf("case %s is not the scenario: record it again\n got %.2000s\nwant %.2000s", s.Name, got, want)
		}
	}
	for name := range recorded {
		t.Errorf("case %s has no scenario", name)
	}
}

func TestParseScenarios(t *testing.T) {
	cases, err := parseScenarios([]byte(`
define:
- &body {a: 1, b: [x, null]}
- &step {POST /x: *body, capture: {c: /id}}
cases:
- name: one
  env: {KEY: v}
  llm: [{text: hi}]
  steps:
  - GET /y?z
  - *step
  - each POST /e: ["no json", {<<: *body, a: 2}]
  - {await GET /s: {/status: done}}
  - connect a: /sockets
  - send a: {m: 1}
  - receive a: {ms: 5, until: {/k: v}}
  - {asked: 2}
  - release
  - hangup a:
`))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(cases[0].Steps)
	want := `[{"method":"GET","path":"/y?z"},` +
		`{"method":"POST","path":"/x","headers":[["Content-Type","application/json"]],"body_raw":"{\"a\":1,\"b\":[\"x\",null]}","capture":{"c":"/id"}},` +
		`{"method":"POST","path":"/e","headers":[["Content-Type","application/json"]],"body_raw":"no json"},` +
		`{"method":"POST","path":"/e","headers":[["Content-Type","application/json"]],"body_raw":"{\"b\":[\"x\",null],\"a\":2}"},` +
		`{"method":"GET","path":"/s","until":{"/status":"done"}},` +
		`{"op":"connect","var":"a","path":"/sockets"},` +
		`{"op":"send","var":"a","body_raw":"{\"m\":1}"},` +
		`{"op":"receive","ms":5,"var":"a","until":{"/k":"v"}},` +
		`{"op":"asked","count":2},{"op":"release"},{"op":"hangup","var":"a"}]`
	if string(got) != want || cases[0].Env["KEY"] != "v" || cases[0].LLM[0].Text != "hi" {
		t.Errorf("parseScenarios =\n%s, want\n%s", got, want)
	}
}

func TestParseScenariosRefuses(t *testing.T) {
	for why, text := range map[string]string{
		"an unknown member":    "cases: [{name: x, colour: red, steps: []}]",
		"an unknown step part": "cases: [{name: x, steps: [{GET /x: null, colour: red}]}]",
		"a socket unnamed":     "cases: [{name: x, steps: [{connect: /x}]}]",
		"no YAML":              "cases: [",
	} {
		if _, err := parseScenarios([]byte(text)); err == nil {
			t.Errorf("%s: no error", why)
		}
	}
}

// A case that is written is read as it was.
func TestWrite(t *testing.T) {
	c := conform.AgentServer.Cases()[0]
	file := filepath.Join(t.TempDir(), "case.json")
	if err := write(file, c); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := conform.ParseCase(text)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(c)
	got, _ := json.Marshal(again)
	if string(got) != string(want) || strings.Count(string(text), "\n") != len(c.Steps)+2 {
		t.Errorf("written and read: %.300s, want %.300s", got, want)
	}
}
