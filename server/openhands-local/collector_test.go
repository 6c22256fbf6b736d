package main

import "testing"

func TestPercentFor(t *testing.T) {
	for inUse, want := range map[uint64]int{0: 1000, 1 << 20: 1000, 4 << 20: 400, 8 << 20: 200, 16 << 20: 100, 1 << 30: 100} {
		if got := percentFor(inUse); got != want {
			t.Errorf("percentFor(%d MiB) = %d, want %d", inUse>>20, got, want)
		}
	}
}
