package contract

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/pyjson"
)

const (
	formData = "multipart/form-data"
	formURL  = "application/x-www-form-urlencoded"
)

// A formField is one value of a form.
type formField struct {
	name string
	file bool   // sent with a filename, were it an empty one
	text string // of a field that is no file
}

// readForm decodes a form. A body of another content type is an empty one
// (recorded sub_upload_files).
func (b *Body) readForm(contentType string) error {
	media, params, _ := mime.ParseMediaType(contentType)
	switch media {
	case formData:
		if params["boundary"] == "" {
			return &Refusal{http.StatusBadRequest, "Missing boundary in multipart."}
		}
		return b.readParts(params["boundary"])
	case formURL:
		for _, p := range parseQuery(string(b.Raw)) {
			b.form = append(b.form, formField{name: p.name, text: p.value})
		}
	}
	return nil
}

func (b *Body) readParts(boundary string) error {
	if !beginsWith(b.Raw, "--"+boundary) {
		return errBody
	}
	replaceControls(b.Raw, boundary)
	parts := multipart.NewReader(bytes.NewReader(b.Raw), boundary)
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return errBody
		}
		disposition := part.Header.Get("Content-Disposition")
		_, params, err := mime.ParseMediaType(disposition)
		name, named := params["name"]
		if err != nil && strings.Contains(disposition, "name=") {
			continue // a name that Go does not read is none that is declared
		}
		if err != nil || !named {
			return &Refusal{http.StatusBadRequest, `The Content-Disposition header field "name" must be provided.`}
		}
		field := formField{name: name}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil // a part that does not end is none
		}
		if _, field.file = params["filename"]; !field.file {
			field.text = decodeText(string(text))
		}
		b.form = append(b.form, field)
	}
}

// replaceControls makes a ? of each control character in a part's header, in
// place. Upstream takes them in a name, mime/multipart refuses the whole body.
func replaceControls(body []byte, boundary string) {
	for part := range bytes.SplitSeq(body, []byte("\r\n--"+boundary)) {
		header, _, _ := bytes.Cut(part, []byte("\r\n\r\n"))
		for i, c := range header {
			if c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
				header[i] = '?'
			}
		}
	}
}

// decodeText takes bytes that are not UTF-8 for Latin-1.
func decodeText(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	characters := make([]rune, len(text))
	for i := range len(text) {
		characters[i] = rune(text[i])
	}
	return string(characters)
}

// beginsWith reports whether a body begins with the boundary, after empty
// lines, as far as it goes. An empty one does.
func beginsWith(body []byte, boundary string) bool {
	body = bytes.TrimLeft(body, "\r\n")
	n := min(len(body), len(boundary))
	if string(body[:n]) != boundary[:n] {
		return false
	}
	return len(body) == n || body[n] == '\r' || body[n] == '-'
}

var notFile = fastapi.ValueError("Expected UploadFile, received: <class 'str'>")

// form reads the fields of a form: lists of files, or texts, of which the last
// counts.
func (r *reader) form(spec *requestBody, fields []formField) pyjson.Value {
	s, _ := spec.target()
	var members []pyjson.Member
	for _, p := range s.properties {
		var sent []formField
		for _, f := range fields {
			if f.name == p.name {
				sent = append(sent, f)
			}
		}
		r.Push(p.name)
		switch {
		case len(sent) > 0:
			members = append(members, pyjson.Member{Key: p.name, Value: r.formValue(p.schema, sent)})
		case p.required:
			r.Fail(fastapi.Missing, pyjson.Value{})
		}
		r.Pop()
	}
	return pyjson.ObjectOf(members...)
}

func (r *reader) formValue(s *schema, sent []formField) pyjson.Value {
	if s.items == nil {
		return r.read(s, pyjson.StringOf(sent[len(sent)-1].text))
	}
	files := make([]pyjson.Value, len(sent))
	for i, f := range sent {
		r.PushItem(i)
		if files[i] = pyjson.StringOf(""); !f.file {
			r.Fail(notFile, pyjson.StringOf(f.text))
		}
		r.Pop()
	}
	return pyjson.ArrayOf(files...)
}
