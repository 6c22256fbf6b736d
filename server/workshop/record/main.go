// Record makes the recordings of the agent server's line: it sends the scenarios of a folder to the real server and
// writes its answers as cases of api/conform. README.md tells how to record another version.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/openhands-local/openhands-local/api/conform"
)

type config struct {
	start     string
	url       string
	root      string
	scenarios string
	out       string
	only      string
	server    string
	verify    bool
}

func main() {
	var c config
	flag.StringVar(&c.start, "start", "", "command that starts the real server on 127.0.0.1:{port}")
	flag.StringVar(&c.url, "url", "", "instead of -start: URL of a real server that runs; cases that need one of their own are left out")
	flag.StringVar(&c.root, "root", "", "with -url: the folder that the server runs in, which no recording may name")
	flag.StringVar(&c.scenarios, "scenarios", "server/workshop/record/scenarios", "folder of the scenarios")
	flag.StringVar(&c.out, "out", "api/conform/agentserver", "folder to write the cases to")
	flag.StringVar(&c.only, "only", "*", "pattern of the cases' names")
	flag.StringVar(&c.server, "server", conform.AgentServer.Recorded(), "product and version, to be written into the cases")
	flag.BoolVar(&c.verify, "verify", false, "run the recorded cases against the real server instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := c.record
	if c.verify {
		run = c.check
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

// record records the chosen scenarios.
func (c config) record(ctx context.Context) error {
	cases, err := readScenarios(c.scenarios)
	if err != nil {
		return err
	}
	var common conform.Server
	root := c.root // of the common server
	if c.url != "" {
		common = running(c.url)
	}
	defer func() {
		if common != nil {
			common.Close()
		}
	}()
	failed := 0
	for _, scenario := range cases {
		if match, err := path.Match(c.only, scenario.Name); err != nil {
			return err
		} else if !match {
			continue
		}
		server, folder := common, root
		own := scenario.OwnServer()
		if own && c.url != "" {
			fmt.Printf("%s: left out, for it needs a server of its own\n", scenario.Name)
			continue
		}
		if own || common == nil {
			p, err := start(ctx, c.start, scenario.Env)
			if err != nil {
				return err
			}
			if server, folder = p, p.folder; !own {
				common, root = p, p.folder
			}
		}
		scenario.Line = conform.AgentServer
		scenario.Recorded = conform.Source{Server: c.server, Date: time.Now().UTC().Format(time.DateOnly)}
		recorded, err := recorder(scenario.Name, folder).Record(ctx, server, scenario)
		if server != common {
			server.Close()
		}
		if err == nil {
			err = write(filepath.Join(c.out, scenario.Name+".json"), recorded)
		}
		if err != nil {
			failed++
			fmt.Fprintln(os.Stderr, err)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		fmt.Printf("%s: %d requests\n", scenario.Name, recorded.Requests())
	}
	if failed > 0 {
		return fmt.Errorf("%d cases were not recorded", failed)
	}
	return nil
}

// write writes a case, one line a step.
func write(file string, c conform.Case) error {
	steps := c.Steps
	c.Steps = nil
	head, err := encode(c)
	if err != nil {
		return err
	}
	b := append(bytes.TrimSuffix(head, []byte(`"steps":null}`)), `"steps":[`...)
	for i, s := range steps {
		text, err := encode(s)
		if err != nil {
			return err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, '\n'), text...)
	}
	return os.WriteFile(file, append(b, "\n]}\n"...), 0o644)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// check runs the recorded cases against the real server: all that can share a server against one, the others each
// against its own.
func (c config) check(ctx context.Context) error {
	var common *process
	defer func() {
		if common != nil {
			common.Close()
		}
	}()
	own := map[string]bool{}
	var chosen []string
	for _, x := range conform.AgentServer.Cases() {
		if match, _ := path.Match(c.only, x.Name); match {
			chosen = append(chosen, x.Name)
			own[x.Name] = x.OwnServer()
		}
	}
	next := 0 // of chosen: the run starts a server for each case, in order
	report, err := conform.Run(ctx, conform.Target{Start: func(ctx context.Context, env map[string]string) (conform.Server, error) {
		name := chosen[next]
		next++
		if own[name] {
			return start(ctx, c.start, env)
		}
		if common == nil {
			var err error
			if common, err = start(ctx, c.start, nil); err != nil {
				return nil, err
			}
		}
		return shared{common}, nil
	}}, conform.Options{Line: conform.AgentServer, Only: chosen, Progress: func(done, all int, c conform.CaseResult) {
		fmt.Fprintf(os.Stderr, "%d/%d %s: %s\n", done, all, c.Name, c.Summary())
	}})
	if err != nil {
		return err
	}
	if err := report.WriteText(os.Stdout); err != nil {
		return err
	}
	if !report.OK() {
		return fmt.Errorf("the recordings do not hold")
	}
	return nil
}
