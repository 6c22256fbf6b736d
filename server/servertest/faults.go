package servertest

import (
	"fmt"
	"strings"

	"github.com/openhands-local/openhands-local/server/faults"
)

// Faults let go wrong what a test wants to go wrong, and tell what did. A
// restart forgets them.
type Faults struct{ of }

// Add adds rules. The test ends if there is something wrong with them.
func (f Faults) Add(rules ...faults.Rule) {
	f.t.Helper()
	if err := f.world().Faults().Add(rules...); err != nil {
		f.t.Fatalf("servertest: faults: %v", err)
	}
}

// Preset adds rules by name: see [faults.Presets].
func (f Faults) Preset(names ...string) {
	f.t.Helper()
	for _, name := range names {
		f.Add(faults.Rule{Preset: name})
	}
}

// Clear takes all out.
func (f Faults) Clear() { f.world().Faults().Clear() }

// List tells of all, with how often each was offered and used.
func (f Faults) List() []faults.Report { return f.world().Faults().List() }

// Used tells how often a rule was used. The test ends if there is none of this
// name.
func (f Faults) Used(name string) int {
	f.t.Helper()
	all := f.List()
	for _, r := range all {
		if r.Name == name {
			return r.Used
		}
	}
	f.t.Fatalf("servertest: there is no fault %q among %s", name, inWords(all))
	return 0
}

// AllUsed fails the test for each rule that was never used, and tells how often
// it was offered something.
func (f Faults) AllUsed() {
	f.t.Helper()
	all := f.List()
	for _, r := range all {
		if r.Used == 0 {
			f.t.Errorf("servertest: a fault was never used: %s", inWords([]faults.Report{r}))
		}
	}
}

// inWords are rules in words: `"slow" (GET /api/*; offered 2, used 0)`.
func inWords(all []faults.Report) string {
	if len(all) == 0 {
		return "none"
	}
	texts := make([]string, len(all))
	for i, r := range all {
		var match []string
		for _, m := range []string{r.Match.Operation, r.Match.Method, r.Match.Path} {
			if m != "" {
				match = append(match, m)
			}
		}
		if r.Match.Conversation != "" {
			match = append(match, "in "+r.Match.Conversation)
		}
		if r.Match.Nth > 0 {
			match = append(match, fmt.Sprintf("from the %d. on", r.Match.Nth))
		}
		if match == nil {
			match = []string{"everything"}
		}
		texts[i] = fmt.Sprintf("%q (%s; offered %d, used %d)", r.Name, strings.Join(match, " "), r.Offered, r.Used)
	}
	return strings.Join(texts, ", ")
}
