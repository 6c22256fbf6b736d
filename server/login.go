package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/key"
)

// loginPath takes the key once, in the query, and gives the browser a cookie
// that counts as the key from then on: the web UI sends none.
//
//	GET /_local/login?key=…    303 to / with the cookie, 401 for a wrong key
const loginPath = "/_local/login"

// A login knows who has passed loginPath. The zero value asks for no key.
type login struct {
	access Access
	key    key.Key
	cookie http.Cookie
}

// newLogin derives the cookie from the key, which it does not give away: it
// holds as long as the key does, over restarts too. Browsers send cookies to
// every port of a host, so each key has a name of its own.
func newLogin(k key.Key, access Access) *login {
	if k == "" {
		return &login{}
	}
	mac := hmac.New(sha256.New, []byte(k))
	mac.Write([]byte("openhands-local: login"))
	sum := mac.Sum(nil)
	return &login{access, k, http.Cookie{
		Name: "openhands_local_" + hex.EncodeToString(sum[:4]), Value: base64.RawURLEncoding.EncodeToString(sum[4:]),
		Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}}
}

// has tells whether a request has the cookie, and is of a page that may use
// it. SameSite keeps other sites from sending it, but not other ports.
func (l *login) has(r *http.Request) bool {
	if l.key == "" || !l.access.own(r) {
		return false
	}
	want := key.Key(l.cookie.Value)
	return slices.ContainsFunc(r.CookiesNamed(l.cookie.Name), func(c *http.Cookie) bool { return want.Is(c.Value) })
}

const wrongKey = "The key is wrong. Open " + loginPath + "?key= followed by the server's SESSION_API_KEY, percent-encoded."

// wrap answers loginPath.
func (l *login) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != loginPath || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		if !l.logIn(w, r, r.URL.Query().Get("key")) {
			refuse(w, r, http.StatusUnauthorized, wrongKey)
			return
		}
		http.Redirect(w, r, exchange.From(r.Context()).Base+"/", http.StatusSeeOther)
	})
}

// logIn gives a browser that says the key the cookie, and tells whether it did.
func (l *login) logIn(w http.ResponseWriter, r *http.Request, said string) bool {
	if !l.key.Is(said) {
		return false
	}
	if l.key != "" {
		cookie := l.cookie
		cookie.Secure = r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
		http.SetCookie(w, &cookie)
	}
	return true
}
