package journal

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/migration"
)

// The HTTP Archive, version 1.2 (http://www.softwareishard.com/blog/har-12-spec/),
// as far as it is written. What begins with _ is ours, or Chrome's for messages
// of sockets.
type (
	archive struct {
		Log harLog `json:"log"`
	}
	harLog struct {
		Version string      `json:"version"`
		Creator creator     `json:"creator"`
		Entries []*harEntry `json:"entries"`
	}
	creator struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	harEntry struct {
		Start    time.Time   `json:"startedDateTime"`
		Time     float64     `json:"time"` // milliseconds
		Request  harRequest  `json:"request"`
		Response harResponse `json:"response"`
		Cache    struct{}    `json:"cache"`
		Timings  timings     `json:"timings"`
		Comment  string      `json:"comment,omitempty"`

		Evidence  *Evidence             `json:"_evidence,omitempty"`
		Successor *migration.Successors `json:"_successor,omitempty"`

		ResourceType string       `json:"_resourceType,omitempty"`
		Messages     []harMessage `json:"_webSocketMessages,omitempty"`
	}
	harRequest struct {
		Method      string    `json:"method"`
		URL         string    `json:"url"`
		HTTPVersion string    `json:"httpVersion"`
		Cookies     []pair    `json:"cookies"` // none: they are keys
		Headers     []pair    `json:"headers"`
		Query       []pair    `json:"queryString"`
		PostData    *postData `json:"postData,omitempty"`
		HeadersSize int       `json:"headersSize"` // -1: not known
		BodySize    int64     `json:"bodySize"`
	}
	harResponse struct {
		Status      int     `json:"status"`
		StatusText  string  `json:"statusText"`
		HTTPVersion string  `json:"httpVersion"`
		Cookies     []pair  `json:"cookies"`
		Headers     []pair  `json:"headers"`
		Content     content `json:"content"`
		RedirectURL string  `json:"redirectURL"`
		HeadersSize int     `json:"headersSize"`
		BodySize    int64   `json:"bodySize"`
	}
	pair struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	postData struct {
		MIMEType string `json:"mimeType"`
		Params   []pair `json:"params"`
		Text     string `json:"text"`
		Encoding string `json:"_encoding,omitempty"`
		Comment  string `json:"comment,omitempty"`
	}
	content struct {
		Size     int64  `json:"size"`
		MIMEType string `json:"mimeType"`
		Text     string `json:"text,omitempty"`
		Encoding string `json:"encoding,omitempty"`
		Comment  string `json:"comment,omitempty"`
	}
	timings struct {
		Send    float64 `json:"send"`
		Wait    float64 `json:"wait"`
		Receive float64 `json:"receive"`
	}
	harMessage struct {
		Type   string  `json:"type"` // "send" by the client, or "receive"
		Time   float64 `json:"time"` // seconds since 1970
		Opcode int     `json:"opcode"`
		Data   string  `json:"data"`
	}
)

// WriteHAR writes entries as an HTTP Archive. The messages of a socket are those
// of the request that opened its connection, also where that is not among the
// entries, or not done. base is the server's address, version that of this
// program.
func WriteHAR(w io.Writer, entries []*Entry, base, version string) error {
	all, opened := []*harEntry{}, map[string]*harEntry{}
	for _, e := range entries {
		if e.Transport == exchange.HTTP {
			h := e.har(base)
			all, opened[e.ID] = append(all, h), h
		}
	}
	for _, e := range entries {
		if e.Transport != exchange.Socket {
			continue
		}
		h := opened[e.Connection]
		if h == nil {
			open := *e
			open.Evidence, open.Successor = nil, nil // they are the message's
			open.Method, open.Status, open.Milliseconds, open.Request, open.Response = http.MethodGet, http.StatusSwitchingProtocols, 0, Message{}, Message{}
			h = open.har(base)
			all, opened[e.Connection] = append(all, h), h
		}
		m := harMessage{Type: "send", Time: float64(e.Start.UnixMicro()) / 1e6, Opcode: 1, Data: socketEvent(e.Method, e.Request.Body)}
		if e.Sent {
			m.Type, m.Data = "receive", socketEvent(e.Method, e.Response.Body)
		}
		h.ResourceType, h.Messages = "websocket", append(h.Messages, m)
	}
	slices.SortStableFunc(all, func(a, b *harEntry) int { return a.Start.Compare(b.Start) })
	return json.NewEncoder(w).Encode(archive{harLog{"1.2", creator{"openhands-local", version}, all}})
}

// socketEvent is a message as Socket.IO writes it: ["oh_event",{…}].
func socketEvent(name string, argument []byte) string {
	text, _ := json.Marshal(name) // a string always marshals
	if len(argument) > 0 {
		text = append(append(text, ','), argument...)
	}
	return "[" + string(text) + "]"
}

func (e *Entry) har(base string) *harEntry {
	h := &harEntry{
		Start: e.Start, Time: e.Milliseconds, Timings: timings{Wait: e.Milliseconds}, Comment: e.String(),
		Evidence: e.Evidence, Successor: e.Successor,
		Request: harRequest{
			Method: e.Method, URL: e.url(base), HTTPVersion: "HTTP/1.1", Cookies: []pair{}, Headers: pairs(e.Request.Header),
			Query: pairsOfQuery(e.Query), HeadersSize: -1, BodySize: e.Request.Bytes,
		},
		Response: harResponse{
			Status: e.Status, StatusText: http.StatusText(e.Status), HTTPVersion: "HTTP/1.1", Cookies: []pair{}, Headers: pairs(e.Response.Header),
			RedirectURL: e.Response.Header.Get("Location"), HeadersSize: -1, BodySize: e.Response.Bytes,
		},
	}
	text, encoding := encoded(e.Response.Body)
	h.Response.Content = content{e.Response.Bytes, e.Response.Header.Get("Content-Type"), text, encoding, e.Response.comment()}
	if e.Request.Bytes > 0 {
		text, encoding := encoded(e.Request.Body)
		h.Request.PostData = &postData{e.Request.Header.Get("Content-Type"), []pair{}, text, encoding, e.Request.comment()}
	}
	return h
}

// comment says why a body is not all there.
func (m *Message) comment() string {
	switch {
	case m.Withheld:
		return "withheld: it holds keys"
	case m.Cut:
		return "the beginning alone is kept"
	}
	return ""
}

// pairs are the fields of a header, in the order of their names.
func pairs(h http.Header) []pair {
	all := []pair{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			all = append(all, pair{name, v})
		}
	}
	return all
}

func pairsOfQuery(query string) []pair {
	values, _ := url.ParseQuery(query) // what it cannot read is in the URL
	return pairs(http.Header(values))
}
