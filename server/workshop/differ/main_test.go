package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// TestRun: two servers that are the same differ in nothing, and two that are
// not differ where they do.
func TestRun(t *testing.T) {
	start := func(strict bool) string {
		return servertest.NewServer(t, server.Config{Strict: strict, Settings: "none", Agent: "none", Starting: new(time.Duration)}).URL
	}
	for _, args := range [][]string{{}, {"--only", "events", "--bodies", "../../../api/event/testdata/events.jsonl"}} {
		var out strings.Builder
		err := run(t.Context(), append([]string{"--real", start(true), "--ours", start(true), "--requests", "400", "--seed", "7"}, args...), &out)
		if err != nil {
			t.Errorf("two that are the same, %s: %v\n%s", args, err, out.String())
		}
	}
	var out strings.Builder
	err := run(t.Context(), []string{"--real", start(true), "--ours", start(false), "--only", "POST /api/conversations/{conversation_id}/events", "--requests", "400", "--seed", "7"}, &out)
	const want = "POST /api/conversations/{conversation_id}/events status 200, not 404"
	if !errors.Is(err, errDiffer) || !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "curl -g") {
		t.Errorf("a strict and a lenient one: %v, want a cluster %q in\n%s", err, want, out.String())
	}
}

func TestRunRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"--real":         {"--real", "x"},
		"--ours":         {"--real", "http://127.0.0.1:1", "--ours", "https://a:1"},
		"no such file":   {"--real", "http://127.0.0.1:1", "--ours", "http://127.0.0.1:2", "--bodies", "nowhere"},
		"flag provided ": {"--nothing"},
	} {
		if err := run(t.Context(), args, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
