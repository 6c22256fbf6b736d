package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

// spread sends n requests over the connections, those of the list in turns,
// and returns the time it took.
func spread(b *testing.B, clients []*client, n int, requests ...[]byte) time.Duration {
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	start := time.Now()
	for _, c := range clients {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(n) {
					return
				}
				if err := c.do(requests[int(i)%len(requests)]); err != nil {
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
	return startServerWith(b, server.Config{Data: data})
}

func startServerWith(b *testing.B, c server.Config) string {
	b.Helper()
	c.Addr = "127.0.0.1:0"
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, c)
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

// startCeiling serves one answer from memory, whatever is asked: what no
// server can be faster than.
func startCeiling(b *testing.B, answer []byte) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer)
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

// BenchmarkAddEvent compares with a handler that stores nothing.
func BenchmarkAddEvent(b *testing.B) {
	for _, connections := range []int{1, 16, 64, 256} {
		for _, conversations := range []int{1, 1000} {
			b.Run(fmt.Sprintf("connections=%d/conversations=%d", connections, conversations), func(b *testing.B) {
				addr, noop := startServer(b, b.TempDir()), startCeiling(b, []byte(`{"success":true}`))
				mine, theirs := make([]*client, connections), make([]*client, connections)
				for i := range connections {
					mine[i], theirs[i] = dial(b, addr), dial(b, noop)
				}
				requests := make([][]byte, conversations)
				for i := range requests {
					requests[i] = postRequest(fmt.Sprintf("c%d", i))
				}
				spread(b, mine, conversations, requests...) // they exist from now on
				inTurns(b,
					func(n int) time.Duration { return spread(b, mine, n, requests...) },
					func(n int) time.Duration { return spread(b, theirs, n, requests...) }, "x-noop")
			})
		}
	}
}

// BenchmarkAgentServer sends messages that do not run to the agent server's line,
// and reads pages of 100 of them, beside a handler that stores nothing.
func BenchmarkAgentServer(b *testing.B) {
	const message = `{"content":[{"type":"text","text":"hello"}]}`
	for _, connections := range []int{1, 64} {
		ctx, cancel := context.WithCancel(context.Background())
		s, err := server.New(ctx, server.Config{AgentServer: "127.0.0.1:0", Data: b.TempDir(), Agent: "none"})
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
		mine, theirs := make([]*client, connections), make([]*client, connections)
		noop := startCeiling(b, []byte(`{"success":true}`))
		for i := range connections {
			mine[i], theirs[i] = dial(b, strings.TrimPrefix(s.Info().URL, "http://")), dial(b, noop)
		}
		sends, pages := make([][]byte, 64), make([][]byte, 64)
		for i := range sends {
			id := fmt.Sprintf("00000000-0000-4000-8000-0000000000%02x", i)
			body := `{"conversation_id":"` + id + `","workspace":{"working_dir":"w"},"agent_settings":{}}`
			r, err := http.Post(s.Info().URL+"/api/conversations", "application/json", strings.NewReader(body))
			if err != nil || r.StatusCode != http.StatusCreated {
				b.Fatalf("create: %v %v", r, err)
			}
			r.Body.Close()
			sends[i] = fmt.Appendf(nil, "POST /api/conversations/%s/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", id, len(message), message)
			pages[i] = fmt.Appendf(nil, "GET /api/conversations/%s/events/search HTTP/1.1\r\nHost: localhost\r\n\r\n", id)
		}
		spread(b, mine, 64*50, sends...)
		for name, requests := range map[string][][]byte{"send": sends, "page": pages} {
			b.Run(fmt.Sprintf("%s/connections=%d", name, connections), func(b *testing.B) {
				inTurns(b,
					func(n int) time.Duration { return spread(b, mine, n, requests...) },
					func(n int) time.Duration { return spread(b, theirs, n, requests...) }, "x-noop")
			})
		}
	}
}

// BenchmarkAddEventJournal compares a server that keeps a journal with one that
// keeps none.
func BenchmarkAddEventJournal(b *testing.B) {
	const connections = 64
	with, without := startServerWith(b, server.Config{Data: b.TempDir(), Journal: 1000}), startServer(b, b.TempDir())
	mine, theirs := make([]*client, connections), make([]*client, connections)
	for i := range connections {
		mine[i], theirs[i] = dial(b, with), dial(b, without)
	}
	inTurns(b,
		func(n int) time.Duration { return spread(b, mine, n, postRequest("c")) },
		func(n int) time.Duration { return spread(b, theirs, n, postRequest("c")) }, "x-off")
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

// fill writes conversations of so many events into a data folder: user's
// messages of 1 KB, and one in ten an agent's.
func fill(b *testing.B, data string, conversations map[string]int) {
	b.Helper()
	s, err := boltstore.Open(filepath.Join(data, "events.db"), boltstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	text := []byte(`{"timestamp":"2025-01-01T00:00:00.000001","source":"user","message":"` + strings.Repeat("x", 400) + `","action":"message","args":{"content":"` + strings.Repeat("x", 400) + `","file_urls":null,"image_urls":null,"wait_for_response":false}}`)
	answer := bytes.Replace(text, []byte(`"source":"user"`), []byte(`"source":"agent"`), 1)
	for id, n := range conversations {
		_, err := s.Import(b.Context(), store.Conversation{ID: id, CreatedAt: time.Now(), UpdatedAt: time.Now()}, false, func(yield func(store.Event, error) bool) {
			for i := range n {
				e := store.Event{ID: int64(i), JSON: text}
				if i%10 == 0 {
					e.JSON = answer
				}
				if !yield(e, nil) {
					return
				}
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// memory reads a process's resident memory and its anonymous part, in KB.
func memory(b testing.TB, pid int) (rss, anon int) {
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

// watchMemory looks at a process's anonymous memory until most is called, or the
// test ends. most returns the most that it had, in KB.
func watchMemory(t testing.TB, pid int) (most func() int) {
	stop, found := make(chan struct{}), make(chan int)
	go func() {
		high := 0
		for {
			_, anon := memory(t, pid)
			high = max(high, anon)
			select {
			case <-stop:
				found <- high
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	most = sync.OnceValue(func() int {
		close(stop)
		return <-found
	})
	t.Cleanup(func() { most() })
	return most
}
