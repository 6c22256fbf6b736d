// Package agentserver is what clients of the agent server talk to: the operations
// of its contract and its websocket, with the statuses, bodies and order of
// refusals of openhands-agent-server 1.58.2.
//
// [New] returns them as one http.Handler. A request passes, in this order, the
// path, the key, the body's decoding, the conversation (where the overlay says
// x-conversation), the fields (package contract) and its handler, in the file of
// its resource. Handlers return errors as they are; one table and one writer
// (errors.go) make every refusal. An operation without a handler is 501, and
// [ContractStatus] tells which have one.
//
// The rules of conversations are those of package conversation below.
package agentserver

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/key"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/refuse"
	"github.com/openhands-local/openhands-local/api/workspace"
	gen "github.com/openhands-local/openhands-local/gen/agentserver"
)

// A Config says what the operations work with. Conversations, LoggedIn, Done,
// Workspace, Started and Log are required.
type Config struct {
	Conversations *conversation.Service
	Key           key.Key // asked for in X-Session-API-Key
	// LoggedIn tells of a request that needs no key, since its browser has
	// shown it before.
	LoggedIn func(*http.Request) bool
	// Before, when set, is asked before the handler of a request, once its body
	// is read and before anything else of it is looked at. It tells whether it
	// has answered.
	Before func(http.ResponseWriter, *http.Request) (answered bool)
	// Done is told of each message of a socket once it is over.
	Done func(*exchange.Exchange)
	// Stopping is closed when the server takes no more requests: sockets end.
	Stopping <-chan struct{}
	// Workspace opens the files of a conversation for the caller to close, after
	// making a place for them if create is set.
	Workspace func(id string, create bool) (*workspace.Workspace, error)
	Started   time.Time
	Log       *slog.Logger
}

// Contract is the served contract, with what it cannot say of its models. It is
// loaded when it is first asked for, which takes 20 ms.
var Contract = sync.OnceValue(func() *contract.Contract {
	loaded, err := contract.Load(gen.OpenAPI, rules)
	if err != nil {
		panic(fmt.Sprintf("the embedded contract does not load: %v", err)) // a test loads it
	}
	return loaded
})

// A server answers.
type server struct {
	Config
	handlers   map[string]handler       // by the name of an operation
	operations map[string]gen.Operation // by operationId
	last       atomic.Int64             // when the last request came
}

// A handler answers a call, or returns why not.
type handler func(*call) error

// New returns the operations of the contract, its websocket and /openapi.json.
func New(c Config) http.Handler {
	s := &server{Config: c, operations: map[string]gen.Operation{}}
	s.handlers = s.table()
	for _, op := range gen.Operations {
		s.operations[op.ID] = op
	}
	s.last.Store(c.Started.UnixNano())
	return s
}

// table has the handlers by the names of their operations.
func (s *server) table() map[string]handler {
	all := map[string]handler{}
	for _, section := range []map[string]handler{s.details(), s.conversations(), s.events(), s.files(), s.preferences()} {
		maps.Copy(all, section)
	}
	return all
}

// A Status says which operations are served, by the names of their handlers.
type Status struct{ Implemented, Unimplemented, Orphaned []string }

// ContractStatus tells what the table of handlers has.
func ContractStatus() Status {
	var s Status
	table := new(server).table()
	for _, op := range gen.Operations {
		if table[op.Name] == nil {
			s.Unimplemented = append(s.Unimplemented, op.Name)
			continue
		}
		s.Implemented = append(s.Implemented, op.Name)
		delete(table, op.Name)
	}
	s.Orphaned = slices.Sorted(maps.Keys(table))
	return s
}

// A call is a request for an operation.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	x      *exchange.Exchange
	id     string            // of the conversation; "" for none
	params map[string]string // of the path
	query  url.Values        // canonical
	body   *contract.Body
}

// decode reads the body into v.
func (c *call) decode(v any) error {
	if len(c.body.JSON) == 0 {
		return nil
	}
	return json.Unmarshal(c.body.JSON, v)
}

// sent is the body as it was sent.
func (c *call) sent() pyjson.Value {
	v, _ := pyjson.Decode(c.body.Raw) // it was read
	return v
}

// has returns a parameter of the query, nil when it was not sent.
func (c *call) has(name string) *string {
	if v, ok := c.query[name]; ok {
		return &v[0]
	}
	return nil
}

// answer answers with a value.
func (c *call) answer(status int, v any) error {
	text, err := refuse.Marshal(v)
	if err != nil {
		return err
	}
	return write(c.w, c.r, status, text)
}

