package event

import (
	"slices"
	"strings"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Secret is a value that no event may show.
type Secret struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Hidden stands where a secret was.
const Hidden = "<secret_hidden>"

// Mask replaces every secret in a text, in order, so that one may hit what
// another has left. Case counts; an empty secret stands between all characters.
func Mask(text string, secrets []Secret) string {
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s.Value, Hidden)
	}
	return text
}

// mask replaces secrets in a value at any depth. Where upstream leaves them,
// in lists and keys, only real ones are: an empty one would break every key.
func mask(v pyjson.Value, secrets []Secret) pyjson.Value {
	switch v.Kind() {
	case pyjson.String:
		return pyjson.StringOf(Mask(v.Text(), secrets))
	case pyjson.Array:
		secrets = real(secrets)
		items := make([]pyjson.Value, len(v.Items()))
		for i, x := range v.Items() {
			items[i] = mask(x, secrets)
		}
		return pyjson.ArrayOf(items...)
	case pyjson.Object:
		var masked pyjson.Builder
		for _, m := range v.Members() {
			m = maskMember(m, secrets)
			masked.Set(m.Key, m.Value)
		}
		return masked.Object()
	}
	return v
}

// maskMember masks a key and its value. The event model's own words are no
// secrets: without them an event could not be read.
func maskMember(m pyjson.Member, secrets []Secret) pyjson.Member {
	key := m.Key
	if !words[key] {
		key = Mask(key, real(secrets))
	}
	return pyjson.Member{Key: key, Value: mask(m.Value, secrets)}
}

// real leaves out empty secrets.
func real(secrets []Secret) []Secret {
	if !slices.ContainsFunc(secrets, func(s Secret) bool { return s.Value == "" }) {
		return secrets
	}
	return slices.DeleteFunc(slices.Clone(secrets), func(s Secret) bool { return s.Value == "" })
}

// words are the keys of events and of the models in them.
var words = func() map[string]bool {
	all := map[string]bool{}
	for _, w := range []string{
		"message", "cause", "args", "content", "extras", "success", "tool_call_metadata", "llm_metrics", "timeout",
		"name", "trigger", // of microagent_knowledge
		"accumulated_cost", "max_budget_per_task", "accumulated_token_usage", "costs", "cost", "timestamp", "response_latencies", "token_usages",
		"id", "created", "model", "object", "system_fingerprint", "choices", "usage", "finish_reason", "index", "logprobs", "top_logprobs",
		"role", "tool_calls", "function", "type", "function_call", "audio", "reasoning_content", "thinking_blocks", "annotations",
		"total_tokens", "completion_tokens_details", "prompt_tokens_details", "server_tool_use",
	} {
		all[w] = true
	}
	for _, table := range []map[string]*kind{actions, observations} {
		for _, k := range table {
			for _, f := range k.fields {
				all[f.name] = true
			}
		}
	}
	for _, model := range [][]modelField{commandMetadata, tokenUsage, responseLatency, toolCall, functionCall, responseAudio, topLogprob, completionDetails, promptDetails} {
		for _, f := range model {
			all[f.name] = true
		}
	}
	return all
}()
