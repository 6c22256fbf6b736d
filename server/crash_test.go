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

	"github.com/coder/websocket"
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
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "./openhands-local")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released
	out, err := build.CombinedOutput()
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
	log *strings.Builder // to be read once it has ended
}

// startProcess starts the program; wrap, if any, changes how.
func startProcess(t testing.TB, wrap func(*exec.Cmd), args ...string) *process {
	t.Helper()
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(t.TempDir(), "ready.json")
	p := &process{Cmd: exec.Command(file, append([]string{"--addr=localhost:0", "--ready-file=" + ready}, args...)...), log: new(strings.Builder)}
	if wrap != nil {
		wrap(p.Cmd)
	}
	p.Stderr = p.log
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
	t.Fatalf("no server after twenty seconds: %s", p.log)
	return nil
}

// stop ends the program as Ctrl-C does.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("the server ended with %v: %s", err, p.log)
	}
}

// TestFaultKill kills the program with SIGKILL in the middle of mixed work:
// events are posted, some with a key and sent again after the kill, sockets act,
// an agent answers, conversations are made and deleted. Then it starts again
// and is read back: nothing acknowledged is lost, doubled or cut, ids are
// consecutive, and every conversation can be read.
func TestFaultKill(t *testing.T) {
	rounds := storetest.Rounds(t, 4, 100)
	l := &load{
		posted: map[string]map[int64]string{}, retry: map[string]string{},
		acted: map[string]bool{}, made: map[string]bool{}, deleted: map[string]bool{},
	}
	data := t.TempDir()
	for round := range rounds {
		p := startProcess(t, nil, "--data", data)
		l.check(t, p.url)
		if t.Failed() {
			t.Fatalf("after round %d", round)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for poster := range 6 {
			wg.Go(func() { l.post(ctx, p.url, fmt.Sprintf("c%d", poster%3), fmt.Sprintf("%d-%d", round, poster)) })
		}
		for s := range 2 {
			wg.Go(func() { l.act(ctx, p.url, fmt.Sprintf("%d-%d", round, s)) })
		}
		wg.Go(func() { l.makeAndDelete(ctx, p.url, fmt.Sprintf("made-%d", round)) })
		l.wait(t)
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond) // let it be anywhere in its work
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait()
		cancel()
		wg.Wait()
	}
	p := startProcess(t, nil, "--data", data)
	l.check(t, p.url)
	p.stop(t)
	checkFile(t, filepath.Join(data, "events.db"))
	events := 0
	for _, posted := range l.posted {
		events += len(posted)
	}
	t.Attr("result", fmt.Sprintf("%d events posted, %d by sockets, %d conversations made, %d deleted: all as acknowledged", events, len(l.acted), len(l.made), len(l.deleted)))
}

// A load is work for a server, and what it acknowledged of it.
type load struct {
	mu      sync.Mutex
	posted  map[string]map[int64]string // content by id, by conversation
	retry   map[string]string           // conversation by content: sent with the content's key, and not answered
	acted   map[string]bool             // content
	made    map[string]bool             // conversations that nobody wanted deleted
	deleted map[string]bool
	waited  [3]int // how many were posted, acted, deleted when wait returned
}

// wait waits until something of each kind was acknowledged since the last call.
func (l *load) wait(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		posted := 0
		for _, ids := range l.posted {
			posted += len(ids)
		}
		now := [...]int{posted, len(l.acted), len(l.deleted)}
		done := now[0] > l.waited[0] && now[1] > l.waited[1] && now[2] > l.waited[2]
		if done {
			l.waited = now
		}
		l.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after 30 seconds the server has acknowledged %v, had %v: posted, acted, deleted", now, l.waited)
		}
	}
}

func (l *load) acknowledge(conversation string, id int64, content string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.posted[conversation] == nil {
		l.posted[conversation] = map[int64]string{}
	}
	l.posted[conversation][id] = content
}

// post posts events until the server is gone, every other one with a key.
func (l *load) post(ctx context.Context, url, conversation, name string) {
	for n := 0; ctx.Err() == nil; n++ {
		content := fmt.Sprintf("%s-%d %s", name, n, strings.Repeat("x", rand.IntN(2000)))
		key := ""
		if n%2 == 0 {
			key = content
		}
		id, err := post(ctx, url, conversation, content, key)
		if err == nil {
			l.acknowledge(conversation, id, content)
			continue
		}
		// Killed meanwhile: it may be stored or not.
		if key != "" {
			l.mu.Lock()
			l.retry[content] = conversation
			l.mu.Unlock()
		}
		return
	}
}

// act sends messages by a socket, to a conversation that has an agent.
func (l *load) act(ctx context.Context, url, name string) {
	c, err := dialSocket(ctx, url, "latest_event_id=1000000&conversation_id=agent")
	if err != nil {
		return
	}
	defer c.CloseNow()
	wait := func(prefix string) bool {
		for {
			frame, err := c.next(ctx)
			if err != nil || strings.HasPrefix(frame, prefix) {
				return err == nil
			}
		}
	}
	if !wait("40{") {
		return
	}
	for n := 0; ctx.Err() == nil; n++ {
		content := fmt.Sprintf("%s-%d", name, n)
		if c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `42%d["oh_user_action",%s]`, n, stored(content))) != nil || !wait(fmt.Sprintf("43%d[", n)) {
			return
		}
		l.mu.Lock()
		l.acted[content] = true
		l.mu.Unlock()
	}
}

