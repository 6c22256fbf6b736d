package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/workspace"
	"github.com/openhands-local/openhands-local/server/scratch"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore"
	"github.com/openhands-local/openhands-local/store/memstore"
	"github.com/openhands-local/openhands-local/store/pgstore"
)

// The data folder:
//
//	.gitignore    *
//	server.json   who serves it now: Info, and a token
//	events.db     conversations, events, settings, secrets (store/boltstore)
//	workspaces/   the files of each conversation
//
// It is 0700: what it holds may be secret.
const (
	eventsFile       = "events.db"
	holderFile       = "server.json"
	workspacesFolder = "workspaces"
)

// workspaces opens the files of conversations: each has a folder of its own,
// or all share one.
type workspaces struct {
	shared string // --workspace; empty for one each
	passes bool   // one each, in a temporary folder

	mu   sync.Mutex
	each string          // their parent; empty while a temporary one is not made
	temp *scratch.Folder // each, when it is temporary
}

// newWorkspaces decides where files lie. With data in memory or in a database that is a
// temporary folder, made for the first upload and removed at the end, or after
// it: until then, and where there can be none, workspaces are empty. Files in
// memory would be bounded by nothing, and every promise of package workspace
// about links, pipes and repositories is one of the system's.
func newWorkspaces(shared, folder string) (*workspaces, error) {
	switch {
	case shared != "":
		abs, err := filepath.Abs(shared)
		return &workspaces{shared: abs}, err
	case !InFolder(folder):
		return &workspaces{passes: true}, nil
	}
	return &workspaces{each: filepath.Join(folder, workspacesFolder)}, nil
}

// open opens the workspace of a conversation, whose id is valid, and makes its
// folder if create is set.
func (w *workspaces) open(id string, create bool) (*workspace.Workspace, error) {
	dir := w.shared
	if dir == "" {
		parent, err := w.parent(create)
		if err != nil {
			return nil, err
		}
		if parent != "" {
			dir = filepath.Join(parent, id)
		}
	}
	shown := filepath.ToSlash(dir)
	if w.passes || !path.IsAbs(shown) { // on Windows it begins with a drive
		shown = workspace.Folder
	}
	if create {
		return workspace.Create(dir, shown)
	}
	return workspace.Open(dir, shown)
}

func (w *workspaces) parent(create bool) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.each == "" && create {
		temp, err := scratch.New()
		if err != nil {
			return "", fmt.Errorf("%w: %w", workspace.ErrNoFolder, err)
		}
		w.temp, w.each = temp, temp.Name
	}
	return w.each, nil
}

// remove removes the files of one conversation, unless all share them.
func (w *workspaces) remove(id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.each == "" || !conversation.ValidID(id) {
		return nil
	}
	root, err := os.OpenRoot(w.each)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(id)
}

// removeAll removes the files of all conversations, unless they share one
// folder.
func (w *workspaces) removeAll() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.temp == nil {
		return os.RemoveAll(w.each) // nothing, if they share one
	}
	err := w.temp.Remove()
	w.temp, w.each = nil, ""
	return err
}

// close removes what is temporary.
func (w *workspaces) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	temp := w.temp
	if temp == nil {
		return nil
	}
	w.temp = nil
	return temp.Remove()
}

// InFolder reports whether Config.Data names a folder: neither [Memory] nor the
// URL of a database.
func InFolder(data string) bool { return data != Memory && !pgstore.Is(data) }

// openData opens the store of a data folder, which it makes when it is
// missing, and returns its absolute name; of a database the name that is shown.
// The metrics count what happens in it.
func openData(ctx context.Context, data, key string, log *slog.Logger, m *metrics) (s store.Store, folder string, err error) {
	if data == Memory {
		return counted{memstore.New(), m}, Memory, nil
	}
	if pgstore.Is(data) {
		opened, err := pgstore.Open(ctx, data, pgstore.Options{Logger: log, Committed: m.committed})
		if err != nil {
			return nil, "", err
		}
		m.commits()
		return counted{opened, m}, pgstore.Name(data), nil
	}
	folder, err = filepath.Abs(data)
	if err != nil {
		return nil, "", err
	}
	s, err = openFolder(folder, log, m)
	switch refused := store.Refused(err); {
	case err == nil:
		return s, folder, nil
	case errors.Is(err, store.ErrInUse):
		return nil, "", fmt.Errorf("data folder %s is in use%s: stop that server, or choose another folder with --data: %w", folder, folderHolder(ctx, folder, key), err)
	case errors.Is(refused, store.ErrReadOnly):
		return nil, "", fmt.Errorf("data folder %s cannot be written: allow it, or choose another folder with --data: %w", folder, err)
	case errors.Is(refused, store.ErrFull):
		return nil, "", fmt.Errorf("no space is left on the disk for the data folder %s: make room, or choose another folder with --data: %w", folder, err)
	}
	return nil, "", fmt.Errorf("data folder: %w", err)
}

