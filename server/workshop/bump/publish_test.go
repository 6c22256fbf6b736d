package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/contract/document/node"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(contracts + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parse(t *testing.T, name string, text []byte) *document.Document {
	t.Helper()
	d, err := document.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func unpublished(t *testing.T) []string {
	t.Helper()
	actions, err := overlay.Read(filepath.Join(module, overlayFile))
	if err != nil {
		t.Fatal(err)
	}
	return overlay.Unpublished(actions)
}

func text(t *testing.T, d *document.Document) string {
	t.Helper()
	b, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// diff fails with the first line that differs.
func diff(t *testing.T, what, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("%s: line %d = %q, want %q", what, i+1, g[i], w[i])
			return
		}
	}
	if len(g) != len(w) {
		t.Errorf("%s: %d lines, want %d", what, len(g), len(w))
	}
}

// A published document is left as it is.
func TestPublishPublished(t *testing.T) {
	like := parse(t, "like", read(t, "contract-0.53.0.json"))
	for _, name := range []string{"contract-0.52.0.json", "contract-0.53.0.json", "contract-0.54.0.json", "contract-0.55.0.json"} {
		d := parse(t, name, read(t, name))
		if err := d.Check(); err != nil {
			t.Errorf("%s: Check() = %v", name, err)
		}
		if served, mends := publish(d, unpublished(t), like); served || len(mends) > 0 {
			t.Errorf("%s: publish() says that it is a server's", name)
		}
		diff(t, name, text(t, d), string(read(t, name)))
	}
}

// What a server tells of itself becomes the published document, in whichever
// way it was started and the document was written down.
func TestPublishServed(t *testing.T) {
	published := string(read(t, "contract-0.53.0.json"))
	served := read(t, "served-0.53.0.json")
	var asYAML any
	if err := yaml.Unmarshal(served, &asYAML); err != nil {
		t.Fatal(err)
	}
	sorted, err := yaml.Marshal(asYAML)
	if err != nil {
		t.Fatal(err)
	}
	withKey := bytes.Replace([]byte(published), []byte(`"servers": [`), []byte(`"x-servers": [`), 1)
	withProse := bytes.ReplaceAll(served, []byte(`"operationId":`), []byte(`"description": "Words of a function.", "operationId":`))
	for name, c := range map[string]struct {
		text []byte
		same bool // byte for byte; else but for the order of keys
	}{
		"as served":              {served, true},
		"with a SESSION_API_KEY": {bytes.Replace(withKey, []byte(`"x-servers"`), []byte(`"x-none"`), 1), false},
		"with prose":             {withProse, true},
		"as YAML":                {sorted, false},
	} {
		t.Run(name, func(t *testing.T) {
			like := parse(t, "like", []byte(published))
			d := parse(t, name, c.text)
			if served, mends := publish(d, unpublished(t), like); !served || len(mends) > 0 {
				t.Error("publish() says that it is the published one")
			}
			if c.same {
				diff(t, name, text(t, d), published)
				return
			}
			var got, want map[string]any
			if err := errors.Join(yaml.Unmarshal([]byte(text(t, d)), &got), yaml.Unmarshal([]byte(published), &want)); err != nil {
				t.Fatal(err)
			}
			delete(got, "x-none")
			g, _ := yaml.Marshal(got)
			w, _ := yaml.Marshal(want)
			diff(t, name, string(g), string(w))
		})
	}
}

// later is 1.0.0's document, with the operations of 0.53.0 and their schemas,
// and what is new reduced to its shape.
func later(t *testing.T) *document.Document {
	t.Helper()
	text, err := os.ReadFile("testdata/served-1.0.0.json")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, "later", text)
}

// TestPublishLater: where a later document has another key of the same name,
// and another schema, those of the current contract stay what they are.
func TestPublishLater(t *testing.T) {
	like := parse(t, "like", read(t, "contract-0.53.0.json"))
	d := later(t)
	served, mends := publish(d, unpublished(t), like)
	var got []string
	for _, m := range mends {
		got = append(got, m.String())
	}
	want := []string{
		"#/components/schemas/ConversationInfo-Output: is ConversationInfo of the current contract: it keeps that name",
		"#/components/securitySchemes/APIKeyHeader: is the header X-Access-Token, and the key's header has this name: it is XAccessToken here",
	}
	if !served || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("publish() = %v, %q, want true, %q", served, got, want)
	}
	secured := map[string]string{}
	for o := range d.Operations() {
		security := node.Field(o.Node, "security")
		if security == nil {
			continue
		}
		for _, requirement := range security.Content {
			for name := range node.Pairs(requirement) {
				secured[o.String()] = name
			}
		}
	}
	for o := range like.Operations() {
		if security := node.Field(o.Node, "security"); (security != nil) != (secured[o.String()] == "APIKeyHeader") {
			t.Errorf("%v asks for %q", o, secured[o.String()])
		}
	}
	for o, want := range map[string]string{"GET /api/v1/webhooks/secrets": "XAccessToken", "GET /api/v1/users/me": "APIKeyHeader"} {
		if secured[o] != want {
			t.Errorf("%s asks for %q, want %s", o, secured[o], want)
		}
	}
	if name := node.Text(node.At(d.Root(), "components", "securitySchemes", "APIKeyHeader", "name")); name != keyHeader {
		t.Errorf("the key's header is %q, want %s", name, keyHeader)
	}
	if strings.Contains(text(t, d), "ConversationInfo-Output") {
		t.Error("something refers to ConversationInfo-Output still")
	}
}

// TestPublishBack: what a document between two drops comes back as it was.
func TestPublishBack(t *testing.T) {
	published := string(read(t, "contract-0.53.0.json"))
	like := parse(t, "like", []byte(published))
	between := parse(t, "between", []byte(published))
	for _, path := range []string{"/api/user/suggested-tasks", "/api/reset-settings", "/api/options/models"} {
		node.Remove(node.Field(between.Root(), "paths"), path)
	}
	d := parse(t, "served", read(t, "served-0.53.0.json"))
	publish(d, unpublished(t), between, like)
	diff(t, "back", text(t, d), published)
}
