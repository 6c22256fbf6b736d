package server

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	mathrand "math/rand/v2"
	"sync"
)

// newID returns where ids come from: the system, or a seed that makes them repeat.
// They are drawn in one order: whoever needs a new one draws until it finds one not
// taken.
func (c Config) newID() func() string {
	if c.Seed != nil {
		return seededID(*c.Seed)
	}
	return func() string { return hexID(rand.Read) }
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

// hexID is 32 hexadecimal digits, as upstream's ids.
func hexID(read func([]byte) (int, error)) string {
	var b [16]byte
	_, _ = read(b[:]) // neither source fails
	return hex.EncodeToString(b[:])
}
