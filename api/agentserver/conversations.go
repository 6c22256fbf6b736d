package agentserver

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/agentserver/conversation"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/refuse"
	"github.com/openhands-local/openhands-local/store"
)

// conversations are the handlers of conversations.
func (s *server) conversations() map[string]handler {
	runtime := func(c *call) error {
		if err := s.Conversations.Exists(c.r.Context(), c.id); err != nil {
			return err
		}
		return c.answer(http.StatusOK, conversation.Available)
	}
	return map[string]handler{
		"StartConversation":                   s.start,
		"GetConversation":                     s.get,
		"BatchGetConversations":               s.several,
		"SearchConversations":                 s.search,
		"CountConversations":                  s.count,
		"UpdateConversation":                  s.update,
		"DeleteConversation":                  func(c *call) error { return c.done(s.Conversations.Delete(c.r.Context(), c.id)) },
		"RunConversation":                     func(c *call) error { return c.done(s.Conversations.Run(c.r.Context(), c.id)) },
		"PauseConversation":                   func(c *call) error { return c.done(s.Conversations.Pause(c.r.Context(), c.id)) },
		"InterruptConversation":               func(c *call) error { return c.done(s.Conversations.Interrupt(c.r.Context(), c.id)) },
		"GetConversationAgentFinalResponse":   s.finalResponse,
		"AskAgent":                            s.ask,
		"ForkConversation":                    s.fork,
		"NavigateConversation":                s.navigate,
		"UpdateConversationSecrets":           s.secrets,
		"SetConversationConfirmationPolicy":   s.policy,
		"SetConversationSecurityAnalyzer":     s.analyzer,
		"GetLocalConversationRuntime":         runtime,
		"ReprovisionLocalConversationRuntime": runtime,
	}
}

// A newConversation is what start reads of a request, beside the agent.
type newConversation struct {
	ID        *string `json:"conversation_id"`
	Parent    *string `json:"parent_conversation_id"`
	Workspace struct {
		Dir string `json:"working_dir"`
	} `json:"workspace"`
	ConfirmationPolicy json.RawMessage   `json:"confirmation_policy"`
	SecurityAnalyzer   json.RawMessage   `json:"security_analyzer"`
	InitialMessage     *newMessage       `json:"initial_message"`
	MaxIterations      *int64            `json:"max_iterations"`
	StuckDetection     *bool             `json:"stuck_detection"`
	Secrets            map[string]secret `json:"secrets"`
	ToolModules        json.RawMessage   `json:"tool_module_qualnames"`
	ClientTools        json.RawMessage   `json:"client_tools"`
	HookConfig         json.RawMessage   `json:"hook_config"`
	Tags               json.RawMessage   `json:"tags"`
	Autotitle          *bool             `json:"autotitle"`
	Runtime            *string           `json:"conversation_runtime"`
	Profile            *string           `json:"agent_profile_id"`
}

// A secret is a source of one. What would be looked up elsewhere has no value.
type secret struct {
	Value string `json:"value"`
}

// errNoAgent is for a new conversation without one.
var errNoAgent = fastapi.RaisedValue("One of `agent`, `agent_settings`, or `agent_profile_id` must be provided")

