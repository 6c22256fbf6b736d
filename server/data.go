package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/workspace"
	"github.com/openhands-local/openhands-local/store"
	"github.com/openhands-local/openhands-local/store/boltstore"
	"github.com/openhands-local/openhands-local/store/memstore"
)

// The data folder:
//
//	.gitignore    *
//	server.json   who serves it now: Info
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
	each   string // their parent
	temp   bool   // each is to be removed at the end
}

// newWorkspaces decides where files lie. With data in memory that is a
// temporary folder, made when it is first asked for and removed at the end.
func newWorkspaces(shared, folder string) (*workspaces, error) {
	w := &workspaces{shared: shared, each: filepath.Join(folder, workspacesFolder)}
	if shared != "" {
		abs, err := filepath.Abs(shared)
		if err != nil {
			return nil, err
		}
		w.shared = abs
		return w, nil
	}
	if folder == Memory {
		w.temp = true
		w.each = filepath.Join(os.TempDir(), fmt.Sprintf("openhands-local-%d-%s", os.Getpid(), hexID(rand.Read)[:8]))
	}
	return w, nil
}

// open opens the workspace of a conversation, whose id is valid.
func (w *workspaces) open(id string) (*workspace.Workspace, error) {
	dir := w.shared
	if dir == "" {
		dir = filepath.Join(w.each, id)
	}
	return workspace.Open(dir, filepath.ToSlash(dir))
}

// remove removes the files of one conversation, unless all share them.
func (w *workspaces) remove(id string) error {
	if w.shared != "" || !conversation.ValidID(id) {
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
	if w.shared != "" {
		return nil
	}
	return os.RemoveAll(w.each)
}

func (w *workspaces) close() error {
	if !w.temp {
		return nil
	}
	return w.removeAll()
}

// openData opens the store of a data folder, which it makes when it is
// missing, and tells its absolute name. The metrics count what happens in it.
func openData(ctx context.Context, data, key string, log *slog.Logger, m *metrics) (s store.Store, folder string, err error) {
	if data == Memory {
		return counted{memstore.New(), m}, Memory, nil
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

func openFolder(folder string, log *slog.Logger, m *metrics) (store.Store, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(folder, eventsFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(filepath.Join(folder, ".gitignore"), []byte("*\n"), 0o600); err != nil {
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

// isNew tells whether nothing has been stored yet: also what a server left
// that was killed before it stored the first settings.
func isNew(ctx context.Context, s store.Store) bool {
	_, total, err := s.Conversations(ctx, 0, 0)
	settings, err2 := s.Record(ctx, conversation.SettingsRecord)
	return errors.Join(err, err2) == nil && total == 0 && settings == nil
}

// hold tells other processes who serves a folder. It is a courtesy: the lock is
// the store's.
func hold(folder string, i Info) {
	if text, err := json.Marshal(i); err == nil && folder != Memory {
		_ = os.WriteFile(filepath.Join(folder, holderFile), append(text, '\n'), 0o600)
	}
}

// unhold takes back what hold told.
func unhold(i Info) {
	if i.Data != "" && i.Data != Memory {
		_ = os.Remove(filepath.Join(i.Data, holderFile))
	}
}

// folderHolder tells who serves a folder when it answers: a server that was
// killed has left its file.
func folderHolder(ctx context.Context, folder, key string) string {
	var i Info
	text, err := os.ReadFile(filepath.Join(folder, holderFile))
	if err != nil || json.Unmarshal(text, &i) != nil {
		return ""
	}
	if i, err = Ask(ctx, i.URL, key); err != nil || i.Data != folder {
		return ""
	}
	return i.holder()
}
