package document_test

import (
	"fmt"
	"go/token"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract/document"
)

// An operation is one of a made-up or a real document.
type operation struct{ method, path, id string }

// real are the operations of documents of later versions and of other APIs.
func real(t *testing.T) map[string][]operation {
	t.Helper()
	text, err := os.ReadFile("testdata/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, version := map[string][]operation{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		f := strings.Fields(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case len(f) < 3:
			version = line
		default:
			all[version] = append(all[version], operation{f[0], f[1], fastapi(f[2], f[1], f[0])})
		}
	}
	for _, version := range []string{"0.52.0", "0.53.0", "0.54.0", "0.55.0"} {
		d := parse(t, version, read(t, "contract-"+version+".json"))
		for o := range d.Operations() {
			all[version] = append(all[version], operation{o.Method, o.Path, o.ID})
		}
	}
	return all
}

// fastapi is the operationId that FastAPI makes.
func fastapi(function, path, method string) string {
	return function + regexp.MustCompile(`\W`).ReplaceAllString(path, "_") + "_" + strings.ToLower(method)
}

// written is a document of operations, in their order.
func written(t *testing.T, operations []operation) *document.Document {
	t.Helper()
	paths := map[string][]operation{}
	var order []string
	for _, o := range operations {
		if paths[o.path] == nil {
			order = append(order, o.path)
		}
		paths[o.path] = append(paths[o.path], o)
	}
	var b strings.Builder
	for i, path := range order {
		fmt.Fprintf(&b, "%s%q:{", ", "[:min(2, 2*i)], path)
		for j, o := range paths[path] {
			fmt.Fprintf(&b, `%s%q:{"operationId":%q,"responses":{"200":{"description":""}}}`, ", "[:min(2, 2*j)], strings.ToLower(o.method), o.id)
		}
		b.WriteString("}")
	}
	return parse(t, "doc", []byte(`{"openapi":"3.1.0","info":{"version":"1"},"paths":{`+b.String()+"}}"))
}

// names are those that operations have beside a current contract.
func names(t *testing.T, current map[string]string, operations []operation) map[string]string {
	t.Helper()
	d := written(t, operations)
	d.Names = current
	all := map[string]string{}
	for o := range d.Operations() {
		all[o.String()] = o.GoName
	}
	return all
}

// holdNames holds names to what the rule promises.
func holdNames(t *testing.T, random *rand.Rand, current map[string]string, operations []operation) map[string]string {
	t.Helper()
	all := names(t, current, operations)
	if len(all) != len(operations) {
		t.Fatalf("%d operations have names, want %d", len(all), len(operations))
	}
	seen := map[string]string{}
	for o, name := range all {
		if !token.IsIdentifier(name) || !token.IsExported(name) {
			t.Errorf("%s is named %q, which is no name of a method", o, name)
		}
		if other := seen[strings.ToLower(name)]; other != "" {
			t.Errorf("%s and %s are both named %s", o, other, name)
		}
		seen[strings.ToLower(name)] = o
		if before := current[o]; before != "" && name != before {
			t.Errorf("%s is named %s, and was %s", o, name, before)
		}
	}
	var asIDs []operation
	for _, name := range all {
		asIDs = append(asIDs, operation{"GET", "/" + name, name})
	}
	for o, name := range names(t, nil, asIDs) {
		if o != "GET /"+name {
			t.Errorf("%s is written %s", o, name)
		}
	}
	shuffled := slices.Clone(operations)
	for range 2 {
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if again := names(t, current, shuffled); !maps.Equal(again, all) {
			t.Errorf("in another order the names are %v, want %v", again, all)
		}
	}
	if again := names(t, all, operations); !maps.Equal(again, all) {
		t.Errorf("once they are the current names, they are %v, want %v", again, all)
	}
	return all
}

// TestNamesOfContracts: names do not collide from any version to any other,
// and none that is there changes.
func TestNamesOfContracts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	contracts := real(t)
	if len(contracts) != 8 {
		t.Fatalf("%d contracts, want 8", len(contracts))
	}
	for from := range contracts {
		current := holdNames(t, random, nil, contracts[from])
		for to := range contracts {
			holdNames(t, random, current, contracts[to])
		}
	}
	later := holdNames(t, random, names(t, nil, contracts["0.53.0"]), contracts["1.0.0"])
	for o, want := range map[string]string{
		"GET /api/conversations/{conversation_id}/events":     "SearchEvents",
		"GET /api/v1/events/search":                           "SearchEventsV1",
		"GET /api/conversations/{conversation_id}/vscode-url": "GetVscodeURL",
	} {
		if later[o] != want {
			t.Errorf("%s is named %s, want %s", o, later[o], want)
		}
	}
}

