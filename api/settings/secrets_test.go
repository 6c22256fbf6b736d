package settings_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/settings"
)

// record makes a secrets record of bodies of POST /api/secrets.
func record(t *testing.T, bodies ...string) []byte {
	t.Helper()
	var secrets []byte
	for _, b := range bodies {
		var err error
		if secrets, err = settings.CreateSecret(secrets, []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	return secrets
}

func TestSecretRefusals(t *testing.T) {
	secrets := record(t, `{"name":"A","value":"1"}`, `{"name":"B","value":"2"}`)
	for _, c := range []struct {
		name string
		call func() ([]byte, error)
		err  error
		text string
	}{
		{"create taken", func() ([]byte, error) { return settings.CreateSecret(secrets, []byte(`{"name":"A","value":""}`)) },
			settings.ErrSecretExists, "Secret A already exists"},
		{"rename to taken", func() ([]byte, error) { return settings.UpdateSecret(secrets, "A", []byte(`{"name":"B"}`)) },
			settings.ErrSecretExists, "Secret B already exists"},
		{"update unknown", func() ([]byte, error) { return settings.UpdateSecret(secrets, "a", []byte(`{"name":"B"}`)) },
			settings.ErrNoSecret, "Secret with ID a not found"},
		{"delete unknown", func() ([]byte, error) { return settings.DeleteSecret(secrets, "") },
			settings.ErrNoSecret, "Secret with ID  not found"},
	} {
		got, err := c.call()
		var refused *settings.Refusal
		if got != nil || !errors.Is(err, c.err) || !errors.As(err, &refused) || refused.Text != c.text {
			t.Errorf("%s: %s, %v, want %v: %s", c.name, got, err, c.err, c.text)
		}
	}
}

func TestSecretInvalid(t *testing.T) {
	for body, schema := range map[string]string{
		`{}`: "CustomSecretModel",
		`{"name":"A","value":"","description":5}`: "CustomSecretModel",
		`{"Name":"A"}`: "CustomSecretWithoutValueModel",
	} {
		_, err := read(t, schema, body)
		var invalid *fastapi.Invalid
		if !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want an Invalid", body, err)
		}
	}
}

func TestNothingStored(t *testing.T) {
	for name, call := range map[string]func() ([]byte, error){
		"update": func() ([]byte, error) { return settings.UpdateSecret(nil, "A", []byte(`{"name":"A"}`)) },
		"delete": func() ([]byte, error) { return settings.DeleteSecret(nil, "A") },
		"unset":  func() ([]byte, error) { return settings.UnsetProviders(nil) },
	} {
		if got, err := call(); got != nil || err != nil {
			t.Errorf("%s without a record = %s, %v, want nil, nil", name, got, err)
		}
	}
	// A record that has become empty is one.
	empty, err := settings.DeleteSecret(record(t, `{"name":"A","value":"1"}`), "A")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := settings.DeleteSecret(empty, "A"); !errors.Is(err, settings.ErrNoSecret) {
		t.Errorf("DeleteSecret of an emptied record = %v, want %v", err, settings.ErrNoSecret)
	}
}

func TestValues(t *testing.T) {
	secrets := record(t, `{"name":"A","value":"1"}`, `{"name":"empty","value":""}`, `{"name":"B","value":"2","description":"d"}`)
	secrets, err := settings.UpdateSecret(secrets, "A", []byte(`{"name":"A2"}`))
	if err != nil {
		t.Fatal(err)
	}
	secrets, err = settings.AddProviders(secrets, []byte(`{"provider_tokens":{"github":{"token":"t"}}}`), allBut(""))
	if err != nil {
		t.Fatal(err)
	}
	got, err := settings.Values(secrets)
	want := []settings.Secret{{Name: "B", Value: "2", Description: "d"}, {Name: "A2", Value: "1"}, {Name: "github_token", Value: "t"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Values = %v, %v, want %v", got, err, want)
	}
	if got, err := settings.Values(nil); len(got) != 0 || err != nil {
		t.Errorf("Values(nil) = %v, %v, want none", got, err)
	}
}

// allBut finds every token good but one.
func allBut(bad string) settings.TokenCheck {
	return func(_, token, _ string) bool { return token != bad }
}

func TestAddProviders(t *testing.T) {
	const stored = `{"provider_tokens":{"github":{"token":"g","user_id":"u","host":"h"},"gitlab":{"token":"l"}}}`
	for _, c := range []struct {
		name, body string
		good       settings.TokenCheck
		values     string // name=value of each provider
		hosts      string
		refused    string // the provider that the refusal names
	}{
		{"none", `{}`, settings.NoNetwork, ``, `{}`, ``},
		{"empty keeps the token", `{"provider_tokens":{"github":{"host":"h"},"gitlab":{"token":""}}}`, settings.NoNetwork, `github_token=g gitlab_token=l `, `{"github":"h","gitlab":null}`, ``},
		{"the others are dropped", `{"provider_tokens":{"gitlab":{"token":null}}}`, settings.NoNetwork, `gitlab_token=l `, `{"gitlab":null}`, ``},
		{"in the order of the body", `{"provider_tokens":{"gitlab":{},"github":{"host":"h"}}}`, settings.NoNetwork, `gitlab_token=l github_token=g `, `{"gitlab":null,"github":"h"}`, ``},
		{"empty and unknown", `{"provider_tokens":{"bitbucket":{"user_id":"u"}}}`, settings.NoNetwork, ``, `{}`, ``},
		{"no network", `{"provider_tokens":{"github":{"token":"x","host":"h"}}}`, settings.NoNetwork, ``, ``, `github`},
		{"good", `{"provider_tokens":{"github":{"token":"x","host":"h"}}}`, allBut(""), `github_token=x `, `{"github":"h"}`, ``},
		{"host changes", `{"provider_tokens":{"github":{"host":"i"}}}`, allBut(""), `github_token=g `, `{"github":"i"}`, ``},
		{"host changes, no network", `{"provider_tokens":{"github":{}}}`, settings.NoNetwork, ``, ``, `github`},
		{"host becomes empty", `{"provider_tokens":{"gitlab":{"host":""}}}`, settings.NoNetwork, ``, ``, `gitlab`},
		{"old token, new host", `{"provider_tokens":{"github":{"token":"x","host":"i"}}}`, allBut("g"), ``, ``, `github`},
		{"last one named", `{"provider_tokens":{"gitlab":{"token":"x"},"enterprise_sso":{"token":"x"}}}`, allBut("x"), ``, ``, `enterprise_sso`},
		{"good after bad", `{"provider_tokens":{"gitlab":{"token":"x"},"bitbucket":{"token":"y"}}}`, allBut("x"), `gitlab_token=x bitbucket_token=y `, `{"gitlab":null,"bitbucket":null}`, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			old, err := settings.AddProviders(nil, []byte(stored), allBut(""))
			if err != nil {
				t.Fatal(err)
			}
			got, err := settings.AddProviders(old, []byte(c.body), c.good)
			if c.refused != "" {
				want := "Invalid token. Please make sure it is a valid " + c.refused + " token."
				var refused *settings.Refusal
				if got != nil || !errors.Is(err, settings.ErrBadToken) || !errors.As(err, &refused) || refused.Text != want {
					t.Errorf("AddProviders(%s) = %s, %v, want %s", c.body, got, err, want)
				}
				return
			}
			if err != nil {
				t.Fatalf("AddProviders(%s) = %v, want nil", c.body, err)
			}
			expectProviders(t, got, c.values, c.hosts)
			if keeps := strings.Contains(c.values, "github_token=g"); strings.Contains(string(got), `"user_id":"u"`) != keeps {
				t.Errorf("AddProviders(%s) = %s, want the user of the token that is kept, %t", c.body, got, keeps)
			}
			unset, err := settings.UnsetProviders(got)
			if err != nil {
				t.Fatal(err)
			}
			expectProviders(t, unset, ``, `{}`)
		})
	}
}

func expectProviders(t *testing.T, secrets []byte, values, hosts string) {
	t.Helper()
	hidden, err := settings.Values(secrets)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, v := range hidden {
		text += fmt.Sprintf("%s=%s ", v.Name, v.Value)
	}
	if text != values {
		t.Errorf("Values(%s) = %s, want %s", secrets, text, values)
	}
	answer, err := settings.Load([]byte(`{}`), secrets)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"provider_tokens_set":` + hosts + `,"llm_api_key_set"`; !strings.Contains(string(answer), want) {
		t.Errorf("Load = %s, want %s within", answer, want)
	}
}

func TestProvidersInvalid(t *testing.T) {
	for _, body := range []string{
		`{"provider_tokens":[]}`,
		`{"provider_tokens":null}`,
		`{"provider_tokens":{"github":"t"}}`,
		`{"provider_tokens":{"github":{"token":5}}}`,
		`{"provider_tokens":{"github":{"user_id":5}}}`,
		`{"provider_tokens":{"github":{"host":5}}}`,
		`{"mcp_config":5}`,
	} {
		_, err := read(t, "POSTProviderModel", body)
		var invalid *fastapi.Invalid
		if !errors.As(err, &invalid) || len(invalid.Errors) != 1 {
			t.Errorf("%s: %v, want one error", body, err)
		}
	}
}
