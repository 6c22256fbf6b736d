package conform

import (
	"testing"
)

func TestCasesAreWhatWasRecorded(t *testing.T) {
	steps := 0
	for _, c := range Cases() {
		steps += c.Requests()
		if c.Recorded.Server != "OpenHands 0.53.0" || c.Recorded.Date == "" {
			t.Errorf("case %s: Recorded = %+v, want OpenHands 0.53.0 and a date", c.Name, c.Recorded)
		}
	}
	if n := len(Cases()); n != 186 || steps != 2355 {
		t.Errorf("Cases() = %d cases with %d requests, want 186 with 2355", n, steps)
	}
}

// A server that answers as recorded passes, each request as recorded.
func TestReplayHolds(t *testing.T) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			r := startReplayer(t, c, nil)
			report, err := run(t.Context(), r.target(), Options{}, []Case{c})
			if err != nil {
				t.Fatal(err)
			}
			if n := report.Counts[Held]; n != c.Requests() {
				t.Errorf("held %d of %d requests: %v", n, c.Requests(), report.Counts)
				var b testWriter = testWriter{t}
				report.WriteText(b)
			}
		})
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b[:min(len(b), 3000)]))
	return len(b), nil
}
