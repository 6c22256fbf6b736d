package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/store/storetest"
)

// program builds openhands-local once for the tests that need it as a process
// of its own.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "openhands-local-test")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "openhands-local")
	out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "./openhands-local").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// A process is the program, serving.
type process struct {
	*exec.Cmd
	url string
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(t.TempDir(), "ready.json")
	p := &process{Cmd: exec.Command(file, append([]string{"--addr=localhost:0", "--ready-file=" + ready}, args...)...)}
	log := new(strings.Builder)
	p.Stderr = log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var info struct{ URL string }
		if text, err := os.ReadFile(ready); err == nil && json.Unmarshal(text, &info) == nil {
			p.url = info.URL
			return p
		}
	}
	_ = p.Process.Kill()
	_ = p.Wait()
	t.Fatalf("no server after twenty seconds: %s", log)
	return nil
}

// TestFaultKill kills the program with SIGKILL while events are posted, starts it
// again and reads back: nothing acknowledged is lost, doubled or cut, and ids
// are consecutive.
func TestFaultKill(t *testing.T) {
	rounds := storetest.Rounds(t, 10, 100)
	const (
		conversations = 4
		posters       = 8
	)
	data := t.TempDir()
	acknowledged := make([]map[int64]string, conversations) // id => content
	for i := range acknowledged {
		acknowledged[i] = map[int64]string{}
	}
	for round := range rounds {
		p := startProcess(t, "--data", data)
		if round > 0 {
			for i, want := range acknowledged {
				checkEvents(t, p.url, fmt.Sprintf("c%d", i), want)
			}
			if t.Failed() {
				t.Fatalf("after round %d", round)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var (
			wg sync.WaitGroup
			mu sync.Mutex
		)
		for poster := range posters {
			wg.Go(func() {
				i := poster % conversations
				for n := 0; ctx.Err() == nil; n++ {
					content := fmt.Sprintf("%d-%d-%d %s", round, poster, n, strings.Repeat("x", rand.IntN(2000)))
					id, err := post(ctx, p.url, fmt.Sprintf("c%d", i), content)
					if err != nil {
						continue // killed meanwhile: it may be stored or not
					}
					mu.Lock()
					acknowledged[i][id] = content
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(20+rand.IntN(80)) * time.Millisecond) // let it be anywhere in its work
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait()
		cancel()
		wg.Wait()
	}
	p := startProcess(t, "--data", data)
	total := 0
	for i, want := range acknowledged {
		total += len(want)
		checkEvents(t, p.url, fmt.Sprintf("c%d", i), want)
	}
	_ = p.Process.Signal(os.Interrupt)
	if err := p.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	checkFile(t, filepath.Join(data, "events.db"))
	t.Logf("%d rounds of SIGKILL, %d acknowledged events, all there once", rounds, total)
	if total < rounds {
		t.Errorf("only %d events were acknowledged in %d rounds: the test tests nothing", total, rounds)
	}
}

// post adds a message and returns its id.
func post(ctx context.Context, url, conversation, content string) (int64, error) {
	body := fmt.Sprintf(`{"action":"message","args":{"content":%q}}`, content)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/conversations/"+conversation+"/events", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || string(answer) != `{"success":true}` {
		return 0, fmt.Errorf("%s %s: %w", resp.Status, answer, err)
	}
	return strconv.ParseInt(resp.Header.Get("X-Event-Id"), 10, 64)
}

// checkEvents reads a whole conversation: ids 0, 1, 2, …, each acknowledged
// content at its id, no content twice.
func checkEvents(t *testing.T, url, conversation string, want map[int64]string) {
	t.Helper()
	if len(want) == 0 {
		return
	}
	seen := map[string]int64{}
	next := int64(0)
	for more := true; more; {
		var page struct {
			Events []struct {
				ID   int64
				Args struct{ Content string }
			}
			HasMore bool `json:"has_more"`
		}
		resp, err := http.Get(fmt.Sprintf("%s/api/conversations/%s/events?limit=100&start_id=%d", url, conversation, next))
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("events of %s from %d: %s %v", conversation, next, resp.Status, err)
		}
		for _, e := range page.Events {
			if e.ID != next {
				t.Errorf("%s: id %d, want %d", conversation, e.ID, next)
			}
			if content, ok := want[e.ID]; ok && content != e.Args.Content {
				t.Errorf("%s: event %d is %.40q, acknowledged was %.40q", conversation, e.ID, e.Args.Content, content)
			}
			if other, twice := seen[e.Args.Content]; twice {
				t.Errorf("%s: events %d and %d are the same: %.40q", conversation, other, e.ID, e.Args.Content)
			}
			seen[e.Args.Content] = e.ID
			next = e.ID + 1
		}
		more = page.HasMore && len(page.Events) > 0
	}
	for id := range want {
		if id >= next {
			t.Errorf("%s: event %d was acknowledged and is not there (last is %d)", conversation, id, next-1)
		}
	}
}

// checkFile runs bbolt's own check.
func checkFile(t *testing.T, file string) {
	t.Helper()
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_ = db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
		return nil
	})
}
