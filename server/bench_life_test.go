package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
)

// startProgram runs the program on a data folder until the benchmark ends.
func startProgram(b *testing.B, data string) (url string, process *os.Process) {
	b.Helper()
	_, cmd, url := execProgram(b, data)
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return url, cmd.Process
}

// execProgram runs the program, and tells how long it took from exec to the
// ready file.
func execProgram(b *testing.B, data string) (took time.Duration, cmd *exec.Cmd, url string) {
	b.Helper()
	file, err := program()
	if err != nil {
		b.Fatal(err)
	}
	ready := filepath.Join(b.TempDir(), "ready.json")
	cmd = exec.Command(file, "--addr=localhost:0", "--data", data, "--ready-file", ready)
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
			return took, cmd, info.URL
		}
		time.Sleep(200 * time.Microsecond)
	}
	b.Fatal("no server after a minute")
	return 0, nil, ""
}

// BenchmarkStart measures from exec to the ready file, and memory when idle.
func BenchmarkStart(b *testing.B) {
	measure := func(b *testing.B, data func() string, end os.Signal) {
		var took []time.Duration
		var rss, anon []int
		for range b.N {
			d, cmd, url := execProgram(b, data())
			took = append(took, d)
			time.Sleep(300 * time.Millisecond) // it has loaded the contract by then
			r, a := memory(b, cmd.Process.Pid)
			rss, anon = append(rss, r), append(anon, a)
			// Something written: after a kill the free pages must be looked for.
			if _, err := post(b.Context(), url, "c", "x", ""); err != nil {
				b.Fatal(err)
			}
			_ = cmd.Process.Signal(end)
			_ = cmd.Wait()
		}
		b.ReportMetric(milliseconds(median(took)), "ready-ms")
		b.ReportMetric(float64(median(rss))/1024, "rss-MB")
		b.ReportMetric(float64(median(anon))/1024, "anon-MB")
		b.ReportMetric(0, "ns/op")
	}
	file, err := program() // built now, and not within the first measurement
	if err != nil {
		b.Fatal(err)
	}
	b.Run("empty", func(b *testing.B) { measure(b, b.TempDir, syscall.SIGTERM) })
	b.Run("1GB", func(b *testing.B) {
		data := b.TempDir()
		fill(b, data, map[string]int{"long": 950_000})
		if info, err := os.Stat(filepath.Join(data, "events.db")); err == nil {
			b.Logf("events.db: %d MB", info.Size()>>20)
		}
		b.Run("stopped", func(b *testing.B) { measure(b, func() string { return data }, syscall.SIGTERM) })
		b.Run("killed", func(b *testing.B) { measure(b, func() string { return data }, syscall.SIGKILL) })
	})
	if info, err := os.Stat(file); err == nil {
		b.Logf("binary: %.1f MB", float64(info.Size())/(1<<20))
	}
}

// BenchmarkStop measures from SIGTERM to the end of the process, with 100
// sockets that have joined.
func BenchmarkStop(b *testing.B) {
	var took []time.Duration
	for range b.N {
		_, cmd, url := execProgram(b, b.TempDir())
		if _, err := post(b.Context(), url, "c", "x", ""); err != nil {
			b.Fatal(err)
		}
		for range 100 {
			f := follow(url, "c")
			if err := f.join(b.Context()); err != nil {
				b.Fatal(err)
			}
			go func() { // which answers the closing
				for {
					if _, err := f.next(context.Background()); err != nil {
						return
					}
				}
			}()
		}
		start := time.Now()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	b.ReportMetric(milliseconds(median(took)), "stop-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkDelete deletes a conversation of 1,000,000 events while four
// connections post to others, until its pages are free: "p99-ms" is theirs
// meanwhile, "x-before" as many times that of the second before.
func BenchmarkDelete(b *testing.B) {
	for range b.N {
		data := b.TempDir()
		fill(b, data, map[string]int{"long": 1_000_000})
		addr := startServer(b, data)
		var (
			ctx, cancel = context.WithCancel(b.Context())
			deleting    atomic.Bool
			mu          sync.Mutex
			took        [2][]time.Duration
			wg          sync.WaitGroup
		)
		for i := range 4 {
			c, request := dial(b, addr), postRequest(fmt.Sprint("c", i))
			wg.Go(func() {
				for ctx.Err() == nil {
					during := deleting.Load()
					t := time.Now()
					if err := c.do(request); err != nil {
						b.Error(err)
						return
					}
					d := time.Since(t)
					mu.Lock()
					if during {
						took[1] = append(took[1], d)
					} else {
						took[0] = append(took[0], d)
					}
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Second)
		deleting.Store(true)
		r, _ := http.NewRequestWithContext(ctx, http.MethodDelete, "http://"+addr+"/api/conversations/long", nil)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		time.Sleep(3 * time.Second) // the events go in batches
		cancel()
		wg.Wait()
		before, during := quantile(took[0], 99), quantile(took[1], 99)
		b.ReportMetric(milliseconds(during), "p99-ms")
		b.ReportMetric(float64(during)/float64(before), "x-before")
		b.ReportMetric(0, "ns/op")
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quantile is the value that so many in a hundred do not exceed.
func quantile[T time.Duration | int](values []T, percent int) T {
	slices.Sort(values)
	return values[min(len(values)*percent/100, len(values)-1)]
}

func median[T time.Duration | int](values []T) T { return quantile(values, 50) }
