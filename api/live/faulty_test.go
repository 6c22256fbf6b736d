package live_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	exchanges "github.com/openhands-local/openhands-local/api/exchange"
	"github.com/openhands-local/openhands-local/api/live"
	"github.com/openhands-local/openhands-local/api/live/engineio"
	"github.com/openhands-local/openhands-local/store"
)

// nth lets the n-th message of a name go wrong.
func nth(n int64, name string, f live.Fault) func(live.Message) *live.Fault {
	var seen atomic.Int64
	return func(m live.Message) *live.Fault {
		if m.Name == name && seen.Add(1) == n {
			return &f
		}
		return nil
	}
}

// TestSpoiledOut: what goes wrong with what a client is sent, in the replay and
// after it.
func TestSpoiledOut(t *testing.T) {
	for _, transport := range []string{"websocket", "polling"} {
		for _, tt := range []struct {
			n      int64
			action string
			want   []int64 // ids until the end; events 9 to 11 come after the replay
			lost   bool
		}{
			{2, live.Drop, []int64{1, 3, 6, 7, 8, 9, 10, 11}, false},
			{2, live.Double, []int64{1, 2, 2, 3, 6, 7, 8, 9, 10, 11}, false},
			{2, live.Hold, []int64{1, 2, 3, 6, 7, 8, 9, 10, 11}, false},
			{2, live.Reorder, []int64{1, 3, 2, 6, 7, 8, 9, 10, 11}, false},
			{6, live.Reorder, []int64{1, 2, 3, 6, 7, 9, 8, 10, 11}, false},
			{3, live.Cut, []int64{1, 2}, true},
			{1, live.Cut, nil, true},
			{7, live.Drop, []int64{1, 2, 3, 6, 7, 8, 10, 11}, false},
			{7, live.Double, []int64{1, 2, 3, 6, 7, 8, 9, 9, 10, 11}, false},
			{7, live.Hold, []int64{1, 2, 3, 6, 7, 8, 9, 10, 11}, false},
			{7, live.Reorder, []int64{1, 2, 3, 6, 7, 8, 10, 9, 11}, false},
			{8, live.Cut, []int64{1, 2, 3, 6, 7, 8, 9}, true},
		} {
			t.Run(fmt.Sprintf("%s %s %d", transport, tt.action, tt.n), func(t *testing.T) {
				h := newHost(t, "", false, engineio.Options{})
				h.settle("a")
				h.fault = nth(tt.n, "oh_event", live.Fault{Action: tt.action, Hold: 30 * time.Millisecond})
				begin := time.Now()
				p := h.dial("EIO=4&transport=" + transport + "&conversation_id=a")
				p.send("40")
				var frames []string
				if tt.lost && tt.n <= 6 {
					frames = p.until("")
				} else {
					frames = p.until("40")
					for range 3 {
						h.add("a", hello)
					}
					if tt.lost {
						frames = append(frames, p.until("")...)
					}
					for got := int64(0); !tt.lost && got < 11; {
						frame := p.next()
						frames = append(frames, frame)
						if last := ids(t, []string{frame}); len(last) > 0 {
							got = last[0]
						}
					}
				}
				if got := ids(t, frames); !slices.Equal(got, tt.want) {
					t.Errorf("ids = %v, want %v", got, tt.want)
				}
				if took := time.Since(begin); tt.action == live.Hold && took < 30*time.Millisecond {
					t.Errorf("took %v, want 30ms at least", took)
				}
				if !tt.lost {
					return
				}
				if p.ws != nil && p.closed != -1 {
					t.Errorf("closed with %d, want no word", p.closed)
				}
				if slices.ContainsFunc(frames, func(f string) bool { return strings.HasPrefix(f, "41") }) {
					t.Errorf("frames = %q, want no 41: clients would not come back", frames)
				}
				h.connections("a", 0)
				if got := ids(t, h.connect("conversation_id=a&latest_event_id=2").until("40")); len(got) == 0 || got[0] != 3 {
					t.Errorf("ids after coming back = %v, want 3 and so on", got)
				}
			})
		}
	}
}

