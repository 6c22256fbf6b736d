package server_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
	"github.com/openhands-local/openhands-local/server/workshop/recorded"
)

// recordedServer is one of ours, run as the recorded one was: strictly, with
// nothing stored, with the environment of a case.
type recordedServer struct {
	*servertest.Server
	data string
}

func newRecordedServer(t *testing.T, env map[string]string) conform.Server {
	data := t.TempDir()
	s := recordedServer{servertest.NewServer(t, server.Config{
		Data: data, Strict: true, Settings: "none", Agent: "none",
		Key:               env["SESSION_API_KEY"],
		SetConversationID: env["ALLOW_SET_CONVERSATION_ID"] == "1",
		RateLimit:         env["RATELIMIT"] == "on",
		Starting:          new(time.Duration), // cases settle: no need to wait a second each time
	}), data}
	if _, err := exec.LookPath("bash"); err != nil {
		return s
	}
	return withShell{s}
}

func (s recordedServer) URL() string                   { return s.Server.URL }
func (s recordedServer) Restart(context.Context) error { return s.Server.Restart() }

// withShell does what the recorded runtime did, so that files are compared
// that only a shell has written.
type withShell struct{ recordedServer }

var _ conform.Runtime = withShell{}

func (s withShell) Shell(ctx context.Context, conversation, command string) error {
	folder := filepath.Join(s.data, "workspaces", conversation)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	c := exec.CommandContext(ctx, "bash", "-c", command)
	c.Dir = folder
	return c.Run()
}

// TestConformance runs every recorded case that the contract speaks of; the
// others are skipped by name. What differs must be declared in
// api/conform/differences.yaml, and what is declared must differ. Every answer
// on the way is held to the contract (servertest), and no connection is opened
// anywhere.
func TestConformance(t *testing.T) {
	forbidNetwork(t)
	applicable := applicableCases(t)
	report, err := conform.Run(t.Context(), conform.Target{
		Start: func(_ context.Context, env map[string]string) (conform.Server, error) {
			return newRecordedServer(t, env), nil
		},
	}, conform.Options{Only: applicable, Differences: conform.Declared()})
	if err != nil {
		t.Fatal(err)
	}
	for outcome, n := range report.Counts {
		t.Logf("%v: %d", outcome, n)
	}
	for _, c := range report.Cases {
		for _, s := range c.Steps {
			for _, d := range s.Declared {
				status, _, _ := strings.Cut(d.Got, " ")
				if got, _ := strconv.Atoi(status); d.What == "status" && !d.By.Gives(got) {
					t.Errorf("%s step %s differs with the status %s, which is none of %s", c.Name, s.Step, d.Got, d.By.Reason)
				}
			}
		}
	}
	if report.OK() {
		return
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Error(err)
	}
	t.Errorf("answers differ from the recorded ones:\n%s", text.String())
}

// applicableCases are the names of the recorded cases that the contract still
// speaks of.
func applicableCases(t *testing.T) []string {
	names, left, err := recorded.Applicable("..", gen.OpenAPI, conform.Cases())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range left {
		t.Run(c.Name, func(t *testing.T) { t.Skip(c.Reason) })
	}
	return names
}

// forbidNetwork fails the test when anything in this process looks a name up
// or uses the default client: the server opens no connection to anywhere.
func forbidNetwork(t *testing.T) {
	resolver, transport := net.DefaultResolver, http.DefaultTransport
	t.Cleanup(func() { net.DefaultResolver, http.DefaultTransport = resolver, transport })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		t.Errorf("a name is looked up at %s %s", network, address)
		return nil, errors.New("forbidden")
	}}
	http.DefaultTransport = roundTripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("a request goes to %s", r.URL)
		return nil, errors.New("forbidden")
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
