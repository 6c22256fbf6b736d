package server_test

import (
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

const loginKey = "k&y = +"

// A browser keeps the cookies of a server.
type browser struct {
	*testing.T
	*servertest.Server
	http.Client
}

// logIn opens the login link of a server.
func logIn(t *testing.T, c server.Config) *browser {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("<page>"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Key, c.Frontend = loginKey, dir
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, servertest.NewServer(t, c), http.Client{Jar: jar}}
	t.Cleanup(b.CloseIdleConnections)
	resp, err := b.Get(b.URL + "/_local/login?key=k%26y+%3D+%2B")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Request.URL.Path != "/" {
		t.Fatalf("the login link ends at %s with %s, want / with 200", resp.Request.URL.Path, resp.Status)
	}
	return b
}

// ask returns the status of an answer.
func (b *browser) ask(method, path, body string, header http.Header) int {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, b.URL+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	maps.Copy(r.Header, header)
	resp, err := b.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// connect returns the last packet that a socket is sent when it joins the
// conversation c, as the web UI asks for it.
func (b *browser) connect(header http.Header) string {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	address := "ws" + strings.TrimPrefix(b.URL, "http") + "/socket.io/?latest_event_id=-1&conversation_id=c&providers_set=&session_api_key=null&EIO=4&transport=websocket"
	socket, resp, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: &b.Client, HTTPHeader: maps.Clone(header)})
	if err != nil {
		b.Fatalf("socket: %v %v", err, resp)
	}
	defer socket.CloseNow()
	for {
		_, packet, err := socket.Read(ctx)
		if err != nil {
			b.Fatal(err)
		}
		switch text := string(packet); {
		case strings.HasPrefix(text, "0"):
			if err := socket.Write(ctx, websocket.MessageText, []byte("40")); err != nil {
				b.Fatal(err)
			}
		case strings.HasPrefix(text, "4") && !strings.HasPrefix(text, "42"):
			return text[:2]
		}
	}
}

// TestLogin: a page that logged in needs no key anywhere. A page of another
// port of this machine, which browsers send the cookie for too, does.
func TestLogin(t *testing.T) {
	const named = "http://localhost:3001"
	b := logIn(t, server.Config{Access: server.Access{Origins: []string{named}}})
	host := strings.TrimPrefix(b.URL, "http://")
	headers := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	const fetchSite = "Sec-Fetch-Site"
	tests := []struct {
		from   string
		header http.Header
		in     bool
	}{
		{"no browser", headers(), true},
		{"the address bar", headers(fetchSite, "none"), true},
		{"the page", headers(fetchSite, "same-origin", "Origin", b.URL), true},
		{"the page in an old browser", headers("Origin", b.URL), true},
		{"the page over a proxy with TLS", headers("Origin", "https://"+host), true},
		{"the page of a development server", headers(fetchSite, "same-origin", "Origin", "http://localhost:5173"), true},
		{"an origin that is named", headers("Origin", named), true},
		{"an origin that is named, directly", headers("Origin", named, fetchSite, "same-site"), true},
		{"another port", headers("Origin", "http://localhost:8080"), false},
		{"another port, as browsers say it", headers("Origin", "http://127.0.0.1:8080", fetchSite, "same-site"), false},
		{"a link or an image of another port", headers(fetchSite, "same-site"), false},
		{"a link of another site", headers(fetchSite, "cross-site"), false},
		{"no origin that can be read", headers("Origin", "http://localhost:8080/%zz"), false},
	}
	if status := b.ask(http.MethodPost, "/api/conversations/c/events", `{"action":"message","args":{"content":"hi"}}`, nil); status != http.StatusOK {
		t.Fatalf("Add Event = %d, want 200", status)
	}
	if status := b.ask(http.MethodPost, "/_local/conversations/c/events", `{"action":"null"}`, nil); status != http.StatusOK {
		t.Errorf("POST /_local/conversations/c/events = %d, want 200", status)
	}
	for _, tt := range tests {
		status, packet := http.StatusUnauthorized, "44"
		if tt.in {
			status, packet = http.StatusOK, "40"
		}
		for _, path := range []string{"/api/conversations", "/_local/info"} {
			if got := b.ask(http.MethodGet, path, "", tt.header); got != status {
				t.Errorf("%s: GET %s = %d, want %d", tt.from, path, got, status)
			}
		}
		if got := b.connect(tt.header); got != packet {
			t.Errorf("%s: socket gets %s, want %s", tt.from, got, packet)
		}
	}
}

// TestDevelopmentServer: the web UI's own server is at another port, and hands
// requests on with our Host and its Origin.
func TestDevelopmentServer(t *testing.T) {
	b := &browser{T: t, Server: servertest.NewServer(t, server.Config{})}
	t.Cleanup(b.CloseIdleConnections)
	for _, origin := range []string{"http://localhost:3001", "http://127.0.0.1:3001"} {
		header := http.Header{"Origin": {origin}}
		if status := b.ask(http.MethodPost, "/api/conversations/c/events", `{"action":"message","args":{"content":"hi"}}`, header); status != http.StatusOK {
			t.Errorf("Origin %s: Add Event = %d, want 200", origin, status)
		}
		if got := b.connect(header); got != "40" {
			t.Errorf("Origin %s: socket gets %s, want 40", origin, got)
		}
	}
}

// TestLoginLasts: a cookie is good as long as the key is.
func TestLoginLasts(t *testing.T) {
	c := server.Config{Data: t.TempDir(), Addr: "127.0.0.1:0"}
	b := logIn(t, c)
	c.Addr = strings.TrimPrefix(b.URL, "http://")
	again := func(key string) int {
		t.Helper()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		c.Key = key
		b.Server = servertest.NewServer(t, c)
		return b.ask(http.MethodGet, "/api/conversations", "", nil)
	}
	if status := again(loginKey); status != http.StatusOK {
		t.Errorf("after a restart GET /api/conversations = %d, want 200", status)
	}
	if status := again("another"); status != http.StatusUnauthorized {
		t.Errorf("with another key GET /api/conversations = %d, want 401", status)
	}
	u, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range b.Jar.Cookies(u) {
		if strings.Contains(cookie.Value, loginKey) || strings.Contains(cookie.Value, base64.RawURLEncoding.EncodeToString([]byte(loginKey))) {
			t.Errorf("the cookie %s has the key", cookie)
		}
	}
}
