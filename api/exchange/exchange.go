// Package exchange holds what happened to a request, in one value that travels
// in its context.
//
//	x := exchange.New(exchange.HTTP, r.Method, r.URL.Path)   // whoever takes the request
//	r = r.WithContext(x.Context(r.Context()))
//	exchange.From(ctx).Operation = "AddEvent"                // whoever learns something of it
//	x.Done()                                                 // and then to those who observe
//
// The server makes one for each request. A message of a socket is one too: who
// takes it makes it, with the context of its socket, and hands it to those who
// observe. Nobody else asks headers, routes or records what happened.
package exchange

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// A Transport is the way that a request came.
type Transport string

// The transports.
const (
	HTTP   Transport = "http"
	Socket Transport = "socket" // a message of a socket; the requests that carry it are of HTTP
)

// What an answer may wait for, so that the time it takes tells nothing of the
// server.
const (
	WaitsForSocket  = "socket"     // the packets of a connection
	WaitsForEvents  = "events"     // those that are still to come
	WaitsForProfile = "profile"    // the time that is profiled
	WaitsForLimit   = "rate limit" // a request that is held back
	WaitsForFault   = "fault"      // what goes wrong on purpose
)

// An Exchange is a request and what happened to it. It belongs to the goroutine
// that answers, until it is done; then it does not change any more.
type Exchange struct {
	ID        string    // 32 hexadecimal digits; X-Request-Id
	Start     time.Time // when the request had come, but for its body
	Line      string    // of contract that was asked: "" is OpenHands 0.53.0's, "agent" the agent server's
	Transport Transport
	Method    string // of a socket's message the name of its event: "oh_user_action"
	Path      string // decoded, valid UTF-8, without the query

	// World is the name of the server's world that answers, "" of the one that has
	// none. Base is what stood before Path to name it, "" when a header or the
	// host did.
	World, Base string

	// Connection is, of a socket's message, the ID of the request that opened its
	// connection; Sent tells that it is one of the server's.
	Connection string
	Sent       bool

	// Operation is one of the contract ("AddEvent"), or by its path with the
	// names of its parameters what is ours alone
	// ("/_local/conversations/:id/stream"); "" when neither was reached. There
	// are as many as routes, whatever is asked.
	Operation    string
	Conversation string   // its id, whether there is one or not; "" for none
	Body         []byte   // as it was sent; nil when it was not read whole, or not kept
	Lenient      []string // why OpenHands 0.53.0 would have refused what was done
	EventID      int64    // of the event that was stored, -1 for none
	Refusal      *Refusal // nil for none
	Withheld     bool     // the bodies hold keys: nobody shows them
	Waits        string   // what the answer waited for, one of WaitsFor…; "" for nothing
	Hint         string   // what a request for an unknown path probably meant; "" for nothing
	Fault        string   // the name of what went wrong on purpose; "" for nothing

	Status   int   // of an answer by HTTP; 0 before it begins, and when none did
	Bytes    int64 // of its body
	Duration time.Duration
}

// A Refusal is why a request was not done.
type Refusal struct {
	Loc  string // the first culprit: "body.args.content"; "" when none is named
	Msg  string // "" when nobody foresaw Err
	Body string // the beginning of the request's body, without secrets
	Err  error  // the server's own fault; nil when it is the client's
}

// New begins an exchange.
func New(t Transport, method, path string) *Exchange {
	return &Exchange{ID: newID(), Start: time.Now(), Transport: t, Method: method, Path: path, EventID: -1}
}

// newID returns what tells requests apart. It need not be hard to guess.
func newID() string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	return hex.EncodeToString(id[:])
}

// Done ends an exchange.
func (x *Exchange) Done() { x.Duration = time.Since(x.Start) }

// WorldsPath is where a server's worlds are.
const WorldsPath = "/_local/worlds"

// BaseOf is what comes before all paths of a world in the base URL of those who
// name it no other way, "" of the one without a name.
func BaseOf(world string) string {
	if world == "" {
		return ""
	}
	return WorldsPath + "/" + world
}

type contextKey struct{}

// Context returns a context that has x.
func (x *Exchange) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, x)
}

// From returns the exchange of a context. One that has none gets a new one,
// which nobody observes.
func From(ctx context.Context) *Exchange {
	if x, ok := ctx.Value(contextKey{}).(*Exchange); ok {
		return x
	}
	return New(HTTP, "", "")
}
