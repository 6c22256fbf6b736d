package conform

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// replayer is a server that answers the requests of one case as they were recorded, in order, whatever they are: it knows
// no more of HTTP than where a request ends. Ids differ from the recorded ones.
type replayer struct {
	c      Case
	ln     net.Listener
	mutate func(step string, a *replay) // changes an answer before it is sent; may be nil

	mu     sync.Mutex
	at     int            // index of the step that is next
	settle int            // own requests of the current settle that were answered
	given  map[string]int // parallel step => answers given
	vars   vars
}

// replay is one answer on its way out.
type replay struct {
	status  int
	headers map[string]string
	body    string
}

func startReplayer(t *testing.T, c Case, mutate func(string, *replay)) *replayer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &replayer{c: c, ln: ln, mutate: mutate, given: map[string]int{},
		vars: vars{"ws": "/srv/ws/one", "root": "/srv/ws", "host": ln.Addr().String(), "base": strconv.Itoa(recordedBase(&c) + 7)}}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go r.serve(conn)
		}
	}()
	return r
}

func (r *replayer) URL() string                   { return "http://" + r.ln.Addr().String() }
func (r *replayer) Restart(context.Context) error { return nil }
func (r *replayer) Close() error                  { return r.ln.Close() }

// target starts the replayer as a server of the run's own.
func (r *replayer) target() Target {
	return Target{Start: func(context.Context, map[string]string) (Server, error) { return r, nil }}
}

// recordedBase is the base that the ids of a case are relative to, 3 if it has none.
func recordedBase(c *Case) int {
	base := 3
	c.each(func(_ string, s *Step) {
		body, err := parseJSON(s.Answer.Body)
		if err != nil {
			return
		}
		for pointer, relative := range s.Answer.Relative {
			id, _ := body.at(pointer)
			n, _ := strconv.Atoi(strings.TrimPrefix(relative, "base"))
			at, _ := strconv.Atoi(id.text)
			base = at - n
		}
	})
	return base
}

func (r *replayer) serve(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return
	}
	header, chunked, length := "", false, 0
	for header != "\r\n" {
		if header, err = in.ReadString('\n'); err != nil {
			return
		}
		name, value, _ := strings.Cut(strings.TrimSpace(header), ":")
		switch strings.ToLower(name) {
		case "content-length":
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		case "transfer-encoding":
			chunked = true
		}
	}
	if chunked {
		for header = ""; header != "0\r\n"; {
			if header, err = in.ReadString('\n'); err != nil {
				return
			}
		}
	} else {
		conn.SetReadDeadline(time.Now().Add(time.Duration(100+length/1000) * time.Millisecond)) // some lengths lie
		io.CopyN(io.Discard, in, int64(length))
	}
	step, a := r.next(line)
	if r.mutate != nil {
		r.mutate(step, &a)
	}
	if a.status == 0 {
		return // hangs up
	}
	out := fmt.Sprintf("HTTP/1.1 %d Recorded\r\n", a.status)
	for _, k := range slices.Sorted(maps.Keys(a.headers)) {
		out += textproto.CanonicalMIMEHeaderKey(k) + ": " + a.headers[k] + "\r\n"
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, out+"\r\n"+a.body)
}

// next finds the answer: to the engine's own questions if the next step is to settle, to the next request else.
func (r *replayer) next(line string) (string, replay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.at < len(r.c.Steps) {
		s := &r.c.Steps[r.at]
		switch s.Op {
		case "settle":
			if r.settle++; r.settle == 4 {
				r.at, r.settle = r.at+1, 0
			}
			if strings.Contains(line, "/events?reverse=true&limit=1 ") {
				return "", document(`{"events":[{"id":` + r.vars["base"] + `,"extras":{"agent_state":"awaiting_user_input"}}],"has_more":true}`)
			}
			return "", document(`{"status":"RUNNING"}`)
		case "parallel":
			i := r.given[strconv.Itoa(r.at)]
			r.given[strconv.Itoa(r.at)]++
			id := fmt.Sprintf("%d.%d", r.at, i)
			if i = len(s.Steps) - 1 - i; i == 0 { // any order: backwards
				r.at++
			}
			return id, r.answer(&s.Steps[i])
		case "":
			id := strconv.Itoa(r.at)
			r.at++
			return id, r.answer(s)
		default:
			r.at++
		}
	}
	return "", replay{status: http.StatusTeapot}
}

func document(body string) replay {
	return replay{200, map[string]string{"content-type": "application/json", "content-length": strconv.Itoa(len(body))}, body}
}

func (r *replayer) answer(s *Step) replay {
	w := s.Answer
	a := replay{status: w.Status, headers: map[string]string{}}
	if w.Status == 0 {
		return a
	}
	for name := range s.Capture {
		r.vars[name] = fmt.Sprintf("%030x", len(name)+r.at) + name[len(name)-2:]
	}
	for k, v := range w.Headers {
		if k != "transfer-encoding" {
			a.headers[k], _ = r.vars.expand(v, nil)
		}
	}
	if s.Method == "HEAD" {
		return a
	}
	if body, err := parseJSON(w.Body); err == nil && body.kind != 'n' || w.Headers["content-type"] == "application/json" {
		for pointer, relative := range w.Relative {
			body = set(body, pointer, func(v value) value {
				v.text, _ = r.vars.expand("{{"+relative+"}}", nil)
				return v
			})
		}
		if w.BodyElided {
			body = lengthen(body)
		}
		a.body = body.String()
		if w.Headers["content-type"] != "application/json" {
			a.body = body.text
		}
		a.body, _ = r.vars.expand(a.body, nil)
	}
	if _, ok := a.headers["content-length"]; ok {
		a.headers["content-length"] = strconv.Itoa(len(a.body))
	}
	return a
}

// set returns v with the value at pointer changed; v itself stays as it is.
func set(v value, pointer string, change func(value) value) value {
	if pointer == "" {
		return change(v)
	}
	token, rest, nested := strings.Cut(pointer[1:], "/")
	if nested {
		rest = "/" + rest
	}
	v.list = slices.Clone(v.list)
	i := slices.Index(v.keys, token)
	if v.kind == '[' {
		i, _ = strconv.Atoi(token)
	}
	v.list[i] = set(v.list[i], rest, change)
	return v
}

// lengthen undoes what the recording elided.
func lengthen(v value) value {
	if m := elided.FindStringSubmatch(v.text); m != nil {
		n, _ := strconv.Atoi(m[2])
		v.text = m[1] + strings.Repeat("x", n-len(m[1]))
	}
	v.list = slices.Clone(v.list)
	for i := range v.list {
		v.list[i] = lengthen(v.list[i])
	}
	return v
}
