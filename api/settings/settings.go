// Package settings has the rules of settings, custom secrets, git provider
// tokens and options of OpenHands 0.53.0.
//
// Everything is a function of bytes: a stored record and a request body go
// in, the new record or the answer comes out. A function that changes a
// record is made for an atomic update: it takes the old record (nil for
// none) and returns the new one.
//
// There are two records:
//
//	settings  a JSON object, the members of the API's Settings in their order
//	secrets   {"custom_secrets":[{"name","value","description"}],
//	           "provider_tokens":[{"provider","token","user_id","host"}]}
//
// Bodies are canonical: read by the contract, whatever way they come, with the
// JSON types that it names. What its schemas cannot say is in [Rules], which are
// handed to it. The error for the client is a [*Refusal]; any other is a damaged
// record.
package settings

import (
	"fmt"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// Placeholder is a body for [Store] with which a conversation can be created
// and the web UI opens without a dialog: a key is set, analytics are refused.
const Placeholder = `{"llm_model":"openhands/claude-sonnet-4-20250514","llm_api_key":"placeholder","agent":"CodeActAgent","language":"en","user_consents_to_analytics":false}`

// A field is a member of the API's Settings.
type field struct {
	name  string
	unset pyjson.Value // its value when a body has none
	keep  bool         // a body that has none keeps what is stored
	hide  bool         // it is answered as null
}

var fields = []field{
	{name: "language"},
	{name: "agent"},
	{name: "max_iterations"},
	{name: "security_analyzer"},
	{name: "confirmation_mode"},
	{name: "llm_model", keep: true},
	{name: "llm_api_key", keep: true, hide: true},
	{name: "llm_base_url", keep: true},
	{name: "remote_runtime_resource_factor"},
	{name: "secrets_store", unset: pyjson.ObjectOf(pyjson.Member{Key: "provider_tokens", Value: pyjson.ObjectOf()})},
	{name: "enable_default_condenser", unset: pyjson.BoolOf(true)},
	{name: "enable_sound_notifications", unset: pyjson.BoolOf(false)},
	{name: "enable_proactive_conversation_starters", unset: pyjson.BoolOf(true)},
	{name: "enable_solvability_analysis", unset: pyjson.BoolOf(true)},
	{name: "user_consents_to_analytics", keep: true},
	{name: "sandbox_base_container_image"},
	{name: "sandbox_runtime_container_image"},
	{name: "mcp_config"},
	{name: "search_api_key", keep: true, hide: true},
	{name: "sandbox_api_key", hide: true},
	{name: "max_budget_per_task"},
	{name: "email"},
	{name: "email_verified"},
	{name: "git_user_name"},
	{name: "git_user_email"},
}

// Store returns the settings record after POST /api/settings.
//
// A member that the body leaves out or sets to null falls back to its
// default; llm_model, llm_api_key, llm_base_url, search_api_key and
// user_consents_to_analytics keep what is stored. An empty string overwrites.
// Unknown members and secrets_store are ignored (recorded
// settings_defaults_roundtrip, settings_all_fields).
func Store(old, body []byte) ([]byte, error) {
	stored := pyjson.ObjectOf()
	if old != nil {
		var err error
		if stored, err = decodeRecord(old); err != nil {
			return nil, err
		}
	}
	given, err := pyjson.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	record := make([]pyjson.Member, len(fields))
	for i, f := range fields {
		v, _ := given.Get(f.name)
		switch {
		case f.name == "mcp_config":
			v = fillMCP(v)
		case f.name == "secrets_store":
			v = f.unset
		case v.IsNull() && f.keep:
			v, _ = stored.Get(f.name)
		}
		if v.IsNull() {
			v = f.unset
		}
		record[i] = pyjson.Member{Key: f.name, Value: v}
	}
	return pyjson.ObjectOf(record...).Append(nil), nil
}

// Load returns the answer to GET /api/settings: every member of the settings
// record in its order, keys as null, then provider_tokens_set (the hosts of
// the providers that have a token), llm_api_key_set and search_api_key_set.
// The error without settings is a *Refusal with ErrNoSettings (recorded
// settings_get_before).
func Load(record, secrets []byte) ([]byte, error) {
	if record == nil {
		return nil, &Refusal{ErrNoSettings, "Settings not found"}
	}
	stored, err := decodeRecord(record)
	if err != nil {
		return nil, err
	}
	s, err := decodeSecrets(secrets)
	if err != nil {
		return nil, err
	}
	answer := make([]pyjson.Member, 0, len(fields)+3)
	for _, f := range fields {
		v, _ := stored.Get(f.name)
		switch {
		case f.hide:
			v = pyjson.Value{}
		case v.IsNull():
			v = f.unset
		}
		answer = append(answer, pyjson.Member{Key: f.name, Value: v})
	}
	isSet := func(name string) pyjson.Value {
		v, _ := stored.Get(name)
		return pyjson.BoolOf(v.Truthy())
	}
	return pyjson.ObjectOf(append(answer,
		pyjson.Member{Key: "provider_tokens_set", Value: s.hosts()},
		pyjson.Member{Key: "llm_api_key_set", Value: isSet("llm_api_key")},
		pyjson.Member{Key: "search_api_key_set", Value: isSet("search_api_key")},
	)...).Append(nil), nil
}

// decodeRecord reads a record that is a JSON object.
func decodeRecord(record []byte) (pyjson.Value, error) {
	v, err := pyjson.Decode(record)
	if err != nil {
		return v, fmt.Errorf("settings record: %w", err)
	}
	if v.Kind() != pyjson.Object {
		return v, fmt.Errorf("settings record: want a JSON object")
	}
	return v, nil
}
