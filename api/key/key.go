// Package key holds the key that a server asks for, whichever way a client
// says it: a header, a query, a cookie.
package key

import "crypto/subtle"

// A Key is what a client must say. The empty one asks for nothing.
type Key string

// Is tells whether a client that said this may come in. The time that it takes
// tells nothing of the key but its length.
func (k Key) Is(said string) bool {
	return k == "" || subtle.ConstantTimeCompare([]byte(said), []byte(k)) == 1
}
