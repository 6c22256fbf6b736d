package server

import (
	"crypto/rand"
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
//	events.db     conversations, events, settings, secrets (store/boltstore)
//	workspaces/   the files of each conversation
//
// It is 0700: what it holds may be secret.
const (
	eventsFile       = "events.db"
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
// missing, and tells its absolute name and whether it is new.
func openData(data string, log *slog.Logger) (s store.Store, folder string, isNew bool, err error) {
	if data == Memory {
		return memstore.New(), Memory, true, nil
	}
	folder, err = filepath.Abs(data)
	if err != nil {
		return nil, "", false, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, "", false, fmt.Errorf("data folder: %w", err)
	}
	file := filepath.Join(folder, eventsFile)
	_, err = os.Stat(file)
	isNew = errors.Is(err, fs.ErrNotExist)
	if isNew {
		if err := os.WriteFile(filepath.Join(folder, ".gitignore"), []byte("*\n"), 0o600); err != nil {
			return nil, "", false, fmt.Errorf("data folder: %w", err)
		}
	}
	opened, err := boltstore.Open(file, boltstore.Options{Logger: log})
	if err != nil {
		return nil, "", false, err
	}
	return opened, folder, isNew, nil
}
