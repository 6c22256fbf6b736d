// Package conversation has the rules of the agent server's conversations, for
// its HTTP and its sockets: what is stored of one, which events it writes when,
// and when its agent runs.
//
// A conversation of this line has a UUID. Its id in the store is "agent:" and
// the UUID, so that no other line can name it or lists it. What it is beside its
// events is a [State], stored with it. A decision about it is taken, and its
// events are written, with its id locked, by what the store says then.
//
// Events form a tree: parent_id is the event before on the branch, and the
// [State]'s LeafEventID is the end of the branch that goes on. Updates of the
// state are told as events too; they hang on the leaf and never become it
// (recorded run_text_full). An event's id is a UUID whose last group is its
// number in the store: a page that begins at an id is found without an index.
//
// A run is the agent at work: [Service.Run] begins it, and it ends with one of
// the statuses finished, paused, waiting_for_confirmation or error. A new
// process finds none: what was running is in error (recorded restart_*).
package conversation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/runs"
	"github.com/openhands-local/openhands-local/store"
)

// Line is the name of the line in a store.
const Line = "agent"

const prefix = Line + ":"

// Errors of a [Service], beside the store's.
var (
	// ErrRunning: the agent is at work already.
	ErrRunning = errors.New("conversation is running already")
	// ErrFull: Config.MaxRunning agents are at work.
	ErrFull = errors.New("too many conversations are running")
	// ErrNotUser: a message is of nobody who may send one.
	ErrNotUser = errors.New("only messages of the user are taken")
	// ErrTaken: there is a conversation of this id.
	ErrTaken = errors.New("conversation exists already")
	// ErrNoEvent: the conversation has no event of this id.
	ErrNoEvent = errors.New("no such event")
)

// A Config says what a Service works with. Store, Clock and NewID are required.
type Config struct {
	Store store.Store
	Clock *clock.Clock
	NewID func() string // 32 hexadecimal digits
	// Agent, when set, does a run: what it returns is the status that the run
	// ends with. Its context ends when the run is to. Without one a run is
	// finished at once.
	Agent func(context.Context, *Run) Status
	// MaxRunning is how many runs there are at most: one more is ErrFull. 0 is
	// no limit.
	MaxRunning int
	// Least is how long a run takes at least, of the machine's time: a client that
	// takes the frame after a run for its end only once it has the answer to its
	// request would wait for another if a run took no time (openhands-sdk's
	// RemoteConversation does).
	Least time.Duration
	// Removed, when set, is called with the UUID of a conversation that was
	// deleted.
	Removed func(id string) error
}

// A Service keeps the rules of all conversations of the line.
type Service struct {
	c    Config
	feed *feed.Feed
	runs *runs.Set[Run]

	gate   sync.RWMutex // whoever locks an id reads it, a reset writes
	busy   runs.Locks
	agents sync.WaitGroup

	mu   sync.Mutex
	kept map[string]any // by agents, see Run.Keep
}

// New returns a Service. It needs a Close.
func New(c Config) *Service {
	return &Service{c: c, feed: feed.New(c.Store), runs: runs.NewSet[Run](c.MaxRunning), kept: map[string]any{}}
}

// Close ends all runs without a word, and waits for their agents. It comes
// before the store is closed.
func (s *Service) Close() {
	s.gate.Lock()
	for _, r := range s.runs.All() {
		r.End()
		s.runs.Change(r.Conversation, nil)
	}
	s.gate.Unlock()
	s.agents.Wait()
}

// Reset ends all runs without a word and calls begin before anything else can
// happen in a conversation: begin empties the store.
func (s *Service) Reset(ctx context.Context, begin func(context.Context) error) error {
	s.gate.Lock()
	defer s.gate.Unlock()
	for _, r := range s.runs.All() {
		r.End()
		s.runs.Change(r.Conversation, nil)
	}
	s.mu.Lock()
	clear(s.kept)
	s.mu.Unlock()
	return begin(ctx)
}

// Now is the time of an event that is written now.
func (s *Service) Now() time.Time { return s.c.Clock.Now() }

// Followers is how many follow a conversation.
func (s *Service) Followers() int { return s.feed.Followers() }

