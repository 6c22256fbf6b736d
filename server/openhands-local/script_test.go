package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server/servertest"
	"github.com/openhands-local/openhands-local/server/workshop/recorded"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"openhands-local": main, "post": post})
}

// TestScripts runs testdata/*.txtar against the program itself. Beside
// testscript's own commands there are
//
//	start [flag …]            a server on a free port; $URL, $PID; what it writes is in server.log
//	signal KILL|TERM|INT      to that server; waits for its end
//	http METHOD PATH [-H 'Name: value' …] [BODY]
//	                          prints the status, the headers that are ours, and the body; the contract must have the answer
//	status N COMMAND …        runs it and wants this exit status
//	damage FILE OLD [NEW]     replaces a text in a file of a store; without NEW its pages become none
//	poll PATTERN METHOD PATH …
//	                          http again and again until its output matches, for ten seconds
//
// A script that asks for an operation which the contract does not have any
// more is skipped.
func TestScripts(t *testing.T) {
	gone := goneFrom(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": start, "signal": sendSignal, "http": request, "poll": poll, "status": status, "damage": damage,
		},
		Setup: func(e *testscript.Env) error {
			e.Values[serverKey{}] = &running{}
			name := strings.TrimPrefix(filepath.Base(e.WorkDir), "script-") + ".txtar"
			if gone := gone(filepath.Join("testdata", name)); gone != "" {
				e.T().Skip(gone + " is not in the contract")
			}
			return nil
		},
	})
}

var asked = regexp.MustCompile(`(?m)^(?:! )?http ([A-Z]+) (\S+)`)

// goneFrom returns a function that finds an operation which a script asks for
// and which the contract does not have any more, "" when there is none.
func goneFrom(t *testing.T) func(script string) string {
	was, err := recorded.Contract("../..")
	if err != nil {
		t.Fatal(err)
	}
	is, err := contract.Load(gen.OpenAPI, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(script string) string {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		requests := asked.FindAllStringSubmatch(strings.ReplaceAll(string(text), "openhands-local ready", "\nhttp GET /alive"), -1)
		for _, m := range requests {
			if gone := recorded.Gone(was, is, m[1], m[2]); gone != "" {
				return gone
			}
		}
		return ""
	}
}

type serverKey struct{}

// running is the server of a script.
type running struct {
	agent bool // it serves the agent server's line alone
	cmd   *exec.Cmd
	done  chan error
	log   string // its file
}

func start(ts *testscript.TestScript, neg bool, args []string) {
	r := ts.Value(serverKey{}).(*running)
	ready := ts.MkAbs("ready.json")
	os.Remove(ready)
	program, err := exec.LookPath("openhands-local")
	ts.Check(err)
	r.cmd = exec.Command(program, append([]string{"--addr=localhost:0", "--ready-file=" + ready}, args...)...)
	r.cmd.Dir = ts.MkAbs(".")
	r.cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "TMPDIR=" + ts.Getenv("TMPDIR"),
		"SESSION_API_KEY=" + ts.Getenv("SESSION_API_KEY"), "PERMITTED_CORS_ORIGINS=" + ts.Getenv("PERMITTED_CORS_ORIGINS")}
	r.cmd.Env = append(r.cmd.Env, strings.Fields(ts.Getenv("SERVER_ENV"))...)
	r.log = ts.MkAbs("server.log")
	log, err := os.Create(r.log)
	ts.Check(err)
	defer log.Close()
	r.cmd.Stderr = log // a file, not a pipe: what it wrote is there at once
	ts.Check(r.cmd.Start())
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
	ts.Defer(func() { _ = r.cmd.Process.Kill() })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if text, err := os.ReadFile(ready); err == nil {
			var info struct {
				URL   string
				Agent string `json:"agent_server"`
				PID   int
			}
			ts.Check(json.Unmarshal(text, &info))
			r.agent = info.URL == info.Agent
			ts.Setenv("URL", info.URL)
			ts.Setenv("PID", fmt.Sprint(info.PID))
			ts.Setenv("PORT", info.URL[strings.LastIndexByte(info.URL, ':')+1:])
			return
		}
		select {
		case err := <-r.done:
			if neg {
				return
			}
			ts.Fatalf("the server ended: %v\n%s", err, ts.ReadFile(r.log))
		default:
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no server after ten seconds:\n%s", ts.ReadFile(r.log))
		}
	}
}

