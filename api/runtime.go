package api

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

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
// everything, and keeps nothing. A record tells which values came.
func (o *runtime) AddExperimentConfigForConversation(c echo.Context, id string) error {
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
	err := o.Store.Visit(c.Request().Context(), id, store.Range{From: n, To: n}, func(found store.Event) bool {
		unread = json.Unmarshal(found.JSON, &e)
		return false
	})
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

// feedbackRecord is where feedback is kept: a JSON array. Upstream posts it
// to its makers.
const feedbackRecord = "feedback"

// SubmitFeedback keeps a person's opinion of a conversation here. What upstream
// answers 500 to is refused as the contract says (recorded sub_feedback).
func (o *runtime) SubmitFeedback(c echo.Context, id string) error {
	raw, err := o.Contract().Read("FeedbackRequest", body(c).Raw)
	if err != nil {
		return err
	}
	number := 0
	err = o.Store.UpdateRecord(c.Request().Context(), feedbackRecord, func(old []byte) ([]byte, error) {
		var all []json.RawMessage
		if old != nil {
			if err := json.Unmarshal(old, &all); err != nil {
				return nil, err
			}
		}
		one, err := json.Marshal(struct {
			Conversation string          `json:"conversation_id"`
			Feedback     json.RawMessage `json:"feedback"`
		}{id, raw})
		if err != nil {
			return nil, err
		}
		all = append(all, one)
		number = len(all)
		return json.Marshal(all)
	})
	if err != nil {
		return err
	}
	type kept struct {
		FeedbackID string `json:"feedback_id"`
		Message    string `json:"message"`
		Password   string `json:"password"`
	}
	k := kept{strconv.Itoa(number), "Kept on this machine.", ""}
	return writeJSON(c, http.StatusOK, struct {
		kept
		Body kept `json:"body"`
	}{k, k})
}
