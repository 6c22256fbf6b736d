package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/feed"
	"github.com/openhands-local/openhands-local/api/line"
	"github.com/openhands-local/openhands-local/store"
)

// conversationPath is the page of a conversation.
func conversationPath(id string) string { return Prefix + "conversations/" + url.PathEscape(id) }

func (p *Page) conversations(w http.ResponseWriter, r *http.Request) error {
	skip, err := number(r, "skip")
	if err != nil {
		return err
	}
	skip = min(max(0, skip), 1<<30)
	all, total, err := p.Conversations.List(r.Context(), int(skip), maxRows)
	if damaged := new(store.DamagedConversations); err != nil && !errors.As(err, &damaged) {
		return err
	}
	next := int(skip) + maxRows
	if next >= total {
		next = 0
	}
	return p.show(w, http.StatusOK, "conversations", view{Title: "Conversations", Section: "conversations", Content: struct {
		All         []conversation.Info
		Total, Next int
		Live        bool
	}{all, total, next, skip == 0}})
}

// create makes a conversation as the web UI does.
func (p *Page) create(w http.ResponseWriter, r *http.Request) error {
	i, err := p.Conversations.Create(r.Context(), conversation.Draft{Trigger: "gui"})
	if err != nil {
		return err
	}
	return seeOther(w, r, conversationPath(i.ID))
}

