package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// minGarbage is how much may be thrown away before the garbage collector runs. By
// its own rule it runs whenever as much was thrown away as is in use, which is a
// few megabytes here, and takes some 15 % of a busy server's processor time.
const minGarbage = 16 << 20

// collectLess has the garbage collector wait for minGarbage, and beyond that go by
// its own rule. It looks at what is in use after each collection.
func collectLess() {
	debug.SetGCPercent(percentFor(inUse()))
	collected := new([16]byte) // not tiny: those are collected together
	runtime.AddCleanup(collected, func(struct{}) { collectLess() }, struct{}{})
}

// percentFor is how much may be thrown away, in percent of what is in use.
func percentFor(inUse uint64) int {
	return int(max(100, min(1000, 100*minGarbage/max(inUse, 1))))
}

func inUse() uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return live[0].Value.Uint64()
}
