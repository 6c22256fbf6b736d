package api

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/gen"
)

// keyHeader carries the key. Of several the first counts (recorded
// auth_header_forms).
const keyHeader = "X-Session-API-Key"

// bodyKey is where operation leaves the decoded body for the handler and for
// the record of a refusal.
const (
	bodyKey      = "body"
	operationKey = "operation"
)

// operation refuses, in upstream's order, what the contract does not allow:
// key, body, conversation, fields. Upstream decodes the body before it looks
// at the key; here nothing of it is read without one.
func (d *deps) operation(op gen.Operation) echo.MiddlewareFunc {
	pattern := op.Method + " " + op.Path
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if hasOddParameter(c) {
				return echo.ErrNotFound
			}
			c.Set(operationKey, op)
			r := c.Request()
			r.Pattern = pattern
			if op.Secured && !d.hasKey(r) {
				return d.unauthorized()
			}
			checks := d.Contract().Operation(op.ID)
			body, err := checks.ReadBody(r)
			if err != nil {
				return err
			}
			c.Set(bodyKey, body)
			if op.Conversation {
				if err := d.conversationExists(c, op); err != nil {
					return err
				}
			}
			if err := checks.Validate(r, pathParams(c), body); err != nil {
				return err
			}
			return next(c)
		}
	}
}

// operationNames has the names of the operations by the pattern that a request
// for one matches.
var operationNames = func() map[string]string {
	names := make(map[string]string, len(gen.Operations))
	for _, op := range gen.Operations {
		names[op.Method+" "+op.Path] = op.Name
	}
	return names
}()

// Operation names what a request that was answered had asked for: an
// operation of the contract ("AddEvent"), or by its path with the names of its
// parameters what is ours alone ("/_local/conversations/:id/stream"). It is
// empty when the request reached neither. There are as many names as routes,
// whatever is asked.
func Operation(r *http.Request) string {
	if name, ok := operationNames[r.Pattern]; ok {
		return name
	}
	return r.Pattern
}

// hasKey tells whether a client said the key, or need not.
func (d *deps) hasKey(r *http.Request) bool {
	return d.Key.Is(r.Header.Get(keyHeader)) || d.LoggedIn(r)
}

// unauthorized is upstream's refusal. With a frontend it has a text beside,
// which that shows to people.
func (d *deps) unauthorized() *refusal {
	if d.Frontend != nil {
		return &refusal{http.StatusUnauthorized, message{"Unauthorized", "This server asks for a key: open its login link first, /_local/login?key=…"}}
	}
	return &refusal{http.StatusUnauthorized, detail{"Unauthorized"}}
}

// conversationExists is upstream's dependency of operations within a
// conversation. Add Event makes an unknown one unless the server is strict:
// its handler decides.
func (d *deps) conversationExists(c echo.Context, op gen.Operation) error {
	if op.Name == "AddEvent" && !d.Strict {
		return nil
	}
	return d.Conversations.Exists(c.Request().Context(), c.Param("conversation_id"))
}

func pathParams(c echo.Context) map[string]string {
	params := make(map[string]string, len(c.ParamNames()))
	for i, name := range c.ParamNames() {
		params[name] = c.ParamValues()[i]
	}
	return params
}

// body is the decoded body of a request.
func body(c echo.Context) *contract.Body {
	b, _ := c.Get(bodyKey).(*contract.Body)
	return b
}

// recoverPanics turns a panic of a handler into an error with its stack.
func (d *deps) recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			p := recover()
			if p == http.ErrAbortHandler {
				panic(p)
			}
			if p != nil {
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		return next(c)
	}
}

// activity knows when the last request came: what server_info calls idle.
type activity struct{ last atomic.Int64 }

func (a *activity) note(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Path() != serverInfoPath {
			a.last.Store(time.Now().UnixNano())
		}
		return next(c)
	}
}
