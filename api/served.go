package api

import (
	"fmt"
	"maps"
	"sync"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/settings"
	"github.com/openhands-local/openhands-local/gen"
)

// Contract is the served contract, with what it cannot say of its models. It is
// loaded when it is first asked for, which takes 30 ms.
var Contract = sync.OnceValue(func() *contract.Contract { return load(fastapi.Rules{}) })

// NoIDContract is Contract where no client chooses the id of a conversation:
// upstream's model of a new one then has no such field, so that any value of it
// is forbidden (recorded create_set_id_forbidden).
var NoIDContract = sync.OnceValue(func() *contract.Contract {
	return load(fastapi.Rules{"InitSessionRequest": {Without: []string{"conversation_id"}}})
})

// load loads the contract with these rules and those of all rooms.
func load(rules fastapi.Rules) *contract.Contract {
	maps.Copy(rules, settings.Rules)
	maps.Copy(rules, event.Rules)
	loaded, err := contract.Load(gen.OpenAPI, rules)
	if err != nil {
		panic(fmt.Sprintf("the embedded contract does not load: %v", err)) // a test loads it
	}
	return loaded
}

// SettingsRecord returns the settings record of a body of POST /api/settings
// that comes another way: it is read as a request's. A record is such a body. The
// error for what breaks the contract or a rule is a [*fastapi.Invalid] or a
// [*contract.Refusal].
func SettingsRecord(body []byte) ([]byte, error) {
	read, err := Contract().Read("Settings", body)
	if err != nil {
		return nil, err
	}
	return settings.Store(nil, read)
}
