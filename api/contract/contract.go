// Package contract is the API's contract at run time: an OpenAPI 3.1 document
// that FastAPI made, and the answers FastAPI gives to requests that break it.
//
// [Load] reads the document once. Each [Operation] checks requests in two
// steps, with room between them for what comes in between on the real server
// (the key, whether the conversation exists):
//
//	body, err := op.ReadBody(r)           // *fastapi.Invalid, *Refusal, or what reading the request failed with
//	err = op.Validate(r, params, body)    // *fastapi.Invalid, *Refusal
//
// Validate reads every value as pydantic does (read.go, package fastapi):
// `yes` is a boolean, `20.0` and "20" are integers. What it read is written
// back in the plain form that Go's decoders take: the query into the request,
// the body into [Body.JSON]. What cannot be read makes a [fastapi.Invalid],
// whose entries, words and order are those of the recorded answers. What comes
// another way than in a request is read by [Contract.Read].
//
// Values that were read are then judged by kin-openapi, so nothing passes
// that the contract does not allow. It is given a 3.0 view of the document,
// which Load builds (schema.go), since kin-openapi compiles the JSON Schema of
// a 3.1 document anew on every request:
//
//	anyOf [T, null], type [T, null]   T, nullable
//	no type at all                    nullable
//	propertyNames with an enum        properties of those names, no others
//	const                             enum of one
//	$ref with siblings                allOf [$ref], and the siblings
//
// A keyword that 3.0 has no like of is not validated: [Contract.Unvalidated]
// lists where. Nor is a request body whose object says "x-not-validated":
// true; it is for the handler alone. A component that says so is for readers,
// and is not loaded. Where a schema says "x-validated-as", the schema there is
// loaded in its place: a union of many can stand in the document without cost,
// when one of them takes all that the others do.
package contract

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// notValidated marks a request body that only its handler judges, and a component
// that is not loaded.
const notValidated = "x-not-validated"

// A Contract is a loaded document. It does not change, and any number of
// goroutines may use it.
type Contract struct {
	operations  map[string]*Operation
	ordered     []*Operation
	schemas     map[string]*schema // the components
	paths       []*path
	unvalidated []string
	view        *openapi3.T
}

// An Operation checks the requests and answers of one operation.
type Operation struct {
	ID     string // the operationId
	Method string // in capitals
	Path   string // a template: /api/conversations/{conversation_id}

	path, query []parameter
	body        *requestBody // nil: none is declared, or none is validated
	route       *routers.Route
}

// A parameter is one of the path or the query.
type parameter struct {
	name     string
	required bool
	*schema
}

// A requestBody is what an operation declares of its body.
type requestBody struct {
	required bool
	form     bool // multipart or urlencoded; else JSON
	*schema
}

// Load reads an OpenAPI document, 3.1 or 3.0, as JSON. It needs some
// milliseconds and nothing but doc, which it does not keep, and the rules of
// its models that it cannot say; nil is none.
//
// An error says that doc is not JSON, not an OpenAPI document, or refers to
// what it does not have.
func Load(doc []byte, rules fastapi.Rules) (*Contract, error) {
	root, err := pyjson.Decode(doc)
	if err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	version, _ := root.Get("openapi")
	if !strings.HasPrefix(version.Text(), "3.") {
		return nil, errors.New("contract: not an OpenAPI 3 document")
	}
	l := loader{converter: converter{rules: rules, documents: map[string]pyjson.Value{}, components: map[string]*schema{}}, root: root}
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	slices.Sort(l.unvalidated)
	return &Contract{operations: l.operations, ordered: l.ordered, paths: arrange(l.ordered), schemas: l.components, unvalidated: l.unvalidated, view: l.view}, nil
}

// Operation returns the operation of an operationId, nil when there is none.
func (c *Contract) Operation(id string) *Operation { return c.operations[id] }

// Operations returns all operations, in the order of the document.
func (c *Contract) Operations() []*Operation { return slices.Clone(c.ordered) }

// Unvalidated tells which keywords of the document have no effect, as sorted
// JSON pointers.
func (c *Contract) Unvalidated() []string { return slices.Clone(c.unvalidated) }

// A loader builds a contract.
type loader struct {
	converter
	root       pyjson.Value
	view       *openapi3.T
	operations map[string]*Operation
	ordered    []*Operation
}

func (l *loader) load() error {
	schemas := at(l.root, "components", "schemas")
	for _, m := range schemas.Members() {
		l.documents[m.Key] = m.Value
	}
	for _, m := range schemas.Members() {
		if at(m.Value, notValidated).Bool() {
			continue
		}
		if _, err := l.component(componentPrefix+m.Key, "#"); err != nil {
			return err
		}
	}
	l.operations = map[string]*Operation{}
	l.view = &openapi3.T{
		OpenAPI:    "3.0.3",
		Info:       &openapi3.Info{Title: "3.0 view", Version: at(l.root, "info", "version").Text()},
		Paths:      openapi3.NewPaths(),
		Components: &openapi3.Components{Schemas: openapi3.Schemas{}},
	}
	for name, s := range l.components {
		l.view.Components.Schemas[name] = &openapi3.SchemaRef{Value: s.view}
	}
	for _, m := range at(l.root, "paths").Members() {
		if err := l.pathItem(m.Key, m.Value); err != nil {
			return err
		}
	}
	return nil
}

