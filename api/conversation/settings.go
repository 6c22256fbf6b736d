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

// UpdateRecord changes a record, see [store.Store.UpdateRecord]. Those of secrets
// are changed by it alone while there is a Service.
func (s *Service) UpdateRecord(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	defer s.changes.Add(1)
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

// knownSecrets are the secrets after a number of changes. Every event and every
// answered request asks for them, and they hardly ever change.
type knownSecrets struct {
	changes uint64
	values  []event.Secret
}

// secrets are the values that no event may show. Nobody changes the slice.
func (s *Service) secrets(ctx context.Context) ([]event.Secret, error) {
	changes := s.changes.Load() // before the record is read: it may be newer, never older
	if k := s.known.Load(); k != nil && k.changes == changes {
		return k.values, nil
	}
	text, err := s.c.Store.Record(ctx, SecretsRecord)
	if err != nil {
		return nil, err
	}
	var secrets []event.Secret
	if text != nil {
		values, err := settings.Values(text)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			secrets = append(secrets, event.Secret{Name: v.Name, Value: v.Value})
		}
	}
	s.known.Store(&knownSecrets{changes, secrets})
	return secrets, nil
}
