// Command benchtable passes the output of `go test -bench` on and ends with a
// table in Markdown: what was measured, and the aim. Of several runs it takes
// the median. It fails when the input says FAIL, never for a missed aim:
// machines are noisy.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A row is one figure of the table.
type row struct {
	what      string
	benchmark string // without Benchmark, and without the -N of processors
	metric    string
	// aim is what the figure should be at least, or at most; 0 for none.
	atLeast, atMost float64
	also            []string // metrics to show beside it
}

var rows = []row{
	{what: "Add Event, 1 connection: median, against a bare bbolt commit", benchmark: "AddEventLatency", metric: "x-commit", atMost: 1.6, also: []string{"p50-µs"}},
	{what: "Add Event, 1 connection, 1,000 conversations: rate, against a handler that stores nothing", benchmark: "AddEvent/connections=1/conversations=1000", metric: "x-noop", also: []string{"req/s"}},
	{what: "… 16 connections, 1 conversation", benchmark: "AddEvent/connections=16/conversations=1", metric: "x-noop", also: []string{"req/s"}},
	{what: "… 16 connections, 1,000 conversations", benchmark: "AddEvent/connections=16/conversations=1000", metric: "x-noop", also: []string{"req/s"}},
	{what: "… 64 connections, 1 conversation", benchmark: "AddEvent/connections=64/conversations=1", metric: "x-noop", atLeast: 0.5, also: []string{"req/s"}},
	{what: "… 64 connections, 1,000 conversations", benchmark: "AddEvent/connections=64/conversations=1000", metric: "x-noop", atLeast: 0.5, also: []string{"req/s"}},
	{what: "… 256 connections, 1 conversation", benchmark: "AddEvent/connections=256/conversations=1", metric: "x-noop", also: []string{"req/s"}},
	{what: "… 256 connections, 1,000 conversations", benchmark: "AddEvent/connections=256/conversations=1000", metric: "x-noop", also: []string{"req/s"}},
	{what: "a page of 100 from the middle of 1,000,000 events: rate, against a handler that answers the same bytes from memory", benchmark: "Search/middle/memory", metric: "x-memory", atLeast: 0.6, also: []string{"req/s"}},
	{what: "… backwards from the middle", benchmark: "Search/reverse/memory", metric: "x-memory", atLeast: 0.6, also: []string{"req/s"}},
	{what: "… of one event in ten, by a filter", benchmark: "Search/filtered/memory", metric: "x-memory", also: []string{"req/s"}},
	{what: "a page of 100 out of 1,000,000 events, against out of 1,000", benchmark: "Search/middle/short", metric: "x-short"},
	{what: "… backwards", benchmark: "Search/reverse/short", metric: "x-short"},
	{what: "… by a filter", benchmark: "Search/filtered/short", metric: "x-short"},
	{what: "20 of 10,000 conversations: rate, against the same bytes from memory", benchmark: "List/conversations=20", metric: "x-memory", also: []string{"req/s"}},
	{what: "all of 10,000 conversations", benchmark: "List/conversations=10000", metric: "x-memory", also: []string{"req/s"}},
	{what: "trajectory of 1,000,000 events, 0.9 GB", benchmark: "Trajectory", metric: "MB/s", atLeast: 300, also: []string{"x-copy"}},
	{what: "… anonymous memory over idle", benchmark: "Trajectory", metric: "anon-MB", atMost: 32},
	{what: "ready after start, empty folder", benchmark: "Start/empty", metric: "ready-ms", atMost: 25},
	{what: "… 1 GB of events", benchmark: "Start/1GB/stopped", metric: "ready-ms", atMost: 25},
	{what: "… 1 GB of events, after kill -9", benchmark: "Start/1GB/killed", metric: "ready-ms"},
	{what: "idle: resident memory", benchmark: "Start/empty", metric: "rss-MB", atMost: 22, also: []string{"anon-MB"}},
	{what: "50 events a second to 1,000 sockets of 100 conversations: p99 from the request to a socket", benchmark: "Sockets", metric: "p99-ms", atMost: 50, also: []string{"p50-ms"}},
	{what: "… anonymous memory", benchmark: "Sockets", metric: "anon-MB", atMost: 150},
	{what: "SIGTERM with 100 open sockets: end of the process", benchmark: "Stop", metric: "stop-ms", atMost: 300},
	{what: "Add Event while a conversation of 1,000,000 events is deleted: p99, against before", benchmark: "Delete", metric: "x-before", also: []string{"p99-ms"}},
}

// figures are the values of each metric of each benchmark.
type figures map[[2]string][]float64

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	found, failed := figures{}, false
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
		failed = failed || strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "--- FAIL")
		found.add(line)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if failed {
		return fmt.Errorf("a benchmark failed")
	}
	return found.write(out)
}

// processors is what go test appends to a benchmark's name.
var processors = regexp.MustCompile(`-\d+$`)

// add takes a line such as
//
//	BenchmarkStop-2   1   141.0 stop-ms
func (f figures) add(line string) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
		return
	}
	name := processors.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
	for i := 2; i+1 < len(fields); i += 2 {
		if value, err := strconv.ParseFloat(fields[i], 64); err == nil {
			key := [2]string{name, fields[i+1]}
			f[key] = append(f[key], value)
		}
	}
}

// median is false for what was not measured.
func (f figures) median(benchmark, metric string) (float64, bool) {
	values := slices.Sorted(slices.Values(f[[2]string{benchmark, metric}]))
	if len(values) == 0 {
		return 0, false
	}
	return values[len(values)/2], true
}

// write writes the rows that were measured.
func (f figures) write(out io.Writer) error {
	var b strings.Builder
	for _, r := range rows {
		value, ok := f.median(r.benchmark, r.metric)
		if !ok {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("\n| what | measured | aim |\n|---|---|---|\n")
		}
		measured := show(value, r.metric)
		for _, metric := range r.also {
			if value, ok := f.median(r.benchmark, metric); ok {
				measured += ", " + show(value, metric)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.what, measured, r.aim(value))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// aim tells it, and whether it is met.
func (r row) aim(value float64) string {
	text, met := "", true
	switch {
	case r.atLeast > 0:
		text, met = "≥ "+show(r.atLeast, r.metric), value >= r.atLeast
	case r.atMost > 0:
		text, met = "≤ "+show(r.atMost, r.metric), value <= r.atMost
	}
	if !met {
		text += ", missed"
	}
	return text
}

// show writes a figure with its unit: x-noop is a ratio, req/s a rate, and
// what ends in -ms, -µs or -MB has that unit.
func show(value float64, metric string) string {
	_, unit, _ := strings.Cut(metric, "-")
	switch {
	case strings.HasPrefix(metric, "x-"):
		return strconv.FormatFloat(value, 'f', 2, 64) + " ×"
	case metric == "req/s":
		return number(value) + "/s"
	case unit != "":
		return number(value) + " " + unit
	}
	return number(value) + " " + metric
}

// number writes three digits, or all before the point, in groups of three.
func number(value float64) string {
	if value < 100 {
		return strconv.FormatFloat(value, 'g', 3, 64)
	}
	text := strconv.FormatFloat(value, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
