package api

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui/v5emb"

	"github.com/openhands-local/openhands-local/gen"
)

// docPaths are served beside the operations, as FastAPI does. /redoc shows
// the same page as /docs.
var docPaths = []string{"/openapi.json", "/docs", "/redoc", "/docs/oauth2-redirect"}

// securityPath is a mount that upstream has by a slip: it answers 500 to
// everything (recorded security_root_path), here 404.
const securityPath = "/security/"

var securityMethods = []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut}

// registerDocs serves the contract and a page to read and try it, which
// needs no network.
func registerDocs(e *echo.Echo) {
	both := func(path string, h echo.HandlerFunc) {
		e.GET(path, h)
		e.HEAD(path, h)
	}
	both("/openapi.json", func(c echo.Context) error { return writeBytes(c, http.StatusOK, gen.OpenAPI) })

	page := v5emb.New("OpenHands "+Versions()+" · openhands-local", "/openapi.json", "/docs")
	html := func(path string) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request().Clone(c.Request().Context())
			r.URL.Path = path
			page.ServeHTTP(htmlWriter{c.Response()}, r)
			return nil
		}
	}
	both("/docs", html("/docs"))
	both("/redoc", html("/docs"))
	both("/docs/oauth2-redirect", html("/docs/oauth2-redirect.html"))
	e.Match(securityMethods, securityPath+"*", func(echo.Context) error { return errNowhere })
	e.GET("/docs/:asset", func(c echo.Context) error {
		c.Response().Header().Del("Pragma")
		c.Response().Header().Del("Expires")
		page.ServeHTTP(c.Response(), c.Request())
		return nil
	})
}

// htmlWriter names the charset, which the page's own handler leaves out, and
// leaves out what that adds.
type htmlWriter struct{ http.ResponseWriter }

func (w htmlWriter) WriteHeader(status int) {
	w.clean()
	w.ResponseWriter.WriteHeader(status)
}

func (w htmlWriter) Write(b []byte) (int, error) {
	w.clean()
	return w.ResponseWriter.Write(b)
}

func (w htmlWriter) clean() {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Del("Etag")
	if vary := slices.DeleteFunc(slices.Clone(h.Values("Vary")), func(v string) bool { return v == "Accept-Encoding" }); len(vary) > 0 {
		h["Vary"] = vary
	} else {
		h.Del("Vary")
	}
}