// start makes a conversation: 201, or 200 for one that exists (recorded
// create_same_id). A first message runs it, whatever its run says (recorded
// run_initial_message_stays).
func (s *server) start(c *call) error {
	var q newConversation
	if err := c.decode(&q); err != nil {
		return err
	}
	if q.Runtime != nil && *q.Runtime != "local" {
		return refuse.Text(http.StatusUnprocessableEntity, "This server only runs local conversations")
	}
	read, err := pyjson.Decode(c.body.JSON)
	if err != nil {
		return err
	}
	d := conversation.Draft{State: conversation.State{
		MaxIterations: orDefault(q.MaxIterations, 500), StuckDetection: orDefault(q.StuckDetection, true), Status: conversation.Idle,
		ConfirmationPolicy: conversation.Policy(q.ConfirmationPolicy), SecurityAnalyzer: orJSON(q.SecurityAnalyzer, "null"),
		Parent: q.Parent, ClientTools: orJSON(q.ClientTools, "[]"),
		Tags: orJSON(q.Tags, "{}"), Autotitle: orDefault(q.Autotitle, true),
	}, ID: orDefault(q.ID, "")}
	d.State.Workspace, _ = refuse.Marshal(struct {
		Dir  string `json:"working_dir"`
		Kind string `json:"kind"`
	}{q.Workspace.Dir, "LocalWorkspace"})
	agent, _ := read.Get("agent")
	settings, _ := read.Get("agent_settings")
	switch {
	case q.Profile != nil && settings.Kind() == pyjson.Object:
		return fastapi.RaisedValue("`agent_profile_id` is mutually exclusive with `agent_settings`").Refuse(c.sent(), "body")
	case agent.Kind() == pyjson.Object:
		d.State.Agent = conversation.Agent(agent, s.Conversations.Now())
	case settings.Kind() == pyjson.Object:
		d.State.Agent = conversation.AgentOfSettings(settings, s.Conversations.Now())
	case q.Profile != nil:
		return refuse.Text(http.StatusNotFound, "Agent profile with id '"+*q.Profile+"' not found")
	default:
		return errNoAgent.Refuse(c.sent(), "body")
	}
	if q.Parent != nil {
		if err := s.Conversations.Exists(c.r.Context(), *q.Parent); errors.Is(err, store.ErrNotFound) {
			return refuse.Text(http.StatusUnprocessableEntity, "Parent conversation "+*q.Parent+" not found")
		} else if err != nil {
			return err
		}
	}
	d.State.Sources = conversation.Sources(read)
	d.State.ToolModules = conversation.ToolModules(q.ToolModules, d.State.Agent)
	d.State.HookConfig = conversation.Hooks(q.HookConfig)
	ctx := c.r.Context()
	info, isNew, err := s.Conversations.Create(ctx, d)
	if err != nil {
		return err
	}
	c.x.Conversation = info.ID
	if !isNew {
		info.Runtime = nil
		return c.answer(http.StatusOK, info)
	}
	if len(q.Secrets) > 0 {
		if err := s.Conversations.SetSecrets(ctx, info.ID, values(q.Secrets)); err != nil {
			return err
		}
	}
	if m := q.InitialMessage; m != nil {
		if err := s.Conversations.Send(ctx, info.ID, cmp.Or(m.Role, "user"), m.Content, true); err != nil {
			return err
		}
		if info, err = s.Conversations.Info(ctx, info.ID); err != nil {
			return err
		}
		info.Status = conversation.Idle // as it was made
	}
	info.Runtime = nil
	return c.answer(http.StatusCreated, info)
}

// values are those of secrets that have one.
func values(secrets map[string]secret) map[string]string {
	known := map[string]string{}
	for name, s := range secrets {
		if s.Value != "" {
			known[name] = s.Value
		}
	}
	return known
}

func orDefault[T any](v *T, other T) T {
	if v == nil {
		return other
	}
	return *v
}

func orJSON(v json.RawMessage, other string) json.RawMessage {
	if len(v) == 0 || string(v) == "null" {
		return json.RawMessage(other)
	}
	return v
}

func (s *server) get(c *call) error {
	info, err := s.Conversations.Info(c.r.Context(), c.id)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, info)
}

// several answers conversations by their ids, null for one that there is not.
func (s *server) several(c *call) error {
	infos := make([]*conversation.Info, len(c.query["ids"]))
	for i, id := range c.query["ids"] {
		info, err := s.Conversations.Info(c.r.Context(), id)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return err
		default:
			infos[i] = &info
		}
	}
	return c.answer(http.StatusOK, infos)
}

