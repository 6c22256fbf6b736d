package api

import (
	"context"
	"errors"
	"github.com/openhands-local/openhands-local/api/refuse"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/settings"
)

// preferences has the operations on settings, secrets and git providers. The
// rules are package settings'; here they meet the store.
type preferences struct{ *deps }

// stored answers what upstream says when something was stored.
type stored struct {
	Message string `json:"message"`
}

// change applies a rule to a record and answers.
func (o *preferences) change(c echo.Context, record string, status int, text string, rule func(old []byte) ([]byte, error)) error {
	if err := o.Conversations.UpdateRecord(c.Request().Context(), record, rule); err != nil {
		return err
	}
	return writeJSON(c, status, stored{text})
}

// settingsRefusal says how an error of package settings is answered.
func settingsRefusal(err *settings.Refusal) *refusal {
	switch {
	case errors.Is(err, settings.ErrSecretExists):
		return refuse.With(http.StatusBadRequest, stored{err.Text})
	case errors.Is(err, settings.ErrBadToken):
		return refuse.With(http.StatusUnauthorized, failure{err.Text})
	default:
		return refuse.With(http.StatusNotFound, failure{err.Text})
	}
}

// records reads the two records.
func (o *preferences) records(ctx context.Context) (set, secrets []byte, err error) {
	if set, err = o.Conversations.Record(ctx, conversation.SettingsRecord); err != nil {
		return nil, nil, err
	}
	secrets, err = o.Conversations.Record(ctx, conversation.SecretsRecord)
	return set, secrets, err
}

// LoadSettings answers the settings without their keys.
func (o *preferences) LoadSettings(c echo.Context) error {
	set, secrets, err := o.records(c.Request().Context())
	if err != nil {
		return err
	}
	answer, err := settings.Load(set, secrets)
	if err != nil {
		return err
	}
	return writeBytes(c, http.StatusOK, answer)
}

// StoreSettings replaces the settings; some members keep what is stored.
func (o *preferences) StoreSettings(c echo.Context) error {
	return o.change(c, conversation.SettingsRecord, http.StatusOK, "Settings stored", func(old []byte) ([]byte, error) {
		return settings.Store(old, body(c).JSON)
	})
}

// ResetSettings says that it is gone, as upstream.
func (o *preferences) ResetSettings(c echo.Context) error {
	return writeJSON(c, http.StatusGone, failure{"Reset settings functionality has been removed."})
}

// LoadCustomSecretsNames lists the secrets without their values.
func (o *preferences) LoadCustomSecretsNames(c echo.Context) error {
	_, secrets, err := o.records(c.Request().Context())
	if err != nil {
		return err
	}
	answer, err := settings.SecretNames(secrets)
	if err != nil {
		return err
	}
	return writeBytes(c, http.StatusOK, answer)
}

// CreateCustomSecret adds a secret.
func (o *preferences) CreateCustomSecret(c echo.Context) error {
	return o.change(c, conversation.SecretsRecord, http.StatusCreated, "Secret created successfully", func(old []byte) ([]byte, error) {
		return settings.CreateSecret(old, body(c).JSON)
	})
}

// UpdateCustomSecret renames and describes a secret.
func (o *preferences) UpdateCustomSecret(c echo.Context, id string) error {
	return o.change(c, conversation.SecretsRecord, http.StatusOK, "Secret updated successfully", func(old []byte) ([]byte, error) {
		return settings.UpdateSecret(old, id, body(c).JSON)
	})
}

// DeleteCustomSecret removes a secret.
func (o *preferences) DeleteCustomSecret(c echo.Context, id string) error {
	return o.change(c, conversation.SecretsRecord, http.StatusOK, "Secret deleted successfully", func(old []byte) ([]byte, error) {
		return settings.DeleteSecret(old, id)
	})
}

// StoreProviderTokens stores hosts and empty tokens. A token is checked with
// its provider, which this server does not ask: it is answered as upstream
// does without a network.
func (o *preferences) StoreProviderTokens(c echo.Context) error {
	return o.change(c, conversation.SecretsRecord, http.StatusOK, "Git providers stored", func(old []byte) ([]byte, error) {
		return settings.AddProviders(old, body(c).JSON, settings.NoNetwork)
	})
}

// UnsetProviderTokens forgets all tokens.
func (o *preferences) UnsetProviderTokens(c echo.Context) error {
	return o.change(c, conversation.SecretsRecord, http.StatusOK, "Unset Git provider tokens", settings.UnsetProviders)
}

// GetLitellmModels lists models to choose from.
func (o *preferences) GetLitellmModels(c echo.Context) error {
	return writeJSON(c, http.StatusOK, settings.Models())
}

// GetAgents lists the agents.
func (o *preferences) GetAgents(c echo.Context) error {
	return writeJSON(c, http.StatusOK, settings.Agents())
}

// GetSecurityAnalyzers lists the analyzers.
func (o *preferences) GetSecurityAnalyzers(c echo.Context) error {
	return writeJSON(c, http.StatusOK, settings.SecurityAnalyzers())
}

// GetConfig answers what the web UI is made with.
func (o *preferences) GetConfig(c echo.Context) error {
	return writeBytes(c, http.StatusOK, settings.Config())
}
