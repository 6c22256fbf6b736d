package archive

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/event"
	"github.com/openhands-local/openhands-local/store"
)

// OpenHands 0.53.0 keeps (recorded sessions-folder):
//
//	settings.json                      as POST /api/settings takes it
//	sessions/<id>/metadata.json        title, times, repository
//	              events/<event>.json  one a file; the names count, gaps are real
//	              event_cache/, agent_state.pkl: made of them, not read
//
// It writes none of them atomically: a file may be cut, empty or gone.

// Most bytes of one file.
const maxFile = 256 << 20

// folder imports what OpenHands has left: the folder with sessions/ in it, that
// folder itself, or the folder of one conversation. Only files that lie in it
// are read: links that lead out of it are left out.
func (im *importer) folder(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if isFolder(root, "events") || isFile(root, "metadata.json") {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		return im.session(root, ".", filepath.Base(abs))
	}
	sessions := "sessions"
	if !isFolder(root, sessions) {
		sessions = "."
	}
	entries, err := fs.ReadDir(root.FS(), sessions)
	if err != nil {
		return err
	}
	found := false
	for _, entry := range entries {
		folder := path.Join(sessions, entry.Name())
		if entry.IsDir() && (isFolder(root, path.Join(folder, "events")) || isFile(root, path.Join(folder, "metadata.json"))) {
			found = true
			if err := im.session(root, folder, entry.Name()); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("%s: has no conversation of OpenHands: want sessions/<id>/events", dir)
	}
	if sessions == "." || !isFile(root, "settings.json") {
		return nil
	}
	body, err := readFile(root, "settings.json")
	if err == nil {
		body, err = im.o.Settings(body)
	}
	if err != nil {
		im.leaveOut("settings.json", err)
		return nil
	}
	return im.record(conversation.SettingsRecord, body)
}

// metadata is the part of metadata.json, and of what the API tells of a
// conversation, that a store keeps.
type metadata struct {
	Title      string  `json:"title"`
	Repository *string `json:"selected_repository"`
	Branch     *string `json:"selected_branch"`
	Provider   string  `json:"git_provider"`
	Trigger    string  `json:"trigger"`
	CreatedAt  string  `json:"created_at"`
	UpdatedAt  string  `json:"last_updated_at"`
}

// describe sets all but when a conversation was made, which is known.
func (m *metadata) describe(c *store.Conversation) {
	c.Title, c.Repository, c.Branch, c.GitProvider, c.Trigger = m.Title, m.Repository, m.Branch, m.Provider, m.Trigger
	c.UpdatedAt = c.CreatedAt
	if updated, ok := parseTime(m.UpdatedAt); ok {
		c.UpdatedAt = updated
	}
}

// session imports the folder of one conversation.
func (im *importer) session(root *os.Root, folder, id string) error {
	c := store.Conversation{ID: id, Agent: true}
	files := im.files(root, path.Join(folder, "events"))
	m, err := readMetadata(root, path.Join(folder, "metadata.json"))
	created, ok := parseTime(m.CreatedAt)
	if err == nil && !ok {
		err = fmt.Errorf("created_at %q is no time", m.CreatedAt)
	}
	if err != nil {
		// OpenHands answers 404 or 500 for it ever after; the events tell when
		// it was.
		im.leaveOut(path.Join(folder, "metadata.json"), err)
		created = im.firstTime(root, files)
		if created.IsZero() {
			im.leaveOut(folder, errors.New("has neither metadata nor an event that can be read"))
			return nil
		}
	}
	c.CreatedAt = created
	m.describe(&c)
	return im.conversation(c, im.eventFiles(root, files))
}

func readMetadata(root *os.Root, name string) (m metadata, err error) {
	text, err := readFile(root, name)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(text, &m) // null leaves a string empty
}

// parseTime reads a time of metadata.json. Without a zone it is UTC.
func parseTime(text string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05", text)
	}
	return t, err == nil
}

// A file is one event's.
type file struct {
	name string
	id   int64
}

var eventName = regexp.MustCompile(`^(0|[1-9][0-9]*)\.json$`)

// files lists the files of events by id.
func (im *importer) files(root *os.Root, folder string) (files []file) {
	entries, err := fs.ReadDir(root.FS(), folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		im.leaveOut(folder, err)
	}
	for _, entry := range entries {
		name := path.Join(folder, entry.Name())
		m := eventName.FindStringSubmatch(entry.Name())
		if m == nil {
			im.leaveOut(name, errors.New("is not named as an event"))
			continue
		}
		id, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil || id > store.MaxID {
			im.leaveOut(name, errors.New("is no event's id"))
			continue
		}
		files = append(files, file{name, id})
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.id, b.id) })
	return files
}

// eventFiles yields the events of files; what is none is left out.
func (im *importer) eventFiles(root *os.Root, files []file) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		for _, f := range files {
			e, err := readEvent(root, f)
			if err != nil {
				im.leaveOut(f.name, err)
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// firstTime is that of the first event that can be read.
func (im *importer) firstTime(root *os.Root, files []file) time.Time {
	for _, f := range files {
		if e, err := readEvent(root, f); err == nil {
			at, _ := event.Time(e.JSON, time.Local)
			return at
		}
	}
	return time.Time{}
}

func readEvent(root *os.Root, f file) (store.Event, error) {
	text, err := readFile(root, f.name)
	if err != nil {
		return store.Event{}, err
	}
	e, err := stored(event.Read(text))
	if err == nil && e.ID != f.id {
		err = fmt.Errorf("holds event %d", e.ID)
	}
	return e, err
}

func isFolder(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.IsDir()
}

func isFile(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// readFile reads a file, but no pipe and no device.
func readFile(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is no file")
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("has %d bytes: too many for one event", info.Size())
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
