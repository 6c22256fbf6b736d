package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
	"github.com/openhands-local/openhands-local/store/storetest"
)

// A follower is a client that comes back, after the last event that it has.
type follower struct {
	url, conversation string
	socket
	last int64
	seen []int64 // messages of the test's, in the order in which they came
}

func follow(url, conversation string) *follower {
	return &follower{url: url, conversation: conversation, last: -1}
}

// join connects; what is replayed is taken.
func (f *follower) join(ctx context.Context) (err error) {
	f.socket, err = dialSocket(ctx, f.url, fmt.Sprintf("conversation_id=%s&latest_event_id=%d", f.conversation, f.last))
	for err == nil {
		var frame string
		if frame, err = f.take(ctx); strings.HasPrefix(frame, "40") {
			return nil
		}
	}
	return err
}

// take is the next frame.
func (f *follower) take(ctx context.Context) (string, error) {
	frame, err := f.next(ctx)
	if id, ok := eventID(frame); ok {
		f.last = max(f.last, id)
		if strings.Contains(frame, `"content":"mark `) {
			f.seen = append(f.seen, id)
		}
	}
	return frame, err
}

// check wants every acknowledged message to have come once, and in order.
func (f *follower) check(t *testing.T, acknowledged []int64) {
	t.Helper()
	if !slices.IsSorted(f.seen) || len(slices.Compact(slices.Clone(f.seen))) != len(f.seen) {
		t.Errorf("%s: ids %v are not in order, each once", f.conversation, f.seen)
	}
	for _, id := range acknowledged {
		if _, ok := slices.BinarySearch(f.seen, id); !ok {
			t.Errorf("%s: event %d was acknowledged and did not come", f.conversation, id)
		}
	}
}

