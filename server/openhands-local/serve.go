package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/openhands-local/openhands-local/server"
)

// serveCmd has the flags of server.Config.
type serveCmd struct {
	Addr        string   `default:"localhost:3000" help:"Address to listen on; port 0 picks a free one."`
	Data        string   `default:"openhands-data" help:"Folder that keeps everything; \"memory\" keeps nothing."`
	Strict      bool     `help:"Refuse everything that OpenHands refuses."`
	Settings    string   `default:"placeholder" help:"What a new folder begins with: placeholder, none, or a JSON file."`
	Workspace   string   `help:"One folder for the files of all conversations." placeholder:"DIR"`
	ReadyFile   string   `help:"Write url, pid, data and version here as JSON once it serves." placeholder:"FILE"`
	AllowHost   []string `help:"Accept this Host header too; *.example.com for all of a domain." placeholder:"HOST"`
	CorsOrigin  []string `help:"Let pages of this origin read answers, and of no other (also PERMITTED_CORS_ORIGINS)." placeholder:"ORIGIN"`
	NoKey       bool     `help:"Serve other machines without a key."`
	MaxBody     int64    `default:"16777216" help:"Most bytes of a request's body."`
	RateLimit   bool     `help:"Allow 10 requests a second, as OpenHands does."`
	Seed        *int64   `help:"Make generated ids and event times repeat." placeholder:"N"`
	LogFormat   string   `default:"text" enum:"text,json" help:"Format of the records on standard error: text or json."`
	LogRequests bool     `help:"Write a record for every request."`
}

// Help names what is not a flag.
func (*serveCmd) Help() string {
	return "SESSION_API_KEY (environment only) is asked for in the header X-Session-API-Key. " +
		"ALLOW_SET_CONVERSATION_ID=1 lets clients choose conversation ids with --strict too."
}

func (s *serveCmd) Run(e *env) error {
	get := func(name string) string { v, _ := e.lookup(name); return v }
	srv, err := server.New(e, server.Config{
		Addr: s.Addr, Data: s.Data, Key: get("SESSION_API_KEY"), NoKey: s.NoKey,
		Strict: s.Strict, SetConversationID: get("ALLOW_SET_CONVERSATION_ID") == "1",
		Settings: s.Settings, Workspace: s.Workspace, MaxBody: s.MaxBody, RateLimit: s.RateLimit, Seed: s.Seed,
		Access:      server.Access{Hosts: s.AllowHost, Origins: append(s.CorsOrigin, list(get("PERMITTED_CORS_ORIGINS"))...)},
		LogRequests: s.LogRequests, Log: s.logger(e.stderr), Version: version(),
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(e.stderr, srv.Ready())
	if s.ReadyFile != "" {
		if err := writeReady(s.ReadyFile, srv.Info()); err != nil {
			_ = srv.Close()
			return fmt.Errorf("ready file: %w", err)
		}
		defer os.Remove(s.ReadyFile)
	}
	return srv.Run(e)
}

func (s *serveCmd) logger(w io.Writer) *slog.Logger {
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
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
