package servertest

import (
	"slices"
	"testing"

	"github.com/openhands-local/openhands-local/gen"
)

// Needs skips a test that speaks of operations which the contract does not
// have, as one of another version may not. An operation is written as its
// method and its path as a template: "POST /api/conversations/{conversation_id}/events".
func Needs(t testing.TB, operations ...string) {
	t.Helper()
	for _, name := range operations {
		if !slices.ContainsFunc(gen.Operations, func(op gen.Operation) bool { return op.Method+" "+op.Path == name }) {
			t.Skipf("%s is not in the contract", name)
		}
	}
}