func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	r := ts.Value(serverKey{}).(*running)
	signals := map[string]os.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT}
	ts.Check(r.cmd.Process.Signal(signals[args[0]]))
	select {
	case err := <-r.done:
		if args[0] != "KILL" && (err != nil) != neg {
			ts.Fatalf("the server ended with %v\n%s", err, ts.ReadFile(r.log))
		}
	case <-time.After(15 * time.Second):
		ts.Fatalf("the server still runs after %s", args[0])
	}
}

// shown are the headers that http prints beside X-… and Access-Control-….
var shown = []string{"Allow", "Cache-Control", "Content-Type", "Location", "Set-Cookie"}

func poll(ts *testscript.TestScript, neg bool, args []string) {
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var out strings.Builder
		requestTo(ts, &out, neg, args[1:])
		if pattern.MatchString(out.String()) {
			fmt.Fprint(ts.Stdout(), out.String())
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no %s after ten seconds:\n%s", pattern, out.String())
		}
	}
}

func request(ts *testscript.TestScript, neg bool, args []string) {
	requestTo(ts, ts.Stdout(), neg, args)
}

func requestTo(ts *testscript.TestScript, out io.Writer, neg bool, args []string) {
	q, err := http.NewRequest(args[0], ts.Getenv("URL")+args[1], nil)
	ts.Check(err)
	args = args[2:]
	for len(args) > 1 && args[0] == "-H" {
		name, value, _ := strings.Cut(args[1], ": ")
		if name == "Host" {
			q.Host = value
		}
		q.Header.Set(name, value)
		args = args[2:]
	}
	if len(args) > 0 {
		body := args[0]
		if name, isFile := strings.CutPrefix(body, "@"); isFile {
			body = ts.ReadFile(name)
		}
		q.Body, q.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	client := http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(q)
	if err != nil {
		if neg {
			return
		}
		ts.Fatalf("%s %s: %v", q.Method, q.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if !ts.Value(serverKey{}).(*running).agent { // of whose line servertest has no contract
		ts.Check(servertest.CheckAnswer(q.Method, q.URL.Path, resp.StatusCode, resp.Header, body))
	}
	fmt.Fprintln(out, resp.StatusCode)
	for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
		if strings.HasPrefix(name, "X-") && name != "X-Request-Id" || strings.HasPrefix(name, "Access-Control-") || slices.Contains(shown, name) {
			fmt.Fprintf(out, "%s: %s\n", name, strings.Join(resp.Header[name], ", "))
		}
	}
	fmt.Fprintf(out, "%s\n", body)
	if neg && resp.StatusCode < 400 {
		ts.Fatalf("%s %s answers %d, want a refusal", q.Method, q.URL, resp.StatusCode)
	}
	if !neg && resp.StatusCode >= 400 {
		ts.Fatalf("%s %s answers %d: %s", q.Method, q.URL, resp.StatusCode, body)
	}
}

func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: damage FILE OLD [NEW]")
	}
	name, old := ts.MkAbs(args[0]), []byte(args[1])
	file, err := os.ReadFile(name)
	ts.Check(err)
	if !bytes.Contains(file, old) {
		ts.Fatalf("%s has no %q", args[0], old)
	}
	if len(args) == 3 {
		file = bytes.ReplaceAll(file, old, []byte(args[2]))
	} else {
		for page := range slices.Chunk(file, os.Getpagesize()) {
			if bytes.Contains(page, old) {
				page[8] = 0x55 // its type
			}
		}
	}
	ts.Check(os.WriteFile(name, file, 0o600))
}
