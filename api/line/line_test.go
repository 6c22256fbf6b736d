package line_test

import (
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/line"
)

func TestEvent(t *testing.T) {
	tests := map[string]line.Line{
		`{"id":3,"timestamp":"2026-11-24T10:00:00.000001","source":"user","message":"a\n b","action":"message"}`: {ID: 3, At: "10:00:00.000001", Source: "user", Kind: "message", Message: "a b"},
		`{"id":4,"observation":"agent_state_changed","message":"","extras":{"agent_state":"running"}}`:           {ID: 4, Kind: "agent_state_changed", Message: "running"},
		`{"id":5,"action":"system","message":null}`:                                                              {ID: 5, Kind: "system"},
		`{"id":6,"action":"x","message":"` + strings.Repeat("ü", 170) + `"}`:                                     {ID: 6, Kind: "x", Message: strings.Repeat("ü", 160) + "…"},
	}
	for text, want := range tests {
		if got, err := line.Event([]byte(text)); got != want || err != nil {
			t.Errorf("Event(%s) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	if _, err := line.Event([]byte(`[]`)); err == nil || !strings.HasPrefix(err.Error(), "event []: ") {
		t.Errorf("Event([]) = %v, want an error that has it", err)
	}
}

func TestNotice(t *testing.T) {
	tests := map[string]line.Line{
		`{"kind":"began"}`: {ID: -1, Kind: "run began"},
		`{"kind":"update","update":{"message":"c","conversation_title":"A title"}}`: {ID: -1, Kind: "title", Message: "A title"},
		`{"kind":"update","update":{"id":"STATUS$READY","message":""}}`:             {ID: -1, Kind: "STATUS$READY"},
		`{"kind":"update","update":{"error":true,"message":"Failed to create it"}}`: {ID: -1, Kind: "update", Message: "Failed to create it"},
	}
	for text, want := range tests {
		if got, err := line.Notice([]byte(text)); got != want || err != nil {
			t.Errorf("Notice(%s) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	if _, err := line.Notice([]byte(`1`)); err == nil {
		t.Error("Notice(1) is no error")
	}
}
