// Package gen is nobody's handwriting: the served contract, and the Go types
// and routes made from it.
//
//	openapi.json ── api/overlay.yaml ──▶ openapi.json ── names.overlay.yaml ──▶ openapi.gen.go
//	 (published)      (what we add)        (served)         (Go names)           (types, routes)
//
// The schemas of events in the served contract are made of package api/event.
// `make generate` makes all of it again. The commands run from the root of
// the module, since oapi-codegen's paths are relative to where it runs.
package gen

import _ "embed"

//go:generate go run -C .. ./server/workshop/generate
//go:generate sh -c "cd .. && go tool -modfile=.tools.mod oapi-codegen -config oapi-codegen.yaml gen/openapi.json"

// OpenAPI is the contract as it is served: openapi.json of the module's root
// joined with api/overlay.yaml. It must not be changed.
//
//go:embed openapi.json
var OpenAPI []byte
