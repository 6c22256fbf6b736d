package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestLenientCount: a quiet one passes warnings on, another all, and both
// count lenient answers, through loggers made of them too, and also when
// nothing is written.
func TestLenientCount(t *testing.T) {
	var out bytes.Buffer
	for _, tt := range []struct {
		why     string
		handler slog.Handler
		quiet   bool
		written []string
	}{
		{"quiet", slog.NewTextHandler(&out, nil), true, []string{"msg=refused a=1"}},
		{"all", slog.NewTextHandler(&out, nil), false, []string{"msg=calm a=1", `msg="more lenient than OpenHands" a=1`, "msg=refused a=1"}},
		{"nothing", slog.DiscardHandler, false, nil},
	} {
		out.Reset()
		l := NewLenientCount(tt.handler, tt.quiet)
		log := slog.New(l).With("a", 1).WithGroup("g")
		log.Info("calm")
		log.Warn(lenientRecord)
		log.Warn("refused")
		if got := l.Answers(); got != 1 {
			t.Errorf("%s: Answers() = %d, want 1", tt.why, got)
		}
		if got := out.String(); strings.Count(got, "\n") != len(tt.written) {
			t.Errorf("%s: written %q, want %q", tt.why, got, tt.written)
		}
		for _, want := range tt.written {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: written %q, want %q in it", tt.why, out.String(), want)
			}
		}
		if got, want := l.String(), "1 answer was more lenient than 0.53.0's"; got != want {
			t.Errorf("%s: String() = %q, want %q", tt.why, got, want)
		}
		log.Warn(lenientRecord)
		if got, want := l.String(), "2 answers were more lenient than 0.53.0's"; got != want {
			t.Errorf("%s: String() = %q, want %q", tt.why, got, want)
		}
	}
}
