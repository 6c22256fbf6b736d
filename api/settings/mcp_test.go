package settings_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/openhands-local/openhands-local/api/fastapi"
)

// TestMCPConfig compares with what upstream's own model makes of
// configurations, words in quotes and URLs at random among them
// (testdata/mcp.json).
func TestMCPConfig(t *testing.T) {
	var cases []struct {
		In     json.RawMessage `json:"in"`
		Out    json.RawMessage `json:"out"`
		Errors json.RawMessage `json:"errors"`
	}
	decodeFile(t, "testdata/mcp.json", &cases)
	for _, c := range cases {
		body := `{"mcp_config":` + string(c.In) + `}`
		record, err := store(t, nil, body)
		if c.Errors != nil {
			var invalid *fastapi.Invalid
			if !errors.As(err, &invalid) {
				t.Errorf("Store(%s) = %v, want %s", body, err, c.Errors)
				continue
			}
			_, got := refusal(t, err)
			if got, want := compact(t, got, nil), `{"detail":`+compact(t, c.Errors, nil)+`}`; got != want {
				t.Errorf("Store(%s) = %s, want %s", body, got, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("Store(%s) = %v, want nil", body, err)
			continue
		}
		var stored struct {
			MCPConfig json.RawMessage `json:"mcp_config"`
		}
		if err := json.Unmarshal(record, &stored); err != nil {
			t.Fatal(err)
		}
		if got, want := compact(t, stored.MCPConfig, nil), compact(t, c.Out, nil); got != want {
			t.Errorf("Store(%s) = %s, want %s", body, got, want)
		}
	}
}
