// Package agentserver is what is generated of the agent server's contract: the
// document as it is served, and a table of its operations. There are no Go types
// of its 489 schemas: bodies are checked, read and written as JSON.
//
//	api/agentserver/openapi.json ── api/agentserver/overlay.yaml ──▶ openapi.json, operations.gen.go
//
// `make generate` makes both again, with package gen.
package agentserver

import _ "embed"

// OpenAPI is the contract as it is served. It must not be changed.
//
//go:embed openapi.json
var OpenAPI []byte

// An Operation is one operation of the contract.
type Operation struct {
	Name   string // of its handler
	ID     string // operationId
	Method string
	Path   string // with parameters in braces

	Secured      bool // asks for the key
	Conversation bool // x-conversation: an unknown conversation is refused before the fields are checked
}
