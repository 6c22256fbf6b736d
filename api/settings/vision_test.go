package settings_test

import (
	"encoding/json"
	"testing"

	"github.com/openhands-local/openhands-local/api/settings"
)

func TestSeesImages(t *testing.T) {
	for model, want := range map[string]bool{
		"openai/fake":                            false, // recorded add_event_kind_message_images
		"openhands/claude-sonnet-4-20250514":     true,
		"openrouter/anthropic/claude-3-7-sonnet": true,
		"claude-3-5-haiku-20241022":              false,
		"GPT-4o":                                 true,
		"openhands/qwen3-coder-480b":             false,
		"openhands/o3":                           true,
		"o3-mini":                                false,
		"":                                       true,
	} {
		stored, err := json.Marshal(map[string]string{"llm_model": model})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := settings.SeesImages(stored); got != want || err != nil {
			t.Errorf("SeesImages of %q = %v, %v, want %v", model, got, err, want)
		}
	}
	for _, stored := range []string{`{}`, `{"llm_model":null}`, settings.Placeholder} {
		if got, err := settings.SeesImages([]byte(stored)); !got || err != nil {
			t.Errorf("SeesImages(%s) = %v, %v, want true", stored, got, err)
		}
	}
	if _, err := settings.SeesImages([]byte("{")); err == nil {
		t.Error("settings that cannot be read have a model")
	}
}
