package conversation

import (
	"context"
	"encoding/json"

	"github.com/openhands-local/openhands-local/api/feed"
)

// Follow follows a conversation after an event, see [feed.Feed.Follow]. An
// unknown one is [store.ErrNotFound].
func (s *Service) Follow(ctx context.Context, id string, after int64) (*feed.Follower, error) {
	if !ValidID(id) {
		return nil, Unknown(id)
	}
	return s.feed.Follow(ctx, id, after)
}

// FollowAll follows all conversations from now on, see [feed.Feed.FollowAll].
func (s *Service) FollowAll() *feed.Follower { return s.feed.FollowAll() }

// Followers is how many there are of both.
func (s *Service) Followers() int { return s.feed.Followers() }

// Tell tells the sockets of a conversation a JSON object that is no event.
func (s *Service) Tell(ctx context.Context, id string, update json.RawMessage) {
	s.feed.Tell(ctx, id, feed.Notice{Kind: feed.Update, Update: update})
}

// A StatusUpdate is what sockets are told of a conversation beside its events;
// they take it for one that is no event by its first key.
type StatusUpdate struct {
	StatusUpdate bool   `json:"status_update"` // always true
	Type         string `json:"type"`          // "info" or "error"
	ID           string `json:"id,omitempty"`  // "STATUS$ERROR", …; none with a title
	Message      string `json:"message"`       // the conversation's id with a title
	Title        string `json:"conversation_title,omitempty"`
}

// TellStatus sends the sockets of a conversation a status. u.StatusUpdate is
// set.
func (s *Service) TellStatus(ctx context.Context, id string, u StatusUpdate) {
	u.StatusUpdate = true
	text, _ := json.Marshal(u) // strings always marshal
	s.Tell(ctx, id, text)
}

// tellTitle tells the title that a conversation has now (recorded
// fresh_full_run).
func (s *Service) tellTitle(ctx context.Context, id, title string) {
	if title == "" {
		title = defaultTitle(id)
	}
	s.TellStatus(ctx, id, StatusUpdate{Type: "info", Message: id, Title: title})
}
