package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/api/settings"
	"github.com/openhands-local/openhands-local/store"
)

// Existing says what becomes of a conversation or record that exists already.
type Existing int

// What an import does with what exists.
const (
	Refuse  Existing = iota // leaves it, and is ErrExists at the end
	Skip                    // leaves it
	Replace                 // replaces it
)

// ErrExists is the error of an import that left something as it was.
var ErrExists = errors.New("exists already")

// ImportOptions say how an import goes.
type ImportOptions struct {
	// Settings returns the settings record of a body of POST /api/settings,
	// which a settings record is too. It is required.
	Settings func(body []byte) ([]byte, error)
	Existing Existing
	// ID is of the conversation that a trajectory or other events become;
	// without one it is the one that the file tells, or the name of the file
	// without its extension.
	ID string
	// LeftOut, when set, is told of everything that cannot be taken, by the
	// name of its file or its place, and why.
	LeftOut func(what string, why error)
	// Progress, when set, is called now and then.
	Progress func(Summary)
}

// Import stores what is at path: an export of [Export], the events of one
// conversation, or a folder of OpenHands' (see sessions.go). Every conversation
// is stored whole or not at all. What cannot be taken is left out and told of.
//
// Events are taken as they are found:
//
//	{"trajectory":[…]}                    the answer of the API
//	[…]                                   the bare list that OpenHands saves
//	{"events":[…],"has_more":false}       a page of them
//	{"conversation":{…},"events":[…],…}   with the conversation as GET /api/conversations/{id} answers it
//	{"id":0,…} {"id":1,…} …               one behind the other, such as one a line
func Import(ctx context.Context, s store.Store, path string, o ImportOptions) (Summary, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Summary{}, err
	}
	if info.IsDir() {
		return run(ctx, s, o, func(im *importer) error { return im.folder(path) })
	}
	f, err := os.Open(path)
	if err != nil {
		return Summary{}, err
	}
	defer f.Close()
	return ImportFrom(ctx, s, f, path, o)
}

