package server_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
	"github.com/openhands-local/openhands-local/store/storetest"
)

// dialRaw opens a connection, writes text to it, and closes it with the test.
func dialRaw(t *testing.T, url, text string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// trickle writes a byte now and then until the other side closes.
func trickle(c net.Conn) {
	for {
		if _, err := c.Write([]byte("x")); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

const (
	ever = time.Hour // a bound that no test is to meet
	soon = 300 * time.Millisecond
)

// TestFaultSlowHeaders sends headers a byte at a time over many connections:
// each is closed in time, and others are served meanwhile.
func TestFaultSlowHeaders(t *testing.T) {
	s := servertest.NewServer(t, server.Config{}.WithBounds(soon, ever, ever, ever))
	var wg sync.WaitGroup
	for range storetest.Rounds(t, 50, 1000) {
		c := dialRaw(t, s.URL, "GET /alive HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		wg.Go(func() { trickle(c) })
	}
	postAll(t, s.URL, "c", "served")
	wg.Wait() // all are closed
	postAll(t, s.URL, "c", "served still")
}

// TestFaultSlowBody sends bodies a byte at a time: 408 that says so, nothing is
// stored, and the connection is closed.
func TestFaultSlowBody(t *testing.T) {
	s := servertest.NewServer(t, server.Config{}.WithBounds(ever, soon, ever, ever))
	postAll(t, s.URL, "c", "first")
	var wg sync.WaitGroup
	for range storetest.Rounds(t, 20, 500) {
		c := dialRaw(t, s.URL, "POST /api/conversations/c/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{\"action\":\"")
		go trickle(c)
		wg.Go(func() {
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Errorf("no answer: %v", err)
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(b), "did not come in time") || !resp.Close || err != nil {
				t.Errorf("%d %s, closed %v, %v, want 408 and the end", resp.StatusCode, b, resp.Close, err)
			}
		})
	}
	wg.Wait()
	checkEvents(t, s.URL, "c", map[int64]string{0: "first"})
	if got := len(readEvents(t, s.URL, "c")); got != 1 {
		t.Errorf("%d events, want the first alone", got)
	}
}

// TestFaultCutBody breaks off in the middle of a body: nothing is stored, and it
// is no error of the server.
func TestFaultCutBody(t *testing.T) {
	var log records
	s := servertest.NewServer(t, server.Config{Log: log.logger()})
	postAll(t, s.URL, "c", "first")
	for range storetest.Rounds(t, 5, 200) {
		c := dialRaw(t, s.URL, "POST /api/conversations/c/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"action\":\"")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("the connection ends with %v", err)
		}
	}
	if got := len(readEvents(t, s.URL, "c")); got != 1 {
		t.Errorf("%d events, want the first alone", got)
	}
	if got := log.take("ERROR"); len(got) > 0 {
		t.Errorf("ERROR records: %q", got)
	}
}

// TestFaultEndlessBody sends bodies that do not end, of every kind: 413, and the
// connection is closed before much is read.
func TestFaultEndlessBody(t *testing.T) {
	const most = 1 << 20
	s := servertest.NewServer(t, server.Config{MaxBody: most})
	postAll(t, s.URL, "c", "first")
	part := "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.txt\"\r\n\r\n"
	for _, test := range []struct{ path, contentType, begin string }{
		{"/api/conversations/c/events", "application/json", `{"action":"message","args":{"content":"`},
		{"/api/conversations", "application/json", `{"initial_user_msg":"`},
		{"/api/settings", "application/json", `{"language":"`},
		{"/api/conversations/c/upload-files", "multipart/form-data; boundary=b", part},
		{"/_local/conversations/c/events", "application/json", `{"action":"`},
	} {
		for _, chunked := range []bool{true, false} {
			header := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n", test.path, test.contentType)
			if chunked {
				header += "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", len(test.begin), test.begin)
			} else {
				header += "Content-Length: 9000000000000000000\r\n\r\n" + test.begin
			}
			c := dialRaw(t, s.URL, header)
			sent := make(chan int)
			go func() {
				n := 0
				piece := strings.Repeat("x", 1<<16)
				if chunked {
					piece = fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece)
				}
				for {
					if _, err := io.WriteString(c, piece); err != nil {
						sent <- n
						return
					}
					n += 1 << 16
				}
			}()
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Errorf("POST %s, chunked %v: %v", test.path, chunked, err)
				continue
			}
			b, _ := io.ReadAll(resp.Body)
			a := answer{status: resp.StatusCode, body: string(b)}
			if a.status != http.StatusRequestEntityTooLarge || !strings.Contains(a.detail(t), "--max-body") || !resp.Close {
				t.Errorf("POST %s, chunked %v: %d %s, closed %v, want 413, why, and the end", test.path, chunked, a.status, a.body, resp.Close)
			}
			if n := <-sent; n > most+32<<20 { // what connections hold
				t.Errorf("POST %s, chunked %v: %d bytes are taken", test.path, chunked, n)
			}
		}
	}
	if got := len(readEvents(t, s.URL, "c")); got != 1 {
		t.Errorf("%d events, want the first alone", got)
	}
}

// TestFaultCompressed sends what would become large if the server were to
// unpack it: it does not.
func TestFaultCompressed(t *testing.T) {
	s := servertest.NewServer(t, server.Config{Data: t.TempDir()})
	postAll(t, s.URL, "c", "first")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for range 64 { // 64 MB, beyond --max-body
		_, _ = z.Write(bytes.Repeat([]byte{' '}, 1<<20))
	}
	_, _ = io.WriteString(z, stored("packed"))
	_ = z.Close()
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/conversations/c/events", bytes.NewReader(packed.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Encoding", "gzip")
	if a := do(t, r); a.status < 400 || a.status >= 500 {
		t.Errorf("a packed event: %d %s, want a refusal", a.status, a.body)
	}
	if got := len(readEvents(t, s.URL, "c")); got != 1 {
		t.Errorf("%d events, want the first alone", got)
	}
	// A file stays what it is.
	if a := upload(t, s.URL+"/api/conversations/c/upload-files", "bomb.zip", packed.String()); a.status != http.StatusOK {
		t.Errorf("upload: %d %s", a.status, a.body)
	}
	if a := request(t, "GET", s.URL+"/api/conversations/c/list-files", ""); strings.Count(a.body, `"`) != 2 || !strings.Contains(a.body, "bomb.zip") {
		t.Errorf("list-files: %s, want the file alone", a.body)
	}
}

// TestFeedbackIsNotKept: feedback is answered in the recorded shape, and nothing of it is
// kept: the second answer is the first, and no export has it.
func TestFeedbackIsNotKept(t *testing.T) {
	s := servertest.NewServer(t, server.Config{})
	if a := request(t, "POST", s.URL+"/api/conversations/c/events", `{"action":"message","args":{"content":"Hi"}}`); a.status != http.StatusOK {
		t.Fatal(a)
	}
	const none = `"feedback_id":"none","message":"Not kept, and sent to nobody.","password":""`
	for range 2 {
		a := request(t, "POST", s.URL+"/api/conversations/c/submit-feedback", `{"polarity":"positive","feedback":"splendid"}`)
		if want := "{" + none + `,"body":{` + none + "}}"; a.status != http.StatusOK || a.body != want {
			t.Errorf("submit-feedback = %d %s, want %s", a.status, a.body, want)
		}
	}
	if a := request(t, "GET", s.URL+"/_local/export", ""); !strings.Contains(a.body, `"end"`) || strings.Contains(a.body, "splendid") {
		t.Errorf("export = %s, want it whole and without feedback", a.body)
	}
}
