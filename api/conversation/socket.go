package conversation

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/openhands-local/openhands-local/store"
)

// CanOpen returns a conversation that a socket may open: it has to exist
// (ErrNotFound), and settings have to be stored (ErrNoSettings, with the
// conversation). A key for the model is not asked for.
func (s *Service) CanOpen(ctx context.Context, id string) (store.Conversation, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	c, err := s.get(ctx, id)
	if err != nil {
		return c, err
	}
	if err := s.checkSettings(ctx); err != nil && !errors.Is(err, ErrNoLLMKey) {
		return c, err
	}
	return c, nil
}

// Open is what a socket does once it receives the events of c: it starts the
// conversation if it does not run (recorded resume_not_running), gives it an
// agent if it was born without, and counts one connection more until close is
// called. When c was deleted meanwhile, the error is ErrNotFound.
//
// failure, when not nil, is what the socket has to be told: that the run has
// no session (recorded replay_empty_list). Nobody else tells it, since nobody
// is past Open before the run has begun.
func (s *Service) Open(ctx context.Context, c store.Conversation) (close func(), failure json.RawMessage, err error) {
	id := c.ID
	defer s.lock(id)()
	switch now, err := s.c.Store.Conversation(ctx, id); {
	case err != nil:
		return nil, nil, err
	case now.Birth != c.Birth:
		return nil, nil, &store.Error{Op: "open", ID: id, Err: store.ErrNotFound}
	default:
		c = now
	}
	var fresh *beginning
	if !c.Agent {
		fresh = &beginning{}
		c, err = s.c.Store.Update(ctx, id, func(c *store.Conversation) error {
			c.Agent = true
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	r, err := s.start(ctx, c, fresh)
	if err != nil {
		return nil, nil, err
	}
	s.connect(id, 1)
	return func() { s.connect(id, -1) }, r.failed(), nil
}

func (s *Service) connect(id string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connections[id] += n; s.connections[id] == 0 {
		delete(s.connections, id)
	}
}