// ImportFrom is Import of an export or of events that are read from r; name is
// that of its file.
func ImportFrom(ctx context.Context, s store.Store, r io.Reader, name string, o ImportOptions) (Summary, error) {
	return run(ctx, s, o, func(im *importer) error {
		in := bufio.NewReaderSize(r, 256<<10)
		head, err := in.Peek(64)
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s: %w", name, err)
		}
		if bytes.HasPrefix(head, []byte(`{"openhands_local"`)) {
			err = im.ndjson(in)
		} else {
			err = im.document(in, name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

func run(ctx context.Context, s store.Store, o ImportOptions, do func(*importer) error) (Summary, error) {
	im := &importer{ctx: ctx, s: s, o: o}
	if err := do(im); err != nil {
		return im.sum, err
	}
	if im.sum.Existing > 0 && o.Existing == Refuse {
		return im.sum, ErrExists
	}
	return im.sum, nil
}

type importer struct {
	ctx context.Context
	s   store.Store
	o   ImportOptions
	sum Summary
}

// leaveOut tells that something cannot be taken.
func (im *importer) leaveOut(what string, why error) {
	im.sum.LeftOut++
	if im.o.LeftOut != nil {
		im.o.LeftOut(what, why)
	}
}

// exists notes that something was there already.
func (im *importer) exists(what string) {
	im.sum.Existing++
	if im.o.Existing == Refuse && im.o.LeftOut != nil {
		im.o.LeftOut(what, ErrExists)
	}
}

// A malformed is an error of what is imported, not of reading or storing it.
type malformed struct{ error }

func (m malformed) Unwrap() error { return m.error }

func badly(format string, a ...any) error { return malformed{fmt.Errorf(format, a...)} }

// errDeleted ends the events of a conversation that was deleted while it was
// exported.
var errDeleted = badly("was deleted while it was exported")

// conversation stores a conversation. What is wrong with it is told and is no
// error.
func (im *importer) conversation(c store.Conversation, events iter.Seq2[store.Event, error]) error {
	what := "conversation " + c.ID
	err := badConversation(c)
	if err == nil && im.o.Existing != Replace {
		// Asked before Import, whose ErrConflict may also mean an id.
		_, err = im.s.Conversation(im.ctx, c.ID)
		if err == nil {
			im.exists(what)
			return nil
		}
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
	}
	before := im.sum.Events
	if err == nil {
		_, err = im.s.Import(im.ctx, c, im.o.Existing == Replace, im.counted(events))
	}
	var wrong malformed
	switch {
	case err == nil:
		im.sum.Conversations++
		return nil
	case err == errDeleted:
	case errors.As(err, &wrong):
		im.leaveOut(what, wrong.error)
	default:
		return err
	}
	im.sum.Events = before
	return nil
}

func badConversation(c store.Conversation) error {
	if !conversation.ValidID(c.ID) {
		return badly("%w", conversation.ErrBadID)
	}
	for _, t := range []time.Time{c.CreatedAt, c.UpdatedAt} {
		if y := t.UTC().Year(); y < 1 || y > 9999 {
			return badly("the year %d", y)
		}
	}
	return nil
}

// counted counts events on their way, and wants their ids to ascend.
func (im *importer) counted(events iter.Seq2[store.Event, error]) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		next := int64(0)
		for e, err := range events {
			if err == nil && e.ID < next {
				err = badly("event %d comes after event %d", e.ID, next-1)
			}
			if !yield(e, err) || err != nil {
				return
			}
			next = e.ID + 1
			im.sum.Events++
			if im.o.Progress != nil && im.sum.Events%progressEvents == 0 {
				im.o.Progress(im.sum)
			}
		}
	}
}

// record stores settings or secrets where there are none, or in place of
// others.
func (im *importer) record(name string, value []byte) error {
	if !slices.Contains(records, name) {
		im.leaveOut(name, errors.New("no record has this name"))
		return nil
	}
	var err error
	if name == conversation.SecretsRecord {
		_, err = settings.SecretNames(value)
	} else {
		value, err = im.o.Settings(value)
	}
	if err != nil {
		im.leaveOut(name, err)
		return nil
	}
	taken := false
	err = im.s.UpdateRecord(im.ctx, name, func(old []byte) ([]byte, error) {
		taken = old != nil && im.o.Existing != Replace && !bytes.Equal(old, value)
		if taken {
			return old, nil
		}
		return value, nil
	})
	switch {
	case err != nil:
		return err
	case taken:
		im.exists(name)
	default:
		im.sum.Records++
	}
	return nil
}

// ndjson imports exports, one or several behind each other.
func (im *importer) ndjson(r *bufio.Reader) error {
	in := &lines{r: r}
	ended := false
	for {
		l, err := in.next()
		var wrong malformed
		switch {
		case err == io.EOF && ended:
			return nil
		case err == io.EOF:
			return ErrCut
		case errors.As(err, &wrong):
			im.leaveOut(fmt.Sprintf("line %d", in.number), wrong.error)
			continue
		case err != nil:
			return err
		}
		ended = false
		switch {
		case l.Format != nil:
			if *l.Format != format {
				return fmt.Errorf("line %d: the format is %d, and this version of the program knows only %d", in.number, *l.Format, format)
			}
		case l.Record != nil:
			err = im.record(*l.Record, l.Value)
		case l.Conversation != nil:
			err = im.conversation(*l.Conversation, im.events(in))
			in.skipEvents()
		case l.LeftOut != nil:
			im.leaveOut("the export", errors.New(*l.LeftOut))
		case l.End != nil:
			ended = true
		}
		if err != nil {
			return err
		}
	}
}

// events yields the events of the lines up to the next conversation or the end.
func (im *importer) events(in *lines) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		for {
			l, err := in.next()
			switch {
			case err == io.EOF:
				err = ErrCut
			case err != nil:
			case l.Deleted != nil:
				err = errDeleted
			case l.LeftOut != nil:
				im.leaveOut("the export", errors.New(*l.LeftOut))
				continue
			case l.Event == nil:
				in.again = &l
				return
			}
			var e store.Event
			if err == nil {
				e, err = stored(event.Restore(l.Event))
				if err != nil {
					err = badly("line %d: %w", in.number, err)
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// stored makes of what package event returns what a store takes.
func stored(id int64, e event.Event, err error) (store.Event, error) {
	return store.Event{ID: id, Flags: uint16(e.Flags), JSON: e.JSON}, err
}

// lines reads the lines of an export.
type lines struct {
	r      *bufio.Reader
	number int
	again  *line // next returns it once more
}

// next returns the next line that is not empty. What is no line of an export is
// malformed.
func (in *lines) next() (l line, err error) {
	if in.again != nil {
		l, in.again = *in.again, nil
		return l, nil
	}
	for {
		text, err := in.r.ReadBytes('\n')
		if err != nil && (err != io.EOF || len(text) == 0) {
			return line{}, err
		}
		in.number++
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		if rest, ok := bytes.CutPrefix(text, []byte(eventPrefix)); ok && bytes.HasSuffix(rest, []byte("}")) {
			return line{Event: rest[:len(rest)-1]}, nil // the event's reader tells what is wrong with it
		}
		if err := json.Unmarshal(text, &l); err != nil {
			return line{}, badly("line %d: %w", in.number, err)
		}
		if l.Format == nil && l.Record == nil && l.Conversation == nil && l.Event == nil && l.LeftOut == nil && l.Deleted == nil && l.End == nil {
			return line{}, badly("line %d: is no line of an export", in.number)
		}
		return l, nil
	}
}

// skipEvents passes over what is left of a conversation.
func (in *lines) skipEvents() {
	for {
		l, err := in.next()
		var wrong malformed
		if errors.As(err, &wrong) || err == nil && (l.Event != nil || l.Deleted != nil || l.LeftOut != nil) {
			continue
		}
		if err == nil {
			in.again = &l
		}
		return // an error comes again
	}
}

// document imports the events of a document as a conversation.
func (im *importer) document(r io.Reader, name string) error {
	d, open, about, err := im.findEvents(r)
	if err != nil {
		return err
	}
	c := store.Conversation{ID: cmp.Or(im.o.ID, about.ConversationID, about.ID, strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)))}
	if !conversation.ValidID(c.ID) {
		return fmt.Errorf("%q can be no conversation's id: choose one with --id", c.ID)
	}
	next, stop := iter.Pull2(im.entries(d, open))
	defer stop()
	first, err, ok := next()
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("it has no event")
	}
	c.CreatedAt, _ = event.Time(first.JSON, time.Local)
	if created, ok := parseTime(about.CreatedAt); ok {
		c.CreatedAt = created
	}
	about.describe(&c) // the list of conversations looks at the last event too
	c.Agent = event.Flags(first.Flags)&event.IsStateChange != 0
	return im.conversation(c, func(yield func(store.Event, error) bool) {
		for e, err, ok := first, error(nil), true; ok; e, err, ok = next() {
			if !yield(e, err) {
				return
			}
		}
	})
}

// entries yields the events that a decoder has next. One that cannot be read is
// left out; one that is no JSON ends it.
func (im *importer) entries(d *json.Decoder, open int) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		last := int64(-1)
		for n := 0; d.More(); n++ {
			var text json.RawMessage
			if err := d.Decode(&text); err != nil {
				yield(store.Event{}, fmt.Errorf("entry %d: %w", n, err))
				return
			}
			e, err := stored(event.Read(text))
			if err == nil && e.ID <= last {
				err = fmt.Errorf("event %d comes after event %d", e.ID, last)
			}
			if err != nil {
				im.leaveOut(fmt.Sprintf("entry %d", n), err)
				continue
			}
			last = e.ID
			if !yield(e, nil) {
				return
			}
		}
		if err := closeAll(d, open); err != nil {
			yield(store.Event{}, err)
		}
	}
}

