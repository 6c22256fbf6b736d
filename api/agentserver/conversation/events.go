package conversation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/openhands-local/openhands-local/api/fastapi"
	"github.com/openhands-local/openhands-local/api/refuse"
	"github.com/openhands-local/openhands-local/store"
)

const updateEvent = "ConversationStateUpdateEvent"

// An update is what a ConversationStateUpdateEvent has.
type update struct {
	Key   string `json:"key"`
	Value any    `json:"value,omitempty"`
}

// local is a time as events write it, in the server's zone.
const local = "2006-01-02T15:04:05.000000"

// root is the parent of an event that has none, where events lie before it.
const root = "__root__"

// compose writes an event: what every one has, its fields, its kind last.
func (o *opened) compose(id, source string, parent *string, kind string, fields any) ([]byte, error) {
	head, err := json.Marshal(struct {
		ID        string  `json:"id"`
		Timestamp string  `json:"timestamp"`
		Source    string  `json:"source"`
		Parent    *string `json:"parent_id,omitempty"`
	}{id, o.c.Clock.Now().Format(local), source, parent})
	if err != nil {
		return nil, err
	}
	text := head[:len(head)-1]
	if fields != nil {
		more, err := refuse.Marshal(fields)
		if err != nil {
			return nil, err
		}
		if len(more) > 2 {
			text = append(append(text, ','), more[1:len(more)-1]...)
		}
	}
	text = fmt.Appendf(text, `,"kind":%q}`, kind)
	return o.mask(text), nil
}

// mask hides the values of secrets (recorded secrets_masked).
func (o *opened) mask(text []byte) []byte {
	if len(o.Secrets) == 0 {
		return text
	}
	values := make([]string, 0, len(o.Secrets))
	for _, v := range o.Secrets {
		if quoted, _ := refuse.Marshal(v); len(quoted) > 2 {
			values = append(values, string(quoted[1:len(quoted)-1]))
		}
	}
	sort.Slice(values, func(i, j int) bool { return len(values[i]) > len(values[j]) }) // of two, the longer
	pairs := make([]string, 0, 2*len(values))
	for _, v := range values {
		pairs = append(pairs, v, "<secret-hidden>")
	}
	return []byte(strings.NewReplacer(pairs...).Replace(string(text)))
}

// store stores an event and returns its id.
func (o *opened) store(ctx context.Context, source, kind string, fields any) (id string, err error) {
	id = uuid(o.c.NewID(), fmt.Sprintf("%012x", o.last+1))
	text, err := o.compose(id, source, o.parent(), kind, fields)
	if err != nil {
		return "", err
	}
	n, _, err := o.feed.Append(ctx, prefix+o.id, store.NewEvent{JSON: text})
	if err == nil {
		o.last = n
	}
	return id, err
}

// write stores an event, which becomes the leaf.
func (o *opened) write(ctx context.Context, source, kind string, fields any) error {
	id, err := o.store(ctx, source, kind, fields)
	if err == nil {
		o.LeafEventID, o.touched = &id, true
	}
	return err
}

// parent is that of the next event, nil for the first of all.
func (o *opened) parent() *string {
	if o.LeafEventID == nil && o.last >= 0 {
		of := root
		return &of
	}
	return o.LeafEventID
}

// tell stores that a member of the state is another now.
func (o *opened) tell(ctx context.Context, key string, value any) error {
	_, err := o.store(ctx, "environment", updateEvent, update{key, value})
	return err
}

// setStatus changes the status, and tells it if it is another.
func (o *opened) setStatus(ctx context.Context, status Status) error {
	if o.Status == status {
		return nil
	}
	o.Status, o.touched = status, true
	return o.tell(ctx, "execution_status", status)
}

// number is that of the event with an id, -1 when no event can have the id.
func number(id string) int64 {
	i := strings.LastIndexByte(id, '-')
	if i < 0 || len(id) != 36 {
		return -1
	}
	n, err := strconv.ParseInt(id[i+1:], 16, 64)
	if err != nil || n > store.MaxID {
		return -1
	}
	return n
}

