// Package refuse has the refusals that every line of contract answers in one
// shape: what FastAPI says of a request, what the store and the system cannot do
// now, and how a body is encoded.
//
// Handlers return errors as they are. A line's own table of errors comes first,
// then [Of]; what neither knows is a bare 500, and the whole error goes to the log.
package refuse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/store"
)

// A Refusal is an answer of a fixed body, returned as an error.
type Refusal struct {
	Status int
	Body   any
}

func (r *Refusal) Error() string {
	text, _ := Marshal(r.Body)
	return fmt.Sprintf("%d %s", r.Status, text)
}

// Detail is FastAPI's shape of a refusal without fields.
type Detail struct {
	Detail string `json:"detail"`
}

// Message is the shape of answers that are ours alone. The web UI reads only
// Message.
type Message struct {
	Detail  string `json:"detail"`
	Message string `json:"message"`
}

// With is a refusal of this body.
func With(status int, body any) *Refusal { return &Refusal{status, body} }

// Text is a refusal in the shape of [Detail].
func Text(status int, detail string) *Refusal { return &Refusal{status, Detail{detail}} }

// Ours is a refusal that no OpenHands has.
func Ours(status int, text string) *Refusal { return &Refusal{status, Message{text, text}} }

// errNoFiles is for a process, or a machine, that has too many files open.
var errNoFiles = Ours(http.StatusServiceUnavailable, "Too many files are open. Try again later, with fewer connections.")

// refusals says how an error is answered.
var refusals = []struct {
	is error
	Refusal
}{
	{store.ErrFull, *Ours(http.StatusInsufficientStorage, "No space is left on the disk. Nothing was stored. Reading goes on; writing will once there is room.")},
	{store.ErrReadOnly, *Ours(http.StatusServiceUnavailable, "The data folder cannot be written now. Nothing was stored. Reading goes on; writing will once it is allowed.")},
	{store.ErrFailed, *Ours(http.StatusServiceUnavailable, "Writing to the disk failed, and nothing more is written until openhands-local is started again. What was acknowledged is there, and reading goes on.")},
	{os.ErrDeadlineExceeded, *Ours(http.StatusRequestTimeout, "The body did not come in time.")},
	{io.ErrUnexpectedEOF, *Ours(http.StatusBadRequest, "The body ends before its end.")},
	{syscall.EMFILE, *errNoFiles},
	{syscall.ENFILE, *errNoFiles},
	{store.ErrCorrupt, *Ours(http.StatusInternalServerError, "What was asked for is damaged on the disk and cannot be read. `openhands-local check` tells what else is; a backup has it whole.")},
}

// Of returns the refusal that an error means whatever the line, nil for none.
func Of(err error) *Refusal {
	var (
		fixed    *Refusal
		invalid  *fastapi.Invalid
		decoding *contract.Refusal
		tooLarge *http.MaxBytesError
		damaged  *store.DamagedEvent
	)
	switch {
	case errors.As(err, &fixed):
		return fixed
	case errors.As(err, &invalid):
		return &Refusal{http.StatusUnprocessableEntity, invalid}
	case errors.As(err, &decoding):
		return &Refusal{decoding.Status, Detail{decoding.Detail}}
	case errors.As(err, &tooLarge):
		return Ours(http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is larger than %d bytes. Start openhands-local with a larger --max-body to allow it.", tooLarge.Limit))
	case errors.As(err, &damaged):
		return Ours(http.StatusInternalServerError, fmt.Sprintf("Event %d is damaged on the disk and cannot be read. Those before and after it can.", damaged.ID))
	}
	for _, r := range refusals {
		if errors.Is(err, r.is) {
			return &r.Refusal
		}
	}
	return nil
}

// First is the place and text of its first error.
func (r *Refusal) First() (loc, msg string) {
	text, err := Marshal(r.Body)
	if err != nil {
		return "", ""
	}
	var many struct {
		Detail []struct {
			Loc []any  `json:"loc"`
			Msg string `json:"msg"`
		} `json:"detail"`
	}
	if json.Unmarshal(text, &many) == nil && len(many.Detail) > 0 {
		parts := make([]string, len(many.Detail[0].Loc))
		for i, p := range many.Detail[0].Loc {
			parts[i] = fmt.Sprint(p)
		}
		return strings.Join(parts, "."), many.Detail[0].Msg
	}
	return "", string(text)
}

// Marshal encodes as upstream: compact, no HTML escapes.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return unescapeHTML(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// unescapeHTML takes out the HTML escapes of values that encode themselves,
// such as nullable ones, which do not know what the encoder was told.
func unescapeHTML(text []byte) []byte {
	if !bytes.Contains(text, []byte(`\u00`)) {
		return text
	}
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			if c, ok := htmlEscapes[string(text[i:min(i+6, len(text))])]; ok {
				plain = append(plain, c)
				i += 5
				continue
			}
			plain = append(plain, text[i])
			i++
		}
		plain = append(plain, text[i])
	}
	return plain
}

var htmlEscapes = map[string]byte{`\u0026`: '&', `\u003c`: '<', `\u003e`: '>'}
