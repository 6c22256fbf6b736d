package server

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	mathrand "math/rand/v2"
	"sync"
	"time"
)

// sources returns where times and ids come from: the system, or a seed that
// makes both repeat. Seeded times step on from the one given, ids are drawn in
// one order: whoever needs a new one draws until it finds one not taken.
func sources(seed *int64, after time.Time) (now func() time.Time, newID func() string) {
	if seed == nil {
		return time.Now, func() string { return hexID(rand.Read) }
	}
	var (
		mu  sync.Mutex
		key [32]byte
	)
	binary.LittleEndian.PutUint64(key[:], uint64(*seed))
	drawn := mathrand.NewChaCha8(key)
	now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		after = after.Add(seedStep)
		return after
	}
	newID = func() string {
		mu.Lock()
		defer mu.Unlock()
		return hexID(drawn.Read)
	}
	return now, newID
}

// Seeded times begin here and step so far.
var seedStart = time.Date(2025, 1, 1, 0, 0, 0, 0, time.Local)

const seedStep = time.Millisecond

// hexID is 32 hexadecimal digits, as upstream's ids.
func hexID(read func([]byte) (int, error)) string {
	var b [16]byte
	_, _ = read(b[:]) // neither source fails
	return hex.EncodeToString(b[:])
}
