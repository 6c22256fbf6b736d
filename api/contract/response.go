package contract

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3filter"
)

// ValidateResponse checks an answer: its status and content type are
// documented, its body is as the schema says, formats included, and no
// writeOnly field has a value. Other headers are not looked at, nor are
// redirects. It is for tests; servers need not pay for it.
func (op *Operation) ValidateResponse(status int, header http.Header, body []byte) error {
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: &http.Request{Method: op.Method}, Route: op.route},
		Status:                 status,
		Header:                 header,
		Body:                   io.NopCloser(bytes.NewReader(body)),
		Options:                options,
	})
}
