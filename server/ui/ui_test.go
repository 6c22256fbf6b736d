package ui_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/server/ui"
)

// build makes a folder of files, with a secret beside it.
func build(t *testing.T, files map[string]string) (dir, secret string) {
	t.Helper()
	parent := t.TempDir()
	dir, secret = filepath.Join(parent, "build"), filepath.Join(parent, "secret")
	write(t, secret, "SECRET")
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir, secret
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(h http.Handler, method, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	r.URL.Path = path // as it was decoded
	r.Header = header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestServe(t *testing.T) {
	dir, secret := build(t, map[string]string{
		"index.html": "<page>", "assets/a.js": "0", "assets/a.css": "b{}", "favicon.ico": "i", "site.webmanifest": "{}",
		"robots.txt": "r", "locales/en/translation.json": "{}", "assets/plain": "just text", "sub/index.html": "<sub>",
	})
	for link, to := range map[string]string{"out": secret, "up": "../secret", "away": filepath.Dir(dir), "in": "robots.txt"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	u, err := ui.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	const page = "text/html; charset=utf-8"
	tests := []struct{ path, body, contentType string }{
		{"/", "<page>", page},
		{"/index.html", "<page>", page},
		{"/conversations/0123", "<page>", page},
		{"/api/unknown", "<page>", page},
		{"/assets/missing.js", "<page>", page},
		{"/assets", "<page>", page},
		{"/sub/", "<page>", page},
		{"/sub/index.html", "<sub>", page},
		{"/assets/a.js", "0", "text/javascript; charset=utf-8"},
		{"//assets//a.js", "0", "text/javascript; charset=utf-8"},
		{"/assets/a.css", "b{}", "text/css; charset=utf-8"},
		{"/favicon.ico", "i", "image/vnd.microsoft.icon"},
		{"/site.webmanifest", "{}", "application/manifest+json"},
		{"/locales/en/translation.json", "{}", "application/json"},
		{"/assets/plain", "just text", "text/plain; charset=utf-8"},
		{"/in", "r", "text/plain; charset=utf-8"},
		{"", "<page>", page},
		{"/../secret", "<page>", page},
		{"/assets/../../secret", "<page>", page},
		{"/..\\secret", "<page>", page},
		{"/out", "<page>", page},
		{"/up", "<page>", page},
		{"/away/secret", "<page>", page},
		{"/a\x00b", "<page>", page},
		{"/" + strings.Repeat("long", 2000), "<page>", page},
		{"/robots.txt/more", "<page>", page},
	}
	for _, tt := range tests {
		w := get(u, http.MethodGet, tt.path, nil)
		if w.Code != http.StatusOK || w.Body.String() != tt.body || w.Header().Get("Content-Type") != tt.contentType {
			t.Errorf("GET %.40q = %d %q, %q, want 200 %q, %q", tt.path, w.Code, w.Header().Get("Content-Type"), w.Body, tt.contentType, tt.body)
		}
	}
	w := get(u, http.MethodHead, "/assets/a.css", nil)
	if w.Code != http.StatusOK || w.Body.Len() > 0 || w.Header().Get("Content-Length") != "3" {
		t.Errorf("HEAD = %d, %d bytes, Content-Length %q, want 200, 0, 3", w.Code, w.Body.Len(), w.Header().Get("Content-Length"))
	}
	w = get(u, http.MethodGet, "/assets/plain", http.Header{"Range": {"bytes=5-"}})
	if w.Code != http.StatusPartialContent || w.Body.String() != "text" {
		t.Errorf("GET of a range = %d %q, want 206 text", w.Code, w.Body)
	}
}

// TestMissingIsNotKept: a browser does not keep the page in the place of an
// asset.
func TestMissingIsNotKept(t *testing.T) {
	dir, _ := build(t, map[string]string{"index.html": "<page>", "assets/a.js": "0"})
	u, err := ui.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	asset := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "immutable")
		u.ServeHTTP(w, r)
	})
	for path, want := range map[string]string{"/assets/a.js": "immutable", "/assets/b.js": "no-cache, no-store, must-revalidate, max-age=0"} {
		if got := get(asset, http.MethodGet, path, nil).Header().Get("Cache-Control"); got != want {
			t.Errorf("GET %s: Cache-Control %q, want %q", path, got, want)
		}
	}
}

// TestBuiltAgain: the folder may be removed and made again.
func TestBuiltAgain(t *testing.T) {
	dir, _ := build(t, map[string]string{"index.html": "one"})
	u, err := ui.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "index.html")); err != nil {
		t.Fatal(err)
	}
	unbuilt := func() {
		t.Helper()
		if w := get(u, http.MethodGet, "/", nil); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "built") {
			t.Errorf("GET / = %d %q, want 503 that says why", w.Code, w.Body)
		}
	}
	unbuilt()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	unbuilt()
	write(t, filepath.Join(dir, "index.html"), "two")
	if w := get(u, http.MethodGet, "/", nil); w.Code != http.StatusOK || w.Body.String() != "two" {
		t.Errorf("GET / = %d %q, want 200 two", w.Code, w.Body)
	}
}

func TestNewRefuses(t *testing.T) {
	dir, secret := build(t, map[string]string{"package.json": "{}", "index.html/file": ""})
	for name, want := range map[string]string{
		filepath.Join(dir, "nowhere"): "no such file",
		secret:                        "not a directory",
		dir:                           "npm run build",
		filepath.Dir(dir):             "npm run build",
	} {
		if _, err := ui.New(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%s) = %v, want an error with %q", name, err, want)
		}
	}
}
