package scratch

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestNew makes folders while others are swept: each is there, also after the
// next sweep, until it is removed. What nobody holds goes, what is not ours
// stays.
func TestNew(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for _, name := range []string{prefix + "1-left", "openhands-local-data"} {
		if err := os.Mkdir(filepath.Join(temp, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				f, err := New()
				if err != nil {
					t.Error(err)
					return
				}
				sweep(temp)
				if _, err := os.Stat(f.Name); err != nil {
					t.Error(err)
				}
				if err := f.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || left[0].Name() != "openhands-local-data" {
		t.Errorf("left behind: %v, want openhands-local-data alone", left)
	}
}
