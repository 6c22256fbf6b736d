package server

import (
	"net/http"
	_ "net/http/pprof" // serves below /debug/pprof/ of http.DefaultServeMux
	"strings"

	"github.com/openhands-local/openhands-local/api/exchange"
)

// profilesPath is that of [profiles].
const profilesPath = "/_local/pprof/"

// profiles serves package net/http/pprof below profilesPath.
func profiles(w http.ResponseWriter, r *http.Request) {
	exchange.From(r.Context()).Waits = exchange.WaitsForProfile
	r = r.Clone(r.Context())
	r.URL.Path = "/debug/pprof/" + strings.TrimPrefix(r.URL.Path, profilesPath)
	http.DefaultServeMux.ServeHTTP(w, r)
}
