package server_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/openhands-local/openhands-local/"

// imports lists what each package may import beside the standard library.
// Ours are named by their folder. Arrows run one way: towards gen and store.
var imports = map[string][]string{
	"gen/agentserver": nil,
	"gen":             {"github.com/labstack/echo/v4", "github.com/oapi-codegen/nullable", "github.com/oapi-codegen/runtime", "github.com/oapi-codegen/runtime/types"},

	"store":                    nil,
	"store/memstore":           {"store"},
	"store/boltstore":          {"store", "store/boltstore/boltfile", "go.etcd.io/bbolt", "go.etcd.io/bbolt/errors"},
	"store/boltstore/boltfile": {"store"},
	"store/pgstore":            {"store", "github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/pgconn", "github.com/jackc/pgx/v5/pgxpool"},
	"store/storetest":          {"store", "store/memstore"},

	"api/printable":              nil,
	"api/pyjson":                 nil,
	"api/fastapi":                {"api/pyjson"},
	"api/event":                  {"api/fastapi", "api/pyjson"},
	"api/contract":               {"api/fastapi", "api/pyjson", "github.com/getkin/kin-openapi/openapi3", "github.com/getkin/kin-openapi/openapi3filter", "github.com/getkin/kin-openapi/routers"},
	"api/contract/document":      {"api/contract/document/node", "gopkg.in/yaml.v3"},
	"api/contract/document/node": {"gopkg.in/yaml.v3"},
	"server/workshop/overlay":    {"api/contract/document", "api/contract/document/node", "github.com/speakeasy-api/openapi/overlay", "gopkg.in/yaml.v3"},
	"server/workshop/recorded":   {"api/conform", "api/contract", "api/contract/document", "api/event", "api/fastapi", "server/workshop/overlay"},
	"server/workshop/generate":   {"api/contract/document", "api/contract/document/node", "api/event", "gopkg.in/yaml.v3", "server/workshop/overlay"},
	"server/workshop/bump":       {"api/conform", "api/contract", "api/contract/document", "api/contract/document/node", "api/printable", "gopkg.in/yaml.v3", "server/workshop/overlay", "server/workshop/recorded"},
	"api/clock":                  nil,
	"api/conform":                {"api/printable", "api/pyjson", "github.com/coder/websocket", "go.yaml.in/yaml/v3"},
	"server/workshop/record":     {"api/conform", "api/contract/document/node", "gopkg.in/yaml.v3"},
	"api/exchange":               nil,
	"api/line":                   nil,
	"api/key":                    nil,
	"api/migration":              nil,
	"api/live":                   {"api/clock", "api/conversation", "api/event", "api/exchange", "api/feed", "api/key", "api/live/engineio", "api/live/socketio", "store"},
	"api/live/engineio":          {"api/clock", "github.com/coder/websocket", "golang.org/x/sync/semaphore"},
	"api/live/socketio":          {"api/live/engineio"},
	"api/settings":               {"api/fastapi", "api/pyjson"},
	"api/workspace": {"github.com/go-git/go-billy/v5", "go.yaml.in/yaml/v3", "github.com/go-git/go-git/v5/plumbing", "github.com/go-git/go-git/v5/plumbing/cache",
		"github.com/go-git/go-git/v5/plumbing/filemode", "github.com/go-git/go-git/v5/plumbing/format/gitignore", "github.com/go-git/go-git/v5/plumbing/format/idxfile", "github.com/go-git/go-git/v5/plumbing/format/index", "github.com/go-git/go-git/v5/plumbing/format/packfile",
		"github.com/go-git/go-git/v5/plumbing/object", "github.com/go-git/go-git/v5/plumbing/storer", "github.com/go-git/go-git/v5/storage/filesystem"},
	"api/agentserver/conversation": {"api/clock", "api/fastapi", "api/feed", "api/pyjson", "api/refuse", "api/runs", "store"},
	"api/agentserver":              {"api/agentserver/conversation", "api/contract", "api/exchange", "api/fastapi", "api/feed", "api/key", "api/pyjson", "api/refuse", "api/workspace", "gen/agentserver", "store", "github.com/coder/websocket"},
	"api/archive":                  {"api/conversation", "api/event", "api/settings", "store"},
	"api/feed":                     {"store"},
	"api/refuse":                   {"api/contract", "api/fastapi", "store"},
	"api/runs":                     nil,
	"api/conversation":             {"api/clock", "api/event", "api/feed", "api/pyjson", "api/runs", "api/settings", "store"},
	"api": {"api/migration", "api/archive", "api/contract", "api/conversation", "api/event", "api/exchange", "api/fastapi", "api/feed", "api/key", "api/pyjson", "api/refuse", "api/settings", "api/workspace", "gen", "store",
		"github.com/labstack/echo/v4", "github.com/oapi-codegen/nullable",
		"github.com/shirou/gopsutil/v4/disk", "github.com/shirou/gopsutil/v4/process", "github.com/swaggest/swgui/v5/static", "github.com/vearutop/statigz"},

	"server/agent": {"api/agentserver/conversation", "api/runs", "api/clock", "api/conversation", "api/event", "api/feed", "api/pyjson", "store", "go.yaml.in/yaml/v3"},
	"server": {"api/conform", "api/migration", "api", "api/agentserver", "api/agentserver/conversation", "gen/agentserver", "api/archive", "api/clock", "api/contract", "api/conversation", "api/exchange", "api/key", "api/live", "api/live/engineio", "api/settings", "api/workspace", "gen", "api/fastapi", "api/pyjson", "api/refuse", "server/agent", "server/faults", "server/journal", "server/page", "server/scratch", "server/ui", "store", "store/boltstore", "store/memstore", "store/pgstore",
		"github.com/prometheus/client_golang/prometheus", "github.com/prometheus/client_golang/prometheus/collectors", "github.com/prometheus/client_golang/prometheus/promhttp"},
	"server/faults":              {"api/exchange", "api/fastapi", "api/live", "api/pyjson", "go.yaml.in/yaml/v3"},
	"server/journal":             {"api/migration", "api/event", "api/exchange", "api/pyjson"},
	"server/page":                {"api/clock", "api/conversation", "api/event", "api/exchange", "api/fastapi", "api/feed", "api/line", "api/printable", "api/pyjson", "server/faults", "server/journal", "store"},
	"server/scratch":             nil,
	"server/ui":                  nil,
	"server/servertest":          {"api", "api/clock", "api/exchange", "gen", "server", "server/faults", "server/journal"},
	"server/workshop/benchtable": nil,
	"server/workshop/differ":     {"gen", "github.com/coder/websocket"},
	"server/openhands-local":     {"server/faults", "api/migration", "api", "api/archive", "api/conform", "api/contract", "api/contract/document", "api/exchange", "api/line", "api/printable", "gen", "server", "server/journal", "server/scratch", "store", "store/boltstore", "github.com/alecthomas/kong"},
	"server/workshop/coverage":   {"api", "api/agentserver", "api/conform", "gen", "gen/agentserver"},
	"server/workshop/dist": {"github.com/CycloneDX/cyclonedx-go", "github.com/google/go-containerregistry/pkg/v1", "github.com/google/go-containerregistry/pkg/v1/empty",
		"github.com/google/go-containerregistry/pkg/v1/mutate", "github.com/google/go-containerregistry/pkg/v1/tarball", "github.com/google/go-containerregistry/pkg/v1/types"},
}

// TestImports holds every package to its list: a new dependency is one line
// here, for a reviewer to see.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Standard", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, listed := imports[name]
		if !listed {
			t.Errorf("package %s is not in the list", name)
			continue
		}
		seen[name] = true
		for _, i := range p.Imports {
			i = strings.TrimPrefix(i, module)
			standard := !strings.Contains(strings.Split(i, "/")[0], ".") && !strings.HasPrefix(i, "api") && !strings.HasPrefix(i, "gen") && !strings.HasPrefix(i, "store") && !strings.HasPrefix(i, "server")
			if !standard && !slices.Contains(allowed, i) {
				t.Errorf("%s imports %s, which its list does not have", name, i)
			}
		}
	}
	for name := range imports {
		if !seen[name] {
			t.Errorf("the list has %s, which is no package", name)
		}
	}
}
