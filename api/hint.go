package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/migration"
	"github.com/openhands-local/openhands-local/gen"
)

// hintHeader says what a request for an unknown path probably meant: the answer
// itself is the recorded one.
const hintHeader = "X-Local-Hint"

// TellHint notes a hint, for the client and for those who observe.
func TellHint(w http.ResponseWriter, r *http.Request, hint string) {
	if hint == "" {
		return
	}
	w.Header().Set(hintHeader, hint)
	exchange.From(r.Context()).Hint = hint
}

// hint tells what a request probably meant that no route matches. A frontend's
// own paths are unknown here, and meant.
func (d *deps) hint(c echo.Context, methods []string) {
	r := c.Request()
	path := r.URL.Path
	if d.Frontend != nil && !strings.HasPrefix(path, "/api/") && !strings.HasPrefix(path, localPrefix) || d.trimmed(path) != "" {
		return
	}
	TellHint(c.Response(), r, migration.Hint(r.Method, path, methods, served(c.Echo())))
}

// served are the calls that have an answer, the contract's first.
func served(e *echo.Echo) (calls []string) {
	for _, op := range gen.Operations {
		calls = append(calls, op.Method+" "+op.Path)
	}
	var own []string
	for _, r := range e.Routes() {
		segments := strings.Split(r.Path, "/")
		for i, s := range segments {
			if name, ok := strings.CutPrefix(s, ":"); ok {
				segments[i] = "{" + name + "}"
			}
		}
		own = append(own, r.Method+" "+strings.Join(segments, "/"))
	}
	slices.Sort(own)
	return append(append(calls, own...), migration.SocketIO)
}
