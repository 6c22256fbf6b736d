package settings

import (
	"encoding/json"
	"strings"
)

// sighted are the beginnings of the names of models that see images, without
// their provider's. Upstream asks its LLM library, which has a table of some
// 1,000 names.
var sighted = []string{
	"chatgpt-4o", "claude-3", "claude-haiku-4", "claude-opus-4", "claude-sonnet-4", "gemini-1.5", "gemini-2",
	"gpt-4-turbo", "gpt-4.1", "gpt-4o", "gpt-5", "grok-4", "llama-4", "llava", "o1", "o3", "o4-mini", "pixtral",
}

// blind are those of them that see none all the same.
var blind = []string{"claude-3-5-haiku", "gpt-4o-audio", "gpt-4o-mini-audio", "o1-mini", "o1-preview", "o3-mini"}

// SeesImages tells whether the model that stored settings name sees images: no,
// if it is not a known one (recorded add_event_kind_message_images); yes, if
// none is named, since upstream's default one does.
func SeesImages(stored []byte) (bool, error) {
	var s struct {
		Model *string `json:"llm_model"`
	}
	if err := json.Unmarshal(stored, &s); err != nil {
		return false, err
	}
	if s.Model == nil || strings.TrimSpace(*s.Model) == "" {
		return true, nil
	}
	name := strings.ToLower(*s.Model)
	name = name[strings.LastIndex(name, "/")+1:]
	return beginsWith(name, sighted) && !beginsWith(name, blind), nil
}

func beginsWith(name string, beginnings []string) bool {
	for _, b := range beginnings {
		if strings.HasPrefix(name, b) {
			return true
		}
	}
	return false
}