// A head is what an event is found by.
type head struct {
	ID         string `json:"id"`
	Timestamp  string `json:"timestamp"`
	Source     string `json:"source"`
	Kind       string `json:"kind"`
	Parent     string `json:"parent_id"`
	LLMMessage struct {
		Role    string `json:"role"`
		Content []Content
	} `json:"llm_message"`
	Action struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
	} `json:"action"`
	ActionID string `json:"action_id"`
	Tool     string `json:"tool_name"`
	CallID   string `json:"tool_call_id"`
}

// find returns an event of a conversation, ErrNoEvent when there is none.
func (s *Service) find(ctx context.Context, id, event string) (store.Event, error) {
	n := number(event)
	found := store.Event{ID: -1}
	err := s.c.Store.Visit(ctx, prefix+id, store.Range{From: n, To: n}, func(e store.Event) bool {
		var h head
		if json.Unmarshal(e.JSON, &h) == nil && h.ID == event {
			e.JSON = append([]byte(nil), e.JSON...)
			found = e
		}
		return false
	})
	if err == nil && found.ID < 0 {
		err = ErrNoEvent
	}
	return found, err
}

// Event returns an event of a conversation, ErrNoEvent when there is none.
func (s *Service) Event(ctx context.Context, id, event string) (json.RawMessage, error) {
	e, err := s.find(ctx, id, event)
	return e.JSON, err
}

// A Filter selects events; the zero value takes all.
type Filter struct {
	Kind, Source, Body *string
	From, Before       *string // what [Service.Time] makes of a parameter
}

// Time is a time that fastapi.DateTime has read as events have it.
func (s *Service) Time(text string) (string, error) {
	zone := s.c.Clock.Location()
	t, err := fastapi.ParseTime(text, zone)
	return t.In(zone).Format(local), err
}

// matches reports whether an event is selected.
func (f Filter) matches(text []byte) bool {
	if f == (Filter{}) {
		return true
	}
	var h head
	if json.Unmarshal(text, &h) != nil {
		return false
	}
	switch {
	case f.Kind != nil && h.Kind != (*f.Kind)[strings.LastIndexByte(*f.Kind, '.')+1:],
		f.Source != nil && h.Source != *f.Source,
		f.From != nil && h.Timestamp < *f.From,
		f.Before != nil && h.Timestamp >= *f.Before:
		return false
	case f.Body == nil:
		return true
	}
	return h.Kind == "MessageEvent" && strings.Contains(strings.ToLower(textOf(h.LLMMessage.Content)), strings.ToLower(*f.Body))
}

// A Page is one of the events that a search finds.
type Page struct {
	Items []json.RawMessage
	Next  *string // the id of the event after the last, nil at the end
}

// Search returns up to limit events that match, from the event page on; an
// unknown one is the beginning (recorded search_unknown_page).
func (s *Service) Search(ctx context.Context, id string, f Filter, page string, limit int, reverse bool) (Page, error) {
	r := store.Range{To: store.MaxID, Reverse: reverse}
	if page != "" {
		if e, err := s.find(ctx, id, page); err == nil {
			if r.From = e.ID; reverse {
				r.From, r.To = 0, e.ID
			}
		} else if !errors.Is(err, ErrNoEvent) {
			return Page{}, err
		}
	}
	p := Page{Items: []json.RawMessage{}}
	for e, err := range store.Scan(ctx, s.c.Store, prefix+id, r) {
		if damaged := new(store.DamagedEvent); errors.As(err, &damaged) {
			continue
		}
		if err != nil {
			return Page{}, err
		}
		if !f.matches(e.JSON) {
			continue
		}
		if len(p.Items) == limit {
			var h head
			_ = json.Unmarshal(e.JSON, &h) // it is one of ours
			p.Next = &h.ID
			break
		}
		p.Items = append(p.Items, e.JSON)
	}
	return p, nil
}

// Count returns how many events match.
func (s *Service) Count(ctx context.Context, id string, f Filter) (n int, err error) {
	for e, err := range store.Scan(ctx, s.c.Store, prefix+id, store.All) {
		if damaged := new(store.DamagedEvent); err != nil && !errors.As(err, &damaged) {
			return 0, err
		}
		if err == nil && f.matches(e.JSON) {
			n++
		}
	}
	return n, nil
}