// at follows keys into objects. What is not there is null.
func at(v pyjson.Value, keys ...string) pyjson.Value {
	for _, k := range keys {
		v, _ = v.Get(k)
	}
	return v
}

// resolve follows a $ref of what is no schema into components.
func (l *loader) resolve(v pyjson.Value) pyjson.Value {
	ref, ok := v.Get("$ref")
	if !ok {
		return v
	}
	return at(l.root, strings.Split(strings.TrimPrefix(ref.Text(), "#/"), "/")...)
}

var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

func (l *loader) pathItem(path string, v pyjson.Value) error {
	where := "#/paths/" + escape(path)
	item := &openapi3.PathItem{}
	l.view.Paths.Set(path, item)
	for _, m := range v.Members() {
		if !slices.Contains(methods, m.Key) {
			continue
		}
		op, err := l.operation(m.Value, append(slices.Clone(at(v, "parameters").Items()), at(m.Value, "parameters").Items()...), where+"/"+m.Key)
		if err != nil {
			return err
		}
		op.Method, op.Path = strings.ToUpper(m.Key), path
		op.route.Spec, op.route.Path, op.route.PathItem, op.route.Method = l.view, path, item, op.Method
		item.SetOperation(op.Method, op.route.Operation)
		l.operations[op.ID] = op
		l.ordered = append(l.ordered, op)
	}
	return nil
}

func (l *loader) operation(v pyjson.Value, parameters []pyjson.Value, where string) (*Operation, error) {
	view := &openapi3.Operation{OperationID: at(v, "operationId").Text(), Responses: openapi3.NewResponsesWithCapacity(8)}
	op := &Operation{ID: view.OperationID, route: &routers.Route{Operation: view}}
	for i, p := range parameters {
		if err := l.parameter(op, l.resolve(p), where+"/parameters/"+strconv.Itoa(i)); err != nil {
			return nil, err
		}
	}
	body, ok := v.Get("requestBody")
	if body = l.resolve(body); ok && !at(body, notValidated).Bool() {
		if err := l.requestBody(op, body, where+"/requestBody"); err != nil {
			return nil, err
		}
	}
	for _, m := range at(v, "responses").Members() {
		content, _, err := l.content(l.resolve(m.Value), where+"/responses/"+m.Key)
		if err != nil {
			return nil, err
		}
		description := ""
		view.Responses.Set(m.Key, &openapi3.ResponseRef{Value: &openapi3.Response{Description: &description, Content: content}})
	}
	return op, nil
}

// parameter adds one. Those of headers and cookies are judged by the view
// alone.
func (l *loader) parameter(op *Operation, v pyjson.Value, where string) error {
	s, err := l.convert(at(v, "schema"), where+"/schema")
	if err != nil {
		return err
	}
	p := parameter{name: at(v, "name").Text(), required: at(v, "required").Bool(), schema: s}
	in := at(v, "in").Text()
	switch in {
	case openapi3.ParameterInPath:
		op.path = append(op.path, p)
	case openapi3.ParameterInQuery:
		op.query = append(op.query, p)
	}
	op.route.Operation.Parameters = append(op.route.Operation.Parameters,
		&openapi3.ParameterRef{Value: &openapi3.Parameter{Name: p.name, In: in, Required: p.required, Schema: s.reference()}})
	return nil
}

func (l *loader) requestBody(op *Operation, v pyjson.Value, where string) error {
	content, schemas, err := l.content(v, where)
	if err != nil {
		return err
	}
	b := &requestBody{required: at(v, "required").Bool()}
	for media, s := range schemas { // FastAPI declares one
		b.schema, b.form = s, media == formData || media == formURL
	}
	if b.schema == nil {
		return fmt.Errorf("%s: no schema", where)
	}
	op.body = b
	op.route.Operation.RequestBody = &openapi3.RequestBodyRef{Value: &openapi3.RequestBody{Required: b.required, Content: content}}
	return nil
}

// content converts the schemas of a body, by media type.
func (l *loader) content(v pyjson.Value, where string) (openapi3.Content, map[string]*schema, error) {
	content, schemas := openapi3.Content{}, map[string]*schema{}
	for _, m := range at(v, "content").Members() {
		content[m.Key] = &openapi3.MediaType{}
		written, ok := m.Value.Get("schema")
		if !ok {
			continue
		}
		s, err := l.convert(written, where+"/content/"+escape(m.Key)+"/schema")
		if err != nil {
			return nil, nil, err
		}
		schemas[m.Key], content[m.Key].Schema = s, s.reference()
	}
	return content, schemas, nil
}

// options are those of every check. No operation of the view asks for a key:
// that is not this package's business.
var options = &openapi3filter.Options{
	SkipSettingDefaults:   true, // it would rewrite the request
	ExcludeRequestBody:    true, // judged once it was read, without decoding it again
	IncludeResponseStatus: true,
}