// Running is how many agents are at work.
func (s *Service) Running() int { return len(s.runs.All()) }

// Follow follows a conversation after an event, see [feed.Feed.Follow].
func (s *Service) Follow(ctx context.Context, id string, after int64) (*feed.Follower, error) {
	return s.feed.Follow(ctx, prefix+id, after)
}

// Last is the number of the last event of a conversation, -1 when it has none.
func (s *Service) Last(ctx context.Context, id string) (int64, error) {
	return s.feed.Last(ctx, prefix+id)
}

// Exists returns nil or [store.ErrNotFound].
func (s *Service) Exists(ctx context.Context, id string) error {
	return s.c.Store.Visit(ctx, prefix+id, store.Range{To: -1}, func(store.Event) bool { return false })
}

// An opened conversation is one whose id is locked.
type opened struct {
	*Service
	id     string // the UUID
	stored store.Conversation
	State
	last int64 // event
	// touched says that the time of the last change is another now.
	touched bool
}

// open locks a conversation and reads it.
func (s *Service) open(ctx context.Context, id string) (o *opened, unlock func(), err error) {
	s.gate.RLock()
	release := s.busy.Lock(id)
	unlock = func() {
		release()
		s.gate.RUnlock()
	}
	if o, err = s.read(ctx, id); err != nil {
		unlock()
		return nil, nil, err
	}
	return o, unlock, nil
}

func (s *Service) read(ctx context.Context, id string) (*opened, error) {
	o := &opened{Service: s, id: id}
	var err error
	if o.stored, err = s.c.Store.Conversation(ctx, prefix+id); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(o.stored.State), &o.State); err != nil {
		return nil, &store.Error{Op: "read", ID: id, Err: fmt.Errorf("%w: %w", store.ErrCorrupt, err)}
	}
	if o.Status == Running && s.runs.Of(id) == nil {
		o.Status = Error // of a process that is gone
	}
	o.last, err = s.feed.Last(ctx, prefix+id)
	return o, err
}

// save stores the state.
func (o *opened) save(ctx context.Context) error {
	text, err := json.Marshal(o.State)
	if err != nil {
		return err
	}
	o.stored, err = o.c.Store.Update(ctx, prefix+o.id, func(c *store.Conversation) error {
		c.State, c.Title = string(text), o.stored.Title
		if o.touched {
			c.UpdatedAt = o.c.Clock.Now()
		}
		return nil
	})
	return err
}

// change opens a conversation, lets do change it, and saves it. What do has
// stored stays when it fails.
func (s *Service) change(ctx context.Context, id string, do func(*opened) error) error {
	o, unlock, err := s.open(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	ctx = context.WithoutCancel(ctx)
	if err := do(o); err != nil {
		return errors.Join(err, o.save(ctx))
	}
	return o.save(ctx)
}

// NewID makes the UUID of a new conversation.
func (s *Service) NewID() string {
	h := s.c.NewID()
	return uuid(h, h[20:])
}

// uuid makes a UUID of version 4 of 20 hexadecimal digits or more, and the 12
// of its last group.
func uuid(h, node string) string {
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-" + string("89ab"[strings.IndexByte("0123456789abcdef", h[16])&3]) + h[17:20] + "-" + node
}

// A Draft says what a new conversation is to be.
type Draft struct {
	ID    string // "" for a new one
	State State
	Title string
}

// Create makes a conversation, or returns the one of the draft's id: isNew says
// which (recorded create_same_id).
func (s *Service) Create(ctx context.Context, d Draft) (info Info, isNew bool, err error) {
	if d.ID == "" {
		d.ID = s.NewID()
	}
	text, err := json.Marshal(d.State)
	if err != nil {
		return Info{}, false, err
	}
	s.gate.RLock()
	defer s.gate.RUnlock()
	now := s.c.Clock.Now()
	_, err = s.c.Store.Create(ctx, store.Conversation{ID: prefix + d.ID, Title: d.Title, CreatedAt: now, UpdatedAt: now, Agent: true, State: string(text)})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return Info{}, false, err
	}
	isNew = err == nil
	info, err = s.Info(ctx, d.ID)
	return info, isNew, err
}

