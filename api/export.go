package api

import (
	"io"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/archive"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// TokenHeader carries the token of the data folder, see Config.Token.
const TokenHeader = "X-Local-Token"

var (
	errKeepsSecrets = ours(http.StatusForbidden, "This has the keys in settings and secrets. Show the server's key, or the token in its data folder as openhands-local export and backup do; a server without a key gives them to nobody else.")
	errNothingKept  = ours(http.StatusConflict, "This server keeps nothing (--data memory), so there is no file to back up. GET /_local/export has its conversations.")
)

// maySeeSecrets tells whether the client has shown more than that it is on this
// machine, where there may be other people: the key of a server that has one
// (which was asked for already), or that it can read the data folder.
func (d *deps) maySeeSecrets(r *http.Request) bool {
	return d.Key != "" || d.Token != "" && d.Token.Is(r.Header.Get(TokenHeader))
}

// boolQuery is a parameter of the query, false when it is not there.
func boolQuery(c echo.Context, name string) (bool, error) {
	text := c.QueryParam(name)
	if text == "" {
		return false, nil
	}
	given := pyjson.StringOf(text)
	b, fault := fastapi.Bool(given)
	if fault != nil {
		return false, fault.Refuse(given, "query", name)
	}
	return b.Bool(), nil
}

// export answers conversations as NDJSON (package archive), all or those that
// conversation names, and with secrets=true settings and secrets. An answer
// without its end line has been cut.
func (d *deps) export(c echo.Context) error {
	r, w := c.Request(), c.Response()
	o := archive.ExportOptions{Conversations: c.QueryParams()["conversation"]}
	var err error
	if o.Secrets, err = boolQuery(c, "secrets"); err != nil {
		return err
	}
	exchange.From(r.Context()).Withheld = o.Secrets
	if o.Secrets && !d.maySeeSecrets(r) {
		return errKeepsSecrets
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	err = d.Export(r.Context(), w, o)
	if err != nil && w.Committed {
		panic(http.ErrAbortHandler) // a cut answer must not look whole
	}
	return err
}

// backup answers the store's file as it is at this moment.
func (d *deps) backup(c echo.Context) error {
	exchange.From(c.Request().Context()).Withheld = true
	if d.Backup == nil {
		return errNothingKept
	}
	if !d.maySeeSecrets(c.Request()) {
		return errKeepsSecrets
	}
	file, size, err := d.Backup(c.Request().Context())
	if err != nil {
		return err
	}
	defer file.Close()
	h := c.Response().Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	c.Response().WriteHeader(http.StatusOK)
	_, err = io.Copy(c.Response(), file)
	return err
}
