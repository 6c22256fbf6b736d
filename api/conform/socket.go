package conform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// socket is an open websocket of a case. One goroutine reads it, so that frames come in although nobody receives.
type socket struct {
	conn   *websocket.Conn
	frames chan string // closed at the end
	end    End         // how the server closed it; read it after frames is closed
}

// open opens a websocket. The answer is that to the handshake: status 101 if the socket is open.
func (s *scenario) open(ctx context.Context, m message) (*socket, Answer) {
	header := http.Header{}
	for _, h := range m.headers {
		header.Add(h[0], h[1])
	}
	ctx, cancel := context.WithTimeout(ctx, foreignTimeout)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, s.base.Scheme+"://"+s.base.Host+m.target, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		if resp == nil {
			return nil, Answer{Err: err.Error()}
		}
		body, _ := io.ReadAll(resp.Body) // what came of it
		return nil, Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
	}
	conn.SetReadLimit(maxAnswer)
	k := &socket{conn: conn, frames: make(chan string, 10000)}
	go func() {
		defer close(k.frames)
		for {
			kind, text, err := conn.Read(context.Background()) // hangUp ends it
			if err != nil {
				var closed websocket.CloseError
				if errors.As(err, &closed) {
					k.end = End{Code: int(closed.Code), Reason: closed.Reason}
				}
				return
			}
			if kind == websocket.MessageBinary {
				text, _ = json.Marshal(text)
			}
			k.frames <- string(text)
		}
	}()
	return k, Answer{Status: http.StatusSwitchingProtocols}
}

// collect reads frames until they are enough and, if wantEnd, the server has closed the socket. With quiet, what comes
// until nothing has come for so long is read too.
func (k *socket) collect(ctx context.Context, enough func(frames []string) bool, wantEnd bool, quiet time.Duration) (frames []string, end *End) {
	for {
		wait := frameTimeout
		if enough(frames) && !wantEnd {
			if wait = quiet; quiet == 0 {
				return frames, nil
			}
		}
		select {
		case <-ctx.Done():
			return frames, nil
		case <-time.After(wait):
			return frames, nil
		case frame, ok := <-k.frames:
			if !ok {
				return frames, &k.end
			}
			frames = append(frames, frame)
		}
	}
}

// connect opens a websocket as recorded and judges the answer to the handshake.
func (s *scenario) connect(ctx context.Context, id string, st *Step) {
	m, err := s.prepare(st)
	if err != nil {
		s.record(id, st, StepResult{Outcome: Failed, Note: "not sent: " + err.Error()})
		return
	}
	s.pace.wait(ctx)
	k, a := s.open(ctx, m)
	if k != nil {
		s.sockets[st.Var] = k
	}
	s.record(id, st, s.judge(id, st, m, a))
}

var errNoSocket = errors.New("the websocket is not open")

// say sends a recorded text message.
func (s *scenario) say(ctx context.Context, st *Step) error {
	k := s.sockets[st.Var]
	if k == nil {
		return fmt.Errorf("send on %s: %w", st.Var, errNoSocket)
	}
	m, err := s.prepare(st)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, foreignTimeout)
	defer cancel()
	if err := k.conn.Write(ctx, websocket.MessageText, m.body); err != nil {
		s.result.Notes = append(s.result.Notes, fmt.Sprintf("send on %s: %v", st.Var, err))
	}
	return nil
}

// receive reads as many frames as were recorded and judges them.
func (s *scenario) receive(ctx context.Context, id string, st *Step) {
	k := s.sockets[st.Var]
	if k == nil {
		s.record(id, st, StepResult{Outcome: Failed, Note: errNoSocket.Error()})
		return
	}
	want := st.Answer
	frames, end := k.collect(ctx, func(f []string) bool { return len(f) >= len(want.Frames) }, want.End != nil, min(time.Duration(st.MS)*time.Millisecond, maxQuiet))
	var r StepResult
	r.Undeclared, r.Declared = s.declare(id, s.compareFrames(st, frames, end))
	switch {
	case len(r.Undeclared) > 0:
		r.Outcome = Failed
		r.Want, _ = s.vars.expand(framesText(want.texts(), want.End), nil)
		r.Got = framesText(frames, end)
	case len(r.Declared) > 0:
		r.Outcome = OnPurpose
	default:
		r.Outcome = Held
	}
	s.record(id, st, r)
}

// compareFrames returns what differs: /frames, /frames/N and below, N counted in the recording, and /end.
func (s *scenario) compareFrames(st *Step, frames []string, end *End) []Diff {
	c := &comparison{want: &Recorded{}, vars: s.vars, view: view{foreign: !s.owned(), line: s.c.Line}}
	c.value("/frames", documents(st.Answer.texts()), documents(frames))
	if want := st.Answer.End; want != nil && end == nil || want == nil && end != nil || want != nil && *want != *end {
		c.differ("/end", endText(want), endText(end))
	}
	return c.diffs
}

// documents is a list of JSON documents; what is none of them is a text.
func documents(texts []string) value {
	list := value{kind: '['}
	for _, text := range texts {
		v, err := parseJSON([]byte(text))
		if err != nil {
			v = value{kind: '"', text: text}
		}
		list.list = append(list.list, v)
	}
	return list
}

func (w *Recorded) texts() (texts []string) {
	for _, f := range w.Frames {
		texts = append(texts, string(f))
	}
	return texts
}

func framesText(frames []string, end *End) string {
	var b strings.Builder
	for _, f := range frames {
		b.WriteString(indented([]byte(f)) + "\n")
	}
	return b.String() + endText(end)
}

func endText(end *End) string {
	if end == nil {
		return absent
	}
	return fmt.Sprintf("closed: %d %s", end.Code, end.Reason)
}

func (s *scenario) hangUp(name string) {
	if k := s.sockets[name]; k != nil {
		k.conn.Close(websocket.StatusNormalClosure, "")
		delete(s.sockets, name)
	}
}

func (s *scenario) hangUpAll() {
	for name := range s.sockets {
		s.hangUp(name)
	}
}