// Info returns one conversation.
func (s *Service) Info(ctx context.Context, id string) (Info, error) {
	o, err := s.read(ctx, id)
	if err != nil {
		return Info{}, err
	}
	return o.info(), nil
}

// List returns all conversations with a status, newest first; "" is any.
func (s *Service) List(ctx context.Context, status Status) ([]Info, error) {
	const page = 256
	var infos []Info
	for offset := 0; ; offset += page {
		all, total, err := s.c.Store.LineConversations(ctx, Line, offset, page)
		if damaged := new(store.DamagedConversations); err != nil && !errors.As(err, &damaged) {
			return nil, err
		}
		for _, c := range all {
			info, err := s.Info(ctx, strings.TrimPrefix(c.ID, prefix))
			switch {
			case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrCorrupt): // gone since, or damaged
			case err != nil:
				return nil, err
			case status == "" || info.Status == status:
				infos = append(infos, info)
			}
		}
		if offset+page >= total {
			return infos, nil
		}
	}
}

// Delete ends the run of a conversation, which its followers are told, and
// removes it (recorded delete_mid_run).
func (s *Service) Delete(ctx context.Context, id string) error {
	o, unlock, err := s.open(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	wasRunning := s.runs.Of(id) != nil
	if wasRunning {
		if err := errors.Join(o.pause(ctx, "PauseEvent"), o.write(ctx, "user", "InterruptEvent", nil)); err != nil {
			return err
		}
	}
	s.keep(id, nil)
	s.feed.Tell(ctx, prefix+id, feed.Notice{Kind: feed.Ended}) // with what was written before it
	if wasRunning {
		o.tellAll(ctx)
	}
	if err := s.c.Store.Delete(ctx, prefix+id); err != nil || s.c.Removed == nil {
		return err
	}
	return s.c.Removed(id)
}

// Rename gives a conversation a title and tags; nil leaves them.
func (s *Service) Rename(ctx context.Context, id string, title *string, tags json.RawMessage) error {
	return s.change(ctx, id, func(o *opened) error {
		o.touched = true
		if title != nil {
			o.stored.Title = *title
		}
		if len(tags) == 0 {
			return nil
		}
		o.Tags = tags
		return o.tell(ctx, "tags", tags)
	})
}

// SetPolicy sets which actions wait for the user.
func (s *Service) SetPolicy(ctx context.Context, id string, policy json.RawMessage) error {
	return s.change(ctx, id, func(o *opened) error {
		if bytes.Equal(o.ConfirmationPolicy, policy) {
			return nil
		}
		o.ConfirmationPolicy = policy
		return o.tell(ctx, "confirmation_policy", policy)
	})
}

// SetAnalyzer sets what judges the risk of actions; nothing does here.
func (s *Service) SetAnalyzer(ctx context.Context, id string, analyzer json.RawMessage) error {
	return s.change(ctx, id, func(o *opened) error {
		if bytes.Equal(o.SecurityAnalyzer, analyzer) {
			return nil
		}
		o.SecurityAnalyzer = analyzer
		if string(analyzer) == "null" {
			return o.tell(ctx, "security_analyzer", nil)
		}
		return o.tell(ctx, "security_analyzer", analyzer)
	})
}

// SetSecrets adds secrets: their values appear in no event from then on.
func (s *Service) SetSecrets(ctx context.Context, id string, secrets map[string]string) error {
	return s.change(ctx, id, func(o *opened) error {
		for name, value := range secrets {
			if o.Secrets == nil {
				o.Secrets = map[string]string{}
			}
			o.Secrets[name] = value
		}
		return nil
	})
}

// Navigate makes an event the leaf, and nil the root: the branch goes on from
// there.
func (s *Service) Navigate(ctx context.Context, id string, event *string) (info Info, err error) {
	err = s.change(ctx, id, func(o *opened) error {
		if event != nil {
			if _, err := s.Event(ctx, id, *event); err != nil {
				return err
			}
		}
		o.LeafEventID = event
		return nil
	})
	if err != nil {
		return Info{}, err
	}
	return s.Info(ctx, id)
}
