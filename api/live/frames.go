package live

import (
	"hash/maphash"
	"sync"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/live/socketio"
)

// frames keeps the frame of the latest event of some conversations, so that an
// event is encoded once and not for each socket that follows. The zero value has
// none.
type frames struct {
	texts bool // somebody wants to know what is in them
	kept  [64]latest
}

// latest is what was encoded last in one place of the cache.
type latest struct {
	mu           sync.Mutex
	conversation string
	birth        uint64
	id           int64
	text         []byte // the event in it
	frame        socketio.Frame
	sent         bool
}

// maxKept is the most bytes of an event whose frame is kept.
const maxKept = 64 << 10

var seed = maphash.MakeSeed()

// of is an event as sockets that are connected are sent it, and its frame; sent
// is false when it goes to none.
func (f *frames) of(i feed.Item) (text []byte, frame socketio.Frame, sent bool) {
	if len(i.Event.JSON) > maxKept {
		return encode(i)
	}
	l := &f.kept[maphash.String(seed, i.Conversation)%uint64(len(f.kept))]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.birth != i.Birth || l.id != i.Event.ID || l.conversation != i.Conversation {
		l.conversation, l.birth, l.id = i.Conversation, i.Birth, i.Event.ID
		if l.text, l.frame, l.sent = encode(i); !f.texts {
			l.text = nil
		}
	}
	return l.text, l.frame, l.sent
}

func encode(i feed.Item) (text []byte, f socketio.Frame, sent bool) {
	text, sent = event.AppendLive(nil, i.Event.ID, i.Event.JSON, event.Flags(i.Event.Flags))
	if !sent {
		return nil, socketio.Frame{}, false
	}
	return text, frame(text), true
}
