package recorded_test

import (
	"os"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
	"github.com/openhands-local/openhands-local/server/workshop/recorded"
)

const root = "../../.."

// joined loads a document of testdata with the overlay, changed by old => new.
func joined(t *testing.T, name string, changes ...string) *contract.Contract {
	t.Helper()
	text, err := os.ReadFile("../../../api/contract/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(changes); i += 2 {
		if n := strings.Count(string(text), changes[i]); n == 0 {
			t.Fatalf("%s lacks %q", name, changes[i])
		}
		text = []byte(strings.ReplaceAll(string(text), changes[i], changes[i+1]))
	}
	doc, err := document.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	actions, err := overlay.Read(root + "/" + recorded.OverlayFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := overlay.Join(doc, actions); err != nil {
		t.Fatal(err)
	}
	if text, err = doc.JSON(); err != nil {
		t.Fatal(err)
	}
	c, err := contract.Load(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Cases are left out where a contract differs from the recorded one, and
// nowhere else.
func TestInapplicable(t *testing.T) {
	was, err := recorded.Contract(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		is     *contract.Contract
		reason string // of every case that is left out; "" when none is
	}{
		"0.53.0":                {joined(t, "contract-0.53.0.json"), ""},
		"0.54.0":                {joined(t, "contract-0.54.0.json"), ""},
		"0.55.0":                {joined(t, "contract-0.55.0.json"), ""},
		"an operation less":     {joined(t, "contract-0.53.0.json", `"/api/user/suggested-tasks"`, `"/api/user/other-tasks"`), "GET /api/user/suggested-tasks is gone"},
		"another method":        {joined(t, "contract-0.53.0.json", `"/api/options/agents": {`, `"/api/options/agents": {"post": {"operationId": "x", "responses": {"200": {"description": ""}}},`), "POST /api/options/agents is new"},
		"a wider enum":          {joined(t, "contract-0.53.0.json", `"enterprise_sso"`, `"enterprise_sso", "azure_devops"`), "takes other requests"},
		"an answer's new field": {joined(t, "contract-0.53.0.json", `"title": "GETCustomSecrets"`, `"title": "GETCustomSecrets", "required": ["total"]`), "GET /api/secrets answers otherwise"},
	} {
		t.Run(name, func(t *testing.T) {
			got := recorded.Inapplicable(was, c.is, conform.Cases())
			if (len(got) > 0) != (c.reason != "") {
				t.Errorf("Inapplicable() = %v", got)
			}
			if len(got) > len(conform.Cases())/3 {
				t.Errorf("%d cases do not apply, want few", len(got))
			}
			for _, left := range got {
				if !strings.Contains(left.Reason, c.reason) {
					t.Errorf("%s: reason = %q, want %q", left.Name, left.Reason, c.reason)
				}
			}
		})
	}
}
