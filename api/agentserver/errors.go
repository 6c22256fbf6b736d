package agentserver

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/refuse"
	"github.com/openhands-local/openhands-local/store"
)

const keyHeader = "X-Session-API-Key"

var (
	errNoKey   = refuse.Text(http.StatusUnauthorized, "Unauthorized")
	errNowhere = refuse.Text(http.StatusNotFound, "Not Found")
)

// refusals says how an error of this line is answered. What is neither here nor
// refuse.Of's is a 500.
var refusals = []struct {
	is error
	*refuse.Refusal
}{
	{store.ErrNotFound, errNowhere},
	{conversation.ErrNoEvent, errNowhere},
	{conversation.ErrRunning, refuse.Text(http.StatusConflict, "Conversation already running. Wait for completion or pause first.")},
	{conversation.ErrFull, refuse.Text(http.StatusTooManyRequests, "Conversation run limit reached. Retry the request later.")},
	// The real server answers 500 to this mistake of a client.
	{conversation.ErrNotUser, refuse.Text(http.StatusUnprocessableEntity, "Only user messages are allowed to be sent to the agent.")},
}

// withID is the refusal of an unknown conversation that names it.
func withID(err error, id string) error {
	if errors.Is(err, store.ErrNotFound) {
		return refuse.Text(http.StatusNotFound, "Conversation not found: "+id)
	}
	return err
}

// unknown is the refusal of an unknown conversation in these words.
func unknown(err error, text string) error {
	if errors.Is(err, store.ErrNotFound) {
		return refuse.Text(http.StatusNotFound, text)
	}
	return err
}

// nullBody is the refusal of a body that is null, which this line's version of
// FastAPI takes for a model of the wrong type (recorded events_add_refused).
func nullBody(err error, raw []byte) error {
	invalid := new(fastapi.Invalid)
	if string(bytes.TrimSpace(raw)) != "null" || !errors.As(err, &invalid) {
		return err
	}
	for i, e := range invalid.Errors {
		if e.Type == fastapi.Missing.Type && len(e.Loc) == 1 {
			invalid.Errors[i] = fastapi.ModelType.At(e.Input, e.Loc...)
		}
	}
	return invalid
}

func answerTo(err error) *refuse.Refusal {
	if fixed := new(refuse.Refusal); errors.As(err, &fixed) {
		return fixed
	}
	for _, r := range refusals {
		if errors.Is(err, r.is) {
			return r.Refusal
		}
	}
	return refuse.Of(err)
}

// writeError makes every answer that is not a success.
func (s *server) writeError(w http.ResponseWriter, r *http.Request, x *exchange.Exchange, err error) {
	if x.Status != 0 || errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // an answer has begun, or nobody waits for one
	}
	refusal := answerTo(err)
	var text []byte
	if refusal != nil {
		var unencodable error
		if text, unencodable = refuse.Marshal(refusal.Body); unencodable != nil {
			refusal, err = nil, errors.Join(err, unencodable)
		}
	}
	if refusal == nil {
		x.Refusal = &exchange.Refusal{Err: err}
		_ = write(w, r, http.StatusInternalServerError, []byte(`{"detail":"Internal Server Error"}`))
		return
	}
	x.Refusal = &exchange.Refusal{Body: s.loggedBody(x)}
	x.Refusal.Loc, x.Refusal.Msg = refusal.First()
	if refusal.Status >= 500 {
		x.Refusal.Err = err
	}
	_ = write(w, r, refusal.Status, text)
}

// Bodies of these operations have keys or secrets.
var secretOperations = []string{"StartConversation", "UpdateConversationSecrets", "UpdateSettings", "CreateSecret", "SaveProfile", "SwitchConversationLLM"}

// loggedBody is the first 200 bytes of the body.
func (s *server) loggedBody(x *exchange.Exchange) string {
	const most = 200
	text := string(x.Body)
	switch {
	case len(text) == 0:
		return ""
	case x.Withheld:
		return "(withheld)"
	case s.Key != "":
		text = strings.ReplaceAll(text, string(s.Key), "<secret-hidden>")
	}
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
