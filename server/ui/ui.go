// Package ui serves the built OpenHands web UI, as upstream does beside its
// API.
//
// A [UI] answers with a file of its folder, and with index.html, 200, where
// there is no such file: the page itself finds out what its path means.
// Nothing outside of the folder is read, whatever its links and the paths of
// requests say.
package ui

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const index = "index.html"

// A UI is a handler for everything that is no path of the API. Make one with
// [New].
type UI struct{ dir string }

// New returns the UI of a folder, which must have an index.html. The error
// says what to do about it.
func New(dir string) (*UI, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	u := &UI{abs}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("frontend %q: %w: want the folder of the built web UI", dir, err)
	}
	defer root.Close()
	f, _, err := open(root, index)
	if err != nil {
		return nil, fmt.Errorf("frontend %q has no %s: want the folder that `npm run build` makes, such as frontend/build", dir, index)
	}
	return u, f.Close()
}

// Dir is the folder's absolute name.
func (u *UI) Dir() string { return u.dir }

// ServeHTTP answers GET and HEAD; the caller lets nothing else through. The
// folder is opened anew each time, so that it may be built again meanwhile.
func (u *UI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	root, err := os.OpenRoot(u.dir)
	if err != nil {
		unbuilt(w)
		return
	}
	defer root.Close()
	f, info, err := open(root, name)
	if err != nil {
		if f, info, err = open(root, index); err != nil {
			unbuilt(w)
			return
		}
		// Also where an asset was asked for, which browsers keep for a
		// month: it may be there after the next build.
		w.Header().Set("Cache-Control", "no-cache, no-store, must-revalidate, max-age=0")
		name = index
	}
	defer f.Close()
	if t := contentTypes[path.Ext(name)]; t != "" {
		w.Header().Set("Content-Type", t) // else it is told from the content
	}
	http.ServeContent(w, r, name, info.ModTime(), f)
}

var errNoFile = errors.New("not a regular file")

// open opens a regular file. It looks first: opening a pipe would wait.
func open(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errNoFile
	}
	f, err := root.Open(name)
	return f, info, err
}

// unbuilt answers while there is no page.
func unbuilt(w http.ResponseWriter) {
	http.Error(w, "The folder of --frontend has no "+index+" now. Is it being built?", http.StatusServiceUnavailable)
}

// contentTypes are those of what a build holds. The machine's own table may
// have none, or wrong ones.
var contentTypes = map[string]string{
	".css":         "text/css; charset=utf-8",
	".gif":         "image/gif",
	".html":        "text/html; charset=utf-8",
	".ico":         "image/vnd.microsoft.icon",
	".jpeg":        "image/jpeg",
	".jpg":         "image/jpeg",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".map":         "application/json",
	".mjs":         "text/javascript; charset=utf-8",
	".mp3":         "audio/mpeg",
	".mp4":         "video/mp4",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".ttf":         "font/ttf",
	".txt":         "text/plain; charset=utf-8",
	".wasm":        "application/wasm",
	".wav":         "audio/wav",
	".webm":        "video/webm",
	".webmanifest": "application/manifest+json",
	".webp":        "image/webp",
	".woff":        "font/woff",
	".woff2":       "font/woff2",
	".xml":         "text/xml; charset=utf-8",
}
