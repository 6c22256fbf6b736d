package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/refuse"
	"github.com/openhands-local/openhands-local/gen"
)

// Upstream mounts an MCP server (streamable HTTP, without sessions) at
// /mcp/mcp/ and everything below it, for its agents: no key is asked for
// (recorded mcp_mount_slash, mcp_get_and_unknown). Here it has no tools.

// mcpError is an error of JSON-RPC that belongs to no request.
type mcpError struct {
	Version string  `json:"jsonrpc"`
	ID      string  `json:"id"`
	Error   rpcFail `json:"error"`
}

type rpcFail struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// The codes of JSON-RPC 2.0.
const (
	rpcParse   = -32700
	rpcRequest = -32600
	rpcMethod  = -32601
	rpcParams  = -32602
)

func mcpRefusal(status, code int, text string) *refusal {
	return refuse.With(status, mcpError{"2.0", "server-error", rpcFail{code, text}})
}

// mcp answers below /mcp and hands everything else on.
func (d *deps) mcp(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r, w := c.Request(), c.Response()
		switch path := r.URL.Path; {
		case path == "/mcp" || path == "/mcp/mcp":
			redirect(w, r, path+"/")
			return nil
		case strings.HasPrefix(path, "/mcp/mcp/"):
			if d.Before != nil && d.Before(w, r) {
				return nil
			}
			return d.serveMCP(c)
		case strings.HasPrefix(path, "/mcp/"):
			return c.Blob(http.StatusNotFound, "text/plain; charset=utf-8", []byte("Not Found"))
		}
		return next(c)
	}
}

func (d *deps) serveMCP(c echo.Context) error {
	r := c.Request()
	switch r.Method {
	case http.MethodPost:
	case http.MethodGet:
		return d.followMCP(c)
	case http.MethodDelete:
		return mcpRefusal(http.StatusMethodNotAllowed, rpcRequest, "Method Not Allowed: Session termination not supported")
	default:
		c.Response().Header().Set("Allow", "GET, POST, DELETE")
		return mcpRefusal(http.StatusMethodNotAllowed, rpcRequest, "Method Not Allowed")
	}
	accept := r.Header.Get("Accept")
	if !strings.Contains(accept, "application/json") || !strings.Contains(accept, "text/event-stream") {
		return mcpRefusal(http.StatusNotAcceptable, rpcRequest, "Not Acceptable: Client must accept both application/json and text/event-stream")
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/json" {
		return mcpRefusal(http.StatusUnsupportedMediaType, rpcRequest, "Unsupported Media Type: Content-Type must be application/json")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	v, err := pyjson.Decode(body)
	if err != nil {
		return mcpRefusal(http.StatusBadRequest, rpcParse, "Parse error: "+pythonPlace(string(body), err))
	}
	method, _ := v.Get("method")
	version, _ := v.Get("jsonrpc")
	if v.Kind() != pyjson.Object || method.Kind() != pyjson.String || version.Text() != "2.0" || v.Unservable() != nil {
		return mcpRefusal(http.StatusBadRequest, rpcParams, `Validation error: want a request of JSON-RPC 2.0, such as {"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	}
	id, isRequest := v.Get("id")
	if !isRequest {
		return c.NoContent(http.StatusAccepted) // a notification
	}
	answer, err := marshal(mcpAnswer(id, method.Text()))
	if err != nil {
		return err
	}
	c.Response().Header().Set("Content-Type", "text/event-stream")
	c.Response().WriteHeader(http.StatusOK)
	_, err = fmt.Fprintf(c.Response(), "event: message\r\ndata: %s\r\n\r\n", answer)
	return err
}

// followMCP is the stream on which a server of MCP may speak first. This one has
// nothing to say.
func (d *deps) followMCP(c echo.Context) error {
	r, w := c.Request(), c.Response()
	if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		return mcpRefusal(http.StatusNotAcceptable, rpcRequest, "Not Acceptable: Client must accept text/event-stream")
	}
	exchange.From(r.Context()).Waits = exchange.WaitsForEvents
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	w.Flush()
	select {
	case <-r.Context().Done():
	case <-d.Stopping:
	}
	return nil
}

// mcpAnswer answers one request.
func mcpAnswer(id pyjson.Value, method string) any {
	type head struct {
		Version string       `json:"jsonrpc"`
		ID      pyjson.Value `json:"id"`
	}
	result := func(v string) any {
		return struct {
			head
			Result json.RawMessage `json:"result"`
		}{head{"2.0", id}, json.RawMessage(v)}
	}
	switch method {
	case "initialize":
		return result(fmt.Sprintf(`{"protocolVersion":"2024-11-05","capabilities":{"tools":{"listChanged":false}},"serverInfo":{"name":"openhands-local","version":%q}}`, gen.Version))
	case "tools/list":
		return result(`{"tools":[]}`)
	case "ping":
		return result(`{}`)
	}
	return struct {
		head
		Error rpcFail `json:"error"`
	}{head{"2.0", id}, rpcFail{rpcMethod, "Method not found: " + method}}
}

// pythonPlace words a decoder's error as Python does: phrase, line, column
// and character.
func pythonPlace(text string, err error) string {
	syntax, ok := err.(*pyjson.SyntaxError)
	if !ok {
		return err.Error()
	}
	before := []rune(text)
	before = before[:min(syntax.Offset, len(before))]
	line, column := 1, 1
	for _, r := range before {
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return fmt.Sprintf("%s: line %d column %d (char %d)", syntax.Msg, line, column, syntax.Offset)
}
