package contract

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Body is the decoded body of a request.
type Body struct {
	// Raw is what was sent.
	Raw []byte
	// JSON is what was sent as Go's decoders take it, once Validate returned
	// nil: the declared fields with their values in plain form. It is nil when
	// no JSON body is declared, and when an optional one was not sent.
	JSON []byte

	value pyjson.Value // of a JSON body; a text when it is not sent as JSON
	text  bool         // not sent as JSON
	form  []formField
}

// ReadBody reads the body of r and decodes it, if the operation declares one.
// r.Body can be read again afterwards.
//
// The error is a [*fastapi.Invalid] for broken JSON, a [*Refusal] for what no
// decoder understands, or what reading r.Body failed with. Upstream answers
// both before it looks at the key or the conversation (recorded auth_order,
// auth_multipart_first).
func (op *Operation) ReadBody(r *http.Request) (*Body, error) {
	b := &Body{}
	if r.Body != nil && r.Body != http.NoBody {
		raw := bytes.NewBuffer(make([]byte, 0, min(max(r.ContentLength, 0), maxGuess)+bytes.MinRead))
		if _, err := raw.ReadFrom(r.Body); err != nil {
			return nil, err
		}
		b.Raw = raw.Bytes()
		setBody(r, b.Raw)
	}
	switch {
	case op.body == nil:
		return b, nil
	case op.body.form:
		return b, b.readForm(r.Header.Get("Content-Type"))
	case len(b.Raw) == 0:
		return b, nil
	case !isJSON(r.Header.Get("Content-Type")):
		b.text, b.value = true, pyjson.StringOf(string(b.Raw))
		return b, nil
	}
	return b, b.decode()
}

// maxGuess is how much of a body is made room for on a client's word.
const maxGuess = 64 << 10

// setBody lets r.Body be read from its beginning.
func setBody(r *http.Request, text []byte) {
	r.Body, r.GetBody = io.NopCloser(bytes.NewReader(text)), nil
	r.ContentLength = int64(len(text))
}

// isJSON reports whether FastAPI decodes a body of this content type as JSON
// (recorded create_content_types).
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	media, _, _ := strings.Cut(contentType, ";")
	subtype, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(media)), "application/")
	return ok && !strings.Contains(subtype, "/") && (subtype == "json" || strings.HasSuffix(subtype, "+json"))
}

func (b *Body) decode() error {
	v, err := pyjson.Decode(b.Raw)
	var syntax *pyjson.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fastapi.JSONInvalid(syntax)
	case err != nil:
		return errBody
	}
	b.value = v
	return nil
}

// Validate checks the path's parameters, the query and the body, and writes
// back what it read: r.URL.RawQuery has one value for each parameter sent (of a
// list all), and r.Body is [Body.JSON]. A value of the path is only checked; an
// absent one is the empty text. An integer of the query that 64 bits cannot
// hold becomes the nearest they can; one of the body is kept. Fields that no
// schema declares are left out, where they are allowed.
//
// The error is a [*fastapi.Invalid] that names every fault: the path's, the
// query's, then the body's; or a [*Refusal].
func (op *Operation) Validate(r *http.Request, pathParams map[string]string, body *Body) error {
	read := &reader{}
	for _, p := range op.path {
		read.parameter(p, "path", []string{strings.ToValidUTF8(pathParams[p.name], "\ufffd")})
	}
	pairs := parseQuery(r.URL.RawQuery)
	query := op.readQuery(read, pairs)
	value, err := op.readBody(read, body)
	if err = cmp.Or(err, read.Err()); err != nil {
		return err
	}
	if err := op.judge(r, pathParams, query); err != nil {
		return err
	}
	if err := op.body.judge(value, body); err != nil {
		return err
	}
	if len(op.query) > 0 && len(pairs) > 0 {
		r.URL.RawQuery = writeQuery(pairs, query)
	}
	if op.body != nil && !op.body.form && len(body.Raw) > 0 && !value.IsNull() {
		body.JSON = value.Append(make([]byte, 0, len(body.Raw)))
		setBody(r, body.JSON)
	}
	return nil
}

// parameter reads a parameter from its texts: of several the last counts,
// unless it is a list. It returns the texts of what was read, nil when nothing
// was sent.
func (r *reader) parameter(p parameter, in string, sent []string) []string {
	r.Push(in)
	defer r.Pop()
	r.Push(p.name)
	defer r.Pop()
	if len(sent) == 0 {
		if p.required {
			r.Fail(fastapi.Missing, pyjson.Value{})
		}
		return nil
	}
	if s, _ := p.target(); s.typ != "array" {
		return []string{textOf(r.read(p.schema, pyjson.StringOf(sent[len(sent)-1])))}
	}
	items := make([]pyjson.Value, len(sent))
	for i, text := range sent {
		items[i] = pyjson.StringOf(text)
	}
	texts := make([]string, len(sent))
	for i, item := range r.read(p.schema, pyjson.ArrayOf(items...)).Items() {
		texts[i] = textOf(item)
	}
	return texts
}

