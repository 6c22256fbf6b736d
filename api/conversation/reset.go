package conversation

import "context"

// Reset ends every run and removes all conversations, events and records.
func (s *Service) Reset(ctx context.Context) error {
	s.mu.Lock()
	running := s.running
	s.running, s.failed = map[string]bool{}, map[string]string{}
	s.mu.Unlock()
	for id := range running {
		s.notify(Notice{Conversation: id, Kind: Ended})
	}
	return s.c.Store.Reset(ctx)
}
