package server

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/openhands-local/openhands-local/api"
	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/migration"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/server/journal"
)

// explain fills in what an entry is shown with: what stands behind the answer,
// and what replaces the call in later contracts. Both are known of OpenHands
// 0.53.0's line alone.
func explain(e *journal.Entry) {
	if e.Line != "" {
		return
	}
	call := callOf(e.Method, e.Path)
	if e.Operation == socketPath {
		call = migration.SocketIO
	}
	e.Evidence = evidence(e, call)
	if e.Transport != exchange.HTTP {
		return
	}
	if s, known := migration.Of(call); known {
		e.Successor = &s
	}
}

// recordings are those of package conform. The first call reads them, and takes
// some 80 ms.
var recordings = sync.OnceValue(func() *conform.Index { return conform.NewIndex(callOf) })

// callOf names an operation of the contract: "GET /api/conversations", "" for none.
func callOf(method, path string) string {
	op, _ := api.Contract().Match(method, path)
	if op == nil {
		return ""
	}
	return op.Method + " " + op.Path
}

// evidence is what stands behind an answer to a call.
func evidence(e *journal.Entry, call string) *journal.Evidence {
	switch {
	case e.Fault != "":
		return &journal.Evidence{Basis: journal.BasisFault, Cases: []string{}, Differs: []string{e.Fault}}
	case len(e.Lenient) > 0:
		return &journal.Evidence{Basis: journal.BasisLenient, Cases: []string{}, Differs: e.Lenient}
	case e.Transport == exchange.Socket || e.Operation == socketPath:
		return &journal.Evidence{Basis: journal.BasisTranscripts, Cases: []string{}}
	case e.Status == http.StatusForbidden && e.Refusal != nil:
		return declared("foreign-origin")
	case strings.HasPrefix(e.Path, "/_local/"):
		return &journal.Evidence{Basis: journal.BasisOurs, Cases: []string{}}
	}
	kinds := []conform.Kind{
		{Call: call, Status: e.Status, Detail: conform.Detail(e.Status, e.Request.Body, e.Response.Body)},
		{Call: call, Status: e.Status},
	}
	if call == "" {
		kinds = []conform.Kind{{Call: e.Method + " " + e.Path, Status: e.Status}}
		if e.Status >= 400 {
			kinds = append(kinds, conform.Kind{Status: e.Status})
		}
	}
	var instead []string
	for _, k := range kinds {
		found := recordings().Find(k)
		if found.Of > 0 {
			return &journal.Evidence{Basis: journal.BasisRecorded, Kind: k.String(), Cases: slices.Clone(found.Steps), Of: found.Of, Differs: meanings(found.Differs)}
		}
		instead = append(instead, found.Instead...)
	}
	instead = slices.DeleteFunc(instead, func(reason string) bool { // those that cannot be it
		return reason == "foreign-origin" || reason == "unservable" && !unservable(e.Request.Body)
	})
	if len(instead) > 0 {
		return declared(instead...)
	}
	return &journal.Evidence{Basis: journal.BasisNone, Cases: []string{}}
}

func declared(reasons ...string) *journal.Evidence {
	return &journal.Evidence{Basis: journal.BasisDeclared, Cases: []string{}, Differs: meanings(reasons)}
}

// meanings are reasons of declared differences with what they mean.
func meanings(reasons []string) (texts []string) {
	for _, r := range reasons {
		texts = append(texts, r+": "+conform.Reasons[r])
	}
	return texts
}

// unservable tells of a body whose value no answer could carry.
func unservable(body []byte) bool {
	v, err := pyjson.Decode(body)
	return err == nil && v.Unservable() != nil
}
