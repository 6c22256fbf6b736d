package conversation

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/settings"
	"github.com/openhands-local/openhands-local/store"
)

// An Added tells what became of an event.
type Added struct {
	ID int64
	// Repeated: the idempotency key was used before, nothing was stored.
	Repeated bool
	// Dropped: the service is strict, and the model that the settings name
	// sees no images. Nothing was stored, there is no ID, and the
	// conversation's sockets were told.
	Dropped bool
	// Lenient says in which ways 0.53.0 would have refused.
	Lenient []string
}

// Add stores an event that a user posts: any JSON body, of source user. key,
// when not empty, makes a retry safe. A body that is no event is
// [*fastapi.Invalid] and stores nothing.
func (s *Service) Add(ctx context.Context, id string, body []byte, key string) (Added, error) {
	return s.add(ctx, id, body, key, !s.c.Strict)
}

// Act is Add for a socket: the conversation has to exist and to run, also when
// the service is not strict.
func (s *Service) Act(ctx context.Context, id string, body []byte) (Added, error) {
	return s.add(ctx, id, body, "", false)
}

// add adds an event; revive allows that it creates or starts the conversation.
func (s *Service) add(ctx context.Context, id string, body []byte, key string, revive bool) (added Added, err error) {
	var e event.Event
	lenient := ""
	r := s.runs.Of(id) // what runs is stored: one read less on the way of most events
	if r != nil && r.Enter() {
		e, err = s.normalise(ctx, body)
	} else {
		r, e, lenient, err = s.enter(ctx, id, body, revive)
	}
	if r != nil {
		defer r.Leave()
	}
	if err != nil {
		return added, err
	}
	for _, text := range []string{e.Lenient, lenient} {
		if text != "" {
			added.Lenient = append(added.Lenient, text)
		}
	}
	if e.HasImages {
		blind, err := s.blind(ctx, id)
		if err != nil {
			return added, err
		}
		if blind && s.c.Strict {
			s.Tell(ctx, id, noVision)
			added.Dropped = true
			return added, nil
		}
		if blind {
			added.Lenient = append(added.Lenient, "images to a model that is not known to see them: "+event.Version+" drops the message")
		}
	}
	new := store.NewEvent{Flags: uint16(e.Flags), JSON: e.JSON, Key: key}
	if key != "" {
		new.Digest = sha256.Sum256(body)
	}
	added.ID, added.Repeated, err = s.feed.Append(ctx, id, new)
	if err != nil || added.Repeated {
		return added, err
	}
	if state, ok := e.AgentState(); ok {
		c, err := s.get(ctx, id)
		if err != nil || !c.Agent {
			return added, err
		}
		_, err = s.writeState(ctx, id, state)
		return added, err
	}
	return added, nil
}

// enter enters the run of a conversation, which it creates or starts if it may:
// then it says how 0.53.0 would have refused. A body that is no event changes
// nothing. r is nil unless it was entered.
func (s *Service) enter(ctx context.Context, id string, body []byte, revive bool) (r *Run, e event.Event, lenient string, err error) {
	if !ValidID(id) {
		return nil, e, "", Unknown(id)
	}
	defer s.lock(id)()
	if r := s.runs.Of(id); r != nil && r.Enter() {
		e, err = s.normalise(ctx, body)
		return r, e, "", err
	}
	c, err := s.c.Store.Conversation(ctx, id)
	unknown := errors.Is(err, store.ErrNotFound)
	switch {
	case err != nil && !(unknown && revive):
		return nil, e, "", err
	case !unknown && !revive:
		return nil, e, "", fmt.Errorf("%w: %s", ErrStopped, id)
	}
	if e, err = s.normalise(ctx, body); err != nil {
		return nil, e, "", err
	}
	if unknown {
		lenient = fmt.Sprintf("unknown conversation %s: %s answers 404", id, event.Version)
		now := s.c.Clock.Now()
		c, err = s.c.Store.Create(ctx, store.Conversation{ID: id, CreatedAt: now, UpdatedAt: now})
		if err != nil {
			return nil, e, "", err
		}
	} else {
		lenient = fmt.Sprintf("stopped conversation %s: %s answers 500", id, event.Version)
	}
	if r, err = s.start(ctx, c, nil); err != nil {
		return nil, e, "", err
	}
	r.Enter() // it cannot be over: the id is locked
	return r, e, lenient, nil
}

// normalise makes an event of a body that a user posts now.
func (s *Service) normalise(ctx context.Context, body []byte) (event.Event, error) {
	secrets, err := s.secrets(ctx)
	if err != nil {
		return event.Event{}, err
	}
	return event.Normalise(body, event.Options{Timestamp: s.c.Clock.Now(), Source: "user", Strict: s.c.Strict, Secrets: secrets})
}

// noVision is what sockets are told of a message that is dropped (recorded
// vision/inactive).
var noVision = json.RawMessage(`{"error":true,"message":"Model does not support image upload, change to a different model or try without an image."}`)

// blind tells whether a conversation has an agent whose model sees no images.
func (s *Service) blind(ctx context.Context, id string) (bool, error) {
	c, err := s.get(ctx, id)
	if err != nil || !c.Agent {
		return false, err
	}
	text, err := s.c.Store.Record(ctx, SettingsRecord)
	if err != nil || text == nil {
		return false, err
	}
	sees, err := settings.SeesImages(text)
	return !sees, err
}

// Inject stores an event as it is given: of any source, with its cause and
// metrics. The conversation must exist.
func (s *Service) Inject(ctx context.Context, id, source string, body []byte) (int64, error) {
	secrets, err := s.secrets(ctx)
	if err != nil {
		return 0, err
	}
	e, err := event.Normalise(body, event.Options{Timestamp: s.c.Clock.Now(), Source: source, Secrets: secrets})
	if err != nil {
		return 0, err
	}
	n, _, err := s.feed.Append(ctx, id, store.NewEvent{Flags: uint16(e.Flags), JSON: e.JSON})
	return n, err
}