// makeAndDelete makes conversations and deletes every other one.
func (l *load) makeAndDelete(ctx context.Context, url, name string) {
	send := func(method, path, body string) bool {
		r, err := http.NewRequestWithContext(ctx, method, url+path, strings.NewReader(body))
		if err != nil {
			return false
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	}
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%s-%d", name, n)
		if !send("POST", "/api/conversations", fmt.Sprintf(`{"conversation_id":%q,"initial_user_msg":"hello"}`, id)) {
			return
		}
		deleted := n%2 == 0 && send("DELETE", "/api/conversations/"+id, "")
		l.mu.Lock()
		if deleted {
			l.deleted[id] = true
		} else if n%2 == 1 {
			l.made[id] = true
		}
		l.mu.Unlock()
	}
}

// check reads back what was acknowledged, and does again what has a key.
func (l *load) check(t *testing.T, url string) {
	t.Helper()
	for content, conversation := range l.retry {
		id, err := post(t.Context(), url, conversation, content, content)
		if err != nil {
			t.Fatal(err)
		}
		l.acknowledge(conversation, id, content)
	}
	clear(l.retry)
	for conversation, want := range l.posted {
		checkEvents(t, url, conversation, want)
	}
	if a := request(t, "POST", url+"/api/conversations", `{"conversation_id":"agent"}`); a.status != http.StatusOK {
		t.Fatalf("POST agent: %d %s", a.status, a.body)
	}
	acted := map[string]int{}
	for _, e := range readEvents(t, url, "agent") {
		if e.Source == "user" && e.Action == "message" {
			acted[e.Args.Content]++
		}
	}
	for content := range l.acted {
		if acted[content] != 1 {
			t.Errorf("the message %s of a socket is there %d times, want once", content, acted[content])
		}
	}
	for id := range l.made {
		readEvents(t, url, id)
	}
	for id := range l.deleted {
		if a := request(t, "GET", url+"/api/conversations/"+id+"/events", ""); a.status != http.StatusNotFound {
			t.Errorf("%s was deleted: %d %.100s, want 404", id, a.status, a.body)
		}
	}
	// No conversation answers 500, acknowledged or not.
	var list struct {
		Results []struct {
			ID string `json:"conversation_id"`
		}
	}
	if err := json.Unmarshal([]byte(request(t, "GET", url+"/api/conversations?limit=10000", "").body), &list); err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Results {
		for _, path := range []string{"", "/events", "/trajectory"} {
			if a := request(t, "GET", url+"/api/conversations/"+c.ID+path, ""); a.status != http.StatusOK {
				t.Errorf("GET %s%s: %d %.100s", c.ID, path, a.status, a.body)
			}
		}
	}
}

// post adds a message, with an idempotency key unless that is empty, and returns
// its id.
func post(ctx context.Context, url, conversation, content, key string) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/conversations/"+conversation+"/events", strings.NewReader(stored(content)))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Idempotency-Key", key)
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

// A readEvent is what tests look at in an event.
type readEvent struct {
	ID             int64
	Timestamp      string
	Source, Action string
	Observation    string
	Args           struct{ Content string }
}

// readEvents reads a whole conversation, whose ids must be 0, 1, 2, ….
func readEvents(t *testing.T, url, conversation string) (events []readEvent) {
	t.Helper()
	for more := true; more; {
		var page struct {
			Events []readEvent
			More   bool `json:"has_more"`
		}
		a := request(t, "GET", fmt.Sprintf("%s/api/conversations/%s/events?limit=100&start_id=%d", url, conversation, len(events)), "")
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != http.StatusOK {
			t.Fatalf("events of %s from %d: %d %v", conversation, len(events), a.status, err)
		}
		for _, e := range page.Events {
			if e.ID != int64(len(events)) {
				t.Errorf("%s: id %d, want %d", conversation, e.ID, len(events))
			}
			events = append(events, e)
		}
		more = page.More && len(page.Events) > 0
	}
	return events
}

// checkEvents reads a whole conversation: each acknowledged content at its id,
// no content twice.
func checkEvents(t *testing.T, url, conversation string, want map[int64]string) {
	t.Helper()
	seen := map[string]int64{}
	events := readEvents(t, url, conversation)
	for _, e := range events {
		if content, ok := want[e.ID]; ok && content != e.Args.Content {
			t.Errorf("%s: event %d is %.40q, acknowledged was %.40q", conversation, e.ID, e.Args.Content, content)
		}
		if other, twice := seen[e.Args.Content]; twice {
			t.Errorf("%s: events %d and %d are the same: %.40q", conversation, other, e.ID, e.Args.Content)
		}
		seen[e.Args.Content] = e.ID
	}
	for id := range want {
		if id >= int64(len(events)) {
			t.Errorf("%s: event %d was acknowledged and is not there (last is %d)", conversation, id, len(events)-1)
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
