package contract_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/api/contract"
)

func BenchmarkLoad(b *testing.B) {
	doc, err := os.ReadFile("testdata/" + served)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := contract.Load(doc, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// allSettings is what the web UI posts, every field of it.
const allSettings = `{"language":"en","agent":"CodeActAgent","max_iterations":50,"security_analyzer":"invariant","confirmation_mode":true,"llm_model":"m","llm_api_key":"k","llm_base_url":"u","remote_runtime_resource_factor":2,"enable_default_condenser":false,"enable_sound_notifications":true,"enable_proactive_conversation_starters":false,"enable_solvability_analysis":false,"user_consents_to_analytics":true,"sandbox_base_container_image":"b","sandbox_runtime_container_image":"r","mcp_config":{"sse_servers":[{"url":"http://a"}],"stdio_servers":[{"name":"n","command":"c","args":["-a","b"],"env":{"A":"1"}}],"shttp_servers":[{"url":"https://h","api_key":"z"}]},"search_api_key":"s","sandbox_api_key":"sb","max_budget_per_task":1.5,"email":"e","email_verified":true,"git_user_name":"gn","git_user_email":"ge"}`

func BenchmarkCheck(b *testing.B) {
	for _, bench := range []struct{ name, operation, query, body string }{
		{"events", "search_events_api_conversations__conversation_id__events_get", "start_id=5&end_id=20.0&reverse=yes&limit=10", ""},
		{"create", "new_conversation_api_conversations_post", "", "{}"},
		{"title", "update_conversation_api_conversations__conversation_id__patch", "", `{"title":"A title"}`},
		{"settings", "store_settings_api_settings_post", "", allSettings},
	} {
		b.Run(bench.name, func(b *testing.B) {
			op := load(b, served).Operation(bench.operation)
			r, err := http.NewRequest(op.Method, "http://localhost/x", nil)
			if err != nil {
				b.Fatal(err)
			}
			params := map[string]string{"conversation_id": "x"}
			b.ReportAllocs()
			for b.Loop() {
				r.URL.RawQuery = bench.query
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(bench.body)), int64(len(bench.body))
				body, err := op.ReadBody(r)
				if err == nil {
					err = op.Validate(r, params, body)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
