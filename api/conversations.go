package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/openhands-local/openhands-local/api/refuse"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/oapi-codegen/nullable"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/store"
)

// conversations has the operations on conversations themselves.
type conversations struct{ *deps }

// infoOf is what the API tells of a conversation. Every field is written,
// null where there is nothing (recorded create_empty).
func infoOf(i conversation.Info) gen.ConversationInfo {
	c := gen.ConversationInfo{
		ConversationID: i.ID, Title: i.Title, Status: new(gen.ConversationStatus(i.Status)), RuntimeStatus: orNull(gen.RuntimeStatus(i.RuntimeStatus)),
		LastUpdatedAt: orNull(utc(i.UpdatedAt)), CreatedAt: new(utc(i.CreatedAt)),
		SelectedRepository: given(i.Repository), SelectedBranch: given(i.Branch),
		GitProvider: orNull(gen.ProviderType(i.GitProvider)), Trigger: orNull(gen.ConversationTrigger(i.Trigger)),
		NumConnections: new(i.Connections), URL: orNull(""), SessionAPIKey: orNull(""), PrNumber: new([]int{}),
	}
	if i.Status != conversation.Stopped {
		c.URL = orNull("/api/conversations/" + i.ID)
	}
	return c
}

// orNull is a nullable field that is written in any case: null for "".
func orNull[T ~string](v T) nullable.Nullable[T] {
	if v == "" {
		return nullable.NewNullNullable[T]()
	}
	return nullable.NewNullableWithValue(v)
}

// given is a nullable field that is written in any case: null for nil.
func given[T any](p *T) nullable.Nullable[T] {
	if p == nil {
		return nullable.NewNullNullable[T]()
	}
	return nullable.NewNullableWithValue(*p)
}

// utc formats a time as pydantic does: microseconds, left out when they are 0.
func utc(t time.Time) string {
	layout := "2006-01-02T15:04:05.000000Z"
	if t = t.UTC().Truncate(time.Microsecond); t.Nanosecond() == 0 {
		layout = "2006-01-02T15:04:05Z"
	}
	return t.Format(layout)
}

func answerOK(id string, status conversation.Status, message string) gen.ConversationResponse {
	return gen.ConversationResponse{Status: "ok", ConversationID: id, Message: orNull(message), ConversationStatus: orNull(gen.ConversationStatus(status))}
}

// A newConversation is gen's, with the number of a task as it came: Go's 64 bits
// do not hold every one.
type newConversation struct {
	gen.InitSessionRequest
	SuggestedTask *struct {
		gen.SuggestedTask
		IssueNumber json.Number `json:"issue_number"`
	} `json:"suggested_task"`
}

// NewConversation makes a conversation, runs it and writes its first events.
func (o *conversations) NewConversation(c echo.Context) error {
	var q newConversation
	if err := json.Unmarshal(body(c).JSON, &q); err != nil {
		return err
	}
	d := conversation.Draft{
		Repository: pointer(q.Repository), Branch: pointer(q.SelectedBranch), GitProvider: string(value(q.GitProvider)),
		Trigger: "gui", InitialMessage: value(q.InitialUserMsg), Images: value(q.ImageUrls),
	}
	if q.ConversationID != nil {
		d.ID = *q.ConversationID
		if !o.SetConversationID {
			lenient(c, "conversation_id is given: "+Recorded+" answers 422 without ALLOW_SET_CONVERSATION_ID=1")
		}
	}
	if err := o.checkOrigin(c, &q, &d); err != nil {
		return err
	}
	if list, err := q.ReplayJSON.Get(); err == nil {
		o.readReplay(c, list, &d)
	}
	i, err := o.Conversations.Create(c.Request().Context(), d)
	if errors.Is(err, conversation.ErrBadID) {
		return wrong(conversation.ErrBadID.Error()).Refuse(pyjson.StringOf(d.ID), "body", "conversation_id")
	}
	if err != nil {
		return err
	}
	exchange.From(c.Request().Context()).Conversation = i.ID
	return writeJSON(c, http.StatusOK, answerOK(i.ID, i.Status, ""))
}

