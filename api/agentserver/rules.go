package agentserver

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// rules are what the models do that the document cannot say: in which module a
// class is that others are kinds of, and validators.
var rules = fastapi.Rules{
	"AgentBase-Input":              {Module: "openhands.sdk.agent.base", Before: withKind("llm", "Agent")},
	"CondenserBase-Input":          {Module: "openhands.sdk.context.condenser.base"},
	"ConfirmationPolicyBase-Input": {Module: "openhands.sdk.security.confirmation_policy"},
	"CriticBase-Input":             {Module: "openhands.sdk.critic.base"},
	"SecretSource-Input":           {Module: "openhands.sdk.secret.secrets", Before: withKind("value", "StaticSecret")},
	"SecurityAnalyzerBase-Input":   {Module: "openhands.sdk.security.analyzer"},
	"StartConversationRequest":     {Fields: map[string]fastapi.Rule{"tags": tags, "secrets": secretTexts}},
	"UpdateConversationRequest":    {Fields: map[string]fastapi.Rule{"tags": tags, "title": fastapi.Raised(notBlank)}},
	"ConfirmRisky-Input":           {Fields: map[string]fastapi.Rule{"threshold": fastapi.Raised(threshold)}},
	"ForkConversationRequest":      {Fields: map[string]fastapi.Rule{"tags": tags}},
	"UpdateSecretsRequest":         {Fields: map[string]fastapi.Rule{"secrets": secretTexts}},
}

// withKind gives an object that has a member and no kind this one (recorded
// create_agent_without_kind).
func withKind(member, kind string) func(pyjson.Value) pyjson.Value {
	return func(v pyjson.Value) pyjson.Value {
		_, has := v.Get(member)
		if _, said := v.Get("kind"); said || !has {
			return v
		}
		return pyjson.ObjectOf(append(v.Members()[:len(v.Members()):len(v.Members())], pyjson.Member{Key: "kind", Value: pyjson.StringOf(kind)})...)
	}
}

// secretTexts takes a text for a secret of that value.
func secretTexts(_ *fastapi.Reader, v pyjson.Value) (pyjson.Value, bool) {
	if v.Kind() != pyjson.Object {
		return v, true
	}
	members := make([]pyjson.Member, len(v.Members()))
	for i, m := range v.Members() {
		if m.Value.Kind() == pyjson.String {
			m.Value = pyjson.ObjectOf(pyjson.Member{Key: "kind", Value: pyjson.StringOf("StaticSecret")}, pyjson.Member{Key: "value", Value: m.Value})
		}
		members[i] = m
	}
	return pyjson.ObjectOf(members...), true
}

// notBlank judges a title (recorded patch_refused).
func notBlank(text string) string {
	if text != "" && strings.TrimSpace(text) == "" {
		return "title must not be blank"
	}
	return ""
}

// threshold judges that of ConfirmRisky (recorded confirmation_policy_refused).
func threshold(text string) string {
	if text == "UNKNOWN" {
		return "Threshold cannot be UNKNOWN"
	}
	return ""
}

// maxTag is the most characters of a tag's value.
const maxTag = 256

// tags judges the tags of a conversation (recorded patch_tags).
func tags(r *fastapi.Reader, v pyjson.Value) (pyjson.Value, bool) {
	for _, m := range v.Members() {
		problem := ""
		for _, c := range m.Key {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
				problem = fmt.Sprintf("Tag key '%s' is invalid: keys must be lowercase alphanumeric only", m.Key)
			}
		}
		if problem == "" && m.Value.Kind() == pyjson.String && utf8.RuneCountInString(m.Value.Text()) > maxTag {
			problem = fmt.Sprintf("Tag value for '%s' exceeds maximum length of %d characters", m.Key, maxTag)
		}
		if problem != "" {
			return r.Fail(fastapi.RaisedValue(problem), v), false
		}
	}
	return v, true
}