// TestSpoiledIn: what goes wrong with what a client sends.
func TestSpoiledIn(t *testing.T) {
	for action, want := range map[string]string{
		live.Drop:    "[1 3 4] [1 3 4] fault 2",
		live.Double:  "[1 2 2 3 4] [1 2 2 3 4] fault 2, fault 2",
		live.Hold:    "[1 2 3 4] [1 2 3 4] fault 2",
		live.Reorder: "[1 3 2 4] [1 3 2 4] fault 2",
		live.Cut:     "[1] [1] fault 2",
	} {
		t.Run(action, func(t *testing.T) {
			h := newHost(t, "", false, engineio.Options{})
			h.settle("a")
			var mu sync.Mutex
			var faults []string
			var done int
			h.done = func(x *exchanges.Exchange) {
				mu.Lock()
				defer mu.Unlock()
				done++
				if x.Fault != "" {
					faults = append(faults, fmt.Sprintf("%s %c", x.Fault, x.Body[len(x.Body)-4]))
				}
			}
			h.fault = nth(2, "oh_user_action", live.Fault{Name: "fault", Action: action, Hold: 20 * time.Millisecond})
			p := h.connect("conversation_id=a&latest_event_id=8")
			p.until("40")
			ends := 4 + map[string]int{live.Double: 1, live.Cut: -2}[action]
			for i := 1; i <= 4; i++ {
				packet := fmt.Sprintf(`42%d["oh_user_action",{"action":"message","args":{"content":"%d"}}]`, i, i)
				_ = p.ws.Write(t.Context(), 1, []byte(packet)) // which fails after a cut
			}
			h.poll("exchanges", func() bool { mu.Lock(); defer mu.Unlock(); return done >= ends })
			var stored, acked []string
			if err := h.store.Visit(t.Context(), "a", store.Range{From: 9, To: 99}, func(e store.Event) bool {
				_, rest, _ := strings.Cut(string(e.JSON), `"content":"`)
				stored = append(stored, rest[:1])
				return true
			}); err != nil {
				t.Fatal(err)
			}
			for len(acked) < len(stored) {
				frame := p.next()
				if frame == "" {
					break
				}
				if ack, ok := strings.CutPrefix(frame, "43"); ok {
					acked = append(acked, ack[:1])
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if got := fmt.Sprint(stored, acked, " ", strings.Join(faults, ", ")); strings.Join(strings.Fields(got), " ") != want {
				t.Errorf("stored, acknowledged, faults = %s, want %s", got, want)
			}
		})
	}
}

// TestHoldPings: a client that is not pinged hears nothing, and nobody ends its
// session.
func TestHoldPings(t *testing.T) {
	for _, transport := range []string{"websocket", "polling"} {
		t.Run(transport, func(t *testing.T) {
			var asked atomic.Int64
			h := newHost(t, "", false, engineio.Options{
				PingInterval: 5 * time.Millisecond, PingTimeout: 200 * time.Millisecond,
				HoldPing: func(r *http.Request) bool { return r.URL.Query().Get("conversation_id") == "a" && asked.Add(1) <= 60 },
			})
			h.settle("a")
			p := h.dial("EIO=4&transport=" + transport + "&conversation_id=a&latest_event_id=99")
			begin := time.Now()
			p.send("40")
			if got := p.next(); !strings.HasPrefix(got, "40") {
				t.Fatalf("frame = %s, want 40", got)
			}
			if got := p.next(); got != "2" { // after more than PingInterval and PingTimeout
				t.Errorf("frame = %s, want a ping", got)
			}
			if took := time.Since(begin); took < 300*time.Millisecond || asked.Load() != 61 {
				t.Errorf("a ping after %v, %d were asked about, want after 60", took, asked.Load())
			}
			if h.live.Sessions() != 1 {
				t.Error("the session of a client that was not pinged is over")
			}
		})
	}
}