// Since yields the stored events of a conversation up to a number, as far as a
// filter takes them.
func (s *Service) Since(ctx context.Context, id string, f Filter, last int64, yield func(json.RawMessage) error) error {
	for e, err := range store.Scan(ctx, s.c.Store, prefix+id, store.Range{To: last}) {
		if damaged := new(store.DamagedEvent); errors.As(err, &damaged) {
			continue
		}
		if err != nil {
			return err
		}
		if f.matches(e.JSON) {
			if err := yield(e.JSON); err != nil {
				return err
			}
		}
	}
	return nil
}

// branch yields the events from the leaf to the root.
func (o *opened) branch(ctx context.Context, yield func(head) (goOn bool)) error {
	at := o.LeafEventID
	for at != nil && *at != "" && *at != root {
		text, err := o.Event(ctx, o.id, *at)
		if err != nil {
			return err
		}
		var h head
		if err := json.Unmarshal(text, &h); err != nil || !yield(h) {
			return err
		}
		at = &h.Parent
	}
	return nil
}

// FinalResponse is what the agent has said last on the branch: the message of a
// finish, or a message; "" for nothing.
func (s *Service) FinalResponse(ctx context.Context, id string) (text string, err error) {
	o, err := s.read(ctx, id)
	if err != nil {
		return "", err
	}
	err = o.branch(ctx, func(h head) bool {
		switch {
		case h.Kind == "ActionEvent" && h.Action.Kind == "FinishAction":
			text = h.Action.Message
			return false
		case h.Kind == "MessageEvent" && h.Source == "agent":
			text = textOf(h.LLMMessage.Content)
			return false
		}
		return true
	})
	return text, err
}

// Fork copies a conversation with its events, to an event if one is given: then
// only the branch up to there. What its models took is forgotten if resetMetrics
// is set.
func (s *Service) Fork(ctx context.Context, id string, d Draft, at *string, resetMetrics bool) (Info, error) {
	o, unlock, err := s.open(ctx, id)
	if err != nil {
		return Info{}, err
	}
	defer unlock()
	keep := map[int64]bool{}
	state := o.State
	state.ForkedFrom, state.ForkedAt, state.Status, state.Secrets = &o.id, at, Idle, nil
	if state.Tags = d.State.Tags; len(state.Tags) == 0 {
		state.Tags = json.RawMessage("{}")
	}
	state.LastUserMessageID = nil
	if resetMetrics {
		state.Stats = nil
	}
	if at != nil {
		if _, err := s.Event(ctx, id, *at); err != nil {
			return Info{}, err
		}
		state.LeafEventID = at
		up := *o
		up.LeafEventID = at
		err := up.branch(ctx, func(h head) bool {
			keep[number(h.ID)] = true
			return true
		})
		if err != nil {
			return Info{}, err
		}
	}
	d.ID = cmp.Or(d.ID, s.NewID())
	if err := s.Exists(ctx, d.ID); !errors.Is(err, store.ErrNotFound) {
		return Info{}, cmp.Or(err, ErrTaken)
	}
	text, err := json.Marshal(state)
	if err != nil {
		return Info{}, err
	}
	now := s.c.Clock.Now()
	events := func(yield func(store.Event, error) bool) {
		for e, err := range store.Scan(ctx, s.c.Store, prefix+id, store.All) {
			if err == nil && at != nil && !keep[e.ID] {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
	_, err = s.c.Store.Import(ctx, store.Conversation{ID: prefix + d.ID, Title: d.Title, CreatedAt: now, UpdatedAt: now, Agent: true, State: string(text)}, false, events)
	if errors.Is(err, store.ErrConflict) {
		return Info{}, ErrTaken
	}
	if err != nil {
		return Info{}, err
	}
	return s.Info(ctx, d.ID)
}

// ServerError is a frame that tells a client of a socket what was wrong with its
// message. It is no stored event.
func (s *Service) ServerError(ctx context.Context, id, code, detail string) (json.RawMessage, error) {
	o, err := s.read(ctx, id)
	if err != nil {
		o = &opened{Service: s, id: id}
	}
	return o.compose(o.NewID(), "environment", nil, "ServerErrorEvent", struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{code, detail})
}
