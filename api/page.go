package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/exchange"
)

// registerPage serves what people look at: at /_local/ and below /_local/page/,
// and at / where neither a frontend nor, as Strict has it, nothing is. Upstream
// without a frontend has no page there (recorded misc_unknown_paths), which the
// answer says; no record does, since this is for people to look at.
func (d *deps) registerPage(e *echo.Echo) {
	if d.Page == nil {
		return
	}
	show := func(c echo.Context) error {
		r := c.Request()
		exchange.From(r.Context()).Operation = c.Path()
		if d.hasKey(r) {
			d.Page.ServeHTTP(c.Response(), r)
		} else {
			d.Login.ServeHTTP(c.Response(), r)
		}
		return nil
	}
	e.GET(localPrefix, show)
	e.GET(localPrefix+"page/*", show)
	e.POST(localPrefix+"page/*", show)
	e.GET(localPrefix[:len(localPrefix)-1], func(c echo.Context) error { return c.Redirect(http.StatusTemporaryRedirect, localPrefix) })
	if d.Frontend == nil && !d.Strict {
		e.GET("/", func(c echo.Context) error {
			c.Response().Header().Set(lenientHeader, Recorded+" answers 404")
			return show(c)
		})
	}
}