// readReplay reads the list of events that a conversation is to play. What is
// wrong with it is told to sockets alone, as upstream does, and to the log.
func (o *conversations) readReplay(c echo.Context, list string, d *conversation.Draft) {
	d.SetReplay(list, o.Strict)
	if err := d.Replay.Err; err != nil {
		o.Log.Warn("replay_json cannot be played", "request", exchange.From(c.Request().Context()).ID, "error", err.Error())
	}
	lenient(c, d.Replay.Lenient...)
}

// suggestedTasks are the kinds of tasks that upstream has words for.
var suggestedTasks = []gen.TaskType{gen.TaskTypeMERGECONFLICTS, gen.TaskTypeFAILINGCHECKS, gen.TaskTypeUNRESOLVEDCOMMENTS, gen.TaskTypeOPENISSUE}

// checkOrigin looks at what a conversation is to begin with: a repository,
// which takes a provider's token that no one can have here, or a task.
func (o *conversations) checkOrigin(c echo.Context, q *newConversation, d *conversation.Draft) error {
	repository := value(q.Repository)
	if m, err := q.CreateMicroagent.Get(); err == nil {
		repository = m.Repo
	}
	if t := q.SuggestedTask; t != nil {
		d.Trigger = "suggested_task"
		if !slices.Contains(suggestedTasks, t.TaskType) {
			return wrong("Input should be MERGE_CONFLICTS, FAILING_CHECKS, UNRESOLVED_COMMENTS or OPEN_ISSUE").Refuse(pyjson.StringOf(string(t.TaskType)), "body", "suggested_task", "task_type")
		}
		if t.GitProvider == gen.ProviderTypeEnterpriseSso {
			return fastapi.Enum("github", "gitlab", "bitbucket").Refuse(pyjson.StringOf(string(t.GitProvider)), "body", "suggested_task", "git_provider")
		}
		if d.InitialMessage == "" {
			d.InitialMessage = fmt.Sprintf("Please work on %s #%s of %s: %s", strings.ToLower(strings.ReplaceAll(string(t.TaskType), "_", " ")), t.IssueNumber, t.Repo, t.Title)
		}
	}
	if repository == "" {
		return nil
	}
	if o.Strict {
		return refuse.With(http.StatusBadRequest, coded{"error", "Unable to access repo " + repository, "STATUS$GIT_PROVIDER_AUTHENTICATION_ERROR"})
	}
	lenient(c, fmt.Sprintf("repository %s without a provider's token: %s answers 500", repository, Recorded))
	return nil
}

// SearchConversations lists conversations, newest first. A page_id is the
// base64 of an offset; page and next page follow Python's slices, negative
// numbers too; the filters are applied after paging (recorded list_paging,
// list_filters). Where there never was a conversation it is not read (recorded
// list_page_id_empty_store).
func (o *conversations) SearchConversations(c echo.Context, q gen.SearchConversationsParams) error {
	ctx := c.Request().Context()
	_, total, err := o.Conversations.List(ctx, 0, 0)
	if err != nil {
		return err
	}
	start := 0
	if page := orDefault(q.PageID, ""); page != "" && (total > 0 || o.Conversations.Deleted()) {
		if start, err = pageOffset(page); err != nil {
			return wrong("Input should be the next_page_id of an earlier answer").Refuse(pyjson.StringOf(page), "query", "page_id")
		}
	}
	limit := orDefault(q.Limit, 20)
	end := saturatingAdd(start, limit)
	from, to := sliceIndex(start, total), sliceIndex(end, total)
	page, _, err := o.Conversations.List(ctx, from, max(to-from, 0))
	damaged := new(store.DamagedConversations)
	if err != nil && !errors.As(err, &damaged) {
		return err
	}
	tellDamaged(o.deps, c, "conversations", damagedHeader, damaged.IDs)
	results, next := []gen.ConversationInfo{}, ""
	for _, i := range page {
		if wants(q.SelectedRepository, i.Repository) && wants(q.ConversationTrigger, new(gen.ConversationTrigger(i.Trigger))) {
			results = append(results, infoOf(i))
		}
	}
	if total > 0 && end < total {
		next = base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(end)))
	}
	return writeJSON(c, http.StatusOK, gen.ConversationInfoResultSet{Results: &results, NextPageID: orNull(next)})
}

