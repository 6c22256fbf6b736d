package conversation

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/settings"
)

// Names of the store's records. Package settings says what is in them.
const (
	SettingsRecord = "settings"
	SecretsRecord  = "secrets"
)

// Record returns a record of the store, nil when there is none.
func (s *Service) Record(ctx context.Context, name string) ([]byte, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	return s.c.Store.Record(ctx, name)
}

// UpdateRecord changes a record, see [store.Store.UpdateRecord].
func (s *Service) UpdateRecord(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	return s.c.Store.UpdateRecord(ctx, name, change)
}

// checkSettings tells whether a conversation can be created (recorded
// create_without_settings, create_settings_without_key).
func (s *Service) checkSettings(ctx context.Context) error {
	text, err := s.c.Store.Record(ctx, SettingsRecord)
	if err != nil {
		return err
	}
	if text == nil {
		return ErrNoSettings
	}
	var set struct {
		Key *string `json:"llm_api_key"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return err
	}
	if set.Key == nil || strings.TrimSpace(*set.Key) == "" {
		return ErrNoLLMKey
	}
	return nil
}

// secrets are the values that no event may show.
func (s *Service) secrets(ctx context.Context) ([]event.Secret, error) {
	text, err := s.c.Store.Record(ctx, SecretsRecord)
	if err != nil || text == nil {
		return nil, err
	}
	values, err := settings.Values(text)
	secrets := make([]event.Secret, len(values))
	for i, v := range values {
		secrets[i] = event.Secret{Name: v.Name, Value: v.Value}
	}
	return secrets, err
}
