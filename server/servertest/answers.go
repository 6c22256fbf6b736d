package servertest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/server"
)

// CheckAnswer holds an answer to the served contract (gen/openapi.json): its
// status is documented, its content type and body are as the schema says. The
// path has no query and is decoded. An answer on a path of no operation is
// right, and so is one that a fault spoiled (X-Local-Fault).
func CheckAnswer(method, path string, status int, header http.Header, body []byte) error {
	op, _ := api.Contract().Match(method, path)
	if op == nil || header.Get("X-Local-Fault") != "" {
		return nil
	}
	if err := op.ValidateResponse(status, header, body); err != nil {
		return fmt.Errorf("%s %s answers %d, against the contract: %w\n%.300s", method, path, status, err, body)
	}
	return nil
}

// checked fails the test for an answer that the contract does not have.
func checked(t testing.TB, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, path, _ := server.SplitWorld(r.URL.Path)
		method := r.Method
		if op, _ := api.Contract().Match(method, path); op == nil || r.URL.IsAbs() || strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
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
