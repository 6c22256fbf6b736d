package conform

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"
)

// Difference declares that an answer differs from the recorded one on purpose. A file of them is a YAML list:
//
//   - case: misc_docs        # the case, by name
//     step: 8                # the step, as in a Report; left out where a case is one step
//     what: header:allow     # the Diff's What; a JSON pointer stands for everything below it too, body for the whole body
//     reason: full-allow     # one of Reasons
type Difference struct {
	Case   string `yaml:"case" json:"case"`
	Step   string `yaml:"step" json:"step,omitempty"`
	What   string `yaml:"what" json:"what"`
	Reason string `yaml:"reason" json:"reason"`
}

// Reasons are all reasons for which an answer may differ from the recorded one, and what they mean.
var Reasons = map[string]string{
	"foreign-origin": "a foreign Host or Origin is refused",
	"key-first":      "401 comes before anything of the body is read",
	"full-allow":     "Allow names every method that the path takes",
	"no-escape":      "no path leads out of its folder, and nothing is written by halves",
	"web-ui":         "the web UI needs this answer (a suggested task: one recording of two has it too)",
	"no-names":       "the recorded answer names a product or a machine",
	"unservable":     "NaN, Infinity and lone surrogates are 422; upstream takes them, and answers 500 to every page that has them",
}

// reasonStatuses are those that are answered where the recorded status differs
// for a reason. TestConformance holds them to what is answered.
var reasonStatuses = map[string][]int{
	"foreign-origin": {400, 403},
	"key-first":      {401},
	"no-escape":      {404, 422},
	"web-ui":         {200},
	"unservable":     {200, 422},
}

// Gives tells whether a status is one that is answered for the reason of x.
func (x Difference) Gives(status int) bool { return slices.Contains(reasonStatuses[x.Reason], status) }

//go:embed differences.yaml differences-agentserver.yaml
var declared embed.FS

// Declared returns the declared differences of this project's V0 server: V0.Declared().
func Declared() []Difference { return V0.Declared() }

// ParseDifferences reads a file of differences. All that is wrong with it is reported together: members missing or
// unknown, a reason that is not in Reasons, a difference declared twice.
func ParseDifferences(file []byte) ([]Difference, error) {
	d := yaml.NewDecoder(bytes.NewReader(file))
	d.KnownFields(true)
	var list []Difference
	if err := d.Decode(&list); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var problems []error
	seen := map[Difference]bool{}
	for i, x := range list {
		problem := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("difference %d (case %q step %q): %s", i+1, x.Case, x.Step, fmt.Sprintf(format, args...)))
		}
		if x.Case == "" {
			problem("no case")
		}
		if !validWhat(x.What) {
			problem("what is %q, not status, body, header:NAME or a JSON pointer", x.What)
		}
		if Reasons[x.Reason] == "" {
			problem("no such reason: %q", x.Reason)
		}
		key := Difference{Case: x.Case, Step: x.Step, What: x.What}
		if seen[key] {
			problem("%s is declared twice", x.What)
		}
		seen[key] = true
	}
	return list, errors.Join(problems...)
}

func validWhat(what string) bool {
	name, header := strings.CutPrefix(what, "header:")
	return what == "status" || what == "body" || header && name != "" && name == strings.ToLower(name) || strings.HasPrefix(what, "/")
}

// Covers tells whether x declares the difference d. A server's failure is never declared, nor is silence: a status of 500
// or more has no What that covers it.
func (x Difference) Covers(d Diff) bool {
	if d.What == "status" && d.Got >= "5" {
		return false
	}
	isBody := d.What == "body" || strings.HasPrefix(d.What, "/")
	return x.What == d.What || x.What == "body" && isBody || strings.HasPrefix(x.What, "/") && strings.HasPrefix(d.What, x.What+"/")
}

// WriteDifferences prints differences as a table, with the meaning of the reasons below it.
func WriteDifferences(w io.Writer, list []Difference) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CASE\tSTEP\tWHAT\tREASON")
	var reasons []string
	for _, x := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", x.Case, x.Step, x.What, x.Reason)
		if !slices.Contains(reasons, x.Reason) {
			reasons = append(reasons, x.Reason)
		}
	}
	if len(reasons) > 0 {
		fmt.Fprintln(t)
	}
	slices.Sort(reasons)
	for _, r := range reasons {
		fmt.Fprintf(t, "%s\t%s\n", r, Reasons[r])
	}
	return t.Flush()
}
