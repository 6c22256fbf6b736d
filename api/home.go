package api

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/gen"
)

//go:embed home.html
var homeText string

var homePage = template.Must(template.New("home").Parse(homeText))

// registerHome serves the page at / for a server without a frontend: the
// first request to try, and what is served. Upstream without one has no page
// (recorded misc_unknown_paths), which the answer says; no record does, since
// this is for people to look at.
func registerHome(e *echo.Echo) {
	e.GET("/", func(c echo.Context) error {
		type row struct {
			gen.Operation
			Served bool
		}
		status := ContractStatus()
		page := struct {
			Version, Recorded, Host string
			Served, All, Later      int
			Operations              []row
		}{gen.Version, Recorded, c.Request().Host, len(status.Implemented), status.Operations(), len(status.Later), nil}
		for _, op := range gen.Operations {
			page.Operations = append(page.Operations, row{op, !slices.Contains(status.Unimplemented, op.Name)})
		}
		var b bytes.Buffer
		if err := homePage.Execute(&b, page); err != nil {
			return err
		}
		c.Response().Header().Set(lenientHeader, Recorded+" answers 404")
		return c.HTMLBlob(http.StatusOK, b.Bytes())
	})
}
