// Package archive carries conversations into a store and out of it.
//
// [Export] writes NDJSON, one object a line:
//
//	{"openhands_local":1}                     first: the format
//	{"record":"settings","value":{…}}         settings and secrets, if asked for
//	{"conversation":{"id":"…","created_at":"…",…}}
//	{"event":{"id":0,"timestamp":"…",…}}      the events of the conversation above, as they are stored
//	{"left_out":"…"}                          what could not be read
//	{"deleted":"…"}                           the conversation above is gone: what was read of it does not count
//	{"end":{"conversations":1,…}}             last: nothing is missing
//
// What readers must know of an event without parsing it (event.Flags) is told
// by its JSON, so it is not written. Idempotency keys are not either, and
// births are given anew; both belong to a data folder. Of an export that is
// imported into an empty store the next export has the same bytes.
//
// [Trajectory] writes what GET /api/conversations/{id}/trajectory answers.
//
// [Import] takes both, events in other shapes, and the folder in which OpenHands
// keeps sessions (sessions.go).
package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/store"
)

// format is the number in the first line.
const format = 1

// A Summary counts what was carried.
type Summary struct {
	Conversations int `json:"conversations"`
	Events        int `json:"events"`
	Records       int `json:"records"`  // settings, secrets
	LeftOut       int `json:"left_out"` // things that cannot be read
	// Existing, of an import, counts the conversations and records that were
	// left as they are since they existed already.
	Existing int `json:"-"`
}

// records are the names of the store's records that are carried.
var records = []string{conversation.SettingsRecord, conversation.SecretsRecord}

// ExportOptions say what is exported; the zero value is all but secrets.
type ExportOptions struct {
	// Conversations are the ids of those that are wanted; none wants all.
	Conversations []string
	// Secrets exports settings and secrets too: both hold keys.
	Secrets bool
	// Progress, when set, is called now and then.
	Progress func(Summary)
}

// line is one line of the format: one of its fields is set.
type line struct {
	Format       *int                `json:"openhands_local,omitempty"`
	Record       *string             `json:"record,omitempty"`
	Value        json.RawMessage     `json:"value,omitempty"` // of the record
	Conversation *store.Conversation `json:"conversation,omitempty"`
	Event        json.RawMessage     `json:"event,omitempty"`
	LeftOut      *string             `json:"left_out,omitempty"`
	Deleted      *string             `json:"deleted,omitempty"`
	End          *Summary            `json:"end,omitempty"`
}

// Export writes conversations as NDJSON, the oldest first, or those of the
// options in their order. Each is whole as of a moment while it is read; a
// conversation of the options that does not exist is store.ErrNotFound, and
// then nothing is written.
func Export(ctx context.Context, s store.Store, w io.Writer, o ExportOptions) (Summary, error) {
	e := &exporter{ctx: ctx, s: s, w: bufio.NewWriterSize(w, 256<<10), o: o}
	err := e.all()
	return e.sum, errors.Join(err, e.w.Flush())
}

type exporter struct {
	ctx context.Context
	s   store.Store
	w   *bufio.Writer
	o   ExportOptions
	sum Summary
}

func (e *exporter) all() error {
	list, damaged, err := e.list()
	if err != nil {
		return err
	}
	if err := e.write(line{Format: new(format)}); err != nil {
		return err
	}
	if e.o.Secrets {
		if err := e.records(); err != nil {
			return err
		}
	}
	for _, id := range damaged {
		if err := e.leaveOut("conversation %s: %w", id, store.ErrCorrupt); err != nil {
			return err
		}
	}
	for _, id := range list {
		if err := e.conversation(id); err != nil {
			return err
		}
	}
	return e.write(line{End: &e.sum})
}

// list returns the ids of what is exported, and those of all that are damaged.
// All of them are listed at once: page by page, one that others are deleted
// before could be missed.
func (e *exporter) list() (ids, damaged []string, err error) {
	if len(e.o.Conversations) > 0 {
		for _, id := range e.o.Conversations {
			if _, err := e.s.Conversation(e.ctx, id); err != nil {
				return nil, nil, err
			}
		}
		return e.o.Conversations, nil, nil
	}
	all, _, err := e.s.Conversations(e.ctx, 0, math.MaxInt)
	var some *store.DamagedConversations
	if errors.As(err, &some) {
		damaged, err = some.IDs, nil
	}
	// The oldest first, so that births come in the same order again.
	for _, c := range slices.Backward(all) {
		ids = append(ids, c.ID)
	}
	return ids, damaged, err
}

