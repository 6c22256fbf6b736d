package api

import (
	"cmp"
	"context"
	"fmt"
	"github.com/openhands-local/openhands-local/api/refuse"
	"net/http"
	"runtime/debug"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/gen"
)

// keyHeader carries the key. Of several the first counts (recorded
// auth_header_forms).
const keyHeader = "X-Session-API-Key"

// An operation is one of the contract and its handler.
type operation struct {
	gen.Operation
	handle    echo.HandlerFunc
	unwritten bool // it has no handler yet but the generated one
	secret    bool // its bodies are not shown
}

// A call is what the handler of an operation gets.
type call struct {
	echo.Context
	params map[string]string // of the path
	body   *contract.Body
}

// Param is a parameter of the path. The one that may be empty is a slash then:
// generated code refuses an empty one, which the contract does not.
func (c *call) Param(name string) string { return cmp.Or(c.params[name], "/") }

// body is the decoded body of a request for an operation.
func body(c echo.Context) *contract.Body { return c.(*call).body }

// operate refuses, in upstream's order, what the contract does not allow: key,
// body, conversation, fields. Upstream decodes the body before it looks at the
// key; here nothing of it is read without one.
func (d *deps) operate(c echo.Context, x *exchange.Exchange, op operation, checks *contract.Operation, params map[string]string) error {
	r := c.Request()
	if op.Secured && !d.hasKey(r) {
		return d.unauthorized()
	}
	if op.unwritten {
		return echo.NewHTTPError(http.StatusNotImplemented, op.Name) // as the generated handler, whatever is sent
	}
	body, err := checks.ReadBody(r)
	if body != nil {
		x.Body = body.Raw
	}
	if d.Before != nil && d.Before(c.Response(), r) {
		return nil
	}
	if err != nil {
		return err
	}
	if op.Conversation {
		if err := d.conversationExists(r.Context(), op.Name, x.Conversation); err != nil {
			return err
		}
	}
	if err := checks.Validate(r, params, body); err != nil {
		return err
	}
	return op.handle(&call{c, params, body})
}

// hasKey tells whether a client said the key, or need not.
func (d *deps) hasKey(r *http.Request) bool {
	return d.Key.Is(r.Header.Get(keyHeader)) || d.LoggedIn(r)
}

// unauthorized is upstream's refusal. With a frontend it has a text beside,
// which that shows to people.
func (d *deps) unauthorized() *refusal {
	if d.Frontend != nil {
		return refuse.With(http.StatusUnauthorized, message{Detail: "Unauthorized", Message: "This server asks for a key: open its login link first, /_local/login?key=…"})
	}
	return refuse.Text(http.StatusUnauthorized, "Unauthorized")
}

// conversationExists is upstream's dependency of operations within a
// conversation. Add Event makes an unknown one unless the server is strict:
// its handler decides.
func (d *deps) conversationExists(ctx context.Context, operation, id string) error {
	if operation == "AddEvent" && !d.Strict {
		return nil
	}
	return d.Conversations.Exists(ctx, id)
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

func (a *activity) note(x *exchange.Exchange) {
	if x.Operation != "GetServerInfo" {
		a.last.Store(x.Start.UnixNano())
	}
}
