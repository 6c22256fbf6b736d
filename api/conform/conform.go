// Package conform runs recorded exchanges with a real server against another server and tells where its answers differ.
// A Line says whose: V0, recorded from OpenHands 0.53.0, or AgentServer, from its agent server. The recordings are data in
// cases/ and agentserver/, embedded; the server is a URL, so it may be ours, the real one or a later one. It is the one
// mechanism behind the conformance tests of this project and its conform command.
//
// Find your way: Run sends the cases (run.go), byte for byte (wire.go), fills in and learns placeholders (vars.go) and
// compares the answers (compare.go, value.go). What an agent or a runtime wrote is told from what the client posted by the
// rules in agent.go. What may be sent to a server that holds somebody's work is decided by the rules in groups.go.
// Cases of AgentServer also open websockets (socket.go), and say what the model answers that an agent asks: the engine
// stands in for it (model.go). They are made by a Recorder (record.go); what the line needs besides is in line.go.
// Differences on purpose are declared in differences.yaml (differences.go); an answer that calls itself more lenient, in
// the header X-Local-Lenient, declares its own. A Report is written as text, JSON or JUnit XML (report.go).
//
// # A server that the run did not start
//
// Run is safe to point at it. It changes and deletes conversations only if it made them in this run, which it knows from
// the answers to its own create requests; where a recorded request names a conversation that does not exist, Run asks
// first whether it does exist here, and leaves the case out if so. It deletes what it made, also when its context ends.
// Cases of the groups Settings, Harm and Agent are left out unless allowed, those of Env, Restart and Fresh always. Lists of all
// conversations or secrets are compared in the run's own entries, settings in what the case has set. It starts fewer than
// 10 requests a second.
package conform

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"time"
)

// Target is the server under test: a URL, or a way to start servers.
type Target struct {
	URL string // http or https, host and port, no path
	Key string // sent as X-Session-API-Key where a recorded request has no key of its own; may be empty

	// Start, if set, starts a server on no data at all with these environment variables: one for each case. Every group
	// is allowed then, there is no pace, and URL and Key are not used.
	Start func(ctx context.Context, env map[string]string) (Server, error)
}

// Check returns what is wrong with the URL of a target that has no Start.
func (t Target) Check() error {
	_, err := parseURL(t.URL)
	return err
}

// Server is a server that the run started.
type Server interface {
	URL() string                       // as Target.URL; asked again after Restart
	Restart(ctx context.Context) error // stop, and start on the same data and environment
	Close() error                      // stop and forget the data
}

// Runtime is a Server beside which somebody does what the recorded server's runtime did.
type Runtime interface {
	Server
	// Shell runs the command of an accepted run action in the folder of the conversation's files.
	Shell(ctx context.Context, conversation, command string) error
}

// Options choose what is run. The zero value runs everything that is safe for any server.
type Options struct {
	Line          Line         // whose cases are run
	Only          []string     // names or patterns (path.Match) of cases; all if empty
	AllowSettings bool         // also cases of the group Settings, and what makes conversations possible; see Report.Remains
	AllowHarm     bool         // also cases of the group Harm
	AllowAgent    bool         // also cases of the group Agent
	Fast          bool         // as many requests a second as the server takes
	Differences   []Difference // what may differ, and must

	// Progress, if set, is called after each case, in order: it is the done-th of all that were chosen.
	Progress func(done, all int, c CaseResult)
	// Notice, if set, is told before the first case what a user should know of a server that the run did not start.
	Notice func(string)

	clock clock // real time if zero
}

func (o Options) allows(g Group) bool {
	switch g {
	case Settings:
		return o.AllowSettings
	case Harm:
		return o.AllowHarm
	case Agent:
		return o.AllowAgent
	}
	return false
}

// clock is how a run waits; tests set it.
type clock struct {
	now   func() time.Time
	sleep func(context.Context, time.Duration)
}

func realSleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Run sends the chosen cases to the target, one after the other. It returns an error, with no report, if the target, a
// pattern of Only or a declared difference makes no sense; with the report so far, if ctx ended or a server did not start.
// Differences are not an error: ask Report.OK.
func Run(ctx context.Context, target Target, options Options) (Report, error) {
	return run(ctx, target, options, options.Line.Cases())
}

func run(ctx context.Context, target Target, options Options, cases []Case) (Report, error) {
	if options.clock.now == nil {
		options.clock = clock{now: time.Now, sleep: realSleep}
	}
	var base *url.URL
	if target.Start == nil {
		var err error
		if base, err = parseURL(target.URL); err != nil {
			return Report{}, err
		}
	}
	chosen, err := choose(cases, options.Only)
	if err != nil {
		return Report{}, err
	}
	if err := known(options.Differences, cases); err != nil {
		return Report{}, err
	}
	r := &runner{target: target, base: base, options: options}
	defer func() { r.model.close() }()
	report := Report{Target: target.URL, Started: options.clock.now().UTC()}
	if r.owned() {
		err = r.runCases(ctx, chosen, &report)
	} else {
		if !options.Fast {
			r.pace = &pace{clock: options.clock}
		}
		slices.SortStableFunc(chosen, leastHarmFirst)
		r.look(ctx, chosen, cases)
		err = r.runCases(ctx, chosen, &report)
		r.putBack(ctx)
	}
	report.finish(r)
	return report, err
}

func (r *runner) runCases(ctx context.Context, cases []Case, report *Report) error {
	for i := range cases {
		result, err := r.runCase(ctx, &cases[i])
		if err == nil {
			err = ctx.Err()
		}
		report.add(result)
		if r.options.Progress != nil {
			r.options.Progress(i+1, len(cases), result)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%q is not the URL of a server: http or https, host and port, nothing else", raw)
	}
	return u, nil
}

func choose(cases []Case, only []string) ([]Case, error) {
	if len(only) == 0 {
		return cases, nil
	}
	wanted := map[string]bool{}
	var problems []error
	for _, pattern := range only {
		found := false
		for _, c := range cases {
			match, err := path.Match(pattern, c.Name)
			if err != nil {
				problems = append(problems, fmt.Errorf("%q: %w", pattern, err))
				break
			}
			wanted[c.Name] = wanted[c.Name] || match
			found = found || match
		}
		if !found {
			problems = append(problems, fmt.Errorf("no case matches %q", pattern))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(cases), func(c Case) bool { return !wanted[c.Name] }), nil
}

// known reports differences that are declared for steps which do not exist.
func known(differences []Difference, cases []Case) error {
	steps := map[[2]string]bool{}
	for i := range cases {
		cases[i].each(func(id string, _ *Step) { steps[[2]string{cases[i].Name, id}] = true })
	}
	var problems []error
	for _, x := range differences {
		if !steps[[2]string{x.Case, x.Step}] {
			problems = append(problems, fmt.Errorf("a difference is declared for case %q step %q, which is no request", x.Case, x.Step))
		}
	}
	return errors.Join(problems...)
}

// interval keeps the pace under 10 requests a second, whatever part of a second they are counted from.
const interval = 112 * time.Millisecond

// pace lets one request start every interval. It is used by one goroutine at a time.
type pace struct {
	clock clock
	next  time.Time
}

func (p *pace) wait(ctx context.Context) {
	if p == nil {
		return
	}
	if d := p.next.Sub(p.clock.now()); d > 0 {
		p.clock.sleep(ctx, d)
	}
	p.next = p.clock.now().Add(interval)
}
