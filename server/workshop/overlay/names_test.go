package overlay_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
)

// TestNames: the names that are given are those that are generated.
func TestNames(t *testing.T) {
	names, err := overlay.Names("../../../gen/names.overlay.yaml")
	if err != nil || len(names) != len(gen.Operations) {
		t.Fatalf("Names() = %d names, %v, want %d", len(names), err, len(gen.Operations))
	}
	for _, op := range gen.Operations {
		if name := names[op.Method+" "+op.Path]; name != op.Name {
			t.Errorf("%s %s is named %s, and generated as %s", op.Method, op.Path, name, op.Name)
		}
	}
	if names, err := overlay.Names(filepath.Join(t.TempDir(), "none")); names != nil || err != nil {
		t.Errorf("Names() without the file = %v, %v", names, err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("actions: [}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := overlay.Names(broken); err == nil {
		t.Errorf("Names() of a broken file = %v", names)
	}
}