func (e *exporter) records() error {
	for _, name := range records {
		value, err := e.s.Record(e.ctx, name)
		if errors.Is(err, store.ErrCorrupt) {
			err = e.leaveOut("%s: %w", name, store.ErrCorrupt)
		}
		if err != nil {
			return err
		}
		if value == nil {
			continue
		}
		if err := e.write(line{Record: &name, Value: value}); err != nil {
			return err
		}
		e.sum.Records++
	}
	return nil
}

// conversation writes one conversation, unless it is gone.
func (e *exporter) conversation(id string) error {
	c, err := e.s.Conversation(e.ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	c.Birth = 0
	if err := e.write(line{Conversation: &c}); err != nil {
		return err
	}
	n := 0
	var text []byte
	for stored, err := range store.Scan(e.ctx, e.s, id, store.All) {
		var damaged *store.DamagedEvent
		switch {
		case errors.As(err, &damaged):
			if err := e.leaveOut("conversation %s, %w", id, err); err != nil {
				return err
			}
			continue
		case errors.Is(err, store.ErrNotFound):
			e.sum.Events -= n
			return e.write(line{Deleted: &id})
		case err != nil:
			return err
		}
		text = append(text[:0], eventPrefix...)
		text = event.AppendServed(text, stored.ID, stored.JSON, 0)
		if _, err := e.w.Write(append(text, "}\n"...)); err != nil {
			return err
		}
		n++
		e.sum.Events++
		if e.o.Progress != nil && n%progressEvents == 0 {
			e.o.Progress(e.sum)
		}
	}
	e.sum.Conversations++
	return nil
}

// progressEvents is how many events go by between two calls of Progress.
const progressEvents = 1000

const eventPrefix = `{"event":`

func (e *exporter) leaveOut(format string, a ...any) error {
	e.sum.LeftOut++
	text := fmt.Errorf(format, a...).Error()
	return e.write(line{LeftOut: &text})
}

func (e *exporter) write(l line) error {
	encoder := json.NewEncoder(e.w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(l)
}

// ErrCut is the error of an export without its end.
var ErrCut = errors.New("it has been cut short: its last line is missing")

// Ended reads the end of an export, given its last bytes (a few hundred are
// enough). Without one it is ErrCut.
func Ended(tail []byte) (Summary, error) {
	tail = bytes.TrimSuffix(tail, []byte("\n"))
	var l line
	if json.Unmarshal(tail[bytes.LastIndexByte(tail, '\n')+1:], &l) != nil || l.End == nil {
		return Summary{}, ErrCut
	}
	return *l.End, nil
}

// Trajectory writes the trajectory of a conversation: its events that are not
// hidden, as the API answers them. What is damaged is left out and counted. A
// conversation that does not exist is store.ErrNotFound.
func Trajectory(ctx context.Context, s store.Store, w io.Writer, id string) (Summary, error) {
	var sum Summary
	out := bufio.NewWriterSize(w, 256<<10)
	text := []byte(`{"trajectory":[`)
	for e, err := range conversation.New(conversation.Config{Store: s}).Trajectory(ctx, id) {
		var damaged *store.DamagedEvent
		if errors.As(err, &damaged) {
			sum.LeftOut++
			continue
		}
		if err != nil {
			return sum, err
		}
		if sum.Events > 0 {
			text = append(text, ',')
		}
		text = event.AppendTrajectory(text, e.ID, e.JSON, event.Flags(e.Flags))
		if _, err := out.Write(text); err != nil {
			return sum, err
		}
		text = text[:0]
		sum.Events++
	}
	if _, err := out.Write(append(text, "]}"...)); err != nil {
		return sum, err
	}
	sum.Conversations = 1
	return sum, out.Flush()
}
