// Package recorded tells which recorded cases a contract still speaks of.
//
// The cases were recorded from one version of OpenHands. A later contract may
// drop an operation, take other requests or give other answers: there the
// recorded answer is no longer the one to hold a server to, and the case is
// left out, by name and with the reason.
package recorded

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openhands-local/openhands-local/api/conform"
	"github.com/openhands-local/openhands-local/api/contract"
	"github.com/openhands-local/openhands-local/api/contract/document"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/server/workshop/overlay"
)

// Version is the recorded version, Document its published contract, and
// OverlayFile what is joined to it. The files are below the module's root.
const (
	Version     = event.Version
	Document    = "api/contract/testdata/contract-" + Version + ".json"
	OverlayFile = "api/overlay.yaml"
)

// Contract returns the contract that the recorded version has here. root is
// the folder of the module.
func Contract(root string) (*contract.Contract, error) {
	text, err := os.ReadFile(filepath.Join(root, Document))
	if err != nil {
		return nil, err
	}
	doc, err := document.Parse(Document, text)
	if err != nil {
		return nil, err
	}
	actions, err := overlay.Read(filepath.Join(root, OverlayFile))
	if err != nil {
		return nil, err
	}
	if _, err := overlay.Join(doc, actions); err != nil {
		return nil, err
	}
	if text, err = doc.JSON(); err != nil {
		return nil, err
	}
	return contract.Load(text, nil)
}

// A Case is one that does not apply.
type Case struct {
	Name   string
	Reason string // what the first step shows that does not apply
}

// Inapplicable returns the cases that a contract no longer speaks of, in
// order. was is the contract that they were recorded with.
func Inapplicable(was, is *contract.Contract, cases []conform.Case) []Case {
	j := judge{was, is}
	var left []Case
	for _, c := range cases {
		for _, s := range c.Steps {
			reason := ""
			for _, request := range append(slices.Clone(s.Steps), s) {
				if request.Method != "" && reason == "" {
					reason = j.reason(&request)
				}
			}
			if reason != "" {
				left = append(left, Case{c.Name, reason})
				break
			}
		}
	}
	return left
}

// Applicable returns the names of the cases that a served contract still
// speaks of, and those that it does not. root is the folder of the module.
func Applicable(root string, served []byte, cases []conform.Case) (names []string, left []Case, err error) {
	was, err := Contract(root)
	if err != nil {
		return nil, nil, err
	}
	is, err := contract.Load(served, nil)
	if err != nil {
		return nil, nil, err
	}
	left = Inapplicable(was, is, cases)
	for _, c := range cases {
		if !slices.ContainsFunc(left, func(l Case) bool { return l.Name == c.Name }) {
			names = append(names, c.Name)
		}
	}
	return names, left, nil
}

// Gone tells which operation a request asked that a contract no longer has,
// "" when there is none.
func Gone(was, is *contract.Contract, method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	op, _ := was.Match(method, path)
	if still, _ := is.Match(method, path); op == nil || still != nil {
		return ""
	}
	return op.Method + " " + op.Path
}

// judge compares two contracts by recorded requests.
type judge struct{ was, is *contract.Contract }

// reason says why the answer to a request is not the one to hold a server to,
// "" when it is.
func (j judge) reason(s *conform.Step) string {
	u, err := url.ParseRequestURI(s.Path)
	if err != nil {
		return ""
	}
	was, is := j.was.At(u.Path), j.is.At(u.Path)
	for _, op := range was {
		if !has(is, op.Method) && (op.Method == s.Method || len(is) > 0) {
			return fmt.Sprintf("%s %s is gone", op.Method, op.Path)
		}
	}
	for _, op := range is {
		if !has(was, op.Method) {
			return fmt.Sprintf("%s %s is new", op.Method, op.Path)
		}
	}
	then, given := j.was.Match(s.Method, u.Path)
	if then == nil {
		return ""
	}
	now, taken := j.is.Match(s.Method, u.Path)
	switch {
	case verdict(then, s, given) != verdict(now, s, taken):
		return fmt.Sprintf("%s %s takes other requests", s.Method, now.Path)
	case answers(then, s) == nil && answers(now, s) != nil:
		return fmt.Sprintf("%s %s answers otherwise", s.Method, now.Path)
	}
	return ""
}

func has(operations []*contract.Operation, method string) bool {
	return slices.ContainsFunc(operations, func(op *contract.Operation) bool { return op.Method == method })
}

// verdict is how an operation refuses a request, "" when it does not.
func verdict(op *contract.Operation, s *conform.Step, params map[string]string) string {
	r, err := http.NewRequest(s.Method, "http://localhost"+s.Path, bytes.NewReader(body(s)))
	if err != nil {
		return ""
	}
	for _, h := range s.Headers {
		r.Header.Add(h[0], h[1])
	}
	read, err := op.ReadBody(r)
	if err == nil {
		err = op.Validate(r, params, read)
	}
	var invalid *fastapi.Invalid
	if errors.As(err, &invalid) {
		text, _ := json.Marshal(invalid)
		return string(text)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// body is that of a request, with its placeholders.
func body(s *conform.Step) []byte {
	switch {
	case s.BodyB64 != "":
		b, _ := base64.StdEncoding.DecodeString(s.BodyB64)
		return b
	case s.BodyGen != nil:
		return []byte(s.BodyGen.Prefix + strings.Repeat(s.BodyGen.Unit, s.BodyGen.Count) + s.BodyGen.Suffix)
	}
	return []byte(s.BodyRaw)
}

// answers holds the recorded answer to an operation.
func answers(op *contract.Operation, s *conform.Step) error {
	if s.Answer.BodyOmitted || s.Answer.Status == 0 {
		return nil
	}
	header := http.Header{}
	for name, value := range s.Answer.Headers {
		header.Set(name, value)
	}
	text := []byte(s.Answer.Body)
	if !strings.HasPrefix(header.Get("Content-Type"), "application/json") {
		var plain string
		_ = json.Unmarshal(text, &plain)
		text = []byte(plain)
	}
	return op.ValidateResponse(s.Answer.Status, header, text)
}