// liveConversations tells of each conversation in which something happens, and
// first of all that the page has: something may have happened since it was made.
func (p *Page) liveConversations(w http.ResponseWriter, r *http.Request) error {
	f := p.Conversations.FollowAll()
	defer f.Close()
	all, _, err := p.Conversations.List(r.Context(), 0, maxRows)
	if damaged := new(store.DamagedConversations); err != nil && !errors.As(err, &damaged) {
		return err
	}
	return p.live(w, r, f.Changed, func(s *stream) error {
		for _, i := range slices.Backward(all) {
			if err := s.put("conversation-row", i); err != nil {
				return err
			}
		}
		all = nil
		changed := map[string]bool{}
		err := read(r, f, func(i feed.Item) { changed[i.Conversation] = true })
		if err != nil {
			return err
		}
		for id := range changed {
			switch i, err := p.Conversations.Info(r.Context(), id); {
			case errors.Is(err, store.ErrNotFound):
				err = s.gone("c-" + id)
				if err != nil {
					return err
				}
			case err != nil:
				return err
			default:
				if err := s.put("conversation-row", i); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// read takes what a follower is told by now.
func read(r *http.Request, f *feed.Follower, take func(feed.Item)) error {
	for {
		item, ok, err := f.Next(r.Context())
		if damaged := new(store.DamagedEvent); errors.As(err, &damaged) {
			continue
		}
		if err != nil || !ok {
			return err
		}
		take(item)
	}
}

// A row is an event, or what is told beside the events.
type row struct {
	Conversation string
	line.Line
}

// Event tells whether it is one.
func (r row) Event() bool { return r.ID >= 0 }

func rowOf(i feed.Item) row {
	var l line.Line
	var err error
	if i.Notice != nil {
		text, _ := json.Marshal(i.Notice) // its Update is JSON
		l, err = line.Notice(text)
	} else {
		l, err = line.Event(event.AppendServed(nil, i.Event.ID, i.Event.JSON, event.Flags(i.Event.Flags)))
	}
	if err != nil { // of another shape than any that is known
		l = line.Line{ID: i.Event.ID, Kind: "unreadable", Message: err.Error()}
	}
	return row{i.Conversation, l}
}

func (p *Page) conversation(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	before, err := number(r, "before")
	if err != nil {
		return err
	}
	info, err := p.Conversations.Info(r.Context(), id)
	if err != nil {
		return err
	}
	span := conversation.Window{End: store.MaxID, Reverse: true, Limit: maxRows}
	if before >= 0 {
		span.End = before - 1
	}
	v := struct {
		Info    conversation.Info
		Events  []row
		After   int64 // the last event
		Older   int64 // before which there are more, 0 for none
		Live    bool
		Sources []string
		Damaged []int64
	}{Info: info, After: -1, Live: before < 0, Sources: sources}
	found, err := p.Conversations.Search(r.Context(), id, span, event.Filter{}, func(e store.Event) {
		v.Events = append(v.Events, rowOf(feed.Item{Conversation: id, Event: e}))
	}, func() error { return nil })
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	v.Damaged = found.Damaged
	if n := len(v.Events); n > 0 {
		v.After = v.Events[0].ID
		if found.More {
			v.Older = v.Events[n-1].ID
		}
	}
	return p.show(w, http.StatusOK, "conversation", view{Title: info.Title, Section: "conversations", Content: v})
}

// liveConversation tells what a conversation is, what happens in it, and what it is
// then. Of what comes faster than it can be shown the latest is sent.
func (p *Page) liveConversation(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	last, err := number(r, "after")
	if err != nil {
		return err
	}
	// What a browser that comes back has is more than what its page had.
	if id, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		last = id
	}
	f, err := p.Conversations.Follow(r.Context(), id, last)
	if err != nil {
		return err
	}
	defer f.Close()
	noticed := true // what was told before is told no more
	return p.live(w, r, f.Changed, func(s *stream) error {
		var rows []row
		ended := read(r, f, func(i feed.Item) {
			if len(rows) == maxRows {
				rows = rows[:copy(rows, rows[1:])]
			}
			rows = append(rows, rowOf(i))
			noticed = noticed || i.Notice != nil
		})
		for _, each := range rows {
			if err := s.put("event-row", each); err != nil {
				return err
			}
			if each.Event() {
				s.id = strconv.FormatInt(each.ID, 10)
			}
		}
		if noticed {
			noticed = false
			if info, err := p.Conversations.Info(r.Context(), id); err == nil {
				if err := s.put("conversation-facts", info); err != nil {
					return err
				}
			}
		}
		if ended != nil {
			_ = s.gone("facts")
		}
		return ended
	})
}

// sources are who an event may be of.
var sources = []string{"agent", "environment", "user"}

// act does what a form of a conversation's page asks for.
func (p *Page) act(w http.ResponseWriter, r *http.Request) error {
	ctx, id := r.Context(), r.PathValue("id")
	err := p.Conversations.Exists(ctx, id)
	if err != nil {
		return err
	}
	switch act := r.PathValue("act"); act {
	case "start":
		_, err = p.Conversations.Start(ctx, id)
	case "stop":
		_, err = p.Conversations.Stop(ctx, id)
	case "delete":
		if err := p.Conversations.Delete(ctx, id); err != nil {
			return err
		}
		return seeOther(w, r, Prefix+"conversations")
	case "say":
		_, err = p.Conversations.Add(ctx, id, event.Message(r.PostFormValue("text"), nil), "")
	case "inject":
		var source string
		if source, err = known(r, "source", sources...); err == nil {
			_, err = p.Conversations.Inject(ctx, id, source, []byte(r.PostFormValue("event")))
		}
	default:
		return p.unknown(w, r)
	}
	if err != nil {
		return err
	}
	return seeOther(w, r, conversationPath(id))
}

func (p *Page) askDelete(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	i, err := p.Conversations.Info(r.Context(), id)
	if err != nil {
		return err
	}
	return p.show(w, http.StatusOK, "question", view{Title: "Delete", Section: "conversations", Content: question{
		Text:   fmt.Sprintf("Delete %s (%s), with all its events and files?", i.Title, id),
		Action: conversationPath(id) + "/delete", Yes: "Delete", Back: conversationPath(id),
	}})
}

// event shows one event whole.
func (p *Page) event(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	n, err := strconv.ParseInt(r.PathValue("event"), 10, 64)
	if err != nil || n < 0 {
		return p.unknown(w, r)
	}
	var v *struct {
		Row  row
		Text text
	}
	_, err = p.Conversations.Search(r.Context(), id, conversation.Window{Start: n, End: n, Limit: 1}, event.Filter{}, func(e store.Event) {
		v = &struct {
			Row  row
			Text text
		}{rowOf(feed.Item{Conversation: id, Event: e}), textOf(event.AppendServed(nil, e.ID, e.JSON, event.Flags(e.Flags)))}
	}, func() error { return nil })
	if err != nil {
		return err
	}
	if v == nil {
		return &failure{http.StatusNotFound, fmt.Sprintf("There is no event %d.", n)}
	}
	return p.show(w, http.StatusOK, "event", view{Title: fmt.Sprintf("Event %d", n), Section: "conversations", Content: v})
}

// maxText is the most bytes of a text that is shown, maxDepth how deep one of
// JSON may be to be laid out: what is deep grows with the square of its size.
const (
	maxText  = 64 << 10
	maxDepth = 32
)

// A text is a body to look at.
type text struct {
	Shown string
	Cut   int  // bytes that are not shown
	None  bool // it is no text
}

// textOf lays JSON out; other text stays as it is.
func textOf(b []byte) text {
	if !utf8.Valid(b) {
		return text{None: true}
	}
	var laid bytes.Buffer
	if len(b) <= maxText && depth(b) <= maxDepth && json.Indent(&laid, b, "", "  ") == nil {
		return text{Shown: laid.String()}
	}
	shown := b[:min(len(b), maxText)]
	return text{Shown: string(bytes.ToValidUTF8(shown, nil)), Cut: len(b) - len(shown)}
}

// depth is how deep a JSON text is at most.
func depth(b []byte) (most int) {
	now := 0
	for _, c := range b {
		switch c {
		case '{', '[':
			now++
			most = max(most, now)
		case '}', ']':
			now--
		}
	}
	return most
}
