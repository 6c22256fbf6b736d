// Package conversation has the rules of a conversation, for every face of the
// server: HTTP, Socket.IO, agents.
//
// A [Service] creates, starts, stops and deletes conversations, adds events
// to them and reads them back. What a conversation is made of lies in a
// store; its [Run] is known to the Service alone, so that after a restart all of
// them are stopped, as on the real server (recorded
// seq_restart_*).
//
// Birth decides. A conversation made by [Service.Create] has an agent: its
// state events are written as the real server writes them (recorded
// create_empty, start_stop_cycle). One born of a bare [Service.Add] has none:
// its ids are the poster's alone, until a socket opens it ([Service.Open]).
//
// What happens is one [feed.Feed] for all who follow: events, and between them
// the begin and end of a run, titles, statuses.
//
// Every decision about a run is taken with the conversation's id locked, by what
// the store says then: start, stop, delete, the event that creates or starts, a
// place under Config.MaxRunning. What is written in a run keeps it from ending
// meanwhile, so that who runs exists, and nothing of a run comes after its end.
package conversation

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openhands-local/openhands-local/api/clock"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/runs"
	"github.com/openhands-local/openhands-local/store"
)

// Errors of a [Service], beside the store's and [*fastapi.Invalid].
var (
	// ErrStopped: the conversation does not run, and the service is strict.
	ErrStopped = runs.ErrStopped
	// ErrNoSettings: nobody has stored settings yet.
	ErrNoSettings = errors.New("settings not found")
	// ErrNoLLMKey: the settings have no key for the model.
	ErrNoLLMKey = errors.New("settings have no LLM API key")
)

// A Config says what a Service works with. Store, Clock and NewID are required.
type Config struct {
	Store store.Store
	Clock *clock.Clock  // of events, in the zone they are told in, and of agents
	NewID func() string // of conversations: 32 hexadecimal digits
	// Strict refuses what OpenHands 0.53.0 refuses. Otherwise an event to an
	// unknown conversation creates it, one to a stopped conversation starts
	// it, and kinds of a later version are kept.
	Strict bool
	// Answers says that someone answers what users say. A first message then
	// begins the run (recorded normal_run); otherwise the agent awaits the
	// user's input before it.
	Answers bool
	// Agent, when set, is called in a goroutine of its own for each run that has
	// an agent. Its context ends with the run.
	Agent func(context.Context, *Run)
	// MaxRunning is how many conversations run at most: one more stops the one
	// that was written to longest ago. 0 is no limit.
	MaxRunning int
	// Starting is how long a run that has just begun is told as Starting. It is
	// what is told and no more: the run takes events from its beginning.
	Starting time.Duration
	// Removed, when set, is called with the id of a conversation that was
	// deleted, before another of that id can be created.
	Removed func(id string) error
}

// A Service keeps the rules of all conversations.
type Service struct {
	c    Config
	feed *feed.Feed
	runs *runs.Set[Run]

	gate sync.RWMutex // whoever locks an id or asks for settings reads it, a reset writes
	busy runs.Locks   // serialises what decides about one id's run

	changes atomic.Uint64 // of the records
	known   atomic.Pointer[knownSecrets]

	agents sync.WaitGroup

	deleted atomic.Bool // a conversation was, since New or the last reset

	mu          sync.Mutex
	connections map[string]int
}

// New returns a Service. Every stored conversation is stopped. It needs a
// Close.
func New(c Config) *Service {
	return &Service{c: c, feed: feed.New(c.Store), runs: runs.NewSet[Run](c.MaxRunning), connections: map[string]int{}}
}

// Close ends all runs without a word, and waits for the work of their agents. It
// comes before the store is closed. What comes after it finds all stopped, as
// after a restart.
func (s *Service) Close() {
	s.gate.Lock()
	defer s.gate.Unlock()
	for _, r := range s.runs.All() {
		r.End()
		s.runs.Change(r.Conversation, nil)
	}
	s.agents.Wait()
}

// lock locks the id of a conversation against every other decision about it, and
// returns what unlocks it.
func (s *Service) lock(id string) (unlock func()) {
	s.gate.RLock()
	release := s.busy.Lock(id)
	return func() {
		release()
		s.gate.RUnlock()
	}
}

// A Status is one of the three states that the API knows.
type Status string

// What the API says of a conversation.
const (
	Starting Status = "STARTING"
	Running  Status = "RUNNING"
	Stopped  Status = "STOPPED"
)

// An Info is a conversation as it is told to a client.
type Info struct {
	store.Conversation
	Title  string // the default one when nobody has named it
	Status Status
	// RuntimeStatus is "STATUS$READY", or "STATUS$RUNTIME_STARTED" of a
	// strict Service (recorded create_empty); "" unless it is Running.
	RuntimeStatus string
	Connections   int // sockets that are connected now
}

// maxID is the most letters of an id.
const maxID = 128

