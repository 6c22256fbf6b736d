package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/openhands-local/openhands-local/store"
)

var (
	errURL    = errors.New("not the URL of a database: want postgres://user:password@host:5432/database, with %-escapes for what is no letter or digit in the password")
	errNoText = fmt.Errorf("%w: a name that is no UTF-8 text or has a zero byte", store.ErrNotFound)
)

// Is reports whether data is the URL of a PostgreSQL database.
func Is(data string) bool {
	scheme, _, ok := strings.Cut(data, "://")
	return ok && (scheme == "postgres" || scheme == "postgresql")
}

// Check tells whether a URL can be that of a database. Where it is not understood
// any part of it may be of a password, and the error has no word of it.
func Check(data string) error {
	u, err := url.Parse(data)
	if err != nil || !Is(data) || u.Fragment != "" || strings.Contains(u.EscapedPath()+u.RawQuery, "@") {
		return errURL
	}
	// What is wrong now is a value, such as a file that is not there.
	if _, err := pgx.ParseConfig(data); errors.Unwrap(err) != nil {
		return fmt.Errorf("the URL of the database cannot be used: %w", errors.Unwrap(err))
	} else if err != nil {
		return errURL
	}
	return nil
}

// Name is a URL as it is shown to people: without its password and its
// parameters, of which several can hold one.
func Name(data string) string {
	u, err := url.Parse(data)
	if err != nil || Check(data) != nil {
		return "postgres://…"
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if name := u.User.Username(); name != "" {
		shown.User = url.User(name)
	}
	return shown.String()
}

// explain makes a sentence of why the database did not do what was asked, with
// the way out. It keeps err, but not its text: that repeats the user, the
// database and every address that was tried.
func explain(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		way := map[string]string{
			"28P01": "wrong user or password",
			"28000": "the server does not let this user in: its pg_hba.conf says who may",
			"3D000": "there is no such database: make it with createdb",
			"42501": "a right is missing: the user must be allowed to connect, to create the schema (GRANT CREATE ON DATABASE …), and own its tables",
			"53300": "the server has no connection left: raise its max_connections, or pool_max_conns=N in the URL",
			"57P03": "the server is starting up or shutting down: try again",
			"25006": "the server is read-only: give the URL of the primary",
		}[refused.Code]
		if way == "" {
			return err
		}
		return fmt.Errorf("%s (%s, SQLSTATE %s)%w", way, refused.Message, refused.Code, because{err})
	}
	var connect *pgconn.ConnectError
	var lookup *net.DNSError
	switch {
	case !errors.As(err, &connect):
		return err
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connection refused: is PostgreSQL running there, and does it listen at that address?%w", because{err})
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("there is no such socket: is PostgreSQL running there?%w", because{err})
	case errors.As(err, &lookup):
		return fmt.Errorf("the host %s is not found%w", lookup.Name, because{err})
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer in time (connect_timeout=SECONDS in the URL gives it more)%w", because{err})
	}
	return err
}

// because is a cause that has been told.
type because struct{ error }

func (because) Error() string   { return "" }
func (b because) Unwrap() error { return b.error }

// wrap makes err a store.Error, unless it is nil or what a change function
// returned.
func wrap(op, id string, err error) error {
	var changed *changeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &changed):
		return changed.error
	case errors.Is(err, pgx.ErrNoRows):
		err = store.ErrNotFound
	}
	told := explain(err)
	switch code(err) {
	case "53100":
		told = fmt.Errorf("%w: %w", store.ErrFull, told)
	case "25006", "42501":
		told = fmt.Errorf("%w: %w", store.ErrReadOnly, told)
	}
	return &store.Error{Op: op, ID: id, Err: told}
}

// A changeError is what a function of the caller's returned.
type changeError struct{ error }

// isText reports whether a column of text can hold s.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
