package conversation

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/pyjson"
	"github.com/openhands-local/openhands-local/api/refuse"
)

// A Status is what the agent of a conversation does.
type Status string

// The statuses, but for stuck and deleting, which nothing is here.
const (
	Idle     Status = "idle"
	Running  Status = "running"
	Paused   Status = "paused"
	Waiting  Status = "waiting_for_confirmation"
	Finished Status = "finished"
	Error    Status = "error"
)

// A State is what is stored of a conversation beside its events.
type State struct {
	Workspace          json.RawMessage   `json:"workspace"`
	MaxIterations      int64             `json:"max_iterations"`
	StuckDetection     bool              `json:"stuck_detection"`
	Status             Status            `json:"execution_status"`
	ConfirmationPolicy json.RawMessage   `json:"confirmation_policy"`
	SecurityAnalyzer   json.RawMessage   `json:"security_analyzer"`
	LastUserMessageID  *string           `json:"last_user_message_id"`
	LeafEventID        *string           `json:"leaf_event_id"`
	HookConfig         json.RawMessage   `json:"hook_config"`
	ForkedFrom         *string           `json:"forked_from_conversation_id"`
	ForkedAt           *string           `json:"forked_from_event_id"`
	Parent             *string           `json:"parent_conversation_id"`
	Tags               json.RawMessage   `json:"tags"`
	Agent              json.RawMessage   `json:"agent"`
	ClientTools        json.RawMessage   `json:"client_tools"`
	ToolModules        json.RawMessage   `json:"tool_module_qualnames"`
	Autotitle          bool              `json:"autotitle"`
	Begun              bool              `json:"begun"` // the system prompt is written
	Secrets            map[string]string `json:"secrets,omitempty"`
	Sources            json.RawMessage   `json:"secret_sources,omitempty"` // of secrets, without their values
	Stats              []metrics         `json:"stats,omitempty"`
}

// An Info is a conversation as it is answered, in the order of the contract.
type Info struct {
	ID                 string          `json:"id"`
	Workspace          json.RawMessage `json:"workspace"`
	PersistenceDir     string          `json:"persistence_dir"`
	MaxIterations      int64           `json:"max_iterations"`
	StuckDetection     bool            `json:"stuck_detection"`
	Status             Status          `json:"execution_status"`
	ConfirmationPolicy json.RawMessage `json:"confirmation_policy"`
	SecurityAnalyzer   json.RawMessage `json:"security_analyzer"`
	KnowledgeSkills    []string        `json:"activated_knowledge_skills"`
	InvokedSkills      []string        `json:"invoked_skills"`
	BlockedActions     struct{}        `json:"blocked_actions"`
	BlockedMessages    struct{}        `json:"blocked_messages"`
	LastUserMessageID  *string         `json:"last_user_message_id"`
	LeafEventID        *string         `json:"leaf_event_id"`
	Stats              json.RawMessage `json:"stats"`
	SecretRegistry     json.RawMessage `json:"secret_registry"`
	AgentState         struct{}        `json:"agent_state"`
	HookConfig         json.RawMessage `json:"hook_config"`
	Title              *string         `json:"title"`
	Metrics            *struct{}       `json:"metrics"`
	CreatedAt          string          `json:"created_at"`
	UpdatedAt          string          `json:"updated_at"`
	ForkedFrom         *string         `json:"forked_from_conversation_id"`
	ForkedAt           *string         `json:"forked_from_event_id"`
	Parent             *string         `json:"parent_conversation_id"`
	SubConversations   []string        `json:"sub_conversation_ids"`
	Tags               json.RawMessage `json:"tags"`
	CurrentModel       *string         `json:"current_model_id"`
	AvailableModels    []string        `json:"available_models"`
	SwitchesModel      bool            `json:"supports_runtime_model_switch"`
	LaunchedProfile    *struct{}       `json:"launched_agent_profile"`
	Agent              json.RawMessage `json:"agent"`
	ClientTools        json.RawMessage `json:"client_tools"`
	ToolModules        json.RawMessage `json:"tool_module_qualnames"`
	Runtime            *Runtime        `json:"runtime_info"`

	created, updated time.Time
}

// A Runtime says whether a conversation can run here, which each can.
type Runtime struct {
	Status    string    `json:"runtime_status"`
	CanResume bool      `json:"can_resume"`
	Error     *struct{} `json:"runtime_error"`
}

// Available is the runtime of every conversation.
var Available = &Runtime{Status: "available", CanResume: true}

// Created and Updated are the times to sort by.
func (i *Info) Created() time.Time { return i.created }

// Updated is when the conversation was changed last.
func (i *Info) Updated() time.Time { return i.updated }

// utc is a time as the answers write it.
const utc = "2006-01-02T15:04:05.000000Z"

