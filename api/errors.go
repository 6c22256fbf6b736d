package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/settings"
	"github.com/openhands-local/openhands-local/api/workspace"
	"github.com/openhands-local/openhands-local/store"
)

// A refusal is an answer of a fixed body, returned as an error.
type refusal struct {
	status int
	body   any
}

func (r *refusal) Error() string {
	text, _ := marshal(r.body)
	return fmt.Sprintf("%d %s", r.status, text)
}

// detail is FastAPI's shape of a refusal without fields.
type detail struct {
	Detail string `json:"detail"`
}

// message is the shape of answers that are ours alone. The web UI reads only
// message.
type message struct {
	Detail  string `json:"detail"`
	Message string `json:"message"`
}

func ours(status int, text string) *refusal { return &refusal{status, message{text, text}} }

// coded is upstream's shape of refusals that the web UI translates.
type coded struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	MsgID   string `json:"msg_id"`
}

// errNowhere is 404 on a path that has methods.
var errNowhere = &refusal{http.StatusNotFound, detail{"Not Found"}}

// errNoFiles is for a process, or a machine, that has too many files open.
var errNoFiles = ours(http.StatusServiceUnavailable, "Too many files are open. Try again later, with fewer connections.")

// refusals says how an error is answered. What is not here is a bare 500.
var refusals = []struct {
	is error
	refusal
}{
	{conversation.ErrNoSettings, refusal{http.StatusBadRequest, coded{"error", "Settings not found", "CONFIGURATION$SETTINGS_NOT_FOUND"}}},
	{conversation.ErrNoLLMKey, refusal{http.StatusBadRequest, coded{"error", "Error authenticating with the LLM provider. Please check your API key", "STATUS$ERROR_LLM_AUTHENTICATION"}}},
	{conversation.ErrStopped, refusal{http.StatusConflict, detail{"The conversation is stopped. Start it with POST /api/conversations/{conversation_id}/start."}}},
	{store.ErrFull, *ours(http.StatusInsufficientStorage, "No space is left on the disk. Nothing was stored. Reading goes on; writing will once there is room.")},
	{store.ErrReadOnly, *ours(http.StatusServiceUnavailable, "The data folder cannot be written now. Nothing was stored. Reading goes on; writing will once it is allowed.")},
	{store.ErrFailed, *ours(http.StatusServiceUnavailable, "Writing to the disk failed, and nothing more is written until openhands-local is started again. What was acknowledged is there, and reading goes on.")},
	{os.ErrDeadlineExceeded, *ours(http.StatusRequestTimeout, "The body did not come in time.")},
	{io.ErrUnexpectedEOF, *ours(http.StatusBadRequest, "The body ends before its end.")},
	{syscall.EMFILE, *errNoFiles},
	{syscall.ENFILE, *errNoFiles},
	{workspace.ErrNoFolder, *ours(http.StatusInsufficientStorage, "Nothing can be uploaded: this server keeps nothing (--data memory), and there is no folder for temporary files. Start openhands-local with a folder in --data or --workspace.")},
	{store.ErrCorrupt, *ours(http.StatusInternalServerError, "What was asked for is damaged on the disk and cannot be read. `openhands-local check` tells what else is; a backup has it whole.")},
}

// answerTo returns the refusal that an error means, nil for one that nobody
// foresaw.
func answerTo(c echo.Context, err error) *refusal {
	var (
		fixed    *refusal
		invalid  *fastapi.Invalid
		tooLarge *http.MaxBytesError
		router   *echo.HTTPError
		inStore  *store.Error
		decoding *contract.Refusal
		unable   *settings.Refusal
		damaged  *store.DamagedEvent
	)
	switch {
	case errors.As(err, &fixed):
		return fixed
	case errors.As(err, &invalid):
		return &refusal{http.StatusUnprocessableEntity, invalid}
	case errors.As(err, &decoding):
		return &refusal{decoding.Status, detail{decoding.Detail}}
	case errors.As(err, &unable):
		return settingsRefusal(unable)
	case errors.As(err, &tooLarge):
		return ours(http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is larger than %d bytes. Start openhands-local with a larger --max-body to allow it.", tooLarge.Limit))
	case errors.As(err, &router):
		return routerRefusal(c, router)
	case errors.As(err, &damaged):
		return ours(http.StatusInternalServerError, fmt.Sprintf("Event %d is damaged on the disk and cannot be read. Those before and after it can.", damaged.ID))
	case errors.Is(err, store.ErrNotFound) && errors.As(err, &inStore):
		return &refusal{http.StatusNotFound, detail{fmt.Sprintf("Conversation %s not found", inStore.ID)}}
	case errors.Is(err, store.ErrKeyReused):
		return &refusal{http.StatusUnprocessableEntity, errKeyReused.Refuse(pyjson.StringOf(c.Request().Header.Get(idempotencyHeader)), "header", idempotencyHeader)}
	}
	for _, r := range refusals {
		if errors.Is(err, r.is) {
			return &r.refusal
		}
	}
	return nil
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
		return &refusal{err.Code, detail{http.StatusText(err.Code)}}
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
		if err = d.nowhere(w, r); err == nil {
			return
		}
	}
	answer := answerTo(c, err)
	var text []byte
	if answer != nil { // encoded before its status is sent: half an answer looks like a success
		var unencodable error
		if text, unencodable = marshal(answer.body); unencodable != nil {
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
	_ = writeBytes(c, answer.status, text)
}

// nowhere answers what no route matches, or returns the refusal: 404, or 405
// where other methods are answered. A frontend has what is left of the paths,
// as upstream mounts it after its routes: there are no redirects then, and a
// path that has other methods is one of its pages.
func (d *deps) nowhere(w http.ResponseWriter, r *http.Request) error {
	methods := d.methodsOf(r.URL.Path)
	if r.URL.IsAbs() {
		methods = nil
	}
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
	refused.Loc, refused.Msg = firstReason(answer)
	if answer.status >= 500 {
		refused.Err = err
	}
	x.Refusal = &refused
}

// firstReason is the place and text of a refusal's first error.
func firstReason(answer *refusal) (loc, msg string) {
	text, err := marshal(answer.body)
	if err != nil {
		return "", ""
	}
	var many struct {
		Detail []struct {
			Loc []any  `json:"loc"`
			Msg string `json:"msg"`
		} `json:"detail"`
	}
	if json.Unmarshal(text, &many) == nil && len(many.Detail) > 0 {
		parts := make([]string, len(many.Detail[0].Loc))
		for i, p := range many.Detail[0].Loc {
			parts[i] = fmt.Sprint(p)
		}
		return strings.Join(parts, "."), many.Detail[0].Msg
	}
	return "", string(text)
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

// marshal encodes as upstream: compact, no HTML escapes.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return unescapeHTML(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// unescapeHTML takes out the HTML escapes of values that encode themselves,
// such as nullable ones, which do not know what the encoder was told.
func unescapeHTML(text []byte) []byte {
	if !bytes.Contains(text, []byte(`\u00`)) {
		return text
	}
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			if c, ok := htmlEscapes[string(text[i:min(i+6, len(text))])]; ok {
				plain = append(plain, c)
				i += 5
				continue
			}
			plain = append(plain, text[i])
			i++
		}
		plain = append(plain, text[i])
	}
	return plain
}

var htmlEscapes = map[string]byte{`\u0026`: '&', `\u003c`: '<', `\u003e`: '>'}

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