// closeAll reads to the end, which must close what is open.
func closeAll(d *json.Decoder, open int) error {
	for {
		t, err := d.Token()
		if err == io.EOF && open > 0 {
			return io.ErrUnexpectedEOF
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('['), json.Delim('{'):
			open++
		case json.Delim(']'), json.Delim('}'):
			open--
		}
	}
}

// about is what a document tells of the conversation that its events are of.
type about struct {
	metadata
	ConversationID string `json:"conversation_id"`
	ID             string `json:"id"`
}

// findEvents goes to the first event of a document. It returns how many lists
// and objects are open there. What an object has as events is held in memory,
// since the conversation may stand behind it.
func (im *importer) findEvents(r io.Reader) (d *json.Decoder, open int, about about, err error) {
	errNone := errors.New(`is neither an export nor a trajectory: want a list of events, one event a line, or an object with the key "trajectory" or "events"`)
	d = json.NewDecoder(r)
	switch t, err := d.Token(); {
	case err != nil:
		return nil, 0, about, fmt.Errorf("%w: %w", errNone, err)
	case t == json.Delim('['):
		return d, 1, about, nil
	case t != json.Delim('{'):
		return nil, 0, about, errNone
	}
	var keys []any
	var events json.RawMessage
	var read []byte // of the object
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, 0, about, err
		}
		if key == "trajectory" {
			if t, err := d.Token(); err != nil || t != json.Delim('[') {
				return nil, 0, about, fmt.Errorf("%w: its %q is no list", errNone, key)
			}
			return d, 2, about, nil
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, 0, about, err
		}
		switch key {
		case "events":
			events = value
		case "has_more":
			if string(value) == "true" {
				im.leaveOut("has_more", errors.New("is true: the page has not all of the events"))
			}
		case "conversation":
			if err := json.Unmarshal(value, &about); err != nil { // the rest of it is read
				im.leaveOut("conversation", err)
			}
		}
		keys = append(keys, key)
		quoted, _ := json.Marshal(key)
		read = fmt.Appendf(read, ",%s:%s", quoted, value)
	}
	if _, err := d.Token(); err != nil { // }
		return nil, 0, about, err
	}
	switch {
	case slices.Contains(keys, any("action")) || slices.Contains(keys, any("observation")): // it is an event
		read[0] = '{'
		return json.NewDecoder(io.MultiReader(bytes.NewReader(append(read, '}')), d.Buffered(), r)), 0, about, nil
	case events == nil:
		return nil, 0, about, fmt.Errorf("%w: it has %q", errNone, keys[:min(len(keys), 9)])
	case events[0] != '[':
		return nil, 0, about, fmt.Errorf("%w: its \"events\" is no list", errNone)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, 0, about, errors.New("something stands behind its end")
	}
	d = json.NewDecoder(bytes.NewReader(events))
	_, err = d.Token() // [
	return d, 1, about, err
}