// unreadable tells of an id that upstream answers 500 to: no file can have
// its name. Such an id is no conversation's: 404, where others are answered null
// or false.
func unreadable(id string) bool {
	const pathLimit = 4090 // recorded long_ids
	return strings.ContainsRune(id, 0) || len(id) >= pathLimit
}

// GetConversation tells of one conversation; null for an unknown one.
func (o *conversations) GetConversation(c echo.Context, id string) error {
	if unreadable(id) {
		return conversation.Unknown(id)
	}
	i, err := o.Conversations.Info(c.Request().Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return writeJSON(c, http.StatusOK, nil)
	}
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, infoOf(i))
}

// UpdateConversation gives a conversation a title.
func (o *conversations) UpdateConversation(c echo.Context, id string) error {
	var q gen.UpdateConversationRequest
	if err := json.Unmarshal(body(c).JSON, &q); err != nil {
		return err
	}
	err := o.Conversations.Rename(c.Request().Context(), id, strings.TrimSpace(q.Title))
	if errors.Is(err, store.ErrNotFound) {
		return refuse.With(http.StatusNotFound, coded{"error", "Conversation not found", "CONVERSATION$NOT_FOUND"})
	}
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, true)
}

// DeleteConversation removes a conversation and answers whether there was one.
func (o *conversations) DeleteConversation(c echo.Context, id string) error {
	if unreadable(id) {
		return conversation.Unknown(id)
	}
	err := o.Conversations.Delete(c.Request().Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return writeJSON(c, http.StatusOK, false)
	}
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, true)
}

// StartConversation runs a conversation.
func (o *conversations) StartConversation(c echo.Context, id string) error {
	status, err := o.Conversations.Start(c.Request().Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return refuse.With(http.StatusNotFound, gen.ConversationResponse{Status: "error", ConversationID: id})
	}
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, answerOK(id, status, ""))
}

// StopConversation ends a run, and tells the status before.
func (o *conversations) StopConversation(c echo.Context, id string) error {
	before, err := o.Conversations.Stop(c.Request().Context(), id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	text := "Conversation stopped successfully"
	if err != nil || before == conversation.Stopped {
		before, text = conversation.Stopped, "Conversation was not running"
	}
	return writeJSON(c, http.StatusOK, answerOK(id, before, text))
}

// pageOffset decodes a page_id.
func pageOffset(id string) (int, error) {
	text, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

// sliceIndex is where Python's slice of n items begins or ends at i.
func sliceIndex(i, n int) int {
	if i < 0 {
		i = saturatingAdd(i, n)
	}
	return min(max(i, 0), n)
}

func saturatingAdd(a, b int) int {
	sum := a + b
	switch {
	case a > 0 && b > 0 && sum < 0:
		return int(^uint(0) >> 1)
	case a < 0 && b < 0 && sum >= 0:
		return -int(^uint(0)>>1) - 1
	}
	return sum
}

// wants applies one filter of the list. Absence is null, which an empty filter
// does not ask for.
func wants[T comparable](filter, value *T) bool {
	return filter == nil || value != nil && *filter == *value
}

// orDefault is an optional parameter's value.
func orDefault[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// value is that of a nullable field, the zero value when it is null or absent.
func value[T any](n nullable.Nullable[T]) T {
	v, _ := n.Get()
	return v
}

// pointer is the value of a nullable field, nil when it is null or absent.
func pointer[T any](n nullable.Nullable[T]) *T {
	if v, err := n.Get(); err == nil {
		return &v
	}
	return nil
}
