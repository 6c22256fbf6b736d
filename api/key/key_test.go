package key_test

import (
	"testing"

	"github.com/openhands-local/openhands-local/api/key"
)

func TestIs(t *testing.T) {
	for _, tt := range []struct {
		key  key.Key
		said string
		want bool
	}{{"", "", true}, {"", "x", true}, {"k", "k", true}, {"k", "", false}, {"k", "K", false}, {"k", "kk", false}} {
		if got := tt.key.Is(tt.said); got != tt.want {
			t.Errorf("Key(%q).Is(%q) = %v, want %v", tt.key, tt.said, got, tt.want)
		}
	}
}
