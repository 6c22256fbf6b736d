// Command differ sends the same random requests to two servers, the real
// OpenHands 0.53.0 and openhands-local, and tells where their answers differ.
//
//	go run ./server/workshop/differ --real http://127.0.0.1:3100 --ours http://127.0.0.1:3000 --requests 20000 --seed 1
//
// Add --sockets 300 for connections of Socket.IO after the requests (sockets.go),
// --only events --bodies api/event/testdata/events.jsonl for event bodies
// alone, among them recorded ones with a value changed.
//
// Both servers have just started, without settings, and take requests without
// a limit; ours runs with --strict --settings none --agent none. Everything on
// them may be changed and deleted.
//
// Requests are made by the served contract (generate.go, events.go): valid
// ones, nearly valid ones and broken ones, in rounds that begin with the same
// settings on both sides and, in part, with a conversation of their own. What
// a round posts to its conversation is read back by page and as a trajectory
// (round.go). Answers are compared after what differs from run to run is
// replaced (compare.go); what differs on purpose is declared there, with its
// reason. What is left is told by cluster: an operation and the place that
// differs, with a count, an example and a line for curl. Exit status 1 says
// that there is some.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "differ:", err)
		os.Exit(1)
	}
}

// errDiffer says that answers differ which should not.
var errDiffer = errors.New("answers differ")

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("differ", flag.ContinueOnError)
	realURL := flags.String("real", "", "base `URL` of the real server")
	oursURL := flags.String("ours", "", "base `URL` of openhands-local")
	requests := flags.Int("requests", 1000, "how many requests are compared, at least")
	sockets := flags.Int("sockets", 0, "how many connections of Socket.IO are compared, at least")
	seed := flags.Uint64("seed", 1, "what the requests are drawn from")
	only := flags.String("only", "", "the `operation` that nearly all requests are of, such as \"POST /api/settings\"; events: rounds of event bodies alone")
	bodies := flags.String("bodies", "", "a `FILE` of recorded event bodies to mutate: api/event/testdata/events.jsonl")
	timeout := flags.Duration("timeout", 10*time.Second, "how long an answer may take")
	if err := flags.Parse(args); err != nil {
		return err
	}
	real, err := newSide(*realURL, *timeout)
	if err != nil {
		return fmt.Errorf("--real: %w", err)
	}
	ours, err := newSide(*oursURL, *timeout)
	if err != nil {
		return fmt.Errorf("--ours: %w", err)
	}
	g, err := newGenerator(rand.New(rand.NewPCG(*seed, 0)), *only)
	if err != nil {
		return err
	}
	if *bodies != "" {
		if g.bodies, err = readBodies(*bodies); err != nil {
			return err
		}
	}
	d := &differ{real: real, ours: ours, g: g, report: newReport()}
	for ctx.Err() == nil && (d.report.requests < *requests || d.report.sockets < *sockets) {
		round := d.round
		if d.report.requests >= *requests {
			round = d.talks
		}
		if err := round(ctx); err != nil {
			fmt.Fprintf(out, "a round ended early: %v\n", err)
		}
	}
	d.report.write(out, ours.base)
	if len(d.report.clusters) > 0 {
		return errDiffer
	}
	return ctx.Err()
}
