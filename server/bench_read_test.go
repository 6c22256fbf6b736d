package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkSearch reads pages of 100 out of 1,000 and out of 1,000,000 events:
// "x-memory" is our rate over that of a handler which answers the same bytes
// from memory, "x-short" the rate in the long conversation over that of the
// same page in the short one. One event in ten matches the filter.
func BenchmarkSearch(b *testing.B) {
	const short, long = 1000, 1_000_000
	data := b.TempDir()
	fill(b, data, map[string]int{"short": short, "long": long})
	addr := startServer(b, data)
	c := []*client{dial(b, addr)}
	get := func(conversation, query, filter string) []byte {
		return fmt.Appendf(nil, "GET /api/conversations/%s/events?limit=100&%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", conversation, query, len(filter), filter)
	}
	for _, page := range []struct{ name, short, long, filter string }{
		{"first", "start_id=0", "start_id=0", ""},
		{"middle", "start_id=500", fmt.Sprintf("start_id=%d", long/2), ""},
		{"last", "reverse=true", "reverse=true", ""},
		{"reverse", "reverse=true&end_id=500", fmt.Sprintf("reverse=true&end_id=%d", long/2), ""},
		{"filtered", "start_id=0", fmt.Sprintf("start_id=%d", long/2), `{"source":"agent"}`},
	} {
		b.Run(page.name, func(b *testing.B) {
			request := get("long", page.long, page.filter)
			b.Run("memory", func(b *testing.B) {
				ceiling := []*client{dial(b, startCeiling(b, c[0].get(b, request)))}
				inTurns(b,
					func(n int) time.Duration { return spread(b, c, n, request) },
					func(n int) time.Duration { return spread(b, ceiling, n, request) }, "x-memory")
			})
			b.Run("short", func(b *testing.B) {
				inTurns(b,
					func(n int) time.Duration { return spread(b, c, n, request) },
					func(n int) time.Duration { return spread(b, c, n, get("short", page.short, page.filter)) }, "x-short")
			})
		})
	}
}

// get returns the body of an answer.
func (c *client) get(b *testing.B, request []byte) []byte {
	b.Helper()
	if _, err := c.Write(request); err != nil {
		b.Fatal(err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s %v: %s", resp.Status, err, body)
	}
	return body
}

// BenchmarkList lists 20 and all of 10,000 conversations, against a handler
// that answers the same bytes from memory.
func BenchmarkList(b *testing.B) {
	const stored = 10_000
	data, conversations := b.TempDir(), map[string]int{}
	for i := range stored {
		conversations[fmt.Sprintf("c%05d", i)] = 1
	}
	fill(b, data, conversations)
	c := []*client{dial(b, startServer(b, data))}
	for _, limit := range []int{20, stored} {
		b.Run(fmt.Sprintf("conversations=%d", limit), func(b *testing.B) {
			request := fmt.Appendf(nil, "GET /api/conversations?limit=%d HTTP/1.1\r\nHost: localhost\r\n\r\n", limit)
			ceiling := []*client{dial(b, startCeiling(b, c[0].get(b, request)))}
			inTurns(b,
				func(n int) time.Duration { return spread(b, c, n, request) },
				func(n int) time.Duration { return spread(b, ceiling, n, request) }, "x-memory")
		})
	}
}

// BenchmarkTrajectory reads the trajectory of 1,000,000 events from a process
// of its own: "MB/s", "x-copy" as the share of the rate at which a file of as
// many bytes is copied, and "anon-MB", what the process had of anonymous
// memory at the most beyond what it has when idle.
func BenchmarkTrajectory(b *testing.B) {
	data := b.TempDir()
	fill(b, data, map[string]int{"long": 1_000_000})
	url, process := startProgram(b, data)
	addr := strings.TrimPrefix(url, "http://")
	time.Sleep(300 * time.Millisecond) // it has loaded the contract by then
	_, idle := memory(b, process.Pid)
	most := watchMemory(b, process.Pid)
	var size int64
	var ours, copying time.Duration
	b.ResetTimer()
	for range b.N {
		c := dial(b, addr)
		start := time.Now()
		if _, err := io.WriteString(c, "GET /api/conversations/long/trajectory HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReaderSize(c, 256<<10), nil)
		if err != nil {
			b.Fatal(err)
		}
		size, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 256<<10))
		if err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
		copying += copyFile(b, filepath.Join(data, "events.db"), size)
	}
	anon := most() - idle
	b.ReportMetric(float64(size)*float64(b.N)/1e6/ours.Seconds(), "MB/s")
	b.ReportMetric(copying.Seconds()/ours.Seconds(), "x-copy")
	b.ReportMetric(float64(anon)/1024, "anon-MB")
	b.ReportMetric(0, "ns/op")
}

// copyFile copies so many bytes of a file, by reading and writing them, and
// returns the time it took.
func copyFile(b *testing.B, name string, size int64) time.Duration {
	b.Helper()
	from, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(filepath.Join(b.TempDir(), "copy"))
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(to.Name())
	defer to.Close()
	start := time.Now()
	if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{io.LimitReader(from, size)}, make([]byte, 256<<10)); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}
