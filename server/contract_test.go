package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

func published(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile("../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestSeed: the one operation that this project started from is in the
// published contract exactly as it was.
func TestSeed(t *testing.T) {
	text, err := os.ReadFile("testdata/seed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var seed map[string]any
	if err := yaml.Unmarshal(text, &seed); err != nil {
		t.Fatal(err)
	}
	delete(seed, "security") // none at the top, as in the published contract
	var says func(path string, part, whole any)
	says = func(path string, part, whole any) {
		if object, ok := part.(map[string]any); ok {
			in, _ := whole.(map[string]any)
			for key, value := range object {
				says(path+"/"+key, value, in[key])
			}
			if strings.Contains(path, "/events/post") && len(in) != len(object) {
				t.Errorf("%s has more than the seed: %v", path, in)
			}
			return
		}
		if !reflect.DeepEqual(part, whole) {
			t.Errorf("%s = %v, want %v", path, whole, part)
		}
	}
	says("", seed, any(published(t)))
}

// replaced is where the served contract says something else than the
// published one, and why.
var replaced = map[string]string{
	"/servers": "a page at /docs must post to the server that serves it",
	"/paths//api/conversations/{conversation_id}/zip-directory/get/responses/200/content/application/json":             "an archive is answered",
	"/paths//api/conversations/{conversation_id}/upload-files/post/responses/200/content/application/json/schema/$ref": "the recorded answer has other members",
	"/paths//api/secrets/post/responses/200": "201 is answered",
}

// TestServedContractOnlyAdds: the served contract says all of the published
// one, but for what is replaced.
func TestServedContractOnlyAdds(t *testing.T) {
	var served map[string]any
	if err := json.Unmarshal(gen.OpenAPI, &served); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var says func(path string, want, got any)
	says = func(path string, want, got any) {
		if _, ok := replaced[path]; ok {
			seen[path] = true
			if reflect.DeepEqual(want, got) {
				t.Errorf("%s is listed as replaced and is not", path)
			}
			return
		}
		switch want := want.(type) {
		case map[string]any:
			in, ok := got.(map[string]any)
			if !ok {
				t.Errorf("%s is gone", path)
				return
			}
			for key, value := range want {
				says(path+"/"+key, value, in[key])
			}
		case []any:
			in, _ := got.([]any)
			if len(in) < len(want) {
				t.Errorf("%s = %v, want %v", path, got, want)
				return
			}
			for i := range want {
				says(fmt.Sprintf("%s/%d", path, i), want[i], in[i])
			}
		default:
			if want != "" && !reflect.DeepEqual(want, got) {
				t.Errorf("%s = %v, want %v", path, got, want)
			}
		}
	}
	says("", any(published(t)), any(served))
	for path := range replaced {
		if !seen[path] {
			t.Errorf("%s is listed as replaced and is not published", path)
		}
	}
}

// TestGeneratedClient: a client that oapi-codegen makes of the served
// /openapi.json compiles, and posts an event to the host that served it.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	s := servertest.NewServer(t, server.Config{})
	resp, err := http.Get(s.URL + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var document bytes.Buffer
	if _, err := document.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(document.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	// Without servers, a page's form posts to the host that it came from.
	if servers, ok := doc["servers"]; ok {
		t.Errorf("servers = %v, want none: /docs would post there", servers)
	}
	dir := t.TempDir()
	spec, client, main, overlay := filepath.Join(dir, "openapi.json"), filepath.Join(dir, "client.go"), filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(spec, document.String())
	write(main, `package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

func main() {
	c, err := NewClientWithResponses(os.Args[1])
	if err != nil {
		panic(err)
	}
	body := strings.NewReader(`+"`"+`{"action":"message","args":{"content":"Hi"}}`+"`"+`)
	answer, err := c.AddEventAPIConversationsConversationIDEventsPostWithBodyWithResponse(context.Background(), "generated", "application/json", body)
	if err != nil {
		panic(err)
	}
	fmt.Println(answer.StatusCode(), string(answer.Body))
}
`)
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = ".."
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	run("go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "main", "-o", client, spec)
	text, err := os.ReadFile(client)
	if err != nil {
		t.Fatal(err)
	}
	// Its own name for Add Event, whatever the rule of the day.
	method := ""
	for line := range strings.Lines(string(text)) {
		if _, rest, ok := strings.Cut(line, "func (c *ClientWithResponses) AddEvent"); ok && strings.Contains(rest, "WithBodyWithResponse(") {
			method = "AddEvent" + rest[:strings.IndexByte(rest, '(')]
		}
	}
	program, err := os.ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	write(main, strings.Replace(string(program), "AddEventAPIConversationsConversationIDEventsPostWithBodyWithResponse", method, 1))
	// The client is compiled as a package of this module, for its imports.
	here, err := filepath.Abs("generatedclient")
	if err != nil {
		t.Fatal(err)
	}
	files, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(here, "main.go"): main, filepath.Join(here, "client.go"): client,
	}})
	if err != nil {
		t.Fatal(err)
	}
	write(overlay, string(files))
	const want = "200 {\"success\":true}\n"
	if got := run("go", "run", "-overlay", overlay, "./server/generatedclient", s.URL); got != want {
		t.Errorf("the generated client prints %q, want %q", got, want)
	}
}

// TestEmbeddedContract: the served contract loads, and all of it is
// validated.
func TestEmbeddedContract(t *testing.T) {
	c, err := contract.Load(gen.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range gen.Operations {
		if c.Operation(op.ID) == nil {
			t.Errorf("operation %s (%s) is not in the loaded contract", op.Name, op.ID)
		}
	}
	for _, pointer := range c.Unvalidated() {
		t.Errorf("%s is not validated", pointer)
	}
}
