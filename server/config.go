package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/settings"
	"github.com/openhands-local/openhands-local/server/agent"
	"github.com/openhands-local/openhands-local/server/ui"
	"github.com/openhands-local/openhands-local/store/pgstore"
)

// A Config says how a server runs. Addr and Data are required; the zero value
// of everything else is right.
type Config struct {
	// Addr is host:port to listen on. localhost means both loopback
	// addresses where they exist; port 0 picks a free one.
	Addr string
	// AgentServer is host:port at which the API of the agent server (V1) is
	// served; empty serves none. With it Addr may be empty: then it is served
	// alone.
	AgentServer string
	// Data is the folder that keeps everything, made when it is missing; the URL
	// of a PostgreSQL database (postgres://…); or "memory" to keep nothing.
	Data string
	// Key is what X-Session-API-Key must say; empty asks for none.
	Key string
	// NoKey allows an Addr that other machines can reach without a Key.
	NoKey bool
	// Strict refuses all that OpenHands 0.53.0 refuses.
	Strict bool
	// SetConversationID lets a client choose the id of a new conversation
	// also when Strict (upstream's ALLOW_SET_CONVERSATION_ID=1).
	SetConversationID bool
	// Settings is what a new data folder begins with: "placeholder" (the
	// default), "none" as upstream, or the name of a JSON file.
	Settings string
	// Workspace is one folder for the files of all conversations; empty gives
	// each a folder of its own in the data folder.
	Workspace string
	// Agent answers users' messages: "echo" (the default), "none", or
	// "script:" and the name of a file.
	Agent string
	// Frontend is the folder of the built web UI; empty serves none.
	Frontend string
	// MaxRunning is how many conversations run at most, 0 for any number: one
	// more stops the one that was written to longest ago. nil means upstream's
	// 3 when Strict, else 0.
	MaxRunning *int
	// Starting is how long a conversation is told as STARTING once it runs. nil
	// means the second that upstream needs when Strict, else 0.
	Starting *time.Duration
	// Access lists who may talk to the server beside this machine.
	Access Access
	// MaxBody is the most bytes of a request's body; 0 means DefaultMaxBody.
	MaxBody int64
	// RateLimit turns upstream's limit on: 10 requests a second and client
	// at once, 10 more held back, the rest refused with 429.
	RateLimit bool
	// Seed, when set, makes generated ids and event times repeat: ids are
	// drawn from it, times begin at 2025-01-01T00:00:00 and step 1 ms. On an
	// existing folder both go on where they stopped.
	Seed *int64
	// Clock, when set, is what times are told and waited for by, also those that
	// Seed would make; else the server makes one, as it does for each world that has
	// a name.
	Clock *clock.Clock
	// FrozenAt, when set, has the clock that the server makes stand at this time
	// until it is moved.
	FrozenAt time.Time
	// LogSlow is how long the answer to a request may take until a warning
	// says how long it took; 0 never warns. Sockets and streams are never slow.
	LogSlow time.Duration
	// Journal is how many exchanges /_local/requests shows, the latest ones; 0
	// keeps none.
	Journal int
	// MaxWorlds is how many worlds there may be that have a name; 0 for none. Each
	// is as a server with this Config and Data in memory.
	MaxWorlds int
	// KeepJournals keeps the last Journal entries of worlds that were deleted, for
	// Server.WriteHAR.
	KeepJournals bool
	// Pprof serves the profiles of package net/http/pprof at /_local/pprof/.
	Pprof bool
	// Import is a file or folder to begin with (see archive.Import). What it
	// has of conversations that exist already is left out.
	Import string
	// Faults is a file of rules for what goes wrong on purpose (package
	// faults), of YAML or JSON; empty for none. More come by /_local/faults.
	Faults string
	// LogRequests writes one record for every request, not only for refused
	// ones.
	LogRequests bool
	// Log takes all records; nil throws them away.
	Log *slog.Logger
	// Observe, when set, is told of every request that was answered, and of
	// what came by a socket, from many goroutines.
	Observe func(*exchange.Exchange)
	// CountsLenient leaves out the records of what OpenHands would have refused:
	// for programs that count it by Observe.
	CountsLenient bool
	// Wrap, when set, goes around the handler of all requests to Addr: for tests that
	// look at every answer.
	Wrap func(http.Handler) http.Handler
	// Version is of this program, told by /_local/info and the ready file.
	Version string

	bounds bounds // of a connection; the zero value means the default ones
}

// agent is the agent's name.
func (c Config) agent() string {
	if c.Agent == "" {
		return "echo"
	}
	return c.Agent
}

// maxRunning is the limit, 0 for none.
func (c Config) maxRunning() int {
	switch {
	case c.MaxRunning != nil:
		return *c.MaxRunning
	case c.Strict:
		return 3 // recorded too_many_conversations
	}
	return 0
}

