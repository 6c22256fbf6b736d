package journal_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/openhands-local/openhands-local/server/journal"
)

// BenchmarkAdd keeps an event that was added, with and without a secret to hide.
func BenchmarkAdd(b *testing.B) {
	body := []byte(`{"action":"message","args":{"content":"` + strings.Repeat("The quick brown fox ", 10) + `"}}`)
	for name, secrets := range map[string][]string{"secrets=0": nil, "secrets=1": {"sk-placeholder"}} {
		b.Run(name, func(b *testing.B) {
			j := journal.New(journal.Options{Limit: 1000, Secrets: func() ([]string, error) { return secrets, nil }})
			x := asked("POST", "/api/conversations/c/events", "AddEvent", "c", 200)
			request := http.Header{"Content-Type": {"application/json"}, "Content-Length": {"200"}}
			response := http.Header{"Content-Type": {"application/json"}, "Content-Length": {"16"}, "Pragma": {"no-cache"}, "X-Event-Id": {"17"}, "X-Request-Id": {x.ID}}
			b.ReportAllocs()
			for b.Loop() {
				e := &journal.Entry{Request: journal.Message{Header: request}, Response: journal.Message{Header: response}}
				_, _ = e.Request.Write(body)
				_, _ = e.Response.Write([]byte(`{"success":true}`))
				j.Add(x, e)
			}
		})
	}
}
