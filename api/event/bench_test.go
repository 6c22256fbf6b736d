package event_test

import (
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/api/event"
)

// BenchmarkNormalise is a message of 200 bytes.
func BenchmarkNormalise(b *testing.B) {
	body := []byte(`{"action":"message","args":{"content":"Please look at the failing test in the payments package and tell me what has changed since the last release of it. Thank you.","image_urls":null},"source":"user"}`)
	if len(body) < 195 || len(body) > 205 {
		b.Fatalf("the body has %d bytes, want about 200", len(body))
	}
	o := event.Options{Timestamp: time.Now(), Source: "user"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Normalise(body, o); err != nil {
			b.Fatal(err)
		}
	}
}
