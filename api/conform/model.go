package conform

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Reply is what the model says when it is asked for a completion: a text, calls of tools or both, or an error.
type Reply struct {
	Text   string          `json:"text,omitempty"`
	Calls  []Call          `json:"calls,omitempty"`
	Status int             `json:"status,omitempty"` // 200 if 0
	Body   json.RawMessage `json:"body,omitempty"`   // the whole answer, instead of a completion
	Hold   bool            `json:"hold,omitempty"`   // is not given before the step release
}

// Call is a tool call.
type Call struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // a JSON object as text, as models write it
}

// model stands in for an LLM: an OpenAI-shaped endpoint on loopback that gives the scripted replies of a case, in order,
// to whoever asks POST /<case>/v1/chat/completions. The placeholder {{llm}} is its address with the case's name.
type model struct {
	server *http.Server
	base   string

	mu      sync.Mutex
	scripts map[string]*script
}

// script is what a case's model has still to say.
type script struct {
	replies  []Reply
	asked    int
	released chan struct{}
}

// stand lets the runner's model speak for the case, with what is captured by now, and sets {{llm}}.
func (s *scenario) stand() error {
	if s.model == nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("a stand-in for the model: %w", err)
		}
		s.model = &model{base: "http://" + ln.Addr().String(), scripts: map[string]*script{}}
		s.model.server = &http.Server{Handler: s.model}
		go s.model.server.Serve(ln) // ends with close
	}
	replies := slices.Clone(s.c.LLM)
	for i := range replies {
		replies[i].Calls = slices.Clone(replies[i].Calls)
		for j := range replies[i].Calls {
			call := &replies[i].Calls[j]
			var err error
			if call.Arguments, err = s.vars.expand(call.Arguments, s.due); err != nil {
				return err
			}
		}
	}
	s.model.mu.Lock()
	defer s.model.mu.Unlock()
	s.model.scripts[s.c.Name] = &script{replies: replies, released: make(chan struct{}, 100)}
	s.vars["llm"] = s.model.base + "/" + s.c.Name
	return nil
}

func (m *model) close() {
	if m != nil {
		m.server.Close()
	}
}

func (m *model) script(name string) *script {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.scripts[name]
}

// release lets one held reply of a case go, also one that was not asked for yet.
func (m *model) release(name string) {
	if s := m.script(name); s != nil {
		s.released <- struct{}{}
	}
}

// wasAsked tells how often the model of a case was asked.
func (m *model) wasAsked(name string) int {
	s := m.script(name)
	if s == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.asked
}

// waitAsked waits until the model of the case was asked n times.
func (s *scenario) waitAsked(ctx context.Context, n int) error {
	for begun := s.options.clock.now(); s.model.wasAsked(s.c.Name) < n; s.options.clock.sleep(ctx, pollInterval) {
		if s.options.clock.now().Sub(begun) > untilTimeout || ctx.Err() != nil {
			return fmt.Errorf("the model was asked %d times within %v, want %d", s.model.wasAsked(s.c.Name), untilTimeout, n)
		}
	}
	return nil
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	s := m.script(name)
	var asked struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	if s == nil || r.Method != http.MethodPost || r.URL.Path != "/"+name+"/v1/chat/completions" || json.NewDecoder(r.Body).Decode(&asked) != nil {
		http.NotFound(w, r)
		return
	}
	reply := Reply{Status: http.StatusInternalServerError, Body: json.RawMessage(`{"error":{"message":"no more replies","type":"server_error"}}`)}
	m.mu.Lock()
	n := s.asked
	if n < len(s.replies) {
		reply = s.replies[n]
	}
	s.asked++
	m.mu.Unlock()
	if reply.Hold {
		select {
		case <-r.Context().Done():
			return
		case <-s.released:
		}
	}
	if asked.Stream && reply.Body == nil {
		reply.stream(w, n, asked.Model)
		return
	}
	body := []byte(reply.Body)
	if body == nil {
		body, _ = json.Marshal(reply.completion(n, asked.Model)) // plain values
	}
	w.Header().Set("Content-Type", "application/json")
	if reply.Status != 0 {
		w.WriteHeader(reply.Status)
	}
	w.Write(body) // an error is the asker's, who has gone
}

type object map[string]any

// completion is the n-th reply as OpenAI's chat completions have it; ids and token counts are the same in every run.
func (r Reply) completion(n int, model string) object {
	message := object{"role": "assistant", "content": r.Text}
	finish := "stop"
	if len(r.Calls) > 0 {
		var calls []object
		for _, c := range r.Calls {
			calls = append(calls, object{"id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": c.Arguments}})
		}
		message["tool_calls"] = calls
		if r.Text == "" {
			message["content"] = nil
		}
		finish = "tool_calls"
	}
	return object{
		"id": fmt.Sprintf("chatcmpl-%d", n+1), "object": "chat.completion", "created": 1700000000, "model": model,
		"choices": []object{{"index": 0, "message": message, "finish_reason": finish}},
		"usage":   object{"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
	}
}

// stream writes the reply as server-sent events, a word of the text each.
func (r Reply) stream(w http.ResponseWriter, n int, model string) {
	w.Header().Set("Content-Type", "text/event-stream")
	chunk := func(delta object, finish any, extra object) {
		c := object{"id": fmt.Sprintf("chatcmpl-%d", n+1), "object": "chat.completion.chunk", "created": 1700000000, "model": model,
			"choices": []object{{"index": 0, "delta": delta, "finish_reason": finish}}}
		for k, v := range extra {
			c[k] = v
		}
		text, _ := json.Marshal(c) // plain values
		fmt.Fprintf(w, "data: %s\n\n", text)
		w.(http.Flusher).Flush()
	}
	chunk(object{"role": "assistant", "content": ""}, nil, nil)
	for _, word := range strings.SplitAfter(r.Text, " ") {
		chunk(object{"content": word}, nil, nil)
	}
	finish := "stop"
	for i, c := range r.Calls {
		finish = "tool_calls"
		chunk(object{"tool_calls": []object{{"index": i, "id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": c.Arguments}}}}, nil, nil)
	}
	chunk(object{}, finish, nil)
	chunk(object{}, nil, object{"choices": []object{}, "usage": object{"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}})
	fmt.Fprint(w, "data: [DONE]\n\n")
}
