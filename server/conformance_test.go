package server_test

import (
	"context"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// recordedServer is one of ours, run as the recorded one was: strictly, with
// nothing stored, with the environment of a case.
type recordedServer struct{ *servertest.Server }

func (s recordedServer) URL() string                   { return s.Server.URL }
func (s recordedServer) Restart(context.Context) error { return s.Server.Restart() }

// TestConformance runs every recorded case. What differs must be declared in
// api/conform/differences.yaml, and what is declared must differ.
func TestConformance(t *testing.T) {
	report, err := conform.Run(t.Context(), conform.Target{
		Start: func(_ context.Context, env map[string]string) (conform.Server, error) {
			return recordedServer{servertest.NewServer(t, server.Config{
				Data: t.TempDir(), Strict: true, Settings: "none",
				Key:               env["SESSION_API_KEY"],
				SetConversationID: env["ALLOW_SET_CONVERSATION_ID"] == "1",
				RateLimit:         env["RATELIMIT"] == "on",
			})}, nil
		},
	}, conform.Options{Differences: conform.Declared()})
	if err != nil {
		t.Fatal(err)
	}
	for outcome, n := range report.Counts {
		t.Logf("%v: %d", outcome, n)
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
