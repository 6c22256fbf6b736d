package server_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// realTime lists what goes by the machine's time, and why it does not go by the clock of
// the server: by file, or by folder for all within.
var realTime = map[string]struct{ uses, why string }{
	"api/clock":              {"", "is the clock"},
	"api/conform":            {"", "is a client"},
	"server/openhands-local": {"", "commands: clients, and what waits for people and processes"},
	"server/workshop":        {"", "tools of this repository"},
	"store/storetest":        {"", "tests"},

	"api/agentserver/agentserver.go":      {"time.Now", "how long nobody asked"},
	"api/agentserver/details.go":          {"time.Now", "how long the process runs"},
	"api/agentserver/socket.go":           {"context.WithTimeout time.NewTicker time.NewTimer", "what a connection may take"},
	"api/agentserver/conversation/run.go": {"time.NewTimer", "how long a run takes at least, for clients whose requests are under way"},

	"api/exchange/exchange.go":       {"time.Now time.Since", "how long an answer took"},
	"api/health.go":                  {"time.Since", "how long the process runs"},
	"api/local.go":                   {"time.NewTicker", "keeps the connection of a stream from being taken for dead"},
	"api/live/engineio/polling.go":   {"time.After time.Now", "what a connection may take"},
	"api/live/engineio/session.go":   {"time.AfterFunc", "what a client may take to answer"},
	"api/live/engineio/websocket.go": {"context.WithTimeout time.AfterFunc", "what a connection may take"},
	"api/live/socketio/client.go":    {"time.AfterFunc", "what a client may take to connect"},
	"server/bounds.go":               {"time.Now", "what a connection may take"},
	"server/clock.go":                {"context.WithTimeout time.Until", "how long work takes, and how far the clock is off"},
	"server/journal/query.go":        {"time.Now time.Since", "how long who asks has waited for clients"},
	"server/lines.go":                {"time.Now", "how long the process runs"},
	"server/listen.go":               {"context.WithTimeout", "how long another process may take to answer"},
	"server/page/stream.go":          {"time.AfterFunc time.NewTicker time.Sleep", "how often who looks is told"},
	"server/requests.go":             {"context.WithTimeout time.NewTicker", "who waits for clients, and the connection of a stream"},
	"server/server.go":               {"context.WithTimeout", "how long the process may take to stop"},
	"server/world.go":                {"time.Now", "how long the process runs"},
	"server/worlds.go":               {"context.WithTimeout time.Now time.Sleep", "when a world was made, and how long clients may take to leave it"},
	"server/servertest/clock.go":     {"context.WithTimeoutCause", "how long work takes"},
	"server/servertest/requests.go":  {"context.WithTimeout", "who waits for clients"},
	"store/boltstore/boltstore.go":   {"time.Now time.Since", "how long opening took"},
	"store/boltstore/write.go":       {"time.Now time.Since", "how long a commit took"},
	"store/pgstore/events.go":        {"time.Now time.Since", "how long a transaction took"},
	"store/pgstore/pgstore.go":       {"context.WithTimeout time.After", "who waits for the database, and when its lock is tried again"},
}

// TestRealTime holds every file to realTime: all others wait, and tell times, by a
// [clock.Clock].
func TestRealTime(t *testing.T) {
	waits := map[string][]string{
		"time":    {"Now", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep", "Since", "Until"},
		"context": {"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause"},
	}
	seen := map[string]bool{}
	for _, top := range []string{"api", "gen", "server", "store"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
			if row, listed := realTime[name]; listed && row.uses == "" {
				seen[name] = true
				return fs.SkipDir
			}
			if d.IsDir() && d.Name() == "testdata" {
				return fs.SkipDir
			}
			if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			var uses []string
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if pkg, ok := s.X.(*ast.Ident); ok && slices.Contains(waits[pkg.Name], s.Sel.Name) {
						uses = append(uses, pkg.Name+"."+s.Sel.Name)
					}
				}
				return true
			})
			slices.Sort(uses)
			if got, want := strings.Join(slices.Compact(uses), " "), realTime[name].uses; got != want {
				t.Errorf("%s uses %q of the machine's time, and its row has %q: wait by a clock.Clock, or say why not", name, got, want)
			}
			seen[name] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range realTime {
		if !seen[name] {
			t.Errorf("the list has %s, which is not there", name)
		}
	}
}
