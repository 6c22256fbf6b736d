package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/exchange"
)

// As upstream does (recorded misc_unknown_paths, odd_id_*), paths are
// percent-decoded before they are matched, and a path that is known but for its
// trailing slashes is sent there by 307.

// methodsOf returns the methods of a decoded path, nil for an unknown path.
func (d *deps) methodsOf(path string) (methods []string) {
	switch {
	case slices.Contains(docPaths, path):
		return docMethods
	case strings.HasPrefix(path, securityPath):
		return securityMethods
	}
	for _, op := range d.Contract().At(path) {
		methods = append(methods, op.Method)
	}
	return methods
}

// route answers the operation of a request, and hands on what is of none: the
// pages, which Echo finds.
func (d *deps) route(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		u := r.URL
		u.RawPath = ""
		u.Path = strings.ToValidUTF8(u.Path, "\uFFFD")
		switch {
		case u.IsAbs() || !strings.HasPrefix(u.Path, "/"): // a request line for a proxy (recorded misc_protocol)
			return echo.ErrNotFound
		case r.Method == http.MethodOptions: // Echo would answer it by itself
			return echo.ErrMethodNotAllowed
		}
		x := exchange.From(r.Context())
		checks, params := d.Contract().Match(r.Method, u.Path)
		if checks == nil {
			d.activity.note(x)
			if d.Before != nil && d.Before(c.Response(), r) {
				return nil
			}
			return next(c)
		}
		op := d.operations[checks.ID]
		x.Operation, x.Conversation, x.Withheld = op.Name, params["conversation_id"], op.secret
		d.activity.note(x)
		return d.operate(c, x, op, checks, params)
	}
}

// trimmed is where a path with trailing slashes is sent, "" when what is left is
// unknown too.
func (d *deps) trimmed(path string) string {
	trimmed := strings.TrimRight(path, "/")
	switch {
	case path+"/" == securityPath:
		return securityPath
	case trimmed == path || d.methodsOf(trimmed) == nil:
		return ""
	}
	return trimmed
}

// redirect sends a client to another path. The scheme is that of
// X-Forwarded-Proto, as upstream takes it from a proxy on this machine (recorded
// host_header_odd).
func redirect(w http.ResponseWriter, r *http.Request, path string) {
	to := url.URL{Scheme: "http", Host: r.Host, Path: exchange.From(r.Context()).Base + path, RawQuery: r.URL.RawQuery}
	if r.Header.Get("X-Forwarded-Proto") == "https" {
		to.Scheme = "https"
	}
	w.Header().Set("Location", to.String())
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusTemporaryRedirect)
}
