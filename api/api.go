// Package api is what clients talk to: the operations of the contract, with
// the statuses, bodies and order of refusals of OpenHands 0.53.0.
//
// [New] returns them as one http.Handler. Every request passes, in this order,
// the path (route.go), the key, the body's decoding, the conversation, the
// fields (operation.go, package contract) and the handler, in the file of its
// resource. Handlers return errors as they are: one table and one writer
// (errors.go) make every refusal. What happened to a request is noted in its
// exchange (package exchange).
package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/archive"
	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/key"
	"github.com/openhands-local/openhands-local/api/workspace"
	"github.com/openhands-local/openhands-local/gen"
)

// A Config says what the operations work with. Conversations, Workspace, Reset,
// Export, Contract, LoggedIn, Started and Log are required; the zero value of everything
// else is right.
type Config struct {
	Conversations *conversation.Service
	// Workspace opens the files of a conversation, and makes a place for them if
	// create is set.
	Workspace func(id string, create bool) (*workspace.Workspace, error)
	// Reset removes everything and begins as on an empty folder.
	Reset func(context.Context) error
	// Frontend answers GET and HEAD where the API has nothing: the web UI.
	// Without one Page is at /, unless Strict, and the rest is 404.
	Frontend http.Handler
	// Page answers what people look at: /_local/ and what is below /_local/page/.
	// Login does it for who has not said the key. nil shows nothing.
	Page, Login http.Handler
	// Info is what /_local/info tells of the server, as JSON.
	Info any
	// Local has what the server serves of itself, by method and path below
	// /_local in Echo's notation: "GET /metrics", "GET /pprof/*".
	Local map[string]Handler
	// Before, when set, is asked before the handler of a request, once its body
	// is read and before anything else of it is looked at. It tells whether it
	// has answered.
	Before func(http.ResponseWriter, *http.Request) (answered bool)
	// Export writes conversations as package archive has them.
	Export func(context.Context, io.Writer, archive.ExportOptions) error
	// Backup returns a copy of the store's file and its size; nil when nothing
	// is kept.
	Backup func(context.Context) (file io.ReadCloser, size int64, err error)
	// Token is shown by clients that can read the data folder; it is asked for
	// where settings and secrets leave the server, unless there is a Key.
	Token key.Key
	// Contract returns the loaded contract; the first call may take 30 ms.
	Contract func() *contract.Contract
	Key      key.Key // asked for in X-Session-API-Key
	// LoggedIn tells of a request that needs no key, since its browser has
	// shown it before.
	LoggedIn func(*http.Request) bool
	Strict   bool
	// SetConversationID: a conversation_id for a new conversation is nothing
	// that upstream would refuse. Where it is refused the Contract says so.
	SetConversationID bool
	Started           time.Time
	// Stopping is closed when the server takes no more requests: streams end.
	Stopping <-chan struct{}
	Log      *slog.Logger
}

// A Handler answers a request, or returns why not: a [*fastapi.Invalid] is 422 as
// of an operation, and so on.
type Handler func(http.ResponseWriter, *http.Request) error

// deps is what every operation has at hand.
type deps struct {
	Config
	activity   activity
	operations map[string]operation // by operationId
}

// handlers has all operations. Those of a section are promoted from it; what
// no section has comes from fallback, which is one level deeper, and is
// answered by 501.
type handlers struct {
	*events
	*conversations
	*files
	*health
	*preferences
	*runtime
	*user
	fallback
}

type fallback struct{ gen.Unimplemented }

var _ gen.ServerInterface = handlers{}

// New returns the operations of the contract, /openapi.json, /docs, what is
// ours alone, the page, and the frontend.
func New(c Config) http.Handler {
	d := &deps{Config: c, operations: map[string]operation{}}
	h := handlers{
		events:        &events{d},
		conversations: &conversations{d},
		files:         &files{d},
		health:        &health{d},
		preferences:   &preferences{d},
		runtime:       &runtime{d},
		user:          &user{d},
	}
	e := echo.New()
	e.HTTPErrorHandler = d.writeError
	handle, unwritten := gen.Handlers(h), ContractStatus().Unimplemented
	for _, op := range gen.Operations {
		d.operations[op.ID] = operation{op, handle[op.ID], slices.Contains(unwritten, op.Name), slices.Contains(secretOperations, op.Name)}
	}
	e.Pre(d.recoverPanics, d.mcp, d.route)
	d.registerLocal(e)
	registerDocs(e)
	d.registerPage(e)
	return e
}