// search answers a page of conversations. A page begins at the conversation that
// page_id names.
func (s *server) search(c *call) error {
	infos, err := s.Conversations.List(c.r.Context(), conversation.Status(c.query.Get("status")))
	if err != nil {
		return err
	}
	order := cmp.Or(c.query.Get("sort_order"), "CREATED_AT_DESC")
	if strings.HasPrefix(order, "UPDATED_AT") {
		slices.SortStableFunc(infos, func(a, b conversation.Info) int { return b.Updated().Compare(a.Updated()) })
	}
	if !strings.HasSuffix(order, "_DESC") {
		slices.Reverse(infos)
	}
	if page := c.has("page_id"); page != nil {
		first := slices.IndexFunc(infos, func(i conversation.Info) bool {
			return strings.ReplaceAll(i.ID, "-", "") == strings.ReplaceAll(*page, "-", "")
		})
		infos = infos[max(first, 0):]
	}
	limit := 100
	if text := c.has("limit"); text != nil {
		if limit, err = strconv.Atoi(*text); err != nil {
			return err
		}
	}
	page := struct {
		Items []conversation.Info `json:"items"`
		Next  *string             `json:"next_page_id"`
	}{Items: infos}
	if len(infos) > limit {
		next := strings.ReplaceAll(infos[limit].ID, "-", "")
		page.Items, page.Next = infos[:limit], &next
	}
	if page.Items == nil {
		page.Items = []conversation.Info{}
	}
	return c.answer(http.StatusOK, page)
}

func (s *server) count(c *call) error {
	infos, err := s.Conversations.List(c.r.Context(), conversation.Status(c.query.Get("status")))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, len(infos))
}

func (s *server) update(c *call) error {
	var q struct {
		Title *string         `json:"title"`
		Tags  json.RawMessage `json:"tags"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	if q.Title != nil {
		*q.Title = strings.TrimSpace(*q.Title)
	}
	return c.done(s.Conversations.Rename(c.r.Context(), c.id, q.Title, orJSON(q.Tags, "")))
}

func (s *server) finalResponse(c *call) error {
	text, err := s.Conversations.FinalResponse(c.r.Context(), c.id)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, response{text})
}

// A response is what an agent says.
type response struct {
	Response string `json:"response"`
}

// ask answers a question beside the conversation: no model is asked, so the
// answer says so.
func (s *server) ask(c *call) error {
	var q struct{ Question string }
	if err := c.decode(&q); err != nil {
		return err
	}
	if err := s.Conversations.Exists(c.r.Context(), c.id); err != nil {
		return unknown(err, "Conversation not found")
	}
	return c.answer(http.StatusOK, response{"openhands-local asks no model. You asked: " + q.Question})
}

func (s *server) fork(c *call) error {
	var q struct {
		ID    *string         `json:"id"`
		Title *string         `json:"title"`
		Tags  json.RawMessage `json:"tags"`
		Reset *bool           `json:"reset_metrics"`
		At    *string         `json:"from_event_id"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	d := conversation.Draft{ID: orDefault(q.ID, ""), Title: orDefault(q.Title, ""), State: conversation.State{Tags: q.Tags}}
	info, err := s.Conversations.Fork(c.r.Context(), c.id, d, q.At, orDefault(q.Reset, true))
	switch {
	case errors.Is(err, conversation.ErrTaken):
		return refuse.Text(http.StatusConflict, fmt.Sprintf("Conversation with id %s already exists", d.ID))
	case errors.Is(err, conversation.ErrNoEvent):
		return refuse.Text(http.StatusNotFound, "Unknown from_event_id: "+*q.At)
	case err != nil:
		return unknown(err, "Source conversation not found")
	}
	info.Runtime = nil
	return c.answer(http.StatusCreated, info)
}

func (s *server) navigate(c *call) error {
	var q struct {
		Event *string `json:"event_id"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	info, err := s.Conversations.Navigate(c.r.Context(), c.id, q.Event)
	if errors.Is(err, conversation.ErrNoEvent) {
		return refuse.Text(http.StatusNotFound, "Unknown event_id: "+*q.Event)
	}
	if err != nil {
		return unknown(err, "Conversation not found")
	}
	info.Runtime = nil
	return c.answer(http.StatusOK, info)
}

func (s *server) secrets(c *call) error {
	var q struct {
		Secrets map[string]secret `json:"secrets"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	return c.done(s.Conversations.SetSecrets(c.r.Context(), c.id, values(q.Secrets)))
}

func (s *server) policy(c *call) error {
	var q struct {
		Policy json.RawMessage `json:"policy"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	return c.done(s.Conversations.SetPolicy(c.r.Context(), c.id, conversation.Policy(q.Policy)))
}

func (s *server) analyzer(c *call) error {
	var q struct {
		Analyzer json.RawMessage `json:"security_analyzer"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	return c.done(s.Conversations.SetAnalyzer(c.r.Context(), c.id, orJSON(q.Analyzer, "null")))
}
