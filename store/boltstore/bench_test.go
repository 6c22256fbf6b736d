package boltstore

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/openhands-local/openhands-local/store"
)

// benchEvent is about as long as a message event: 300 bytes.
var benchEvent = []byte(fmt.Sprintf(`{"action":"message","args":{"content":%q}}`, strings.Repeat("word ", 51)))

// BenchmarkAppend measures appends by 1 and by 64 callers, and as x/update and
// x/ceiling how many times as many there are as with bolt's Update for each
// event, and with a loop that commits as many events at once as there are
// callers and does nothing else.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			update := rawRate(b, 1)
			ceiling := rawRate(b, callers)
			s := openBench(b)
			b.ResetTimer()
			var group sync.WaitGroup
			for caller := range callers {
				group.Go(func() {
					for i := caller; i < b.N; i += callers {
						if _, _, err := s.Append(b.Context(), "c", store.NewEvent{JSON: benchEvent}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.StopTimer()
			rate := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "appends/s")
			b.ReportMetric(rate/update, "x/update")
			b.ReportMetric(rate/ceiling, "x/ceiling")
		})
	}
}

// rawRate measures for a second how many events a second plain bolt stores when
// each transaction has perCommit of them.
func rawRate(b *testing.B, perCommit int) float64 {
	s := openBench(b)
	record := seal(0, benchEvent)
	n := uint64(0)
	began := time.Now()
	for time.Since(began) < time.Second {
		err := s.db.Update(func(tx *bolt.Tx) error {
			events := tx.Bucket(eventsBucket)
			events.FillPercent = fillPercent
			for range perCommit {
				key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 1), n)
				if err := events.Put(key, record); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(began).Seconds()
}

// BenchmarkEvents measures a page of 100 from the middle, and one of 20 from
// the end.
func BenchmarkEvents(b *testing.B) {
	for _, stored := range []int64{1000, 30_000, 1_000_000} {
		if testing.Short() && stored > 100_000 {
			continue
		}
		s := openBench(b)
		fill(b, s, "c", stored)
		for _, bench := range []struct {
			name  string
			r     store.Range
			limit int
		}{
			{"page=100", store.Range{From: stored / 2, To: stored}, 100},
			{"last=20", store.Range{To: stored, Reverse: true}, 20},
		} {
			b.Run(fmt.Sprintf("stored=%d/%s", stored, bench.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					page, err := store.Events(b.Context(), s, "c", bench.r, bench.limit)
					if err != nil || len(page) != bench.limit {
						b.Fatalf("Events = %d events, %v, want %d", len(page), err, bench.limit)
					}
				}
			})
		}
	}
}

// BenchmarkConversations measures a page of 20 behind 1,000 conversations.
func BenchmarkConversations(b *testing.B) {
	s := openBench(b)
	for i := range 1020 {
		if _, err := s.Create(b.Context(), store.Conversation{ID: fmt.Sprint(i)}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if page, _, err := s.Conversations(b.Context(), 1000, 20); err != nil || len(page) != 20 {
			b.Fatalf("Conversations = %d, %v, want 20", len(page), err)
		}
	}
}

// openBench opens a store that has the conversation c.
func openBench(b *testing.B) *Store {
	b.Helper()
	s, err := Open(filepath.Join(b.TempDir(), "events.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	if _, err := s.Create(b.Context(), store.Conversation{ID: "c"}); err != nil {
		b.Fatal(err)
	}
	return s
}

// fill restores n events.
func fill(tb testing.TB, s *Store, conversation string, n int64) {
	tb.Helper()
	for from := int64(0); from < n; from += 10_000 {
		var events []store.Event
		for id := from; id < min(n, from+10_000); id++ {
			events = append(events, store.Event{ID: id, JSON: benchEvent})
		}
		if err := restore(tb.Context(), s, conversation, events...); err != nil {
			tb.Fatal(err)
		}
	}
}
