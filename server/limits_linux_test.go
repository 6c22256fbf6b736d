package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore"
	"github.com/openhands-local/openhands-local/store/storetest"
)

// descriptors is how many files this process may have open.
func descriptors(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(limit.Cur)
}

// storeLong makes a data folder with a conversation "long" of n events of so
// many bytes of text, and returns the JSON of each.
func storeLong(t *testing.T, data string, n int64, size int) string {
	t.Helper()
	s, err := boltstore.Open(filepath.Join(data, "events.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, `"timestamp":"2026-01-01T00:00:00","source":"agent","message":"","action":"message","args":{"content":%q}}`, strings.Repeat("x", size))
	text = append([]byte{'{'}, text...)
	_, err = s.Import(t.Context(), store.Conversation{ID: "long", CreatedAt: time.Now()}, false, func(yield func(store.Event, error) bool) {
		for id := range n {
			if !yield(store.Event{ID: id, JSON: text}, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFaultSlowReaders asks for a trajectory of 50 MB over many connections and
// reads none: what the server keeps for each is bounded, others are served, and
// those are cut off that do not read.
func TestFaultSlowReaders(t *testing.T) {
	clients := storetest.Rounds(t, 50, 200)
	data := t.TempDir()
	storeLong(t, data, 50_000, 900)
	get := "GET /api/conversations/long/trajectory HTTP/1.1\r\nHost: localhost\r\n\r\n"

	p := startProcess(t, nil, "--data", data)
	postAll(t, p.url, "c", "before")
	_, before := memory(t, p.Process.Pid)
	var held []*net.TCPConn
	for range clients {
		c := dialRaw(t, p.url, get)
		if _, err := c.Read(make([]byte, 1)); err != nil { // it is under way
			t.Fatal(err)
		}
		held = append(held, c)
	}
	most := 0
	for range 20 { // let them fill what they can
		postAll(t, p.url, "c", "meanwhile")
		_, now := memory(t, p.Process.Pid)
		most = max(most, now-before)
		time.Sleep(50 * time.Millisecond)
	}
	const each, garbage = 600, 16 << 10 // KB; the second waits for the collector, however many clients there are
	if most > clients*each+garbage {
		t.Errorf("%d clients that do not read make the server's memory grow by %d KB, want at most %d each and %d", clients, most, each, garbage)
	}
	t.Attr("result", fmt.Sprintf("%d KB of memory for each client that does not read", most/clients))
	for _, c := range held {
		c.Close()
	}
	p.stop(t)

	var log records
	s := servertest.NewServer(t, server.Config{Data: data, Log: log.logger()}.WithBounds(ever, ever, soon, ever))
	c := dialRaw(t, s.URL, get)
	for deadline := time.Now().Add(time.Minute); len(log.take("WARN")) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a client that does not read is not cut off within a minute")
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("the answer of %d bytes looks whole", n)
	}
	resp, err = http.Get(s.URL + "/api/conversations/long/trajectory")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n < 50_000_000 || err != nil {
		t.Errorf("a client that reads gets %d bytes, %v", n, err)
	}
}

// TestFaultLargePage reads a page of events that are large, forwards and
// backwards, all and by a filter: it is whole, and little of it is held.
func TestFaultLargePage(t *testing.T) {
	size := storetest.Rounds(t, 1, 4) << 19
	data := t.TempDir()
	text := storeLong(t, data, 100, size)
	p := startProcess(t, nil, "--data", data)
	postAll(t, p.url, "c", "before")
	_, before := memory(t, p.Process.Pid)

	most := watchMemory(t, p.Process.Pid)
	for _, test := range []struct {
		query, filter  string
		from, to, step int
	}{
		{"limit=100", "", 0, 100, 1},
		{"limit=100&reverse=true", "", 99, -1, -1},
		{"limit=100&start_id=3", `{"source":"agent"}`, 3, 100, 1},
	} {
		var want strings.Builder
		for id := test.from; id != test.to; id += test.step {
			fmt.Fprintf(&want, `,{"id":%d,%s`, id, text[1:])
		}
		a := request(t, "GET", p.url+"/api/conversations/long/events?"+test.query, test.filter)
		if a.body != `{"events":[`+want.String()[1:]+`],"has_more":false}` {
			t.Errorf("%s %s: %d bytes, want a page of all events from %d to %d", test.query, test.filter, len(a.body), test.from, test.to-test.step)
		}
	}
	grown := most() - before
	if limit := 32 + 8*size>>20; grown>>10 > limit {
		t.Errorf("pages of %d MB make the server's memory grow by %d MB, want at most %d", 100*size>>20, grown>>10, limit)
	}
	t.Attr("result", fmt.Sprintf("a page of %d MB with %.1f MB of memory", 100*size>>20, float64(grown)/1024))
}

// TestFaultIdleConnections holds many connections that do nothing after a
// request: each costs little, others are served, and they are closed in time.
func TestFaultIdleConnections(t *testing.T) {
	clients := storetest.Rounds(t, 1000, 10_000)
	if limit := descriptors(t); clients > limit-200 {
		clients = limit - 200
	}
	p := startProcess(t, nil, "--data", "memory", "--addr", "127.0.0.1:0")
	postAll(t, p.url, "c", "before")
	_, before := memory(t, p.Process.Pid)
	const get = "GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for range clients {
		c := dialRaw(t, p.url, get)
		if resp, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	_, after := memory(t, p.Process.Pid)
	postAll(t, p.url, "c", "meanwhile")
	const each = 40 // KB
	if after-before > clients*each {
		t.Errorf("%d idle connections take %d KB, want at most %d each", clients, after-before, each)
	}
	t.Attr("result", fmt.Sprintf("%d connections, %.1f KB of memory each", clients, float64(after-before)/float64(clients)))

	s := servertest.NewServer(t, server.Config{}.WithBounds(soon, ever, ever, soon))
	for _, begin := range []string{get, ""} { // after a request, and before the first
		c := dialRaw(t, s.URL, begin)
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("an idle connection ends with %v, want it closed", err)
		}
	}
}

// bombs are bodies that could become large in memory, or take long: of n nested
// or neighbouring things.
func bombs(n int) map[string]string {
	repeat := strings.Repeat
	var keys strings.Builder
	for i := range n {
		fmt.Fprintf(&keys, `"k%d":1,`, i)
	}
	message := func(content string) string { return `{"action":"message","args":{"content":` + content + `}}` }
	return map[string]string{
		"nested arrays":      repeat("[", n) + repeat("]", n),
		"open arrays":        repeat("[", n),
		"nested objects":     repeat(`{"a":`, n) + "1" + repeat("}", n),
		"nested in an event": message(repeat("[", n) + repeat("]", n)),
		"many keys":          "{" + keys.String() + `"action":"message"}`,
		"many keys in args":  message(`"x"`)[:len(message(`"x"`))-2] + "," + keys.String() + `"last":1}}`,
		"same key again":     "{" + repeat(`"action":"message",`, n/4) + `"action":"message"}`,
		"long integer":       message(repeat("9", n)),
		"huge exponent":      message("1e999999999"),
		"tiny exponent":      message("1e-999999999"),
		"many huge numbers":  message("[" + repeat("1e999999999,", n/8) + "1]"),
		"escapes":            message(`"` + repeat(`\u0000`, n) + `"`),
		"lone surrogates":    message(`"` + repeat(`\ud800`, n) + `"`),
		"spaces":             repeat(" ", 8*n),
		"many empty objects": message("[" + repeat("{},", n) + "{}]"),
		"many strings":       message("[" + repeat(`"",`, n) + `""]`),
		"no end of a string": message(`"` + repeat("x", n))[:n],
	}
}

// TestFaultBombs sends bombs to every operation that reads JSON: each is
// answered, by no 5xx, and the memory that all of them take is bounded.
func TestFaultBombs(t *testing.T) {
	n := storetest.Rounds(t, 1<<15, 1<<19)
	p := startProcess(t, nil, "--data", t.TempDir())
	postAll(t, p.url, "c", "first")
	most, longest := 0, time.Duration(0)
	for name, bomb := range bombs(n) {
		for _, op := range []struct{ method, path string }{
			{"POST", "/api/conversations/c/events"},
			{"GET", "/api/conversations/c/events"},
			{"POST", "/_local/conversations/c/events"},
			{"POST", "/api/conversations"},
			{"POST", "/api/settings"},
			{"POST", "/api/conversations/c/submit-feedback"},
			{"PATCH", "/api/conversations/c"},
		} {
			began := time.Now()
			a := request(t, op.method, p.url+op.path, bomb)
			longest = max(longest, time.Since(began))
			if a.status >= 500 {
				t.Errorf("%s %s, %s: %d %.200s", op.method, op.path, name, a.status, a.body)
			}
		}
		_, now := memory(t, p.Process.Pid)
		most = max(most, now)
	}
	if most > 600<<10 {
		t.Errorf("bombs of up to 8 MB make the server take %d MB", most>>10)
	}
	postAll(t, p.url, "d", "still here")
	t.Attr("result", fmt.Sprintf("at most %d MB of memory, %v for one", most>>10, longest.Round(time.Millisecond)))
}