// TestFaultSocketsOverSIGTERM ends the program with SIGTERM while events are
// posted and a client follows: the client is closed with the code for which it
// comes back, and misses nothing.
func TestFaultSocketsOverSIGTERM(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startProcess(t, nil, "--data", data)
	port := p.url[strings.LastIndexByte(p.url, ':')+1:]
	var acknowledged []int64
	say := func() error {
		id, err := post(t.Context(), p.url, "c", fmt.Sprintf("mark %d", len(acknowledged)), "")
		if err == nil {
			acknowledged = append(acknowledged, id)
		}
		return err
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	f := follow(p.url, "c")
	for round := range storetest.Rounds(t, 2, 10) {
		if err := f.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		posted := make(chan struct{})
		go func() { // until it is down
			defer close(posted)
			for say() == nil {
			}
		}()
		for range 20 {
			if _, err := f.take(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, err = f.take(t.Context())
		}
		if code := websocket.CloseStatus(err); code != websocket.StatusServiceRestart {
			t.Errorf("round %d: closed by %v, want code 1012", round, err)
		}
		<-posted
		if err := p.Wait(); err != nil {
			t.Errorf("round %d: the program ends with %v", round, err)
		}
		p = startProcess(t, nil, "--data", data, "--addr=localhost:"+port)
	}
	if err := f.join(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.check(t, acknowledged)
	t.Attr("result", fmt.Sprintf("%d messages, each once", len(f.seen)))
}

// TestFaultSlowSocket: a client that does not read is cut off, and has all of it
// when it comes back.
func TestFaultSlowSocket(t *testing.T) {
	t.Parallel()
	p := startProcess(t, nil, "--data", t.TempDir(), "--agent", "none")
	if _, err := post(t.Context(), p.url, "c", "first", ""); err != nil {
		t.Fatal(err)
	}
	f := follow(p.url, "c")
	if err := f.join(t.Context()); err != nil {
		t.Fatal(err)
	}
	var acknowledged []int64
	connections := func() (n int) {
		resp, err := http.Get(p.url + "/api/conversations/c")
		if err != nil {
			t.Error(err)
			return -1
		}
		defer resp.Body.Close()
		var info struct {
			Connections int `json:"num_connections"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&info); err != nil {
			t.Error(err)
		}
		return info.Connections
	}
	for deadline := time.Now().Add(20 * time.Second); connections() != 1; { // it is counted after it was let in
		if time.Now().After(deadline) {
			t.Fatal("the client is not counted")
		}
	}
	const most = 2000
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		cut atomic.Bool
	)
	for range 16 {
		wg.Go(func() {
			for n := 0; n < most/16 && !cut.Load(); n++ {
				id, err := post(t.Context(), p.url, "c", "mark "+strings.Repeat("x", 100_000), "")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, id)
				mu.Unlock()
				if n%4 == 0 && connections() == 0 {
					cut.Store(true)
				}
			}
		})
	}
	wg.Wait()
	if !cut.Load() {
		t.Fatalf("the client is not cut off after %d messages", most)
	}
	for {
		if _, err := f.take(t.Context()); err != nil { // what was on the way
			break
		}
	}
	if len(f.seen) == len(acknowledged) {
		t.Error("the client had everything before it was cut off")
	}
	if err := f.join(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.check(t, acknowledged)
}

// TestFaultFlippedBitAgent: an agent answers in a conversation that has a
// damaged event.
func TestFaultFlippedBitAgent(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := servertest.NewServer(t, server.Config{Data: data})
	for _, post := range [][2]string{{"/api", `{"action":"null"}`}, {"/_local", stored("damaged")}} {
		if a := request(t, "POST", s.URL+post[0]+"/conversations/c/events", post[1]); a.status != http.StatusOK {
			t.Fatalf("POST %v: %d %s", post, a.status, a.body)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, data, `"content":"damaged"`)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := follow(s.URL, "c")
	if err := f.join(ctx); err != nil {
		t.Fatal(err)
	}
	defer f.CloseNow()
	until := func(text string) {
		for {
			frame, err := f.take(ctx)
			if err != nil {
				t.Fatalf("no %s: %v", text, err)
			}
			if strings.Contains(frame, text) {
				return
			}
		}
	}
	until("awaiting_user_input") // what is said before the agent is there is not for it
	postAll(t, s.URL, "c", "mark")
	until(`"source":"agent","message":"mark"`)
}

// TestFaultClients has clients connect, vanish, leave and lag while events are
// posted, for as many seconds as it has rounds. Nothing is lost or doubled for
// who comes back, and nothing stays.
func TestFaultClients(t *testing.T) {
	length := time.Duration(storetest.Rounds(t, 1, 60)) * time.Second
	const conversations = 4
	s := servertest.NewServer(t, server.Config{})
	stop := func() {
		for i := range conversations {
			if a := request(t, "POST", fmt.Sprintf("%s/api/conversations/c%d/stop", s.URL, i), "{}"); a.status != http.StatusOK {
				t.Fatalf("stop: %d %s", a.status, a.body)
			}
		}
	}
	for i := range conversations {
		if _, err := post(t.Context(), s.URL, fmt.Sprint("c", i), "first", ""); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	goroutines := func() int {
		http.DefaultClient.CloseIdleConnections()
		return runtime.NumGoroutine()
	}
	before := goroutines()
	for last := -1; last != before; time.Sleep(100 * time.Millisecond) { // those of requests are going
		last, before = before, min(before, goroutines())
	}

	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var (
		wg           sync.WaitGroup
		mu           sync.Mutex
		acknowledged [conversations][]int64
		joined       atomic.Int64
	)
	for i := range conversations {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				content := fmt.Sprintf("mark %d %s", n, strings.Repeat("x", rand.IntN(4000)))
				id, err := post(t.Context(), s.URL, fmt.Sprint("c", i), content, "")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged[i] = append(acknowledged[i], id)
				mu.Unlock()
			}
		})
	}
	for range 20 {
		wg.Go(func() { // those that nobody waits for
			for ctx.Err() == nil {
				i := rand.IntN(conversations)
				mu.Lock()
				after := int64(len(acknowledged[i]) - rand.IntN(50))
				mu.Unlock()
				f := &follower{url: s.URL, conversation: fmt.Sprint("c", i), last: after}
				if err := f.join(ctx); err == nil {
					joined.Add(1)
					for range rand.IntN(50) {
						_, _ = f.take(ctx)
					}
					switch rand.IntN(3) {
					case 0: // leaves
						_ = f.Write(ctx, websocket.MessageText, []byte("41"))
					case 1: // lags
						lag, wake := context.WithTimeout(ctx, 100*time.Millisecond)
						<-lag.Done()
						wake()
					}
				}
				if f.Conn != nil {
					f.CloseNow()
				}
			}
		})
	}
	followers := make([]*follower, conversations)
	for i := range followers {
		f := follow(s.URL, fmt.Sprint("c", i))
		followers[i] = f
		wg.Go(func() {
			for ctx.Err() == nil {
				err := f.join(t.Context())
				for range rand.IntN(50) {
					if err != nil || ctx.Err() != nil {
						break
					}
					_, err = f.take(ctx)
				}
				f.CloseNow()
			}
		})
	}
	wg.Wait()
	for i, f := range followers {
		if err := f.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.check(t, acknowledged[i])
		f.CloseNow()
	}
	t.Attr("result", fmt.Sprintf("%d clients joined, %d messages in each conversation or so", joined.Load(), len(acknowledged[0])))
	stop()
	for deadline := time.Now().Add(20 * time.Second); goroutines() > before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", goroutines(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// BenchmarkSockets adds 50 events a second to 100 conversations that 1,000
// websockets are connected to, from this process, on the same machine. It
// tells the time from the request to each client's frame, and the memory of the
// server, which is a process of its own.
func BenchmarkSockets(b *testing.B) {
	const (
		conversations = 100
		clients       = 1000
		rate          = 50
		sockets       = clients / conversations // of each conversation
	)
	p := startProcess(b, nil, "--data", b.TempDir(), "--agent", "none")
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()

	var (
		mu   sync.Mutex
		sent []time.Time // of each event
		took []time.Duration
		all  = make(chan struct{}, 1) // something was taken
		wg   sync.WaitGroup
	)
	const mark = `"content":"mark `
	for i := range conversations {
		id := fmt.Sprintf("c%d", i)
		if _, err := post(ctx, p.url, id, "first", ""); err != nil {
			b.Fatal(err)
		}
		for range sockets {
			f := follow(p.url, id)
			if err := f.join(ctx); err != nil {
				b.Fatal(err)
			}
			wg.Go(func() {
				defer f.CloseNow()
				for {
					frame, err := f.next(ctx)
					now := time.Now()
					if err != nil {
						if ctx.Err() == nil {
							b.Error(err)
						}
						return
					}
					_, rest, ok := strings.Cut(frame, mark)
					if !ok {
						continue
					}
					number, _, _ := strings.Cut(rest, " ")
					n, err := strconv.Atoi(number)
					if err != nil {
						b.Error(err)
						return
					}
					mu.Lock()
					took = append(took, now.Sub(sent[n]))
					mu.Unlock()
					select {
					case all <- struct{}{}:
					default:
					}
				}
			})
		}
	}
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	var posts sync.WaitGroup
	for b.Loop() {
		<-tick.C
		mu.Lock()
		n := len(sent)
		sent = append(sent, time.Now())
		mu.Unlock()
		posts.Go(func() {
			content := fmt.Sprintf("mark %d %s", n, strings.Repeat("x", 200))
			if _, err := post(ctx, p.url, fmt.Sprintf("c%d", n%conversations), content, ""); err != nil {
				b.Error(err)
			}
		})
	}
	posts.Wait()
	deadline := time.After(time.Minute)
	for done := false; !done; {
		select {
		case <-all:
		case <-deadline:
			b.Fatalf("%d frames of %d after a minute", len(took), sockets*len(sent))
		}
		mu.Lock()
		done = len(took) == sockets*len(sent)
		mu.Unlock()
	}
	_, anon := memory(b, p.Process.Pid)
	cancel()
	wg.Wait()
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(float64(anon)/1024, "anon-MB")
	b.ReportMetric(0, "ns/op")
}