// done is the answer of what has nothing to tell.
func (c *call) done(err error) error {
	if err != nil {
		return err
	}
	return write(c.w, c.r, http.StatusOK, []byte(`{"success":true}`))
}

func write(w http.ResponseWriter, r *http.Request, status int, text []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(text)
	return err
}

// documentPath serves the contract.
const documentPath = "/openapi.json"

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if w.Header().Get("Vary") == "" {
		w.Header().Set("Vary", "Origin")
	}
	r.URL.RawPath = ""
	r.URL.Path = strings.ToValidUTF8(r.URL.Path, "\uFFFD")
	x := exchange.From(r.Context())
	if err := s.serve(w, r, x); err != nil {
		s.writeError(w, r, x, err)
	}
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, x *exchange.Exchange) (err error) {
	defer func() {
		p := recover()
		if p == http.ErrAbortHandler {
			panic(p)
		}
		if p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	path := r.URL.Path
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		id, ok := strings.CutPrefix(path, socketPath)
		if !ok {
			return refuseHandshake(w)
		}
		x.Operation, x.Conversation, x.Waits = socketPath+"{conversation_id}", id, exchange.WaitsForSocket
		if s.Before != nil && s.Before(w, r) {
			return nil
		}
		return s.socket(w, r, id)
	}
	checks, params := Contract().Match(r.Method, path)
	if checks == nil {
		if s.Before != nil && s.Before(w, r) {
			return nil
		}
		if path == documentPath && r.Method == http.MethodGet {
			x.Operation = documentPath
			return write(w, r, http.StatusOK, gen.OpenAPI)
		}
		return s.nowhere(w, r)
	}
	op := s.operations[checks.ID]
	c := &call{w: w, r: r, x: x, params: params}
	named := cmp.Or(params["conversation_id"], params["runtime_conversation_id"])
	x.Operation, x.Conversation, x.Withheld = op.Name, named, slices.Contains(secretOperations, op.Name)
	if id, f := fastapi.UUID(pyjson.StringOf(named)); f == nil {
		c.id, x.Conversation = id.Text(), id.Text()
	}
	return s.operate(c, op, checks)
}

// operate refuses what the contract does not allow, in the order of the real
// server.
func (s *server) operate(c *call, op gen.Operation, checks *contract.Operation) error {
	defer s.last.Store(time.Now().UnixNano())
	if op.Secured && !s.Key.Is(c.r.Header.Get(keyHeader)) && !s.LoggedIn(c.r) {
		return errNoKey
	}
	handle := s.handlers[op.Name]
	if handle == nil {
		return refuse.Ours(http.StatusNotImplemented, fmt.Sprintf("openhands-local does not implement %s of the agent server yet: COVERAGE.md lists what is served.", op.Name))
	}
	var err error
	c.body, err = checks.ReadBody(c.r)
	if c.body != nil {
		c.x.Body = c.body.Raw
	}
	if s.Before != nil && s.Before(c.w, c.r) {
		return nil
	}
	if err != nil {
		return err
	}
	if op.Conversation && c.id != "" {
		if err := s.Conversations.Exists(c.r.Context(), c.id); err != nil {
			return withID(err, c.id)
		}
	}
	if err := checks.Validate(c.r, c.params, c.body); err != nil {
		return nullBody(err, c.body.Raw)
	}
	c.query = c.r.URL.Query()
	return handle(c)
}

// nowhere answers what no operation is at: 307 to the path with or without a
// slash at its end, 405 where there are other methods, 404.
func (s *server) nowhere(w http.ResponseWriter, r *http.Request) error {
	path := r.URL.Path
	if ops := Contract().At(path); len(ops) > 0 {
		w.Header().Set("Allow", ops[0].Method) // the first of them alone, as the real server
		return refuse.Text(http.StatusMethodNotAllowed, "Method Not Allowed")
	}
	other := path + "/"
	if trimmed := strings.TrimRight(path, "/"); trimmed != path {
		other = trimmed
	}
	if other == "" || len(Contract().At(other)) == 0 {
		return errNowhere
	}
	to := url.URL{Scheme: "http", Host: r.Host, Path: exchange.From(r.Context()).Base + other, RawQuery: r.URL.RawQuery}
	if r.Header.Get("X-Forwarded-Proto") == "https" {
		to.Scheme = "https"
	}
	w.Header().Set("Location", to.String())
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}
