package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/exchange"
)

// Access is the one list of who may talk to the server: REST, sockets and
// /_local ask it alike. It stops pages of other sites, which a browser sends
// here by a name of their own that leads to this machine (DNS rebinding: the
// Host is foreign) or by a script (the Origin is foreign).
type Access struct {
	// Hosts are allowed beside the machine's own names: exact, or "*." and a
	// suffix.
	Hosts []string
	// Origins are the only ones that get CORS headers, when there are any;
	// otherwise every page of localhost and 127.0.0.1 does, as upstream.
	Origins []string

	network bool   // other machines reach the server
	machine string // its name, in a network
}

// on returns the list of a server that listens at addr. Other machines reach it
// by an address, its own or that of what forwards to it, and by the machine's
// name: neither can be made to lead elsewhere by who serves a page.
func (a Access) on(addr string) Access {
	if host, _, err := net.SplitHostPort(addr); err == nil && !isLoopback(host) {
		a.network = true
		a.machine, _ = os.Hostname()
	}
	return a
}

// ownHosts are names that lead to this machine and to no other.
var ownHosts = []string{"localhost", "*.localhost", "127.0.0.1", "::1", "host.docker.internal"}

// Host tells whether a Host header is allowed. An absent one is: no browser
// leaves it out.
func (a Access) Host(host string) bool {
	_, err := netip.ParseAddr(hostname(host))
	return a.network && err == nil || a.named(host)
}

// named tells whether a host is allowed by its name, or by an address that is one
// of ownHosts or Hosts.
func (a Access) named(host string) bool {
	name := hostname(host)
	match := func(allowed string) bool {
		allowed = strings.ToLower(allowed)
		if suffix, wild := strings.CutPrefix(allowed, "*"); wild {
			return strings.HasSuffix(name, suffix) && name != suffix
		}
		return name == hostname(allowed)
	}
	return name == "" || a.machine != "" && name == hostname(a.machine) || slices.ContainsFunc(ownHosts, match) || slices.ContainsFunc(a.Hosts, match)
}

// Origin tells whether a request with this Origin header is served: one that
// CORS permits, a page of this machine, or a page of an allowed Host.
func (a Access) Origin(origin string) bool {
	if origin == "" || a.CORS(origin) || isLoopbackOrigin(origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && a.named(u.Host)
}

// CORS tells whether answers to this Origin carry the headers that let its
// page read them.
func (a Access) CORS(origin string) bool {
	if len(a.Origins) > 0 {
		return slices.Contains(a.Origins, origin)
	}
	return isLoopbackOrigin(origin)
}

// own tells whether a request is of no page, of one that this server gave, or
// of one that Origins names. Only such a page may use what the browser keeps
// for this server: one of another port of this machine is let in, but has to
// know the key.
func (a Access) own(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site") // old browsers and plain HTTP from other machines have none
	if site == "same-origin" {
		return true // the browser's own word, whatever a proxy made of Host
	}
	origins := r.Header.Values("Origin")
	for _, origin := range origins {
		if !slices.Contains(a.Origins, origin) && !isPageOf(origin, r.Host) {
			return false
		}
	}
	return len(origins) > 0 || site == "" || site == "none"
}

// isPageOf tells whether a page of an origin is one that host gave.
func isPageOf(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// isLoopbackOrigin takes any scheme, user and port, however odd: upstream
// looks at the name alone (recorded cors_simple_origins).
func isLoopbackOrigin(origin string) bool {
	_, rest, ok := strings.Cut(origin, "://")
	if !ok {
		return false
	}
	rest, _, _ = strings.Cut(rest, "/")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	name, _, _ := strings.Cut(rest, ":")
	name = strings.ToLower(name)
	return name == "localhost" || name == "127.0.0.1"
}

// hostname is the name in a Host header: lower case, without port, brackets
// and final dot.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Check returns why a request is refused, nil when it may come in.
func (a Access) Check(r *http.Request) error {
	if !a.Host(r.Host) {
		return &forbidden{"Host", r.Host, "--allow-host " + hostname(r.Host)}
	}
	for _, origin := range r.Header.Values("Origin") {
		if !a.Origin(origin) && !isPageOf(origin, r.Host) {
			return &forbidden{"Origin", origin, "--cors-origin " + origin}
		}
	}
	return nil
}

type forbidden struct{ header, value, flag string }

func (f *forbidden) Error() string {
	if f.value == "null" {
		return `Origin "null" is refused: a page without an origin (a file, a sandboxed frame) may belong to any site`
	}
	return fmt.Sprintf("%s %q is not allowed here; start openhands-local with %s to allow it", f.header, f.value, f.flag)
}

// corsMethods are upstream's, in its order.
const corsMethods = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"

// exposed are the headers of ours that a page may read.
const exposed = "X-Event-Id, X-Local-Damaged, X-Local-Fault, X-Local-Hint, X-Local-Lenient, X-Request-Id"

// wrap refuses what the list does not allow, and speaks CORS as upstream does
// (recorded cors_*).
func (a Access) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if isPreflight(r) && a.Host(r.Host) {
			a.preflight(w, r, origin)
			return
		}
		if err := a.Check(r); err != nil {
			refuse(w, r, http.StatusForbidden, err.Error())
			return
		}
		if len(r.Header["Origin"]) > 0 {
			h := w.Header()
			h.Set("Access-Control-Allow-Credentials", "true")
			if a.CORS(origin) {
				h.Set("Access-Control-Allow-Origin", origin)
				h.Set("Access-Control-Expose-Headers", exposed)
				h.Add("Vary", "Origin")
			}
		}
		next.ServeHTTP(w, r)
	})
}

func isPreflight(r *http.Request) bool {
	_, asks := r.Header["Access-Control-Request-Method"]
	return asks && r.Method == http.MethodOptions && r.Header.Get("Origin") != ""
}

func (a Access) preflight(w http.ResponseWriter, r *http.Request, origin string) {
	h := w.Header()
	var bad []string
	if a.CORS(origin) {
		h.Set("Access-Control-Allow-Origin", origin)
	} else {
		bad = append(bad, "origin")
	}
	if !slices.Contains(strings.Split(corsMethods, ", "), r.Header.Get("Access-Control-Request-Method")) {
		bad = append(bad, "method")
	}
	h.Set("Vary", "Origin")
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Max-Age", "600")
	h.Set("Access-Control-Allow-Credentials", "true")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if len(bad) > 0 {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "Disallowed CORS %s", strings.Join(bad, ", "))
		return
	}
	fmt.Fprint(w, "OK")
}

// refuse answers what is ours alone: detail as FastAPI has it, message for the
// web UI, which reads only that.
func refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	exchange.From(r.Context()).Refusal = &exchange.Refusal{Msg: text}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	_ = e.Encode(struct {
		Detail  string `json:"detail"`
		Message string `json:"message"`
	}{text, text})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}
