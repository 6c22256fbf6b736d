package event

import (
	"bytes"
	"iter"
)

// AppendLive appends an event as it goes to sockets that are connected;
// sent is false for one that does not go. An event of the environment that is
// sent says agent as its source.
func AppendLive(b []byte, id int64, stored []byte, f Flags) (text []byte, sent bool) {
	if f&IsNull != 0 || f&IsEnvironment != 0 && f&IsLiveEnv == 0 {
		return b, false
	}
	if f&IsEnvironment != 0 {
		stored = bytes.Replace(stored, []byte(`"source":"environment"`), []byte(`"source":"agent"`), 1)
	}
	return appendWithID(b, id, stored), true
}

// Replay yields which events of a conversation, in order, are sent to a
// socket that connects: null events and recall actions are not, of the state
// changes only the last is, at the end. An error is yielded as it comes; the
// rest follows if there is more.
func Replay[E any](events iter.Seq2[E, error], flags func(E) Flags) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var (
			last E
			held bool
		)
		for e, err := range events {
			switch f := flags(e); {
			case err != nil:
				if !yield(e, err) {
					return
				}
			case f&(IsNull|IsRecallAction) != 0:
			case f&IsStateChange != 0:
				last, held = e, true
			case !yield(e, nil):
				return
			}
		}
		if held {
			yield(last, nil)
		}
	}
}
