package workspace

import (
	"archive/zip"
	"context"
	"io"
	"path"
)

// Zip writes the workspace as a ZIP archive, as it goes: its regular files in
// the order of their paths, .git too, without entries for folders. A link to a
// file inside the workspace is the file; other links, pipes and devices are
// left out. An empty workspace is the empty archive of 22 bytes. The error is
// that of ctx, of writer or of the system; the archive is broken then.
func (w *Workspace) Zip(ctx context.Context, writer io.Writer) error {
	z := zip.NewWriter(writer)
	if err := w.zip(ctx, z, "."); err != nil {
		return err
	}
	return z.Close()
}

// zip adds a folder.
func (w *Workspace) zip(ctx context.Context, z *zip.Writer, dir string) error {
	entries, err := w.readDir(dir)
	if w.absent(err) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		local := path.Join(dir, e.Name())
		if e.IsDir() {
			err = w.zip(ctx, z, local)
		} else {
			err = w.zipFile(ctx, z, local)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// zipFile adds a file as it is when it is opened, at most as long as it is
// then: one that grows faster than it is sent comes to an end.
func (w *Workspace) zipFile(ctx context.Context, z *zip.Writer, local string) error {
	f, info, err := w.openFile(local)
	if w.absent(err) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	h, err := zip.FileInfoHeader(info)
	if err != nil {
		return err
	}
	h.Name, h.Method, h.Modified = local, zip.Deflate, info.ModTime().UTC()
	entry, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(entry, io.LimitReader(&contextReader{ctx, f}, info.Size()))
	return err
}

// A contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
