package api

import (
	"errors"
	"fmt"
	"github.com/openhands-local/openhands-local/api/refuse"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/openhands-local/openhands-local/api/conversation"
	"github.com/openhands-local/openhands-local/api/workspace"
	"github.com/openhands-local/openhands-local/gen"
	"github.com/openhands-local/openhands-local/store"
)

// files has the operations on a conversation's workspace. Nothing outside it
// is read or written (package workspace).
type files struct{ *deps }

// failure is upstream's shape of an answer about a file.
type failure struct {
	Error string `json:"error"`
}

// within opens the workspace of a conversation for the time of a function,
// whose errors it turns into answers.
func (d *deps) within(id string, do func(*workspace.Workspace) error) error {
	return d.open(id, false, do)
}

// open is within, after making a place for files if create is set.
func (d *deps) open(id string, create bool, do func(*workspace.Workspace) error) error {
	w, err := d.Workspace(id, create)
	if err != nil {
		return err
	}
	defer w.Close()
	return fileRefusal(do(w))
}

// fileRefusal answers what cannot be done with a file. Upstream says 500 to
// most of it.
func fileRefusal(err error) error {
	status := 0
	switch {
	case errors.Is(err, workspace.ErrOutside):
		status = http.StatusBadRequest
	case errors.Is(err, workspace.ErrNotText):
		status = http.StatusUnsupportedMediaType
	case errors.Is(err, workspace.ErrTooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, workspace.ErrNoRepository):
		status = http.StatusNotFound
	case errors.Is(err, fs.ErrInvalid), errors.Is(err, workspace.ErrFolder):
		status = http.StatusBadRequest
	default:
		if refused := store.Refused(err); errors.Is(refused, store.ErrFull) {
			return refused
		}
		return err
	}
	return refuse.With(status, struct {
		message
		failure
	}{message{Detail: err.Error(), Message: err.Error()}, failure{err.Error()}})
}

// ListFiles lists one folder, with absolute paths.
func (o *files) ListFiles(c echo.Context, id string, q gen.ListFilesParams) error {
	return o.within(id, func(w *workspace.Workspace) error {
		names, err := w.List(orDefault(q.Path, ""))
		if err != nil {
			return err
		}
		return writeJSON(c, http.StatusOK, names)
	})
}

// SelectFile answers the text of a file, with line feeds alone.
func (o *files) SelectFile(c echo.Context, id string, q gen.SelectFileParams) error {
	return o.within(id, func(w *workspace.Workspace) error {
		text, err := w.Read(q.File)
		if errors.Is(err, workspace.ErrNotText) {
			return refuse.With(http.StatusUnsupportedMediaType, failure{"Unable to open binary file: " + w.Shown(q.File)})
		}
		if err != nil {
			return err
		}
		return writeJSON(c, http.StatusOK, struct {
			Code string `json:"code"`
		}{text})
	})
}

// ZipCurrentWorkspace answers all files as one archive.
func (o *files) ZipCurrentWorkspace(c echo.Context, id string) error {
	return o.within(id, func(w *workspace.Workspace) error {
		// Sent as it is made: there may be no folder to make it in.
		answer := c.Response()
		answer.Header().Set("Content-Disposition", `attachment; filename="workspace.zip"`)
		answer.Header().Set("Content-Type", "application/zip")
		err := w.Zip(c.Request().Context(), answer)
		if err != nil && answer.Committed {
			o.Log.Error("an archive was cut", "conversation", id, "err", err)
			panic(http.ErrAbortHandler) // a cut answer must not look whole
		}
		return err
	})
}

// UploadFiles stores the parts called files; what would leave the workspace
// is skipped, with the reason.
func (o *files) UploadFiles(c echo.Context, id string) error {
	type skipped struct {
		Name   string `json:"name"`
		Reason string `json:"reason"`
	}
	answer := struct {
		Uploaded []string  `json:"uploaded_files"`
		Skipped  []skipped `json:"skipped_files"`
	}{[]string{}, []skipped{}}
	parts, err := c.Request().MultipartReader()
	if err != nil {
		return err
	}
	return o.open(id, true, func(w *workspace.Workspace) error {
		for {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return writeJSON(c, http.StatusOK, answer)
			}
			if err != nil {
				return err
			}
			if part.FormName() != "files" {
				continue
			}
			name := fileName(part)
			shown, err := w.Upload(name, part)
			var (
				outside  *workspace.OutsideError
				tooLarge *http.MaxBytesError
			)
			switch {
			case errors.As(err, &tooLarge):
				return err
			case errors.Is(store.Refused(err), store.ErrFull):
				return ours(http.StatusInsufficientStorage, fmt.Sprintf("No space is left on the disk for %s. It is not stored, nor is what came after it; %d files that came before are.",
					name, len(answer.Uploaded)))
			case errors.As(err, &outside):
				answer.Skipped = append(answer.Skipped, skipped{name, outside.Reason})
			case err != nil && name != "":
				answer.Skipped = append(answer.Skipped, skipped{name, err.Error()})
			default: // a part without a name is listed as stored (recorded sub_upload_files)
				answer.Uploaded = append(answer.Uploaded, shown)
			}
		}
	})
}

// fileName is a part's file name as it was sent, folders and all, which
// multipart.Part cuts off.
func fileName(p *multipart.Part) string {
	_, params, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
	if err != nil {
		return p.FileName()
	}
	return params["filename"]
}

// GitChanges lists the files that differ from the repository; none without
// one, which the web UI asks for.
func (o *files) GitChanges(c echo.Context, id string) error {
	return o.within(id, func(w *workspace.Workspace) error {
		changes, err := w.Changes(c.Request().Context())
		if errors.Is(err, workspace.ErrNoRepository) {
			changes, err = nil, nil
		}
		if err != nil {
			return err
		}
		if changes == nil {
			changes = []workspace.Change{}
		}
		return writeJSON(c, http.StatusOK, changes)
	})
}

// GitDiff answers a file's text now and in the repository.
func (o *files) GitDiff(c echo.Context, id string, q gen.GitDiffParams) error {
	return o.within(id, func(w *workspace.Workspace) error {
		modified, original, err := w.Diff(c.Request().Context(), q.Path)
		if err != nil {
			return err
		}
		return writeJSON(c, http.StatusOK, struct {
			Modified string `json:"modified"`
			Original string `json:"original"`
		}{modified, original})
	})
}

// GetMicroagents lists what .openhands/microagents of the workspace has,
// while the conversation runs.
func (o *files) GetMicroagents(c echo.Context, id string) error {
	i, err := o.Conversations.Info(c.Request().Context(), id)
	if err != nil {
		return err
	}
	if i.Status == conversation.Stopped {
		return refuse.With(http.StatusNotFound, failure{"Agent session not found for this conversation"})
	}
	return o.within(id, func(w *workspace.Workspace) error {
		found, err := w.Microagents(c.Request().Context())
		if err != nil {
			return err
		}
		if found == nil {
			found = []workspace.Microagent{}
		}
		return writeJSON(c, http.StatusOK, struct {
			Microagents []workspace.Microagent `json:"microagents"`
		}{found})
	})
}