// ignoreAll keeps a folder out of git, unless it has a rule of its own: it may be
// somebody's repository.
func ignoreAll(folder string) error {
	f, err := os.OpenFile(filepath.Join(folder, ".gitignore"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("*\n")
	return errors.Join(err, f.Close())
}

func openFolder(folder string, log *slog.Logger, m *metrics) (store.Store, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(folder, eventsFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := ignoreAll(folder); err != nil {
			return nil, err
		}
	}
	opened, err := boltstore.Open(file, boltstore.Options{Logger: log, Committed: m.committed})
	if err != nil {
		return nil, err
	}
	m.file(opened)
	return counted{opened, m}, nil
}

// isNew reports whether nothing has been stored yet: also what a server left
// that was killed before it stored the first settings.
func isNew(ctx context.Context, s store.Store) bool {
	_, total, err := s.Conversations(ctx, 0, 0)
	settings, err2 := s.Record(ctx, conversation.SettingsRecord)
	return errors.Join(err, err2) == nil && total == 0 && settings == nil
}

// firstSettings stores what a new folder begins with.
func (c Config) firstSettings(ctx context.Context, st store.Store) error {
	text, err := c.settings()
	if err != nil || text == nil {
		return err
	}
	return st.UpdateRecord(ctx, conversation.SettingsRecord, func(old []byte) ([]byte, error) {
		if old != nil {
			return old, nil
		}
		return text, nil
	})
}

// A claim is what server.json has.
type claim struct {
	Info
	// Token is known to those who can read the folder.
	Token string `json:"token"`
}

// writeClaim lets other processes read who serves a folder. It is a courtesy:
// the lock is the store's.
func writeClaim(c claim) {
	if text, err := json.Marshal(c); err == nil && InFolder(c.Data) {
		_ = os.WriteFile(filepath.Join(c.Data, holderFile), append(text, '\n'), 0o600)
	}
}

// removeClaim removes what writeClaim wrote.
func removeClaim(i Info) {
	if i.Data != "" && InFolder(i.Data) {
		_ = os.Remove(filepath.Join(i.Data, holderFile))
	}
}

// folderHolder names who serves a folder, if it answers.
func folderHolder(ctx context.Context, folder, key string) string {
	i, _, err := Holder(ctx, folder, key)
	if err != nil {
		return ""
	}
	return i.holder()
}

// Holder returns who serves a data folder, and the token that it keeps there.
// It is an error when nobody answers: a server that was killed has left its
// file.
func Holder(ctx context.Context, data, key string) (i Info, token string, err error) {
	folder, err := filepath.Abs(data)
	if err != nil {
		return i, "", err
	}
	text, err := os.ReadFile(filepath.Join(folder, holderFile))
	if err != nil {
		return i, "", err
	}
	var c claim
	if err := json.Unmarshal(text, &c); err != nil {
		return i, "", err
	}
	i, err = Ask(ctx, c.URL, key)
	if err == nil && i.Data != folder {
		err = fmt.Errorf("%s serves %s", c.URL, i.Data)
	}
	return i, c.Token, err
}

// DataFile returns the file of the store in a data folder, or data itself if
// that is a file. It makes nothing: where there is none it is
// [fs.ErrNotExist].
func DataFile(data string) (string, error) {
	if pgstore.Is(data) {
		return "", fmt.Errorf("%s is a database, and no folder: pg_dump copies it, and export --url asks the server that has it open", pgstore.Name(data))
	}
	info, err := os.Stat(data)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return data, nil
	}
	file := filepath.Join(data, eventsFile)
	_, err = os.Stat(file)
	return file, err
}
