package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore"
)

// Benchmarks measure against a ceiling in the same run, in turns, since
// machines are noisy: "x-noop" is our rate over that of a handler which reads
// the body and answers the same bytes, "x-commit" our median latency over that
// of a bare bbolt commit of the same bytes. The client is on the same machine
// and writes ready-made requests on kept connections.

const benchBody = `{"action":"message","args":{"content":"The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. 0123456789"}}`

// client is one kept connection.
type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(b *testing.B, addr string) *client {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return &client{c, bufio.NewReaderSize(c, 64<<10)}
}

func (c *client) do(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("answers %s", resp.Status)
	}
	return err
}

func postRequest(conversation string) []byte {
	return fmt.Appendf(nil, "POST /api/conversations/%s/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", conversation, len(benchBody), benchBody)
}

// spread sends n requests over the connections and returns the time it took.
func spread(b *testing.B, clients []*client, n int, request func(connection int) []byte) time.Duration {
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	start := time.Now()
	for i, c := range clients {
		wg.Go(func() {
			text := request(i)
			for next.Add(1) <= int64(n) {
				if err := c.do(text); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// startServer runs a server in this process and returns its address.
func startServer(b *testing.B, data string) string {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, server.Config{Addr: "127.0.0.1:0", Data: data})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return strings.TrimPrefix(s.Info().URL, "http://")
}

// startNoop runs the ceiling.
func startNoop(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"success":true}`))
	})}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// inTurns runs ours and the ceiling in slices of b.N and reports the ratio of
// their rates.
func inTurns(b *testing.B, ours, ceiling func(n int) time.Duration, metric string) {
	const slicesOf = 8
	ours(200)
	ceiling(200)
	b.ResetTimer()
	var mine, theirs time.Duration
	for i := range slicesOf {
		n := b.N*(i+1)/slicesOf - b.N*i/slicesOf
		mine += ours(n)
		b.StopTimer()
		theirs += ceiling(n)
		b.StartTimer()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/mine.Seconds(), "req/s")
	b.ReportMetric(theirs.Seconds()/mine.Seconds(), metric)
	b.ReportMetric(0, "ns/op")
}

func BenchmarkAddEvent(b *testing.B) {
	for _, connections := range []int{1, 16, 64, 256} {
		for _, conversations := range []int{1, 64} {
			b.Run(fmt.Sprintf("connections=%d/conversations=%d", connections, conversations), func(b *testing.B) {
				if conversations > connections {
					b.Skip("fewer connections than conversations")
				}
				addr, noop := startServer(b, b.TempDir()), startNoop(b)
				mine, theirs := make([]*client, connections), make([]*client, connections)
				for i := range connections {
					mine[i], theirs[i] = dial(b, addr), dial(b, noop)
				}
				request := func(i int) []byte { return postRequest(fmt.Sprintf("c%d", i%conversations)) }
				inTurns(b,
					func(n int) time.Duration { return spread(b, mine, n, request) },
					func(n int) time.Duration { return spread(b, theirs, n, request) }, "x-noop")
			})
		}
	}
}

// BenchmarkAddEventLatency compares the median of one connection with that of
// a bare commit: one key of the same size, the same options.
func BenchmarkAddEventLatency(b *testing.B) {
	addr := startServer(b, b.TempDir())
	c, request := dial(b, addr), postRequest("c")
	db, err := bolt.Open(filepath.Join(b.TempDir(), "raw.db"), 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType, InitialMmapSize: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	commit := func(i int) {
		err := db.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("events"))
			if err != nil {
				return err
			}
			bucket.FillPercent = 0.9
			return bucket.Put(fmt.Appendf(nil, "%016d", i), []byte(benchBody))
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for i := range 50 {
		commit(i)
		if err := c.do(request); err != nil {
			b.Fatal(err)
		}
	}
	mine, raw := make([]time.Duration, 0, b.N), make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for i := range b.N {
		t := time.Now()
		if err := c.do(request); err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		commit(100 + i)
		mine, raw = append(mine, t1.Sub(t)), append(raw, time.Since(t1))
	}
	b.StopTimer()
	p50, p50raw := median(mine), median(raw)
	b.ReportMetric(float64(p50.Microseconds()), "p50-µs")
	b.ReportMetric(float64(p50)/float64(p50raw), "x-commit")
	b.ReportMetric(0, "ns/op")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkSearch compares a page of 100 from a long conversation with the
// same page from one of 1,000 events.
func BenchmarkSearch(b *testing.B) {
	const long = 1_000_000
	data := b.TempDir()
	fill(b, data, map[string]int{"short": 1000, "long": long})
	addr := startServer(b, data)
	c := dial(b, addr)
	get := func(conversation, query string) []byte {
		return []byte("GET /api/conversations/" + conversation + "/events?limit=100&" + query + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	for name, queries := range map[string][2]string{
		"first":   {"start_id=0", "start_id=0"},
		"last":    {"reverse=true", "reverse=true"},
		"middle":  {"start_id=500", fmt.Sprintf("start_id=%d", long/2)},
		"reverse": {"reverse=true&end_id=500", fmt.Sprintf("reverse=true&end_id=%d", long/2)},
	} {
		b.Run(name, func(b *testing.B) {
			run := func(request []byte) func(int) time.Duration {
				return func(n int) time.Duration {
					return spread(b, []*client{c}, n, func(int) []byte { return request })
				}
			}
			inTurns(b, run(get("long", queries[1])), run(get("short", queries[0])), "x-short")
		})
	}
}

// fill writes conversations of so many events into a data folder.
func fill(b *testing.B, data string, conversations map[string]int) {
	b.Helper()
	s, err := boltstore.Open(filepath.Join(data, "events.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const batch = 10_000
	text := []byte(`{"timestamp":"2025-01-01T00:00:00.000001","source":"user","message":"` + strings.Repeat("x", 400) + `","action":"message","args":{"content":"` + strings.Repeat("x", 400) + `","file_urls":null,"image_urls":null,"wait_for_response":false}}`)
	for id, n := range conversations {
		if _, err := s.Create(b.Context(), store.Conversation{ID: id, CreatedAt: time.Now(), UpdatedAt: time.Now()}); err != nil {
			b.Fatal(err)
		}
		for from := 0; from < n; from += batch {
			events := make([]store.Event, min(batch, n-from))
			for i := range events {
				events[i] = store.Event{ID: int64(from + i), JSON: text}
			}
			if err := s.Restore(b.Context(), id, events); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkStart measures from exec to the ready file, and memory when idle.
func BenchmarkStart(b *testing.B) {
	if _, err := program(); err != nil {
		b.Fatal(err)
	}
	var url string
	start := func(b *testing.B, data string) (time.Duration, *exec.Cmd) {
		file, _ := program()
		ready := filepath.Join(b.TempDir(), "ready.json")
		cmd := exec.Command(file, "--addr=localhost:0", "--data", data, "--ready-file", ready)
		t := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		for time.Since(t) < time.Minute {
			if text, err := os.ReadFile(ready); err == nil {
				took := time.Since(t)
				var info server.Info
				if err := json.Unmarshal(text, &info); err != nil {
					b.Fatal(err)
				}
				url = info.URL
				return took, cmd
			}
			time.Sleep(200 * time.Microsecond)
		}
		b.Fatal("no server after a minute")
		return 0, nil
	}
	measure := func(b *testing.B, data func() string, end os.Signal) {
		var took []time.Duration
		var rss, anon []int
		for range b.N {
			d, cmd := start(b, data())
			took = append(took, d)
			time.Sleep(300 * time.Millisecond) // it has loaded the contract by then
			r, a := memory(b, cmd.Process.Pid)
			rss, anon = append(rss, r), append(anon, a)
			// Something written: after a kill the free pages must be looked for.
			if _, err := post(b.Context(), url, "c", "x"); err != nil {
				b.Fatal(err)
			}
			_ = cmd.Process.Signal(end)
			_ = cmd.Wait()
		}
		slices.Sort(rss)
		slices.Sort(anon)
		b.ReportMetric(float64(median(took).Microseconds())/1000, "ready-ms")
		b.ReportMetric(float64(rss[len(rss)/2])/1024, "rss-MB")
		b.ReportMetric(float64(anon[len(anon)/2])/1024, "anon-MB")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("empty", func(b *testing.B) {
		measure(b, b.TempDir, syscall.SIGTERM)
	})
	b.Run("1GB", func(b *testing.B) {
		data := b.TempDir()
		fill(b, data, map[string]int{"long": 950_000})
		if info, err := os.Stat(filepath.Join(data, "events.db")); err == nil {
			b.Logf("events.db: %d MB", info.Size()>>20)
		}
		b.Run("stopped", func(b *testing.B) { measure(b, func() string { return data }, syscall.SIGTERM) })
		b.Run("killed", func(b *testing.B) {
			measure(b, func() string { return data }, syscall.SIGKILL)
		})
	})
	file, _ := program()
	if info, err := os.Stat(file); err == nil {
		b.Logf("binary: %.1f MB", float64(info.Size())/(1<<20))
	}
}

// memory reads a process's resident memory and its anonymous part, in KB.
func memory(b *testing.B, pid int) (rss, anon int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip("no /proc here")
	}
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &rss)
		_, _ = fmt.Sscanf(line, "RssAnon: %d kB", &anon)
	}
	return rss, anon
}
