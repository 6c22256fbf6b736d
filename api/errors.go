package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/refuse"
	"github.com/openhands-local/openhands-local/api/settings"
	"github.com/openhands-local/openhands-local/api/workspace"
	"github.com/openhands-local/openhands-local/store"
)

// Short names for what every line's refusals are made of.
type (
	refusal = refuse.Refusal
	message = refuse.Message
)

func ours(status int, text string) *refusal { return refuse.Ours(status, text) }

func marshal(v any) ([]byte, error) { return refuse.Marshal(v) }

// errNowhere is 404 on a path that has methods.
var errNowhere = refuse.Text(http.StatusNotFound, "Not Found")

// coded is upstream's shape of refusals that the web UI translates.
type coded struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	MsgID   string `json:"msg_id"`
}

// refusals says how an error of this line is answered. What is neither here nor
// refuse.Of's is a bare 500.
var refusals = []struct {
	is error
	refusal
}{
	{conversation.ErrNoSettings, *refuse.With(http.StatusBadRequest, coded{"error", "Settings not found", "CONFIGURATION$SETTINGS_NOT_FOUND"})},
	{conversation.ErrNoLLMKey, *refuse.With(http.StatusBadRequest, coded{"error", "Error authenticating with the LLM provider. Please check your API key", "STATUS$ERROR_LLM_AUTHENTICATION"})},
	{conversation.ErrStopped, *refuse.Text(http.StatusConflict, "The conversation is stopped. Start it with POST /api/conversations/{conversation_id}/start.")},
	{workspace.ErrNoFolder, *ours(http.StatusInsufficientStorage, "Nothing can be uploaded: this server keeps nothing (--data memory), and there is no folder for temporary files. Start openhands-local with a folder in --data or --workspace.")},
}

// answerTo returns the refusal that an error means, nil for one that nobody
// foresaw.
func answerTo(c echo.Context, err error) *refusal {
	var (
		fixed   *refusal
		router  *echo.HTTPError
		inStore *store.Error
		unable  *settings.Refusal
	)
	switch {
	case errors.As(err, &fixed):
		return fixed
	case errors.As(err, &unable):
		return settingsRefusal(unable)
	case errors.As(err, &router):
		return routerRefusal(c, router)
	case errors.Is(err, store.ErrNotFound) && errors.As(err, &inStore):
		return refuse.Text(http.StatusNotFound, fmt.Sprintf("Conversation %s not found", inStore.ID))
	case errors.Is(err, store.ErrKeyReused):
		return refuse.With(http.StatusUnprocessableEntity, errKeyReused.Refuse(pyjson.StringOf(c.Request().Header.Get(idempotencyHeader)), "header", idempotencyHeader))
	}
	for _, r := range refusals {
		if errors.Is(err, r.is) {
			return &r.refusal
		}
	}
	return refuse.Of(err)
}

// errKeyReused is for an idempotency key that comes with another body.
var errKeyReused = wrong("This key was used for another event of the conversation. Use a new key for each event.")

// wrong is the fault of a value that breaks a rule of ours.
func wrong(msg string) *fastapi.Fault { return &fastapi.Fault{Type: "value_error", Msg: msg} }

func routerRefusal(c echo.Context, err *echo.HTTPError) *refusal {
	switch err.Code {
	case http.StatusNotImplemented:
		return ours(err.Code, fmt.Sprintf("openhands-local does not implement %v yet: openhands-local contract status lists what is served.", err.Message))
	default:
		return refuse.Text(err.Code, http.StatusText(err.Code))
	}
}

// writeError makes every answer that is not a success.
func (d *deps) writeError(err error, c echo.Context) {
	r, w := c.Request(), c.Response()
	if w.Committed || errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return
	}
	if errors.Is(err, echo.ErrNotFound) || errors.Is(err, echo.ErrMethodNotAllowed) {
		w.Header().Del("Allow")
		if err = d.nowhere(c, w, r); err == nil {
			return
		}
	}
	answer := answerTo(c, err)
	var text []byte
	if answer != nil { // encoded before its status is sent: half an answer looks like a success
		var unencodable error
		if text, unencodable = marshal(answer.Body); unencodable != nil {
			answer, err = nil, errors.Join(err, unencodable)
		}
	}
	d.tellRefusal(r.Context(), answer, err)
	if answer == nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte("Internal Server Error"))
		return
	}
	_ = writeBytes(c, answer.Status, text)
}

// nowhere answers what no route matches, or returns the refusal: 404, or 405
// where other methods are answered. A frontend has what is left of the paths,
// as upstream mounts it after its routes: there are no redirects then, and a
// path that has other methods is one of its pages.
func (d *deps) nowhere(c echo.Context, w http.ResponseWriter, r *http.Request) error {
	methods := d.methodsOf(r.URL.Path)
	if r.URL.IsAbs() {
		methods = nil
	}
	d.hint(c, methods)
	if d.Frontend != nil && !strings.HasPrefix(r.URL.Path, localPrefix) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			d.Frontend.ServeHTTP(w, r)
			return nil
		}
		methods = append(slices.Clone(methods), http.MethodGet, http.MethodHead)
		slices.Sort(methods)
		methods = slices.Compact(methods)
	} else if to := d.trimmed(r.URL.Path); to != "" {
		redirect(w, r, to)
		return nil
	}
	if methods == nil {
		return echo.ErrNotFound
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return echo.ErrMethodNotAllowed
}

// tellRefusal notes why a request was refused.
func (d *deps) tellRefusal(ctx context.Context, answer *refusal, err error) {
	x := exchange.From(ctx)
	if answer == nil {
		x.Refusal = &exchange.Refusal{Err: err}
		return
	}
	refused := exchange.Refusal{Body: d.loggedBody(ctx, x)}
	refused.Loc, refused.Msg = answer.First()
	if answer.Status >= 500 {
		refused.Err = err
	}
	x.Refusal = &refused
}

// Bodies of these operations are nothing but secrets, or, as the mcp_config that
// LoadSettings answers, have some that are not known as such.
var secretOperations = []string{"LoadSettings", "StoreSettings", "StoreProviderTokens", "CreateCustomSecret", "UpdateCustomSecret"}

// loggedBody is the first 200 bytes of the body, with known secrets masked.
func (d *deps) loggedBody(ctx context.Context, x *exchange.Exchange) string {
	const most = 200
	if len(x.Body) == 0 {
		return ""
	}
	if x.Withheld {
		return "(withheld)"
	}
	// Masking before cutting: half a secret is one too.
	text := d.Conversations.Mask(ctx, string(x.Body[:min(len(x.Body), 64<<10)]))
	if d.Key != "" {
		text = strings.ReplaceAll(text, string(d.Key), event.Hidden)
	}
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// writeJSON answers with a value as upstream writes it.
func writeJSON(c echo.Context, status int, v any) error {
	text, err := marshal(v)
	if err != nil {
		return err
	}
	return writeBytes(c, status, text)
}

// writeBytes answers with JSON that is ready.
func writeBytes(c echo.Context, status int, text []byte) error {
	h := c.Response().Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", fmt.Sprint(len(text)))
	c.Response().WriteHeader(status)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	_, err := c.Response().Write(text)
	return err
}
