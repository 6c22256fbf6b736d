package agentserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"strings"
	"syscall"

	"github.com/openhands-local/openhands-local/api/refuse"
	"github.com/openhands-local/openhands-local/api/workspace"
	"github.com/openhands-local/openhands-local/store"
)

// files are the handlers of the files and git repositories of a conversation. A
// path names a file of its workspace when it is the conversation's working_dir
// or below it; every other is refused, as the machine's own files are never
// served (package workspace).
func (s *server) files() map[string]handler {
	return map[string]handler{
		"UploadFileQueryConversationsRuntimeConversationID":   s.upload,
		"DownloadFileQueryConversationsRuntimeConversationID": s.download,
		"CreateDirectoryConversationsRuntimeConversationID":   s.createDirectory,
		"GitChangesQueryConversationsRuntimeConversationID":   s.gitChanges,
		"GitDiffQueryConversationsRuntimeConversationID":      s.gitDiff,
	}
}

var (
	// Recorded workspace_files.
	errOutside = refuse.Text(http.StatusUnprocessableEntity, "path must be inside the conversation workspace")
	// Of a git reference that is not the one that package workspace compares with.
	errNoRef = refuse.Ours(http.StatusNotImplemented, "openhands-local compares with what origin last had: it does not take ref or commit.")
)

// below returns the name, relative to a folder, of a path that is the folder ("")
// or below it.
func below(folder, name string) (rel string, ok bool) {
	folder, name = path.Clean(folder), path.Clean(name)
	if folder == name {
		return "", true
	}
	return strings.CutPrefix(name, strings.TrimSuffix(folder, "/")+"/")
}

// within opens the workspace of the call's conversation for the time of a
// function, which gets the name of the call's path in it.
func (s *server) within(c *call, create bool, do func(w *workspace.Workspace, name string) error) error {
	info, err := s.Conversations.Info(c.r.Context(), c.id)
	if err != nil {
		return withID(err, c.id)
	}
	var at struct {
		Dir string `json:"working_dir"`
	}
	if err := json.Unmarshal(info.Workspace, &at); err != nil {
		return err
	}
	name, ok := below(at.Dir, c.query.Get("path"))
	if !ok {
		return errOutside
	}
	w, err := s.Workspace(c.id, create)
	if err != nil {
		return err
	}
	defer w.Close()
	err = do(w, name)
	switch {
	case errors.Is(err, workspace.ErrOutside):
		return errOutside
	case errors.Is(err, workspace.ErrTooLarge):
		return refuse.Text(http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, workspace.ErrNotText):
		return refuse.Text(http.StatusUnsupportedMediaType, err.Error())
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist): // os.Root says either
		return refuse.Text(http.StatusBadRequest, "A parent of the path is not a directory")
	case errors.Is(err, fs.ErrInvalid), errors.Is(err, syscall.ENAMETOOLONG):
		return refuse.Text(http.StatusBadRequest, err.Error())
	}
	if refused := store.Refused(err); errors.Is(refused, store.ErrFull) {
		return refused
	}
	return err
}

// upload writes the part called file (recorded files).
func (s *server) upload(c *call) error {
	_, params, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")) // it was read
	parts := multipart.NewReader(bytes.NewReader(c.body.Raw), params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return fmt.Errorf("a form without its file: %w", err) // its fields were checked
		}
		if part.FormName() != "file" {
			continue
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		return s.within(c, true, func(w *workspace.Workspace, name string) error {
			_, err := w.Upload(name, bytes.NewReader(content))
			if errors.Is(err, workspace.ErrFolder) {
				return refuse.Text(http.StatusBadRequest, "Path is a directory")
			}
			if err != nil {
				return err
			}
			return c.answer(http.StatusOK, struct {
				Success bool `json:"success"`
				Size    int  `json:"file_size"`
			}{true, len(content)})
		})
	}
}

// download answers the bytes of a file (recorded files).
func (s *server) download(c *call) error {
	return s.within(c, false, func(w *workspace.Workspace, name string) error {
		content, err := w.Bytes(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return refuse.Text(http.StatusNotFound, "File not found")
		case errors.Is(err, workspace.ErrFolder), errors.Is(err, workspace.ErrNotText):
			return refuse.Text(http.StatusBadRequest, "Path is not a file")
		case err != nil:
			return err
		}
		h := c.w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Length", fmt.Sprint(len(content)))
		_, err = c.w.Write(content)
		return err
	})
}

// createDirectory makes a folder, which may be there (recorded files).
func (s *server) createDirectory(c *call) error {
	return s.within(c, true, func(w *workspace.Workspace, name string) error { return c.done(w.Mkdir(name)) })
}

// statuses are what this line calls those of a [workspace.Change].
var statuses = map[string]string{"A": "ADDED", "D": "DELETED", "M": "UPDATED"}

// gitChanges lists the files at a path that differ from the repository, none
// without one (recorded workspace_files).
func (s *server) gitChanges(c *call) error {
	if c.has("ref") != nil {
		return errNoRef
	}
	return s.within(c, false, func(w *workspace.Workspace, name string) error {
		changes, err := w.Changes(c.r.Context())
		if err != nil && !errors.Is(err, workspace.ErrNoRepository) {
			return err
		}
		at := []workspace.Change{}
		for _, change := range changes {
			if rel, ok := below("/"+name, "/"+change.Path); ok {
				at = append(at, workspace.Change{Status: statuses[change.Status], Path: rel})
			}
		}
		return c.answer(http.StatusOK, at)
	})
}

// gitDiff answers a file's text now and in the repository (recorded
// workspace_files).
func (s *server) gitDiff(c *call) error {
	if c.has("ref") != nil || c.has("commit") != nil {
		return errNoRef
	}
	return s.within(c, false, func(w *workspace.Workspace, name string) error {
		modified, original, err := w.Diff(c.r.Context(), name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return refuse.Text(http.StatusBadRequest, "File does not exist: "+c.query.Get("path"))
		case errors.Is(err, workspace.ErrNoRepository), errors.Is(err, workspace.ErrFolder):
			return refuse.Text(http.StatusBadRequest, err.Error())
		case err != nil:
			return err
		}
		return c.answer(http.StatusOK, struct {
			Modified string `json:"modified"`
			Original string `json:"original"`
		}{modified, original})
	})
}
