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
// makes both repeat. A Config with a Now has its times from there. Seeded
// times step on from the given one, ids are drawn in one order: whoever needs
// a new one draws until it finds one not taken.
func (c Config) sources(next time.Time) (now func() time.Time, newID func() string) {
	now, newID = time.Now, func() string { return hexID(rand.Read) }
	if c.Seed != nil {
		now, newID = NewClock(next).Now, seededID(*c.Seed)
	}
	if c.Now != nil {
		now = c.Now
	}
	return now, newID
}

func seededID(seed int64) func() string {
	var (
		mu  sync.Mutex
		key [32]byte
	)
	binary.LittleEndian.PutUint64(key[:], uint64(seed))
	drawn := mathrand.NewChaCha8(key)
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return hexID(drawn.Read)
	}
}

// SeedStart is where seeded times begin: 2025-01-01T00:00:00 of this machine's
// zone, in which events tell their times.
var SeedStart = time.Date(2025, 1, 1, 0, 0, 0, 0, time.Local)

// hexID is 32 hexadecimal digits, as upstream's ids.
func hexID(read func([]byte) (int, error)) string {
	var b [16]byte
	_, _ = read(b[:]) // neither source fails
	return hex.EncodeToString(b[:])
}
