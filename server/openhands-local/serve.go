package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/server"
)

// serverFlags are the flags of every command that runs a server.
type serverFlags struct {
	Agent       string   `default:"echo" help:"Who answers messages: echo, none, or script:FILE." placeholder:"echo|none|script:FILE"`
	MaxRunning  *int     `help:"Most conversations that run at once: one more stops the one that was written to longest ago. 0 is no limit, and the default; with --strict the default is 3, as in OpenHands." placeholder:"N"`
	Strict      bool     `help:"Refuse everything that OpenHands refuses."`
	AgentServer string   `help:"Serve the API of the agent server (V1) too, at this address." placeholder:"ADDR"`
	Settings    string   `default:"placeholder" help:"What a new folder begins with: placeholder, none, or a JSON file."`
	Import      string   `help:"Begin with the conversations of an export, a trajectory or a folder of OpenHands'; those that exist already stay." placeholder:"PATH"`
	Faults      string   `help:"Let go wrong what the rules of this file say, YAML or JSON." placeholder:"FILE"`
	Workspace   string   `help:"One folder for the files of all conversations." placeholder:"DIR"`
	Frontend    string   `help:"Serve the built OpenHands web UI of this folder." placeholder:"DIR"`
	AllowHost   []string `help:"Accept this Host header too; *.example.com for all of a domain." placeholder:"HOST"`
	CorsOrigin  []string `help:"Let pages of this origin read answers, and of no other (also PERMITTED_CORS_ORIGINS)." placeholder:"ORIGIN"`
	MaxBody     int64    `default:"16777216" help:"Most bytes of a request's body."`
	RateLimit   bool     `help:"Allow 10 requests a second, as OpenHands does."`
	Seed        *int64   `help:"Make generated ids and event times repeat." placeholder:"N"`

	Clock time.Time `help:"Let the clock stand at this time, until it is moved: 2026-01-01T00:00:00Z." placeholder:"TIME"`

	LogFormat   string `default:"text" enum:"text,json" help:"Format of the records on standard error: text or json."`
	LogRequests bool   `help:"Write a record for every request."`

	Starting *time.Duration `help:"How long a conversation is told as STARTING once it runs. 0 is the default; with --strict the default is 1s, as in OpenHands." placeholder:"DURATION"`

	LogSlow   time.Duration `default:"1s" help:"Warn of a request that takes so long; 0 never does."`
	Journal   int           `default:"1000" help:"How many requests and messages of sockets /_local/requests shows, the latest; 0 keeps none." placeholder:"N"`
	MaxWorlds int           `default:"256" help:"Most worlds at once: servers of their own within this one, by X-Local-World: NAME, NAME.localhost, or /_local/worlds/NAME before the path; 0 for none." placeholder:"N"`
	Pprof     bool          `help:"Serve profiles at /_local/pprof/, for go tool pprof."`
}

// Help names what is not a flag.
func (*serverFlags) Help() string {
	return "SESSION_API_KEY (environment only) is asked for in the header X-Session-API-Key. " +
		"ALLOW_SET_CONVERSATION_ID=1 lets clients choose conversation ids with --strict too."
}

// config is the server's, without Addr and Data.
func (f *serverFlags) config(e *env) server.Config {
	get := func(name string) string { v, _ := e.lookup(name); return v }
	return server.Config{
		Key: cmp.Or(get("SESSION_API_KEY"), get("OH_SESSION_API_KEYS_0")), AgentServer: f.AgentServer, Agent: f.Agent, MaxRunning: f.MaxRunning, Starting: f.Starting, Strict: f.Strict, SetConversationID: get("ALLOW_SET_CONVERSATION_ID") == "1",
		Settings: f.Settings, Import: f.Import, Faults: f.Faults, Workspace: f.Workspace, Frontend: f.Frontend, MaxBody: f.MaxBody, RateLimit: f.RateLimit, Seed: f.Seed, FrozenAt: f.Clock,
		Access:      server.Access{Hosts: f.AllowHost, Origins: append(f.CorsOrigin, list(get("PERMITTED_CORS_ORIGINS"))...)},
		LogRequests: f.LogRequests, LogSlow: f.LogSlow, Pprof: f.Pprof, Journal: f.Journal, MaxWorlds: f.MaxWorlds, Log: slog.New(f.records(e.stderr, slog.LevelInfo)), Version: version(),
	}
}

// records writes records from a level on as --log-format says.
func (f *serverFlags) records(w io.Writer, level slog.Level) slog.Handler {
	options := slog.HandlerOptions{Level: level}
	if f.LogFormat == "json" {
		return slog.NewJSONHandler(w, &options)
	}
	return slog.NewTextHandler(w, &options)
}

// serveCmd serves until a signal.
type serveCmd struct {
	Addr      string `default:"localhost:3000" help:"Address to listen on; port 0 picks a free one."`
	Data      string `default:"openhands-data" help:"Folder that keeps everything, or postgres://… for a database; \"memory\" keeps nothing."`
	Line      string `default:"v0" enum:"v0,agent" help:"Which API to serve at --addr: v0 is OpenHands 0.53.0's, agent the agent server's (V1)."`
	NoKey     bool   `help:"Serve other machines without a key."`
	ReadyFile string `help:"Write url, pid, data and version here as JSON once it serves; \"-\" is standard output." placeholder:"FILE"`
	UntilEOF  bool   `name:"until-eof" help:"End when standard input ends, as it does with the program that holds its other end."`
	serverFlags
}

func (s *serveCmd) Run(e *env) error {
	c := s.config(e)
	c.Addr, c.Data, c.NoKey = s.Addr, s.Data, s.NoKey
	if s.Line == "agent" {
		c.Addr, c.AgentServer = "", s.Addr
	}
	srv, err := server.New(e, c)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.stderr, srv.Ready())
	switch s.ReadyFile {
	case "":
	case "-":
		err = json.NewEncoder(e.stdout.W).Encode(srv.Info())
	default:
		err = writeReady(s.ReadyFile, srv.Info())
		defer os.Remove(s.ReadyFile)
	}
	if err != nil {
		_ = srv.Close()
		return fmt.Errorf("ready file: %w", err)
	}
	go func() {
		srv.Warm()
		debug.FreeOSMemory() // what the start needed, while nobody waits
		if _, given := e.lookup("GOGC"); !given {
			collectLess()
		}
	}()
	ctx, stop := context.WithCancel(e)
	defer stop()
	if s.UntilEOF {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	return srv.Run(ctx)
}

// list splits a comma list, as upstream reads it.
func list(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// writeReady puts the file there whole: who waits for it never reads half.
func writeReady(name string, info server.Info) error {
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".ready-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(append(text, '\n')); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
