package api

import (
	_ "embed"
	"html"
	"io/fs"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"

	"github.com/openhands-local/openhands-local/gen"
)

// asyncAPI describes what goes over sockets, by AsyncAPI. Its schemas are those
// of /openapi.json, to which it refers.
//
//go:embed asyncapi.json
var asyncAPI []byte

// docPaths are served beside the operations, as FastAPI does, but for
// /asyncapi.json, which is ours. /redoc shows the same page as /docs.
var (
	docPaths   = []string{"/openapi.json", "/asyncapi.json", "/docs", "/redoc", "/docs/oauth2-redirect"}
	docMethods = []string{http.MethodGet, http.MethodHead}
)

// securityPath is a mount that upstream has by a slip: it answers 500 to
// everything (recorded security_root_path), here 404.
const securityPath = "/security/"

var securityMethods = []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut}

// docsPage shows the contract by Swagger UI, whose files are served below
// /docs, and in a few lines what goes over sockets.
func docsPage() string {
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>OpenHands ` + html.EscapeString(Versions()) + ` · openhands-local</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="ui"></div>
<div class="swagger-ui"><div class="wrapper"><div class="info" id="sockets"><h2 class="title">Socket.IO</h2></div></div></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#ui", deepLinking: true, validatorUrl: null, defaultModelsExpandDepth: -1,
  presets: [SwaggerUIBundle.presets.apis], plugins: [SwaggerUIBundle.plugins.DownloadUrl],
});
fetch("/asyncapi.json").then(r => r.json()).then(doc => {
  const add = (parent, name, text) => Object.assign(parent.appendChild(document.createElement(name)), {textContent: text});
  const sockets = document.getElementById("sockets");
  add(sockets, "p", doc.info.description);
  for (const o of Object.values(doc.operations)) add(sockets, "p", (o.action === "send" ? "← " : "→ ") + o.summary);
  add(sockets, "a", "asyncapi.json").href = "/asyncapi.json";
});
</script>
</body>
</html>
`
}

// noSignIn answers where FastAPI has the end of an OAuth sign-in.
const noSignIn = `<!doctype html>
<title>No sign-in</title>
<p>This API has no OAuth sign-in. <a href="/docs">Its operations</a>
`

// docsFiles are Swagger UI's. They are read when they are first asked for:
// that is memory and a millisecond which a start need not take.
var docsFiles = sync.OnceValue(func() http.Handler { return http.StripPrefix("/docs", statigz.FileServer(static.FS)) })

func hasDocsFile(name string) bool {
	_, err := fs.Stat(static.FS, name)
	return err == nil
}

// registerDocs serves the contract and a page to read and try it, which
// needs no network.
func registerDocs(e *echo.Echo) {
	page := func(text string) echo.HandlerFunc {
		return func(c echo.Context) error {
			return c.Blob(http.StatusOK, "text/html; charset=utf-8", []byte(text))
		}
	}
	e.Match(docMethods, "/openapi.json", func(c echo.Context) error { return writeBytes(c, http.StatusOK, gen.OpenAPI) })
	e.Match(docMethods, "/asyncapi.json", func(c echo.Context) error { return writeBytes(c, http.StatusOK, asyncAPI) })
	e.Match(docMethods, "/docs", page(docsPage()))
	e.Match(docMethods, "/redoc", page(docsPage()))
	e.Match(docMethods, "/docs/oauth2-redirect", page(noSignIn))
	e.Match(securityMethods, securityPath+"*", func(echo.Context) error { return errNowhere })
	e.GET("/docs/:asset", func(c echo.Context) error {
		if asset := c.Param("asset"); !hasDocsFile(asset) && !hasDocsFile(asset+".gz") {
			return echo.ErrNotFound
		}
		c.Response().Header().Del("Pragma")
		c.Response().Header().Del("Expires")
		docsFiles().ServeHTTP(c.Response(), c.Request())
		return nil
	})
}