// starting is how long a conversation is told as STARTING.
func (c Config) starting() time.Duration {
	switch {
	case c.Starting != nil:
		return *c.Starting
	case c.Strict:
		return time.Second // recorded get_while_starting, stop_while_starting
	}
	return 0
}

// DefaultMaxBody is the most bytes of a body unless Config.MaxBody says
// another number.
const DefaultMaxBody = 16 << 20

// Memory is the Config.Data that keeps nothing.
const Memory = "memory"

// A ConfigError is all that is wrong with a Config.
type ConfigError struct{ error }

// Unwrap returns the problems, joined.
func (e ConfigError) Unwrap() error { return e.error }

// Check returns all that is wrong with a Config, each problem with its value
// and the way out, as a [ConfigError]; nil when nothing is.
func (c Config) Check() error {
	var problems []error
	wrong := func(format string, a ...any) { problems = append(problems, fmt.Errorf(format, a...)) }

	for _, l := range c.lines() {
		host, port, err := net.SplitHostPort(l.addr)
		switch n, perr := strconv.Atoi(port); {
		case err != nil:
			wrong("%s %q: want host:port, such as localhost:3000", l.flag, l.addr)
		case perr != nil || n < 0 || n > 65535:
			wrong("%s %q: port %q is not a number from 0 to 65535", l.flag, l.addr, port)
		case !isLoopback(host) && c.Key == "" && !c.NoKey:
			wrong("%s %q can be reached from other machines: set SESSION_API_KEY, or say --no-key if everyone may read and write", l.flag, l.addr)
		}
	}
	if err := c.checkData(); err != nil {
		problems = append(problems, err)
	}
	if c.LogSlow < 0 {
		wrong("log slow %v: want a duration above 0, or 0 for no warnings", c.LogSlow)
	}
	if c.Journal < 0 {
		wrong("journal %d: want a number of requests, or 0 for none", c.Journal)
	}
	if c.MaxWorlds < 0 {
		wrong("max worlds %d: want a number of worlds, or 0 for none", c.MaxWorlds)
	}
	if c.MaxBody < 0 {
		wrong("max body %d: want a number of bytes above 0", c.MaxBody)
	}
	if c.maxRunning() < 0 {
		wrong("max running %d: want a number of conversations, or 0 for any", *c.MaxRunning)
	}
	if c.starting() < 0 {
		wrong("starting %v: want a duration above 0, or 0 for none", *c.Starting)
	}
	if _, err := os.Stat(c.Import); c.Import != "" && err != nil {
		wrong("import: %w", err)
	}
	if _, err := c.settings(); err != nil {
		problems = append(problems, err)
	}
	if _, err := agent.ByName(c.agent()); err != nil {
		problems = append(problems, err)
	}
	if _, err := c.newFaults(); err != nil {
		problems = append(problems, err)
	}
	if _, err := c.frontend(); err != nil {
		problems = append(problems, err)
	}
	for _, h := range c.Access.Hosts {
		if name := strings.TrimPrefix(h, "*."); name == "" || strings.ContainsAny(name, "*/ ") {
			wrong("allowed host %q: want a name, or *. and a domain", h)
		}
	}
	for _, o := range c.Access.Origins {
		if !strings.Contains(o, "://") {
			wrong("CORS origin %q: want scheme://host[:port]", o)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return ConfigError{errors.Join(problems...)}
}

// checkData tells whether Data can name a store. Of a URL that names none only
// the scheme is told: the rest may hold a password.
func (c Config) checkData() error {
	scheme, _, isURL := strings.Cut(c.Data, "://")
	switch {
	case pgstore.Is(c.Data):
		if err := pgstore.Check(c.Data); err != nil {
			return fmt.Errorf("data %s://…: %w", scheme, err)
		}
	case isURL:
		return fmt.Errorf("data %s://…: is a URL, and no store is opened by one: want a folder, postgres://… for a database, or %q to keep nothing", scheme, Memory)
	case c.Data == "":
		return fmt.Errorf("data %q: want a folder, or %q to keep nothing", c.Data, Memory)
	}
	return nil
}

// settings returns the record that a new folder begins with, nil for none.
func (c Config) settings() ([]byte, error) {
	switch c.Settings {
	case "", "placeholder":
		return settings.Store(nil, []byte(settings.Placeholder))
	case "none":
		return nil, nil
	}
	body, err := os.ReadFile(c.Settings)
	if err != nil {
		return nil, fmt.Errorf("settings %q: %w (want placeholder, none, or a JSON file)", c.Settings, err)
	}
	record, err := api.SettingsRecord(body)
	if err != nil {
		return nil, fmt.Errorf("settings %q: want the body of a POST /api/settings: %w", c.Settings, err)
	}
	return record, nil
}

// frontend returns the web UI, nil for none.
func (c Config) frontend() (*ui.UI, error) {
	if c.Frontend == "" {
		return nil, nil
	}
	return ui.New(c.Frontend)
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
