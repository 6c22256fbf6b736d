package servertest

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/gen"
)

// CheckAnswer holds an answer to the served contract (gen/openapi.json): its
// status is documented, its content type and body are as the schema says. The
// path has no query and is decoded. An answer on a path of no operation is
// right.
func CheckAnswer(method, path string, status int, header http.Header, body []byte) error {
	op := operation(method, path)
	if op == nil {
		return nil
	}
	if err := op.ValidateResponse(status, header, body); err != nil {
		return fmt.Errorf("%s %s answers %d, against the contract: %w\n%.300s", method, path, status, err, body)
	}
	return nil
}

// route is an operation and what its paths look like.
type route struct {
	method string
	path   *regexp.Regexp
	op     *contract.Operation
}

var routes = sync.OnceValue(func() (routes []route) {
	c := api.Contract()
	parameter := regexp.MustCompile(`\\\{[^}]*\\\}`)
	for _, op := range gen.Operations {
		pattern := parameter.ReplaceAllString(regexp.QuoteMeta(op.Path), "[^/]+")
		routes = append(routes, route{op.Method, regexp.MustCompile("^" + pattern + "$"), c.Operation(op.ID)})
	}
	return routes
})

// operation is the last one with this method and path: the one that no
// parameter stands for, if there are several.
func operation(method, path string) (op *contract.Operation) {
	for _, r := range routes() {
		if r.method == method && r.path.MatchString(path) {
			op = r.op
		}
	}
	return op
}

// checked fails the test for an answer that the contract does not have.
func checked(t testing.TB, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method, path := r.Method, r.URL.Path
		if r.URL.IsAbs() || strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || operation(method, path) == nil {
			next.ServeHTTP(w, r)
			return
		}
		seen := &answer{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		if seen.partial {
			return
		}
		if err := CheckAnswer(method, path, seen.status, w.Header(), seen.body.Bytes()); err != nil {
			t.Error(err)
		}
	})
}

// maxChecked is the most bytes of an answer that is checked: longer ones are
// trajectories, which would keep their clients waiting.
const maxChecked = 4 << 20

// answer keeps a copy of what is written.
type answer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer

	partial bool // its client is gone, or it is too long
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	n, err := a.ResponseWriter.Write(b)
	if a.partial = a.partial || err != nil || a.body.Len()+n > maxChecked; !a.partial {
		a.body.Write(b[:n])
	}
	return n, err
}

// Unwrap lets http.ResponseController through.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
