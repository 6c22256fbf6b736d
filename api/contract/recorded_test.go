package contract_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/fastapi"
)

// Documents in testdata: what 0.53.0 serves (47 operations), and what is
// published of it and of its neighbours (43 to 45).
const (
	served    = "served-0.53.0.json"
	published = "contract-0.53.0.json"
)

// load loads a document of testdata, once.
func load(tb testing.TB, name string) *contract.Contract {
	tb.Helper()
	c, err := loaded(name)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

var cache sync.Map

func loaded(name string) (*contract.Contract, error) {
	if c, ok := cache.Load(name); ok {
		return c.(*contract.Contract), nil
	}
	doc, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		return nil, err
	}
	c, err := contract.Load(doc, contract.Rules)
	if err == nil {
		cache.Store(name, c)
	}
	return c, err
}

// A recording is one exchange with the real server that its validation
// answered (with a 422 or a 400), or let pass (no status).
type recording struct {
	Name        string
	Operation   string
	Document    string // "contract": of a server that has the published document
	Query       string
	ContentType string `json:"content_type"`
	Body        string
	BodyBase64  []byte `json:"body_base64"`
	Status      int
	Answer      string
	Read        string // what was read from a body that passed, where it is known
}

func recordings(tb testing.TB, name string) []recording {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	var all []recording
	if err := json.Unmarshal(text, &all); err != nil {
		tb.Fatal(err)
	}
	return all
}

func (rec recording) document() string {
	if rec.Document == "contract" {
		return published
	}
	return served
}

func (rec recording) request(op *contract.Operation) *http.Request {
	body := rec.Body + string(rec.BodyBase64)
	r, err := http.NewRequest(op.Method, "http://localhost/x", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.URL.RawQuery = rec.Query
	if rec.ContentType != "" {
		r.Header.Set("Content-Type", rec.ContentType)
	}
	return r
}

// check runs both steps.
func check(op *contract.Operation, r *http.Request) (*contract.Body, error) {
	body, err := op.ReadBody(r)
	if err != nil {
		return body, err
	}
	params := map[string]string{}
	for part := range strings.SplitSeq(op.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			params[strings.TrimSuffix(name, "}")] = "x"
		}
	}
	return body, op.Validate(r, params, body)
}

// answer is the status and body of what a check returned; 0 for nil.
func answer(tb testing.TB, err error) (int, string) {
	tb.Helper()
	var invalid *fastapi.Invalid
	var refusal *contract.Refusal
	switch {
	case err == nil:
		return 0, ""
	case errors.As(err, &invalid):
		return http.StatusUnprocessableEntity, string(invalid.Body())
	case errors.As(err, &refusal):
		return refusal.Status, string(refusal.Body())
	}
	tb.Fatalf("check = %v, want an Invalid or a Refusal", err)
	return 0, ""
}

// recorded.json is what OpenHands 0.53.0 answered. fastapi.json is what
// FastAPI 0.116.1 with pydantic 2.11.5 answered to random requests, for models
// written like those of OpenHands.
func TestAnswers(t *testing.T) {
	for _, file := range []string{"recorded.json", "fastapi.json"} {
		for _, rec := range recordings(t, file) {
			op := load(t, rec.document()).Operation(rec.Operation)
			body, err := check(op, rec.request(op))
			status, text := answer(t, err)
			if status != rec.Status || text != rec.Answer {
				t.Errorf("%s %s: check = %d %s\nwant %d %s", file, rec.Name, status, text, rec.Status, rec.Answer)
				continue
			}
			if rec.Read != "" && body.JSON != nil && !equalJSON(t, rec.Read, string(body.JSON)) {
				t.Errorf("%s %s: Body.JSON = %s, want %s", file, rec.Name, body.JSON, rec.Read)
			}
		}
	}
}

func equalJSON(tb testing.TB, a, b string) bool {
	tb.Helper()
	var va, vb any
	if err := errors.Join(json.Unmarshal([]byte(a), &va), json.Unmarshal([]byte(b), &vb)); err != nil {
		tb.Fatal(err)
	}
	return reflect.DeepEqual(va, vb)
}

// One Contract serves many requests at once.
func TestConcurrentChecks(t *testing.T) {
	all := recordings(t, "recorded.json")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, rec := range all {
				op := load(t, rec.document()).Operation(rec.Operation)
				if _, err := check(op, rec.request(op)); (err == nil) != (rec.Status == 0) {
					t.Errorf("%s: check = %v, want status %d", rec.Name, err, rec.Status)
				}
			}
		})
	}
	wg.Wait()
}