// TestNamesMadeUp: documents of few words have many namesakes.
func TestNamesMadeUp(t *testing.T) {
	words := []string{"a", "b", "v1", "search", "id", "get", "{id}", "{x}", "a-b", "ab", "1"}
	functions := []string{"a", "get_a", "a_b", "ab", "search_a", "getA", "get_url", "a_1", "a_2"}
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 0))
		made := func() []operation {
			var all []operation
			seen := map[string]bool{}
			for range 1 + random.IntN(30) {
				path := ""
				for range 1 + random.IntN(4) {
					path += "/" + words[random.IntN(len(words))]
				}
				o := operation{[]string{"GET", "POST", "PUT"}[random.IntN(3)], path, functions[random.IntN(len(functions))]}
				if random.IntN(3) > 0 {
					o.id = fastapi(o.id, path, o.method)
				}
				if !seen[o.method+path] {
					seen[o.method+path] = true
					all = append(all, o)
				}
			}
			return all
		}
		current := holdNames(t, random, nil, made())
		holdNames(t, random, current, made())
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestNamesOfNamesakes: the rule by example.
func TestNamesOfNamesakes(t *testing.T) {
	for name, c := range map[string]struct {
		current    map[string]string
		operations []operation
		want       map[string]string
	}{
		"one is there": {map[string]string{"GET /api/a/{id}/events": "Search"},
			[]operation{{"GET", "/api/v1/events", "search"}, {"GET", "/api/a/{id}/events", "search"}},
			map[string]string{"GET /api/v1/events": "SearchV1", "GET /api/a/{id}/events": "Search"}},
		"none is there": {nil,
			[]operation{{"GET", "/api/v1/x", "search"}, {"GET", "/api/x", "search"}},
			map[string]string{"GET /api/v1/x": "SearchV1", "GET /api/x": "Search"}},
		"words of the name are left out": {nil,
			[]operation{{"GET", "/x", "search_x"}, {"GET", "/v1/x/search", "search_x"}, {"GET", "/x/search", "search_x"}},
			map[string]string{"GET /x": "SearchX", "GET /v1/x/search": "SearchXV1", "GET /x/search": "SearchXSearch"}},
		"the words make another's name": {nil,
			[]operation{{"GET", "/api/v1/x", "a"}, {"GET", "/api/x", "a"}, {"GET", "/y", "a_v1"}},
			map[string]string{"GET /api/v1/x": "AApiV1X", "GET /api/x": "A", "GET /y": "AV1"}},
		"all words": {nil,
			[]operation{{"GET", "/x", "a"}, {"PUT", "/x", "a"}},
			map[string]string{"GET /x": "A", "PUT /x": "AX"}},
		"nothing tells them apart": {nil,
			[]operation{{"GET", "/x/y", "a"}, {"GET", "/x-y", "a"}, {"GET", "/x_y", "a"}},
			map[string]string{"GET /x-y": "A", "GET /x/y": "AXYGet1", "GET /x_y": "AXYGet2"}},
		"the method": {nil,
			[]operation{{"GET", "/x", "a"}, {"PUT", "/x", "a"}, {"POST", "/x", "a"}},
			map[string]string{"GET /x": "A", "POST /x": "AXPost", "PUT /x": "AXPut"}},
		"the function is called otherwise": {map[string]string{"GET /x": "GetModels"},
			[]operation{{"GET", "/x", "list_models"}, {"GET", "/y", "get_models"}},
			map[string]string{"GET /x": "GetModels", "GET /y": "GetModelsY"}},
		"it has moved": {map[string]string{"GET /x": "GetModels"},
			[]operation{{"GET", "/y", "get_models"}},
			map[string]string{"GET /y": "GetModels"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := names(t, c.current, c.operations); !maps.Equal(got, c.want) {
				t.Errorf("names = %v, want %v", got, c.want)
			}
		})
	}
}

// TestAnother: what shares almost nothing is another API, and what any
// version of this one has is not.
func TestAnother(t *testing.T) {
	contracts := real(t)
	var here []string
	for _, o := range contracts["0.53.0"] {
		here = append(here, o.method+" "+o.path)
	}
	for version, operations := range contracts {
		err := written(t, operations).Another(here)
		if another := strings.Contains(version, "server"); another != (err != nil) {
			t.Errorf("%s: Another() = %v", version, err)
		}
	}
	without := slices.DeleteFunc(slices.Clone(contracts["1.0.0"]), func(o operation) bool { return strings.Contains(o.path, "git") })
	if err := written(t, without).Another(here); err != nil {
		t.Errorf("1.0.0 without some operations: Another() = %v", err)
	}
}
