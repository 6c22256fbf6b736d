package api

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/gen"
)

// Upstream's router differs from Echo's (recorded misc_unknown_paths,
// odd_id_*, user_repo_paths): paths are percent-decoded before they are
// matched, a parameter is never empty, {repository_name} spans slashes, and a
// path that is known but for its trailing slashes is sent there by 307.

// spanning is the parameter that spans slashes. The contract cannot say so.
const spanning = "{repository_name}"

// A route matches the paths of one operation, or of one page of ours.
type route struct {
	*regexp.Regexp
	methods []string
	path    string
}

// routes has every path that is served. It is made when the first refusal asks
// for it.
var routes = sync.OnceValue(func() []route {
	var all []route
	add := func(path string, methods ...string) {
		if i := slices.IndexFunc(all, func(t route) bool { return t.path == path }); i >= 0 {
			all[i].methods = append(all[i].methods, methods...)
			return
		}
		all = append(all, route{pattern(path), methods, path})
	}
	for _, op := range gen.Operations {
		add(op.Path, op.Method)
	}
	for _, path := range docPaths {
		add(path, http.MethodGet, http.MethodHead)
	}
	return append(all, route{regexp.MustCompile("^" + securityPath), securityMethods, securityPath})
})

// spans has the patterns of the paths with the parameter that spans slashes.
var spans = func() (all []*regexp.Regexp) {
	for _, op := range gen.Operations {
		if strings.Contains(op.Path, spanning) {
			all = append(all, pattern(op.Path))
		}
	}
	return all
}()

var parameter = regexp.MustCompile(`\\\{[^}]*\\\}`)

// pattern is what the decoded paths of a path with parameters look like.
func pattern(path string) *regexp.Regexp {
	text := parameter.ReplaceAllStringFunc(regexp.QuoteMeta(path), func(p string) string {
		if p == regexp.QuoteMeta(spanning) {
			return "(.*)"
		}
		return "([^/]+)"
	})
	return regexp.MustCompile("^(?s:" + text + ")$")
}

// allowed returns the methods of a decoded path, nil for an unknown path.
func allowed(path string) []string {
	for _, t := range routes() {
		if t.MatchString(path) {
			return t.methods
		}
	}
	return nil
}

// normalisePath lets Echo match as upstream does.
func normalisePath(next echo.HandlerFunc) echo.HandlerFunc {
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
		for _, t := range spans {
			if m := t.FindStringSubmatchIndex(u.Path); m != nil {
				name := u.Path[m[2]:m[3]]
				if name == "" {
					name = "/" // it may be empty, which the contract takes for missing
				}
				u.RawPath = u.Path[:m[2]] + url.PathEscape(name) + u.Path[m[3]:]
				break
			}
		}
		return next(c)
	}
}

// hasOddParameter tells of a path that Echo matches and upstream does not: it
// lets a parameter be empty, and the last one span slashes.
func hasOddParameter(c echo.Context) bool {
	for i, value := range c.ParamValues() {
		if (value == "" || strings.Contains(value, "/")) && c.ParamNames()[i] != strings.Trim(spanning, "{}") {
			return true
		}
	}
	return false
}

// redirect is where a path with trailing slashes is sent, "" when what is
// left is unknown too. The scheme is that of X-Forwarded-Proto, as upstream
// takes it from a proxy on this machine (recorded host_header_odd).
func redirect(r *http.Request) string {
	path := strings.TrimRight(r.URL.Path, "/")
	switch {
	case r.URL.Path+"/" == securityPath:
		path = securityPath
	case path == r.URL.Path || allowed(path) == nil:
		return ""
	}
	scheme := "http"
	if p := r.Header.Get("X-Forwarded-Proto"); p == "https" {
		scheme = p
	}
	to := url.URL{Scheme: scheme, Host: r.Host, Path: path, RawQuery: r.URL.RawQuery}
	return to.String()
}
