package contract

import (
	"fmt"
	"net/http"

	"github.com/openhands-local/openhands-local/api/pyjson"
)

// A Refusal is an answer of {"detail": Detail} whose status is not 422: 400
// for a body that cannot be read as what its content type says.
type Refusal struct {
	Status int    `json:"-"`
	Detail string `json:"detail"`
}

// Error is the status and detail.
func (r *Refusal) Error() string { return fmt.Sprintf("%d %s", r.Status, r.Detail) }

// Body is the body of the answer.
func (r *Refusal) Body() []byte {
	return append(pyjson.AppendString([]byte(`{"detail":`), r.Detail), '}')
}

// errBody is FastAPI's answer to a body that no decoder understands.
var errBody = &Refusal{http.StatusBadRequest, "There was an error parsing the body"}
