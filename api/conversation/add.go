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
// [*event.Invalid] and stores nothing.
func (s *Service) Add(ctx context.Context, id string, body []byte, key string) (Added, error) {
	return s.add(ctx, id, body, key, !s.c.Strict)
}

// Act is Add for a socket: the conversation has to exist and to run, also when
// the service is not strict.
func (s *Service) Act(ctx context.Context, id string, body []byte) (Added, error) {
	return s.add(ctx, id, body, "", false)
}

// add adds an event; revive allows that it creates or starts the conversation.
func (s *Service) add(ctx context.Context, id string, body []byte, key string, revive bool) (Added, error) {
	var (
		added            Added
		unknown, stopped bool
	)
	if !s.isRunning(id) { // what runs is stored: one read less on the way of most events
		_, err := s.get(ctx, id)
		unknown = errors.Is(err, store.ErrNotFound)
		if err != nil && (!unknown || !revive || !ValidID(id)) {
			return added, err
		}
		stopped = !unknown
		if stopped && !revive {
			return added, fmt.Errorf("%w: %s", ErrStopped, id)
		}
	}
	secrets, err := s.secrets(ctx)
	if err != nil {
		return added, err
	}
	e, err := event.Normalise(body, event.Options{Timestamp: s.c.Now(), Source: "user", Strict: s.c.Strict, Secrets: secrets})
	if err != nil {
		return added, err
	}
	if e.Lenient != "" {
		added.Lenient = append(added.Lenient, e.Lenient)
	}
	switch {
	case unknown:
		added.Lenient = append(added.Lenient, fmt.Sprintf("unknown conversation %s: 0.53.0 answers 404", id))
		if err := s.bear(ctx, id); err != nil {
			return added, err
		}
	case stopped:
		added.Lenient = append(added.Lenient, fmt.Sprintf("stopped conversation %s: 0.53.0 answers 500", id))
		if _, err := s.Start(ctx, id); err != nil {
			return added, err
		}
	}
	if e.HasImages {
		blind, err := s.blind(ctx, id)
		if err != nil {
			return added, err
		}
		if blind && s.c.Strict {
			s.Tell(id, noVision)
			added.Dropped = true
			return added, nil
		}
		if blind {
			added.Lenient = append(added.Lenient, "images to a model that is not known to see them: 0.53.0 drops the message")
		}
	}
	new := store.NewEvent{Flags: uint16(e.Flags), JSON: e.JSON, Key: key}
	if key != "" {
		new.Digest = sha256.Sum256(body)
	}
	added.ID, added.Repeated, err = s.c.Store.Append(ctx, id, new)
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

// bear makes a conversation for a bare event: it runs and has no agent.
func (s *Service) bear(ctx context.Context, id string) error {
	defer s.busy.lock(id)()
	if err := s.makeRoom(ctx, id); err != nil {
		return err
	}
	now := s.c.Now()
	_, err := s.c.Store.Create(ctx, store.Conversation{ID: id, CreatedAt: now, UpdatedAt: now})
	if err != nil && !errors.Is(err, store.ErrConflict) { // another event may have been first
		return err
	}
	s.setRunning(id, true)
	return nil
}

// Inject stores an event as it is given: of any source, with its cause and
// metrics. The conversation must exist.
func (s *Service) Inject(ctx context.Context, id, source string, body []byte) (int64, error) {
	secrets, err := s.secrets(ctx)
	if err != nil {
		return 0, err
	}
	e, err := event.Normalise(body, event.Options{Timestamp: s.c.Now(), Source: source, Secrets: secrets})
	if err != nil {
		return 0, err
	}
	n, _, err := s.c.Store.Append(ctx, id, store.NewEvent{Flags: uint16(e.Flags), JSON: e.JSON})
	return n, err
}
