package api

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/store"
)

// runtime has the operations that ask what a conversation runs in, and the
// small ones that upstream sends elsewhere.
type runtime struct{ *deps }

// GetRemoteRuntimeConfig names the session; there is no runtime.
func (o *runtime) GetRemoteRuntimeConfig(c echo.Context, id string) error {
	return writeJSON(c, http.StatusOK, struct {
		RuntimeID *string `json:"runtime_id"`
		SessionID string  `json:"session_id"`
	}{nil, id})
}

// GetVscodeURL says that there is no editor. Upstream answers 500 without
// one, which the web UI shows as an error.
func (o *runtime) GetVscodeURL(c echo.Context, _ string) error {
	return writeBytes(c, http.StatusOK, []byte(`{"vscode_url":null}`))
}

// GetHosts lists the servers that run in a workspace: none.
func (o *runtime) GetHosts(c echo.Context, _ string) error {
	return writeBytes(c, http.StatusOK, []byte(`{"hosts":{}}`))
}

// AddExperimentConfigForConversation answers false, as upstream does to
// everything, and keeps nothing. A log record says which values came.
func (o *runtime) AddExperimentConfigForConversation(c echo.Context, id string) error {
	if unreadable(id) {
		return wrong("no conversation can have this id").Refuse(pyjson.StringOf(id), "path", "conversation_id")
	}
	var q gen.ExperimentConfig
	if err := json.Unmarshal(body(c).JSON, &q); err != nil {
		return err
	}
	o.Log.Debug("experiment", "conversation", id, "values", slices.Sorted(maps.Keys(value(q.Config))))
	return writeJSON(c, http.StatusOK, false)
}

// GetPrompt proposes a text to remember an event by. Upstream asks the model.
func (o *runtime) GetPrompt(c echo.Context, id string, q gen.GetPromptParams) error {
	n := int64(q.EventID)
	var e struct{ Message any }
	var unread error
	_, err := o.Conversations.Search(c.Request().Context(), id, conversation.Window{Start: n, End: n, Limit: 1}, event.Filter{},
		func(found store.Event) { unread = json.Unmarshal(found.JSON, &e) }, func() error { return nil })
	if err = cmp.Or(err, unread); err != nil {
		return err
	}
	text := "Remember this conversation."
	if m, ok := e.Message.(string); ok && m != "" {
		text = "Remember this: " + m
	}
	return writeJSON(c, http.StatusOK, struct {
		Status string `json:"status"`
		Prompt string `json:"prompt"`
	}{"success", text})
}

// SubmitFeedback keeps nothing: upstream posts a person's opinion to its makers,
// and nobody reads it here. What upstream answers 500 to is refused as the
// contract says (recorded sub_feedback).
func (o *runtime) SubmitFeedback(c echo.Context, _ string) error {
	if _, err := o.Contract().Read("FeedbackRequest", body(c).Raw); err != nil {
		return err
	}
	type taken struct {
		FeedbackID string `json:"feedback_id"`
		Message    string `json:"message"`
		Password   string `json:"password"`
	}
	t := taken{"none", "Not kept, and sent to nobody.", ""}
	return writeJSON(c, http.StatusOK, struct {
		taken
		Body taken `json:"body"`
	}{t, t})
}
