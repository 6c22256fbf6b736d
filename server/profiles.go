package server

import (
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/openhands-local/openhands-local/api/exchange"
)

// profilesPath is that of [profiles].
const profilesPath = "/_local/pprof/"

// profiles serves package net/http/pprof below profilesPath; that package
// knows no other place than /debug/pprof/.
func profiles(w http.ResponseWriter, r *http.Request) {
	exchange.From(r.Context()).Waits = exchange.WaitsForProfile
	switch name := strings.TrimPrefix(r.URL.Path, profilesPath); name {
	case "":
		r = r.Clone(r.Context())
		r.URL.Path = "/debug/pprof/"
		pprof.Index(w, r)
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Handler(name).ServeHTTP(w, r)
	}
}
