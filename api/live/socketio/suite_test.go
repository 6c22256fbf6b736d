package socketio

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/live/engineio"
)

// suitesVariable names the docs folder of a checkout of socketio/socket.io,
// where `npm ci` has been run in the two folders of TestSuites.
const suitesVariable = "SOCKETIO_SUITES"

// TestSuites runs the protocols' own test suites, which talk to
// localhost:3000, against the servers that they ask for.
func TestSuites(t *testing.T) {
	docs := os.Getenv(suitesVariable)
	if docs == "" {
		t.Skipf("NOT RUN: the official test suites; set %s to the docs folder of socketio/socket.io", suitesVariable)
	}
	engine := engineio.Options{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond, MaxPayload: 1e6}
	suites := []struct {
		folder, path string
		handler      http.Handler
	}{
		{"engine.io-protocol/v4-test-suite", "/engine.io/", engineio.New(engine, echoMessages)},
		{"socket.io-protocol/v5-test-suite", "/socket.io/", New(Options{Engine: engine, Namespaces: map[string]Namespace{"/": echo, "/custom": echo}})},
	}
	for _, suite := range suites {
		t.Run(filepath.Base(suite.path), func(t *testing.T) {
			l, err := net.Listen("tcp", "localhost:3000")
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux()
			mux.Handle(suite.path, suite.handler)
			server := &http.Server{Handler: mux}
			go server.Serve(l)
			defer server.Close()
			npm := exec.CommandContext(t.Context(), "npm", "test")
			npm.Dir = filepath.Join(docs, filepath.FromSlash(suite.folder))
			out, err := npm.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Errorf("npm test in %s: %v", suite.folder, err)
			}
		})
	}
}

func echoMessages(s *engineio.Session) error {
	for {
		m, err := s.Receive()
		if err != nil {
			return err
		}
		s.Send(m.Encode())
	}
}

// echo sends back what clients send: the object they connect with, events and
// acknowledged events.
var echo = Namespace{
	Connect: func(s *Socket) error {
		if err := s.Accept(); err != nil {
			return err
		}
		auth := s.Auth()
		if len(auth) == 0 {
			auth = json.RawMessage("{}")
		}
		return s.Emit(s.Context(), EncodeEvent(s.Namespace(), "auth", auth))
	},
	Events: map[string]func(*Socket, *Event){
		"message": func(s *Socket, e *Event) {
			s.Send(EncodeBinaryEvent(s.Namespace(), "message-back", e.Attachments, e.Args...))
		},
		"message-with-ack": func(s *Socket, e *Event) { e.AckBinary(e.Attachments, e.Args...) },
	},
}