func (o *opened) info() Info {
	i := Info{
		ID: o.id, Workspace: o.Workspace, PersistenceDir: "workspace/conversations/" + strings.ReplaceAll(o.id, "-", ""),
		MaxIterations: o.MaxIterations, StuckDetection: o.StuckDetection, Status: o.Status,
		ConfirmationPolicy: o.ConfirmationPolicy, SecurityAnalyzer: o.SecurityAnalyzer,
		KnowledgeSkills: []string{}, InvokedSkills: []string{}, LastUserMessageID: o.LastUserMessageID, LeafEventID: o.LeafEventID,
		Stats: stats(o.Stats, false), SecretRegistry: o.registry(), HookConfig: o.HookConfig,
		CreatedAt: o.stored.CreatedAt.UTC().Format(utc), UpdatedAt: o.stored.UpdatedAt.UTC().Format(utc),
		ForkedFrom: o.ForkedFrom, ForkedAt: o.ForkedAt, Parent: o.Parent, SubConversations: []string{}, Tags: o.Tags,
		AvailableModels: []string{}, Agent: hideKeys(o.State.Agent, nil), ClientTools: o.ClientTools, ToolModules: o.ToolModules, Runtime: Available,
		created: o.stored.CreatedAt, updated: o.stored.UpdatedAt,
	}
	if o.stored.Title != "" {
		i.Title = &o.stored.Title
	}
	return i
}

// registry tells which secrets were given at the beginning.
func (o *opened) registry() json.RawMessage {
	sources := o.Sources
	if len(sources) == 0 {
		sources = json.RawMessage("{}")
	}
	return append(append([]byte(`{"secret_sources":`), sources...), '}')
}

// shown is what a key is stored as, and shown as on a socket.
const shown = "**********"

// hideKeys replaces stored keys of an agent; nil is null.
func hideKeys(agent json.RawMessage, by json.RawMessage) json.RawMessage {
	if by == nil {
		by = json.RawMessage("null")
	}
	return bytes.ReplaceAll(agent, []byte(`"`+shown+`"`), by)
}

// fullState is the state as sockets are told it: no member is null.
func (o *opened) fullState() json.RawMessage {
	full := struct {
		ID                 string          `json:"id"`
		Agent              json.RawMessage `json:"agent"`
		Workspace          json.RawMessage `json:"workspace"`
		PersistenceDir     string          `json:"persistence_dir"`
		MaxIterations      int64           `json:"max_iterations"`
		StuckDetection     bool            `json:"stuck_detection"`
		Status             Status          `json:"execution_status"`
		ConfirmationPolicy json.RawMessage `json:"confirmation_policy"`
		SecurityAnalyzer   json.RawMessage `json:"security_analyzer"`
		KnowledgeSkills    []string        `json:"activated_knowledge_skills"`
		PathRules          []string        `json:"activated_path_rules"`
		InvokedSkills      []string        `json:"invoked_skills"`
		BlockedActions     struct{}        `json:"blocked_actions"`
		BlockedMessages    struct{}        `json:"blocked_messages"`
		LastUserMessageID  *string         `json:"last_user_message_id"`
		LeafEventID        *string         `json:"leaf_event_id"`
		HeadIsEmpty        bool            `json:"head_is_empty"`
		Stats              json.RawMessage `json:"stats"`
		SecretRegistry     json.RawMessage `json:"secret_registry"`
		Tags               json.RawMessage `json:"tags"`
		AgentState         struct{}        `json:"agent_state"`
		HookConfig         json.RawMessage `json:"hook_config"`
	}{
		ID: o.id, Agent: o.State.Agent, Workspace: o.Workspace, PersistenceDir: o.info().PersistenceDir,
		MaxIterations: o.MaxIterations, StuckDetection: o.StuckDetection, Status: o.Status,
		ConfirmationPolicy: o.ConfirmationPolicy, SecurityAnalyzer: o.SecurityAnalyzer,
		KnowledgeSkills: []string{}, PathRules: []string{}, InvokedSkills: []string{},
		LastUserMessageID: o.LastUserMessageID, LeafEventID: o.LeafEventID,
		Stats: stats(o.Stats, false), SecretRegistry: o.registry(), Tags: o.Tags, HookConfig: o.HookConfig,
	}
	text, err := refuse.Marshal(full)
	if err == nil {
		var v pyjson.Value
		if v, err = pyjson.Decode(text); err == nil {
			return withoutNulls(v).Append(nil)
		}
	}
	return json.RawMessage("{}") // what is stored was decoded
}

// withoutNulls takes the members that are null out of objects.
func withoutNulls(v pyjson.Value) pyjson.Value {
	switch v.Kind() {
	case pyjson.Object:
		members := make([]pyjson.Member, 0, len(v.Members()))
		for _, m := range v.Members() {
			if !m.Value.IsNull() {
				members = append(members, pyjson.Member{Key: m.Key, Value: withoutNulls(m.Value)})
			}
		}
		return pyjson.ObjectOf(members...)
	case pyjson.Array:
		items := make([]pyjson.Value, len(v.Items()))
		for i, item := range v.Items() {
			items[i] = withoutNulls(item)
		}
		return pyjson.ArrayOf(items...)
	}
	return v
}

// FullState is the frame with the whole state that a socket begins with. It is
// no stored event.
func (s *Service) FullState(ctx context.Context, id string) (json.RawMessage, error) {
	o, err := s.read(ctx, id)
	if err != nil {
		return nil, err
	}
	return o.fullFrame()
}

func (o *opened) fullFrame() (json.RawMessage, error) {
	return o.compose(o.NewID(), "environment", nil, updateEvent, update{"full_state", o.fullState()})
}

// tellAll tells the followers the whole state.
func (o *opened) tellAll(ctx context.Context) {
	if frame, err := o.fullFrame(); err == nil { // what is stored was decoded
		o.feed.Tell(ctx, prefix+o.id, feed.Notice{Kind: feed.Update, Update: frame})
	}
}
