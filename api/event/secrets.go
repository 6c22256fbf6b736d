package event

import (
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

// mask replaces secrets at any depth, in lists and keys too, where upstream
// leaves them.
func mask(v pyjson.Value, secrets []Secret) pyjson.Value {
	switch v.Kind() {
	case pyjson.String:
		return pyjson.StringOf(Mask(v.Text(), secrets))
	case pyjson.Array:
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

// maskMember masks a key and its value.
func maskMember(m pyjson.Member, secrets []Secret) pyjson.Member {
	return pyjson.Member{Key: Mask(m.Key, secrets), Value: mask(m.Value, secrets)}
}
