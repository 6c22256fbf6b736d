package main

import (
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}}
	for _, test := range []struct {
		version  string
		settings []debug.BuildSetting
		want     string
	}{
		{"", nil, "devel"},
		{"(devel)", commit, "devel 0123456789ab"},
		{"v1.2.3", commit, "v1.2.3 0123456789ab"},
		{"v1.2.3", nil, "v1.2.3"},
		{"v0.0.0-20250607080910-0123456789ab+dirty", commit, "v0.0.0-20250607080910-0123456789ab+dirty"},
	} {
		if got := versionOf(&debug.BuildInfo{Main: debug.Module{Version: test.version}, Settings: test.settings}); got != test.want {
			t.Errorf("versionOf(%q, %v) = %q, want %q", test.version, test.settings, got, test.want)
		}
	}
}
