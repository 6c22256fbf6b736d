package settings

import (
	"errors"
	"fmt"
)

// What a Refusal means.
var (
	ErrNoSettings   = errors.New("no settings are stored")
	ErrSecretExists = errors.New("secret exists")
	ErrNoSecret     = errors.New("no such secret")
	ErrBadToken     = errors.New("git provider token refused")
)

// A Refusal is a request that is well-formed and cannot be done. Upstream
// answers
//
//	ErrNoSettings    404 {"error":Text}
//	ErrSecretExists  400 {"message":Text}
//	ErrNoSecret      404 {"error":Text}
//	ErrBadToken      401 {"error":Text}
type Refusal struct {
	Err  error  // one of the four
	Text string // for the client, as upstream puts it
}

func (r *Refusal) Error() string { return fmt.Sprintf("%v: %s", r.Err, r.Text) }

// Unwrap returns Err.
func (r *Refusal) Unwrap() error { return r.Err }