// textOf is a value as a query has it. What binds a query to Go's types refuses
// an integer that 64 bits cannot hold.
func textOf(v pyjson.Value) string {
	switch v.Kind() {
	case pyjson.String:
		return v.Text()
	case pyjson.Int:
		return strconv.FormatInt(clamp(v), 10)
	}
	return string(v.Append(nil))
}

// readQuery reads the declared parameters and returns those sent, with their
// canonical values.
func (op *Operation) readQuery(read *reader, pairs []pair) url.Values {
	query := make(url.Values, len(op.query))
	for _, p := range op.query {
		if texts := read.parameter(p, "query", valuesOf(pairs, p.name)); texts != nil {
			query[p.name] = texts
		}
	}
	return query
}

// readBody reads the body as its schema says.
func (op *Operation) readBody(read *reader, body *Body) (pyjson.Value, error) {
	spec := op.body
	if spec == nil {
		return pyjson.Value{}, nil
	}
	read.Push("body")
	switch {
	case spec.form:
		return read.form(spec, body.form), nil
	case body.text && !utf8.Valid(body.Raw):
		return pyjson.Value{}, errBody
	case body.value.IsNull():
		if spec.required {
			read.Fail(fastapi.Missing, pyjson.Value{})
		}
		return pyjson.Value{}, nil
	}
	return read.read(spec.schema, body.value), nil
}

// judge lets the view decide about parameters. What it refuses though it could
// be read is told in its own words.
func (op *Operation) judge(r *http.Request, pathParams map[string]string, query url.Values) error {
	err := openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: noneEmpty(pathParams), QueryParams: query, Route: op.route, Options: options,
	})
	if err == nil {
		return nil
	}
	var refused *openapi3filter.RequestError
	errors.As(err, &refused) // with a parameter: there is no other reason
	p := refused.Parameter
	return viewError(err, []any{p.In, p.Name}, pyjson.StringOf(query.Get(p.Name)))
}

// judge lets the view decide about what was read of a body.
func (b *requestBody) judge(value pyjson.Value, body *Body) error {
	if b == nil || value.IsNull() {
		return nil
	}
	if err := b.view.VisitJSON(plain(value)); err != nil {
		return viewError(err, []any{"body"}, body.value)
	}
	return nil
}

// Read reads a body by the component of the contract that is its schema, as
// Validate reads that of a request: it returns what was sent as Go's decoders
// take it. The error is a [*fastapi.Invalid] or a [*Refusal].
func (c *Contract) Read(component string, body []byte) ([]byte, error) {
	s := c.schemas[component]
	if s == nil {
		return nil, fmt.Errorf("contract: no component %q", component)
	}
	op := &Operation{body: &requestBody{required: true, schema: s}}
	b := &Body{Raw: body}
	if err := b.decode(); err != nil {
		return nil, err
	}
	read := &reader{}
	value, err := op.readBody(read, b)
	if err = cmp.Or(err, read.Err()); err == nil {
		err = op.body.judge(value, b)
	}
	if err != nil {
		return nil, err
	}
	return value.Append(nil), nil
}

// noneEmpty lets kin-openapi take an empty path parameter, which it holds for
// a missing one. FastAPI takes it (recorded user_repo_paths).
func noneEmpty(pathParams map[string]string) map[string]string {
	for name, text := range pathParams {
		if text == "" {
			pathParams = maps.Clone(pathParams)
			pathParams[name] = " "
		}
	}
	return pathParams
}

// viewReason begins the text of what the view refuses.
const viewReason = "not as the contract says: "

// viewError is what the view refuses of an input at a place.
func viewError(err error, loc []any, input pyjson.Value) error {
	msg := err.Error()
	var in *openapi3.SchemaError
	if errors.As(err, &in) {
		msg = in.Reason
		for _, part := range in.JSONPointer() {
			if i, err := strconv.Atoi(part); err == nil && i < len(input.Items()) {
				loc, input = append(loc, i), input.Items()[i]
			} else {
				loc, input = append(loc, part), at(input, part)
			}
		}
	}
	f := fastapi.ValueError(viewReason + msg)
	return f.Refuse(input, loc...)
}
