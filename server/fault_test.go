package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
	"github.com/openhands-local/openhands-local/store/boltstore"
	"github.com/openhands-local/openhands-local/store/storetest"
)

// An answer is what a request got.
type answer struct {
	status int
	header http.Header // trailers too
	body   string
}

// request makes a request; body is JSON, "" for none.
func request(t *testing.T, method, url, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range resp.Trailer {
		resp.Header[name] = values
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// keyed posts with an idempotency key.
func keyed(t *testing.T, url, body, key string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Idempotency-Key", key)
	return do(t, r)
}

// upload posts one file.
func upload(t *testing.T, url, name, content string) answer {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("files", name)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(part, content)
	_ = form.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, &body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", form.FormDataContentType())
	return do(t, r)
}

// eventID is the id that an event got.
func (a answer) eventID(t *testing.T) int64 {
	t.Helper()
	id, err := strconv.ParseInt(a.header.Get("X-Event-Id"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// ids are those of the events in an answer's array.
func (a answer) ids(t *testing.T, name string) []int64 {
	t.Helper()
	var body map[string]json.RawMessage
	var events []struct{ ID int64 }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("%v: %.200s", err, a.body)
	}
	if err := json.Unmarshal(body[name], &events); err != nil {
		t.Fatalf("%v: %.200s", err, a.body)
	}
	ids := make([]int64, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

// detail wants detail and message to be the same text, and returns it.
func (a answer) detail(t *testing.T) string {
	t.Helper()
	var body struct{ Detail, Message string }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Detail != body.Message || body.Detail == "" {
		t.Errorf("%d %.200s: want detail and message", a.status, a.body)
	}
	return body.Detail
}

// records takes a server's records.
type records struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

// logger writes to r.
func (r *records) logger() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

// take returns the records of a level since the last call.
func (r *records) take(level string) (lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.text.String()) {
		if strings.Contains(line, "level="+level) {
			lines = append(lines, line)
		}
	}
	r.text.Reset()
	return lines
}

// A socket is a Socket.IO client on a websocket.
type socket struct{ *websocket.Conn }

func dialSocket(ctx context.Context, url, query string) (socket, error) {
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/socket.io/?EIO=4&transport=websocket&"+query, nil)
	if err != nil {
		return socket{}, err
	}
	c.SetReadLimit(64 << 20)
	return socket{c}, c.Write(ctx, websocket.MessageText, []byte("40"))
}

// next is the next frame that is no ping.
func (s socket) next(ctx context.Context) (string, error) {
	for {
		_, b, err := s.Read(ctx)
		if err != nil {
			return "", err
		}
		if string(b) != "2" {
			return string(b), nil
		}
		if err := s.Write(ctx, websocket.MessageText, []byte("3")); err != nil {
			return "", err
		}
	}
}

// event is the id of the event in a frame; ok is false for another frame.
func eventID(frame string) (id int64, ok bool) {
	payload, is := strings.CutPrefix(frame, `42["oh_event",`)
	var e struct{ ID *int64 }
	if !is || json.Unmarshal([]byte(strings.TrimSuffix(payload, "]")), &e) != nil || e.ID == nil {
		return 0, false
	}
	return *e.ID, true
}

// stored is a message whose content is text.
func stored(text string) string {
	return fmt.Sprintf(`{"action":"message","args":{"content":%q}}`, text)
}

// postAll adds messages to a conversation.
func postAll(t *testing.T, url, conversation string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if a := request(t, "POST", url+"/api/conversations/"+conversation+"/events", stored(text)); a.status != http.StatusOK {
			t.Fatalf("POST %s: %d %s", conversation, a.status, a.body)
		}
	}
}

// TestFaultFlippedBit flips a bit of a stored event and of a conversation. The
// event is 500 and is told in one record; the others are served by every way to
// read them, and the answer says what it leaves out.
func TestFaultFlippedBit(t *testing.T) {
	var log records
	data := t.TempDir()
	s := servertest.NewServer(t, server.Config{Data: data, Log: log.logger()})
	long := strings.Repeat("long ", 1_000_000) // a page, and a trajectory, of several writes
	postAll(t, s.URL, "c", "zero", "one", "two", long, "four")
	postAll(t, s.URL, "d", "other")
	if a := request(t, "PATCH", s.URL+"/api/conversations/d", `{"title":"title of d"}`); a.status != http.StatusOK {
		t.Fatalf("PATCH: %d %s", a.status, a.body)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, data, `"content":"one"`)
	flip(t, data, "title of d")
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	log.take("ERROR")
	events := s.URL + "/api/conversations/c/events"
	for _, test := range []struct {
		query   string
		status  int
		ids     []int64
		more    bool
		damaged string
	}{
		{"", 200, []int64{0, 2, 3, 4}, false, "1"},
		{"?reverse=true", 200, []int64{4, 3, 2, 0}, false, "1"},
		{"?limit=1", 200, []int64{0}, true, ""},
		{"?limit=2", 200, []int64{0}, true, "1"},
		{"?limit=3", 200, []int64{0, 2}, true, "1"},
		{"?start_id=2", 200, []int64{2, 3, 4}, false, ""},
		{"?start_id=1&limit=1", 500, nil, false, ""},
		{"?start_id=1&end_id=1", 500, nil, false, ""},
	} {
		a := request(t, "GET", events+test.query, "")
		if a.status != test.status || a.header.Get("X-Local-Damaged") != test.damaged {
			t.Errorf("GET %s: %d, X-Local-Damaged %q, want %d and %q", test.query, a.status, a.header.Get("X-Local-Damaged"), test.status, test.damaged)
			continue
		}
		if test.status == 500 {
			if got, want := a.detail(t), "Event 1 is damaged on the disk and cannot be read. Those before and after it can."; got != want {
				t.Errorf("GET %s: %q, want %q", test.query, got, want)
			}
		} else if got := a.ids(t, "events"); !slices.Equal(got, test.ids) || strings.HasSuffix(a.body, `"has_more":true}`) != test.more {
			t.Errorf("GET %s: %v, …%.20s, want %v, more %v", test.query, got, a.body[len(a.body)-20:], test.ids, test.more)
		}
		if got, want := len(log.take("ERROR")), min(1, len(test.damaged)+test.status-200); got != want {
			t.Errorf("GET %s: %d ERROR records, want %d", test.query, got, want)
		}
	}

	a := request(t, "GET", s.URL+"/api/conversations/c/trajectory", "")
	if got := a.ids(t, "trajectory"); a.status != 200 || !slices.Equal(got, []int64{0, 2, 3, 4}) || a.header.Get("X-Local-Damaged") != "1" {
		t.Errorf("trajectory: %d %v, X-Local-Damaged %q, want 0, 2, 3, 4 and 1", a.status, got, a.header.Get("X-Local-Damaged"))
	}
	if got := log.take("ERROR"); len(got) != 1 {
		t.Errorf("trajectory: %d ERROR records, want 1", len(got))
	}

	c, err := dialSocket(t.Context(), s.URL, "conversation_id=c")
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	var seen []int64
	for {
		frame, err := c.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := eventID(frame); ok {
			seen = append(seen, id)
		} else if strings.HasPrefix(frame, "40{") && len(seen) > 0 {
			break
		}
	}
	if !slices.Equal(seen, []int64{0, 2, 3, 4}) {
		t.Errorf("a socket is sent %v, want 0, 2, 3, 4", seen)
	}
	if got := log.take("ERROR"); len(got) != 1 || !strings.Contains(got[0], "event=1") {
		t.Errorf("socket: ERROR records %q, want one of event 1", got)
	}

	resp, err := http.Get(s.URL + "/_local/conversations/c/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var streamed string
	for b := make([]byte, 64<<10); !strings.Contains(streamed, `"content":"four"`); {
		n, err := resp.Body.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		streamed += string(b[:n])
	}
	if strings.Contains(streamed, "id: 1\n") || !strings.Contains(streamed, "id: 2\n") {
		t.Errorf("the stream has event 1, or lacks 2: %.300s", streamed)
	}
	if got := log.take("ERROR"); len(got) != 1 {
		t.Errorf("stream: %d ERROR records, want 1", len(got))
	}

	a = request(t, "GET", s.URL+"/api/conversations", "")
	if !strings.Contains(a.body, `"conversation_id":"c"`) || strings.Contains(a.body, `"conversation_id":"d"`) || a.header.Get("X-Local-Damaged") != "d" {
		t.Errorf("list: %d %s, X-Local-Damaged %q, want c, and that d is damaged", a.status, a.body, a.header.Get("X-Local-Damaged"))
	}
	if got := log.take("ERROR"); len(got) != 1 {
		t.Errorf("list: %d ERROR records, want 1", len(got))
	}
	if a := request(t, "GET", s.URL+"/api/conversations/d", ""); a.status != 500 || !strings.Contains(a.detail(t), "openhands-local check") {
		t.Errorf("GET d: %d %s, want 500 and what to do", a.status, a.body)
	}
	if a := request(t, "DELETE", s.URL+"/api/conversations/d", ""); a.status != 200 || a.body != "true" {
		t.Errorf("DELETE d: %d %s, want it gone", a.status, a.body)
	}
	// Damage stops no write.
	postAll(t, s.URL, "c", "five")
	postAll(t, s.URL, "d", "born again")
}

// flip flips a bit in every place of the data's file that has a text.
func flip(t *testing.T, data, text string) {
	t.Helper()
	file := filepath.Join(data, "events.db")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(text)) {
		t.Fatalf("no %q in the file", text)
	}
	flipped := []byte(text)
	flipped[len(flipped)-3] ^= 4
	if err := os.WriteFile(file, bytes.ReplaceAll(b, []byte(text), flipped), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFaultSecondProcess starts the program on a folder that another one
// serves: it says who does, and the first goes on.
func TestFaultSecondProcess(t *testing.T) {
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	p := startProcess(t, nil, "--data", data)
	second := func() string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), file, "--addr=localhost:0", "--data", data).CombinedOutput()
		if err == nil {
			t.Errorf("a second server starts: %s", out)
		}
		return string(out)
	}
	want := fmt.Sprintf("pid %d, %s, data %s): stop that server, or choose another folder with --data", p.Process.Pid, p.url, data)
	if got := second(); !strings.Contains(got, want) {
		t.Errorf("the second says %s, want %q", got, want)
	}
	postAll(t, p.url, "c", "first")
	// What a killed server has left names nobody.
	left, err := os.ReadFile(filepath.Join(data, "server.json"))
	if err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	if _, err := os.Stat(filepath.Join(data, "server.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("server.json after a clean stop: %v, want none", err)
	}
	if err := os.WriteFile(filepath.Join(data, "server.json"), left, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(filepath.Join(data, "events.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := second(); !strings.Contains(got, "is in use: stop that server") {
		t.Errorf("the second says %s, want it to name nobody", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	p = startProcess(t, nil, "--data", data)
	checkEvents(t, p.url, "c", map[int64]string{0: "first"})
}

// TestFaultFirstStart kills the program in its very first start, before it has
// stored the first settings: what it left is a new folder still.
func TestFaultFirstStart(t *testing.T) {
	for _, left := range []string{"nothing", "an empty file", "a store of nothing"} {
		data := t.TempDir()
		file := filepath.Join(data, "events.db")
		switch left {
		case "an empty file":
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		case "a store of nothing":
			s, err := boltstore.Open(file, boltstore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s := servertest.NewServer(t, server.Config{Data: data})
		if a := request(t, "POST", s.URL+"/api/conversations", "{}"); a.status != http.StatusOK {
			t.Errorf("%s: POST /api/conversations: %d %s, want it made: the settings are there", left, a.status, a.body)
		}
	}
}

// TestFaultClockBack sets the clock back and forth, by seconds and by centuries:
// ids go on, every event has the time of its moment, the list has each
// conversation once, the newest first, and nothing is refused, also after a
// start with an earlier clock.
func TestFaultClockBack(t *testing.T) {
	rounds := storetest.Rounds(t, 20, 300)
	var log records
	s := servertest.NewServer(t, server.Config{Data: t.TempDir(), Clock: clock.New(clock.Options{Start: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), Step: server.SeedStep}), Log: log.logger()})
	times := []time.Time{
		time.Date(2026, 6, 1, 11, 59, 59, 999_999_000, time.UTC),
		time.Date(2026, 6, 1, 12, 0, 1, 0, time.UTC),
		time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 30, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC),
		time.Date(2000, 2, 29, 0, 0, 0, 0, time.UTC),
	}
	for round := range rounds {
		s.Clock.Set(times[round%len(times)].Add(time.Duration(round/len(times)) * time.Second))
		postAll(t, s.URL, "c", fmt.Sprint("round ", round))
		if a := request(t, "POST", s.URL+"/api/conversations", fmt.Sprintf(`{"conversation_id":"made-%d","initial_user_msg":"hello"}`, round)); a.status != http.StatusOK {
			t.Fatalf("POST: %d %s", a.status, a.body)
		}
		if a := request(t, "PATCH", s.URL+"/api/conversations/made-0", fmt.Sprintf(`{"title":"title %d"}`, round)); a.status != http.StatusOK {
			t.Errorf("PATCH: %d %s", a.status, a.body)
		}
		if round == rounds/2 {
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
		}
	}
	events := readEvents(t, s.URL, "c")
	for round, e := range events {
		want := times[round%len(times)].Add(time.Duration(round/len(times)) * time.Second)
		at, err := time.Parse("2006-01-02T15:04:05.999999", e.Timestamp)
		if err != nil || at.Before(want) || at.After(want.Add(time.Second)) || e.Args.Content != fmt.Sprint("round ", round) {
			t.Errorf("event %d is %q of %s, want round %d of %v", e.ID, e.Args.Content, e.Timestamp, round, want)
		}
	}
	if len(events) != rounds {
		t.Errorf("%d events, want %d", len(events), rounds)
	}
	seen, last := map[string]bool{}, ""
	for page := ""; ; {
		var list struct {
			Results []struct {
				ID      string `json:"conversation_id"`
				Created string `json:"created_at"`
			}
			Next string `json:"next_page_id"`
		}
		a := request(t, "GET", s.URL+"/api/conversations?limit=7&page_id="+page, "")
		if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != http.StatusOK {
			t.Fatalf("GET: %d %s", a.status, a.body)
		}
		for _, c := range list.Results {
			if seen[c.ID] || last != "" && c.Created > last {
				t.Errorf("the list has %s of %s after one of %s; seen before: %v", c.ID, c.Created, last, seen[c.ID])
			}
			seen[c.ID], last = true, c.Created
		}
		if page = list.Next; page == "" {
			break
		}
	}
	if len(seen) != rounds+1 {
		t.Errorf("the list has %d conversations, want %d", len(seen), rounds+1)
	}
	if got := log.take("ERROR"); len(got) > 0 {
		t.Errorf("ERROR records: %q", got)
	}
}
