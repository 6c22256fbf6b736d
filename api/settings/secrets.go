package settings

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Secret is a custom secret, or a provider token with its name in the
// environment (github_token).
type Secret struct {
	Name        string `json:"name"`
	Value       string `json:"value"`
	Description string `json:"description"`
}

// secrets is the secrets record.
type secrets struct {
	Custom    []Secret        `json:"custom_secrets"` // in order of insertion
	Providers []providerToken `json:"provider_tokens"`
}

func decodeSecrets(record []byte) (secrets, error) {
	s := secrets{Custom: []Secret{}, Providers: []providerToken{}}
	if record == nil {
		return s, nil
	}
	if err := json.Unmarshal(record, &s); err != nil {
		return s, fmt.Errorf("secrets record: %w", err)
	}
	return s, nil
}

func (s *secrets) find(name string) int {
	return slices.IndexFunc(s.Custom, func(x Secret) bool { return x.Name == name })
}

// SecretNames returns the answer to GET /api/secrets,
// {"custom_secrets":[{"name","description"}]} in order of insertion.
func SecretNames(record []byte) ([]byte, error) {
	s, err := decodeSecrets(record)
	if err != nil {
		return nil, err
	}
	names := make([]pyjson.Value, len(s.Custom))
	for i, x := range s.Custom {
		names[i] = pyjson.ObjectOf(
			pyjson.Member{Key: "name", Value: pyjson.StringOf(x.Name)},
			pyjson.Member{Key: "description", Value: pyjson.StringOf(x.Description)})
	}
	return pyjson.ObjectOf(pyjson.Member{Key: "custom_secrets", Value: pyjson.ArrayOf(names...)}).Append(nil), nil
}

// decodeSecret reads a secret of a body.
func decodeSecret(body []byte) (x Secret, err error) {
	if err := json.Unmarshal(body, &x); err != nil {
		return x, fmt.Errorf("body: %w", err)
	}
	return x, nil
}

// CreateSecret returns the secrets record after POST /api/secrets of
// {"name","value","description"}. A description that is left out or null is
// "". The error for a name that is taken is a *Refusal with ErrSecretExists
// (recorded secrets_crud).
func CreateSecret(old, body []byte) ([]byte, error) {
	x, err := decodeSecret(body)
	if err != nil {
		return nil, err
	}
	s, err := decodeSecrets(old)
	if err != nil {
		return nil, err
	}
	if s.find(x.Name) >= 0 {
		return nil, secretExists(x.Name)
	}
	s.Custom = append(s.Custom, x)
	return json.Marshal(s)
}

// UpdateSecret returns the secrets record after PUT /api/secrets/{id} of
// {"name","description"}: the secret called id gets the name and description,
// keeps its value and moves to the end. The error is a *Refusal: ErrNoSecret,
// or ErrSecretExists for the name of another (recorded secrets_crud). Without
// a record nothing is changed and nothing refused (recorded
// secrets_before_any).
func UpdateSecret(old []byte, id string, body []byte) ([]byte, error) {
	given, err := decodeSecret(body)
	if err != nil {
		return nil, err
	}
	return changeSecret(old, id, func(s *secrets, x Secret) error {
		if s.find(given.Name) >= 0 {
			return secretExists(given.Name)
		}
		s.Custom = append(s.Custom, Secret{Name: given.Name, Value: x.Value, Description: given.Description})
		return nil
	})
}

// DeleteSecret returns the secrets record after DELETE /api/secrets/{id}. The
// error for an unknown id is a *Refusal with ErrNoSecret. Without a record
// nothing is changed and nothing refused (recorded secrets_before_any).
func DeleteSecret(old []byte, id string) ([]byte, error) {
	return changeSecret(old, id, func(*secrets, Secret) error { return nil })
}

// changeSecret takes the secret called id out of a record, and calls change
// with the rest and with it.
func changeSecret(old []byte, id string, change func(*secrets, Secret) error) ([]byte, error) {
	if old == nil {
		return nil, nil
	}
	s, err := decodeSecrets(old)
	if err != nil {
		return nil, err
	}
	i := s.find(id)
	if i < 0 {
		return nil, &Refusal{ErrNoSecret, fmt.Sprintf("Secret with ID %s not found", id)}
	}
	x := s.Custom[i]
	s.Custom = slices.Delete(s.Custom, i, i+1)
	if err := change(&s, x); err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

func secretExists(name string) error {
	return &Refusal{ErrSecretExists, fmt.Sprintf("Secret %s already exists", name)}
}

// Values returns what no event may show: the custom secrets in order of
// insertion, then the provider tokens. Upstream hides either these or those;
// here both are hidden. An empty value is left out: upstream's replacement of
// an empty text would take every event apart.
func Values(record []byte) ([]Secret, error) {
	s, err := decodeSecrets(record)
	if err != nil {
		return nil, err
	}
	values := s.Custom
	for _, p := range s.Providers {
		values = append(values, Secret{Name: p.Provider + "_token", Value: p.Token})
	}
	return slices.DeleteFunc(values, func(x Secret) bool { return x.Value == "" }), nil
}
