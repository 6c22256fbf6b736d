package servertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/faults"
)

// failing is a test whose failures are looked at. Fatalf ends it by a panic.
type failing struct {
	testing.TB
	errors []string
}

func (f *failing) Errorf(format string, a ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, a...))
}
func (f *failing) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// TestToldOfFaults: what is said of rules that are wrong, unknown or unused.
func TestToldOfFaults(t *testing.T) {
	t.Parallel()
	test := &failing{TB: t}
	s := NewServer(test, server.Config{})
	fatal := func(do func()) (text string) {
		defer func() { text = fmt.Sprint(recover()) }()
		do()
		return
	}
	for want, do := range map[string]func(){
		"servertest: faults: body.0.match.operation: Value error, there is no operation of this name: did you mean AddEvent?": func() {
			s.Faults.Add(faults.Rule{Match: faults.Match{Operation: "addEvent"}, Do: faults.Do{Status: 500}})
		},
		"servertest: faults: body.0.do: Value error, nothing goes wrong":  func() { s.Faults.Add(faults.Rule{}) },
		"servertest: faults: body.0.preset: Input should be 'rate-limit'": func() { s.Faults.Preset("frob") },
		`servertest: there is no fault "frob" among none`:                 func() { s.Faults.Used("frob") },
	} {
		if got := fatal(do); !strings.HasPrefix(got, want) {
			t.Errorf("ends with %q, want %q…", got, want)
		}
	}
	s.Faults.Add(
		faults.Rule{Name: "gone", Match: faults.Match{Operation: "GetConversation", Conversation: "c"}, Do: faults.Do{Status: 404}},
		faults.Rule{Name: "third", Match: faults.Match{Nth: 3}, Do: faults.Do{Status: 500}},
	)
	s.get(t)
	s.Faults.AllUsed()
	want := `[servertest: a fault was never used: "gone" (GetConversation in c; offered 0, used 0)` +
		` servertest: a fault was never used: "third" (from the 3. on; offered 1, used 0)]`
	if got := fmt.Sprint(test.errors); got != want {
		t.Errorf("errors = %s, want %s", got, want)
	}
	if got, want := fatal(func() { s.Faults.Used("frob") }), `there is no fault "frob" among "gone"`; !strings.Contains(got, want) {
		t.Errorf("ends with %q, want …%s…", got, want)
	}
}
