package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/openhands-local/openhands-local/gen"
)

// A schema is as much of one as requests are made from.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       any                `json:"type"`
	Enum       []string           `json:"enum"`
	AnyOf      []*schema          `json:"anyOf"`
	Items      *schema            `json:"items"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Rest       json.RawMessage    `json:"additionalProperties"`
}

type operation struct {
	Parameters []struct {
		Name   string
		In     string
		Schema *schema
	}
	Body *struct {
		Content map[string]struct{ Schema *schema }
	} `json:"requestBody"`

	method, path string
	name         string // POST /api/secrets
}

// Operations that are more than a request and its answer.
const (
	newConversation   = "POST /api/conversations"
	startConversation = "POST /api/conversations/{conversation_id}/start"
	uploadFiles       = "POST /api/conversations/{conversation_id}/upload-files"
	addEvent          = "POST /api/conversations/{conversation_id}/events"
)

// A generator makes requests by the served contract.
type generator struct {
	*rand.Rand
	operations []*operation
	schemas    map[string]*schema
	only       string
	bodies     []string // recorded ones, to be mutated
}

func newGenerator(r *rand.Rand, only string) (*generator, error) {
	var doc struct {
		Paths      map[string]map[string]*operation
		Components struct{ Schemas map[string]*schema }
	}
	if err := json.Unmarshal(gen.OpenAPI, &doc); err != nil {
		return nil, err
	}
	g := &generator{Rand: r, schemas: doc.Components.Schemas, only: only}
	for path, item := range doc.Paths {
		for method, op := range item {
			if strings.HasSuffix(path, "/message") { // a later version's
				continue
			}
			op.method, op.path = strings.ToUpper(method), path
			op.name = op.method + " " + path
			g.operations = append(g.operations, op)
		}
	}
	slices.SortFunc(g.operations, func(a, b *operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return g, nil
}

func pick[T any](g *generator, of []T) T { return of[g.IntN(len(of))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

var longNumber = regexp.MustCompile(`\d{6}|\de\d`)

// Values as they stand in JSON, whatever was asked for.
var odd = []string{
	"null", "true", "false", "0", "1", "-1", "5", "1.0", "1.5", "1e3", "-0", "-0.0", "1e19", "1e400", "9223372036854775807", "9223372036854775808",
	"-9223372036854775809", "1000000000000000000000000", "NaN", "Infinity", "-Infinity", `""`, `" "`, `"a"`, `"5"`, `" 5 "`, `"5.0"`, `"1_0"`, `"0x1"`, `"1e3"`,
	`"on"`, `"OFF"`, `"True"`, `"t"`, `"nan"`, `"inf"`, `"\ud800"`, `"\u0000"`, `"é☃😀"`, `"<b>"`, `"null"`, "[]", "[1]", `["a"]`, `[null]`, `[[]]`, "{}", `{"a":1}`, `{"a":{"b":[]}}`, `"ſ"`, `"١"`,
}

var words = []string{`"a"`, `"en"`, `"CodeActAgent"`, `"x y"`, `""`, `"github"`, `"é"`, `"http://a"`, `"openai/fake"`, `"0"`}

// value is a value for a schema: mostly a valid one.
func (g *generator) value(name string, s *schema, depth int) string {
	if g.chance(12) || depth > 5 {
		if name == "name" || name == "value" { // of a secret: the real runtime dies of an empty name, and of U+0000
			return g.harmless()
		}
		return pick(g, odd)
	}
	if s == nil {
		return pick(g, words)
	}
	if s.Ref != "" {
		return g.value(name, g.schemas[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]], depth)
	}
	if len(s.AnyOf) > 0 {
		return g.value(name, pick(g, s.AnyOf), depth)
	}
	if len(s.Enum) > 0 {
		return quoted(pick(g, s.Enum))
	}
	switch s.Type {
	case "null":
		return "null"
	case "boolean":
		return pick(g, []string{"true", "false", "true", "false", `"yes"`, `"off"`, "1", "0", "1.0", "2"})
	case "integer":
		return pick(g, []string{"0", "1", "5", "20", "-3", "100", "101", `"7"`, "2.0", `"2.0"`, "1.5"})
	case "number":
		return pick(g, []string{"0", "1", "1.5", "-2.25", `"1.5"`, "1e3", "true"})
	case "array":
		items := make([]string, g.IntN(3))
		for i := range items {
			items[i] = g.value(name, s.Items, depth+1)
		}
		return "[" + strings.Join(items, ",") + "]"
	case "object":
		if len(s.Properties) == 0 {
			var rest schema
			_ = json.Unmarshal(s.Rest, &rest) // a boolean says nothing of values
			members := make([]string, g.IntN(3))
			for i := range members {
				members[i] = pick(g, []string{`"github"`, `"gitlab"`, `"a"`, `"bitbucket"`}) + ":" + g.value(name, &rest, depth+1)
			}
			return "{" + strings.Join(members, ",") + "}"
		}
		return g.object(s, depth)
	}
	return g.text(name)
}

// text is a text for a field that asks for one.
func (g *generator) text(name string) string {
	switch name {
	case "url":
		return pick(g, []string{`"http://a"`, `" https://a/b "`, `"ftp://a"`, `"a"`, `""`, `"http://[a"`, `"ws://x:1"`})
	case "name":
		return pick(g, []string{`"A"`, `"B"`, `"C d"`, `"a-b_1"`})
	case "command":
		return pick(g, []string{`"true"`, `"echo hi"`, `""`})
	case "args":
		return pick(g, []string{`"a 'b c'"`, `"'"`, `"--x=1"`})
	case "env":
		return pick(g, []string{`"A=1,B=2"`, `"A"`, `"=1"`, `"1A=2"`})
	case "title":
		return pick(g, []string{`"A title"`, `" "`, `""`, `"` + strings.Repeat("t", 201) + `"`, `"é"`})
	case "replay_json":
		return pick(g, []string{`"[]"`, `"x"`, `"{}"`, `"[{}]"`})
	}
	return pick(g, words)
}

// object is an object of a schema: some fields are left out, some are too many.
func (g *generator) object(s *schema, depth int) string {
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	few := g.IntN(len(names)) + 1
	var members []string
	for i, name := range names {
		if slices.Contains(s.Required, name) && !g.chance(6) || i < few && g.chance(60) {
			members = append(members, quoted(name)+":"+g.value(name, s.Properties[name], depth+1))
		}
	}
	if g.chance(6) {
		members = append(members, pick(g, []string{`"bogus"`, `""`, `"é"`, `"conversation_id"`})+":"+pick(g, odd))
	}
	if len(members) > 0 && g.chance(3) {
		members = append(members, pick(g, members)) // a key that comes twice
	}
	g.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return "{" + strings.Join(members, ",") + "}"
}

func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // it is a string
	}
	return string(b)
}

// body is a JSON body of a schema, or what is sent in place of one.
func (g *generator) body(s *schema) string {
	switch n := g.IntN(100); {
	case n < 6:
		return pick(g, odd)
	case n < 10:
		return pick(g, []string{"", "{", "}", `{"a"`, `{"a":}`, `{'a':1}`, "[1,]", `{"a":1,}`, "nul", "{}{}", "\ufeff{}", "\xff", `{"a":"` + "\n" + `"}`, "// x\n{}", "01", "+1", ".5", "1.", "\t{}\r\n", `"` + "\x7f" + `"`, "{}\x00"})
	case n < 14:
		return "{}"
	}
	return g.value("", s, 0)
}

// queryValues are values of a query's parameter, as they are sent.
var queryValues = []string{"0", "1", "5", "20", "100", "101", "-1", "true", "false", "yes", "abc", "", "1.0", "1.5", "%201", "1e3", "0x1", "null", "99999999999999999999", "-1000000000000000000000000", "%00", "%FF", "%E2%98%83", "a%20b", "github", "gui", "a.txt", "../x", "/etc", "MQ==", "1_0", "+5", "%2B5"}

// paths are values of a path's parameter.
var pathValues = map[string][]string{
	"conversation_id": {"{cid}", "{cid}", "{cid}", "{cid}", "{cid2}", "nope", "a", "A%20B", "x.y", "%00", "..%2Fx", "%C3%A9", "{cid}%20", "{cid}x", "-a"},
	"secret_id":       {"A", "B", "C%20d", "a-b_1", "nope", "%20", "a%2Fb", "%C3%A9", "a%00"},
	"repository_name": {"o/r", "o", "a%2Fb", "a/b/c", "%20"},
}

// operation is a random request of an operation.
func (g *generator) operation(op *operation) request {
	q := request{op: op.name, method: op.method, target: op.path}
	var query []string
	for _, p := range op.Parameters {
		switch p.In {
		case "path":
			values := pathValues[p.Name]
			switch {
			case strings.HasSuffix(op.path, "/exp-config") || op.name == uploadFiles:
				// The real one makes a folder for any id, which then is half a conversation.
				values = []string{"{cid}", "{cid}", "{cid}", "%00"}
			case values == nil:
				values = []string{"a", "%20"}
			}
			q.target = strings.ReplaceAll(q.target, "{"+p.Name+"}", pick(g, values))
		case "query":
			for g.chance(55) {
				value := pick(g, queryValues)
				if g.chance(50) {
					var text string
					raw := g.value(p.Name, p.Schema, 0)
					if json.Unmarshal([]byte(raw), &text) != nil {
						text = raw
					}
					value = url.QueryEscape(text)
				}
				if strings.HasSuffix(p.Name, "_id") && p.Name != "page_id" && longNumber.MatchString(value) {
					continue // the real server counts up to it (recorded search_hang_start_id, search_hang_end_id)
				}
				query = append(query, p.Name+"="+value)
			}
		}
	}
	if g.chance(5) {
		query = append(query, pick(g, []string{"bogus=1", "limit", "=", "&", "limit=1;x=2", "a%3Db"}))
	}
	g.Shuffle(len(query), func(i, j int) { query[i], query[j] = query[j], query[i] })
	if len(query) > 0 {
		q.target += "?" + strings.Join(query, "&")
	}
	switch {
	case op.name == addEvent:
		q.body, q.hasBody = g.event(), true
		if g.chance(8) {
			q.body = g.body(nil)
		}
	case op.Body != nil:
		g.requestBody(&q, op)
	case op.method != "GET" && g.chance(60):
		q.body, q.hasBody = g.body(nil), true
	}
	if strings.HasSuffix(op.path, "/submit-feedback") && q.hasBody && g.chance(70) {
		q.body = g.body(g.schemas["FeedbackRequest"])
	}
	if q.hasBody && len(q.headers) == 0 {
		q.headers = append(q.headers, [2]string{"Content-Type", g.contentType()})
	}
	if g.chance(3) {
		q.headers = append(q.headers, [2]string{"Origin", "http://localhost:3000"})
	}
	return q
}

func (g *generator) contentType() string {
	if g.chance(93) {
		return "application/json"
	}
	return pick(g, []string{"text/plain", "application/x-www-form-urlencoded", "application/problem+json", "APPLICATION/JSON; charset=latin-1", "application/octet-stream", "x"})
}

func (g *generator) requestBody(q *request, op *operation) {
	if _, form := op.Body.Content["multipart/form-data"]; form {
		g.upload(q)
		return
	}
	if op.method == "GET" && g.chance(60) {
		return
	}
	q.body, q.hasBody = g.body(op.Body.Content["application/json"].Schema), true
}

// upload makes a form with files.
func (g *generator) upload(q *request) {
	q.hasBody = true
	if g.chance(10) {
		q.body = g.body(nil)
		return
	}
	kind := "multipart/form-data; boundary=b"
	if g.chance(8) {
		kind = pick(g, []string{"multipart/form-data", "multipart/form-data; boundary=c", "application/json", "application/x-www-form-urlencoded"})
	}
	q.headers = [][2]string{{"Content-Type", kind}}
	for range g.IntN(4) {
		field := pick(g, []string{"files", "files", "files", "files", "file", ""})
		name := pick(g, []string{`; filename="a.txt"`, `; filename="b c.txt"`, `; filename="d/e.txt"`, `; filename="é.txt"`, ``, `; filename=""`})
		q.body += fmt.Sprintf("--b\r\nContent-Disposition: form-data; name=%q%s\r\n\r\n%s\r\n", field, name, pick(g, []string{"", "text", "\x00\xff", "two\nlines"}))
	}
	if !g.chance(5) {
		q.body += "--b--\r\n"
	}
}

// unusual is a request of an unusual path or method.
func (g *generator) unusual() request {
	op := pick(g, g.operations)
	q := g.operation(op)
	path, query, _ := strings.Cut(q.target, "?")
	switch g.IntN(5) {
	case 0:
		q.method = pick(g, []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
	case 1:
		path = pick(g, []string{path + "/", path + "//", "/" + path, path + "/x", strings.ToUpper(path), strings.Replace(path, "/api/", "/api//", 1), path + "%2F", path + ";a"})
	case 2:
		path, query = pick(g, []string{"/", "/api", "/api/", "/nope", "/api/nope", "/api/conversations/", "/api/conversations//events", "/favicon.ico", "/docs/x", "/redoc", "/api/options", "/api/options/", "/api/security/x", "/%2e%2e/x", "/a%00"}), ""
	case 3:
		q = request{op: "mcp", method: pick(g, []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})}
		path = pick(g, []string{"/mcp", "/mcp/", "/mcp/x", "/mcp/mcp", "/mcp/mcp/", "/mcp/mcp/x", "/mcp/mcp//", "/mcp//mcp", "/mcpx", "/mcp/mcpx"})
		query = ""
		if q.method == "POST" {
			q.body, q.hasBody = g.body(nil), true
			q.headers = [][2]string{{"Content-Type", g.contentType()}, {"Accept", pick(g, []string{"*/*", "application/json", "application/json, text/event-stream"})}}
		}
		if q.method == "GET" {
			q.headers = [][2]string{{"Accept", pick(g, []string{"*/*", "application/json"})}}
		}
	case 4:
		q.headers = append(q.headers, pick(g, [][2]string{{"Origin", "http://localhost:3000"}, {"Accept", "text/html"}, {"X-Session-API-Key", "x"}, {"Authorization", "Bearer x"}, {"Cookie", "a=b"}, {"If-None-Match", "*"}, {"Range", "bytes=0-1"}}))
	}
	q.target = path
	if query != "" {
		q.target += "?" + query
	}
	if op.name != q.op {
		return q
	}
	q.op += "*"
	return q
}

// next is the next random request. In a round without a conversation all ids
// are unknown.
func (g *generator) next() request {
	if g.only != "" && g.chance(90) {
		if i := slices.IndexFunc(g.operations, func(op *operation) bool { return op.name == g.only }); i >= 0 {
			return g.operation(g.operations[i])
		}
	}
	if g.chance(10) {
		return g.unusual()
	}
	for {
		op := pick(g, g.operations)
		if op.name == newConversation && !g.chance(25) { // the real one works for a second
			continue
		}
		return g.operation(op)
	}
}