// ValidID tells whether a conversation can have this id: 1 to 128 letters,
// digits, '.', '_' and '-', the first of them no '.' and no '-'. Anything else
// is the id of no conversation, and is answered as an unknown one.
func ValidID(id string) bool {
	if id == "" || len(id) > maxID || id[0] == '.' || id[0] == '-' {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// defaultTitle is upstream's, of the first five characters of an id.
func defaultTitle(id string) string { return "Conversation " + id[:min(5, len(id))] }

// get returns the stored conversation, ErrNotFound also for an id that no
// conversation can have.
func (s *Service) get(ctx context.Context, id string) (store.Conversation, error) {
	if !ValidID(id) {
		return store.Conversation{}, Unknown(id)
	}
	return s.c.Store.Conversation(ctx, id)
}

// Unknown is the error for an id that no conversation has.
func Unknown(id string) error {
	return &store.Error{Op: "conversation", ID: id, Err: store.ErrNotFound}
}

// Exists returns nil or ErrNotFound.
func (s *Service) Exists(ctx context.Context, id string) error {
	switch {
	case s.runs.Of(id) != nil: // what runs is stored
		return nil
	case !ValidID(id):
		return Unknown(id)
	}
	// Visiting nothing asks for no more than that it is there.
	return s.c.Store.Visit(ctx, id, store.Range{To: -1}, func(store.Event) bool { return false })
}

// Info returns one conversation.
func (s *Service) Info(ctx context.Context, id string) (Info, error) {
	c, err := s.get(ctx, id)
	if err != nil {
		return Info{}, err
	}
	return s.info(ctx, c)
}

func (s *Service) info(ctx context.Context, c store.Conversation) (Info, error) {
	i := Info{Conversation: c, Title: c.Title, Status: s.status(c.ID)}
	if i.Title == "" {
		i.Title = defaultTitle(c.ID)
	}
	if i.Status == Running {
		statuses := s.runtimeStatuses()
		i.RuntimeStatus = statuses[len(statuses)-1]
	}
	s.mu.Lock()
	i.Connections = s.connections[c.ID]
	s.mu.Unlock()
	err := s.c.Store.Visit(ctx, c.ID, store.Range{To: store.All.To, Reverse: true}, func(last store.Event) bool {
		if at, ok := event.Time(last.JSON, s.c.Clock.Location()); ok && at.After(i.UpdatedAt) {
			i.UpdatedAt = at
		}
		return false
	})
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return Info{}, err
	}
	return i, nil
}

// List returns up to limit conversations, newest first, after offset others,
// and how many there are in all. As the store does, it leaves damaged ones out
// and names them by a [store.DamagedConversations].
func (s *Service) List(ctx context.Context, offset, limit int) ([]Info, int, error) {
	page, total, damage := s.c.Store.Conversations(ctx, offset, limit)
	if damaged := new(store.DamagedConversations); damage != nil && !errors.As(damage, &damaged) {
		return nil, 0, damage
	}
	infos := make([]Info, 0, len(page))
	for _, c := range page {
		i, err := s.info(ctx, c)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted since
		}
		if err != nil {
			return nil, 0, err
		}
		infos = append(infos, i)
	}
	return infos, total, damage
}

// Deleted tells whether a conversation was deleted since the Service was made or
// reset: a list without one is not that of a store as it began.
func (s *Service) Deleted() bool { return s.deleted.Load() }

// Latest is the latest time that a store tells of, as far as it can be read; the
// zero time when it is empty.
func Latest(ctx context.Context, st store.Store) (time.Time, error) {
	var latest time.Time
	s := New(Config{Store: st, Clock: clock.New(clock.Options{})})
	for offset := 0; ; {
		page, total, err := s.List(ctx, offset, store.PageEvents)
		if damaged := new(store.DamagedConversations); err != nil && !errors.As(err, &damaged) {
			return latest, err
		}
		for _, i := range page {
			if i.UpdatedAt.After(latest) {
				latest = i.UpdatedAt
			}
		}
		if offset += store.PageEvents; offset >= total {
			return latest, nil
		}
	}
}

// Rename gives a conversation a title; "" brings the default one back.
func (s *Service) Rename(ctx context.Context, id, title string) error {
	if _, err := s.get(ctx, id); err != nil {
		return err
	}
	_, err := s.c.Store.Update(ctx, id, func(c *store.Conversation) error {
		c.Title = title
		c.UpdatedAt = s.c.Clock.Now()
		return nil
	})
	if err == nil {
		s.tellTitle(ctx, id, title)
	}
	return err
}

// errNamed: the conversation has a title already.
var errNamed = errors.New("conversation is named")

// setTitle is [Run.SetTitle].
func (s *Service) setTitle(ctx context.Context, id, title string) error {
	_, err := s.c.Store.Update(ctx, id, func(c *store.Conversation) error {
		if c.Title != "" {
			return errNamed
		}
		c.Title = title
		c.UpdatedAt = s.c.Clock.Now()
		return nil
	})
	if errors.Is(err, errNamed) {
		return nil
	}
	if err == nil {
		s.tellTitle(ctx, id, title)
	}
	return err
}
