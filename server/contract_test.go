package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/openhands-local/openhands-local/api"
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
// published contract exactly as it was, with the schemas and the key that it
// refers to, and the served contract says all of it and only adds.
func TestSeed(t *testing.T) {
	const path, key = "/api/conversations/{conversation_id}/events", "APIKeyHeader"
	servertest.Needs(t, "POST "+path)
	text, err := os.ReadFile("testdata/seed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var seed, served map[string]any
	if err := errors.Join(yaml.Unmarshal(text, &seed), json.Unmarshal(gen.OpenAPI, &served)); err != nil {
		t.Fatal(err)
	}
	published := published(t)
	parts := [][]string{{"paths", path, "post"}, {"components", "securitySchemes", key}}
	for name := range at(seed, "components", "schemas").(map[string]any) {
		parts = append(parts, []string{"components", "schemas", name})
	}
	for _, part := range parts {
		want := plain(t, at(seed, part...))
		if got := plain(t, at(published, part...)); !reflect.DeepEqual(got, want) {
			t.Errorf("openapi.json: %v = %v, want %v", part, got, want)
		}
		for _, lost := range missing(want, plain(t, at(served, part...)), "") {
			t.Errorf("the served contract: %v%s", part, lost)
		}
	}
}

// at follows keys into objects.
func at(v any, keys ...string) any {
	for _, key := range keys {
		object, _ := v.(map[string]any)
		v = object[key]
	}
	return v
}

// plain is a value as JSON has it, whatever it was read from.
func plain(t *testing.T, v any) (p any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err := errors.Join(err, json.Unmarshal(text, &p)); err != nil {
		t.Fatal(err)
	}
	return p
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
	found := map[string]bool{}
	for _, lost := range missing(published(t), served, "") {
		listed := false
		for place := range replaced {
			if strings.HasPrefix(lost, place) {
				found[place], listed = true, true
			}
		}
		if !listed {
			t.Error(lost)
		}
	}
	for place, why := range replaced {
		if found[place] {
			continue
		}
		t.Run(why, func(t *testing.T) {
			if operation := strings.SplitAfter(place, "/responses"); len(operation) > 1 {
				path, method := filepath.Split(strings.TrimSuffix(strings.TrimPrefix(operation[0], "/paths/"), "/responses"))
				servertest.Needs(t, strings.ToUpper(method)+" "+strings.TrimSuffix(path, "/"))
			}
			t.Errorf("%s is listed as replaced and is not", place)
		})
	}
}

// missing tells what of a document another one does not say: "PATH = …, want
// …". An empty text says nothing; a list may go on.
func missing(want, got any, path string) (lost []string) {
	switch want := want.(type) {
	case map[string]any:
		in, ok := got.(map[string]any)
		if !ok {
			return []string{path + " is gone"}
		}
		for key, value := range want {
			lost = append(lost, missing(value, in[key], path+"/"+key)...)
		}
	case []any:
		in, _ := got.([]any)
		if len(in) < len(want) {
			return []string{fmt.Sprintf("%s = %v, want %v", path, got, want)}
		}
		for i := range want {
			lost = append(lost, missing(want[i], in[i], fmt.Sprintf("%s/%d", path, i))...)
		}
	default:
		if want != "" && !reflect.DeepEqual(want, got) {
			return []string{fmt.Sprintf("%s = %v, want %v", path, got, want)}
		}
	}
	return lost
}

// TestGeneratedClient: a client that oapi-codegen makes of the served
// /openapi.json compiles, and posts an event to the host that served it.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events")
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
	run("go", "tool", "-modfile=.tools.mod", "oapi-codegen", "-generate", "types,client", "-package", "main", "-o", client, spec)
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

// TestUnwritten: an operation that nobody wrote yet is answered by 501 and its
// name, whatever is sent. The recorded version has none.
func TestUnwritten(t *testing.T) {
	unwritten := api.ContractStatus().Unimplemented
	if len(unwritten) == 0 {
		t.Skip("every operation of the contract is written")
	}
	s := servertest.NewServer(t, server.Config{})
	for _, op := range gen.Operations {
		if !slices.Contains(unwritten, op.Name) {
			continue
		}
		r, err := http.NewRequestWithContext(t.Context(), op.Method, s.URL+strings.NewReplacer("{", "", "}", "").Replace(op.Path), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Detail, Message string }
		err = json.NewDecoder(answer.Body).Decode(&said)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusNotImplemented || !strings.Contains(said.Detail, op.Name) || said.Message != said.Detail {
			t.Errorf("%s %s = %s, %+v, %v, want 501", op.Method, op.Path, answer.Status, said, err)
		}
	}
}

// TestEmbeddedContract: the served contract loads, with every operation. All
// of the recorded version's is validated; what of another's is not is told by
// name.
func TestEmbeddedContract(t *testing.T) {
	c, err := contract.Load(gen.OpenAPI, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range gen.Operations {
		if c.Operation(op.ID) == nil {
			t.Errorf("operation %s (%s) is not in the loaded contract", op.Name, op.ID)
		}
	}
	for _, pointer := range c.Unvalidated() {
		t.Run(pointer, func(t *testing.T) {
			if gen.Version != api.Recorded {
				t.Skip("not validated")
			}
			t.Error("not validated")
		})
	}
}
