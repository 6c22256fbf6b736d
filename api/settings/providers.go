package settings

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A providerToken is one git provider's: github, gitlab, bitbucket or
// enterprise_sso. One without a token is never stored.
type providerToken struct {
	Provider string  `json:"provider"`
	Token    string  `json:"token"`
	UserID   *string `json:"user_id"`
	Host     *string `json:"host"` // nil for the provider's own
}

func (p providerToken) host() string {
	if p.Host == nil {
		return ""
	}
	return *p.Host
}

// hosts is provider_tokens_set: the host of each provider, null for its own.
func (s *secrets) hosts() pyjson.Value {
	hosts := make([]pyjson.Member, len(s.Providers))
	for i, p := range s.Providers {
		hosts[i].Key = p.Provider
		if p.Host != nil {
			hosts[i].Value = pyjson.StringOf(*p.Host)
		}
	}
	return pyjson.ObjectOf(hosts...)
}

func (s *secrets) provider(name string) (providerToken, bool) {
	i := slices.IndexFunc(s.Providers, func(p providerToken) bool { return p.Provider == name })
	if i < 0 {
		return providerToken{}, false
	}
	return s.Providers[i], true
}

// A TokenCheck tells whether a token is good for a provider at a host ("" for
// the provider's own).
type TokenCheck func(provider, token, host string) bool

// NoNetwork is the TokenCheck of who opens no connection: no token is good.
func NoNetwork(string, string, string) bool { return false }

// AddProviders returns the secrets record after POST /api/add-git-providers
// of {"provider_tokens":{provider:{"token","user_id","host"}},"mcp_config"}.
// The providers of the body take the place of all that are stored. A provider
// with an empty token keeps the token that it has, at the host of the body;
// one that has none is dropped. mcp_config is ignored.
//
// Every token that is new, or gets another host, is handed to good. The error
// is a *Refusal with ErrBadToken. Upstream judges each provider in turn and
// lets a later new token, when it is good, make up for an earlier bad one.
func AddProviders(old, body []byte, good TokenCheck) ([]byte, error) {
	given, err := decodeProviders(body)
	if err != nil {
		return nil, err
	}
	s, err := decodeSecrets(old)
	if err != nil {
		return nil, err
	}
	var refused error
	kept := []providerToken{}
	for _, p := range given {
		bad := &Refusal{ErrBadToken, fmt.Sprintf("Invalid token. Please make sure it is a valid %s token.", p.Provider)}
		if p.Token != "" {
			refused = nil
			if !good(p.Provider, p.Token, p.host()) {
				refused = bad
			}
		}
		had, ok := s.provider(p.Provider)
		if ok && !sameHost(had, p) && !good(p.Provider, had.Token, p.host()) {
			refused = bad
		}
		if ok && p.Token == "" {
			p.Token, p.UserID = had.Token, had.UserID
		}
		if p.Token != "" {
			kept = append(kept, p)
		}
	}
	if refused != nil {
		return nil, refused
	}
	s.Providers = kept
	return json.Marshal(s)
}

func sameHost(a, b providerToken) bool {
	return a.host() == b.host() && (a.Host == nil) == (b.Host == nil)
}

func decodeProviders(body []byte) ([]providerToken, error) {
	given, err := pyjson.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	tokens, _ := given.Get("provider_tokens")
	providers := make([]providerToken, len(tokens.Members()))
	for i, m := range tokens.Members() {
		token, _ := m.Value.Get("token")
		providers[i] = providerToken{m.Key, token.Text(), text(m.Value, "user_id"), text(m.Value, "host")}
	}
	return providers, nil
}

// text is a member of an object, nil when it is null or absent.
func text(object pyjson.Value, name string) *string {
	v, _ := object.Get(name)
	if v.IsNull() {
		return nil
	}
	s := v.Text()
	return &s
}

// UnsetProviders returns the secrets record after POST
// /api/unset-provider-tokens. Custom secrets stay; without a record there is
// none after it (recorded secrets_and_git_providers).
func UnsetProviders(old []byte) ([]byte, error) {
	if old == nil {
		return nil, nil
	}
	s, err := decodeSecrets(old)
	if err != nil {
		return nil, err
	}
	s.Providers = []providerToken{}
	return json.Marshal(s)
}
