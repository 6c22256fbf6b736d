package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"strings"
	"time"
)

// A packed file is one of an archive, or of the release.
type packed struct {
	name string
	mode int64
	text []byte
}

// archive is the program with the README: a zip for Windows, a tar.gz for all
// others.
func archive(b *build) ([]packed, error) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		return nil, err
	}
	folder := strings.Join([]string{program, b.version, b.goos, b.goarch}, "_")
	files := []packed{{folder + "/" + b.file(), 0o755, b.text}, {folder + "/README.md", 0o644, readme}}
	pack, extension := tarGz, ".tar.gz"
	if b.goos == "windows" {
		pack, extension = zipped, ".zip"
	}
	text, err := pack(files, b.at)
	return []packed{{folder + extension, 0o644, text}}, err
}

func tarGz(files []packed, at time.Time) ([]byte, error) {
	tarred, err := tarred(files, at)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	z := gzip.NewWriter(&text) // the best compression takes three times as long for half a percent
	_, err = z.Write(tarred)
	err = errors.Join(err, z.Close())
	return text.Bytes(), err
}

// tarred packs files, which are root's, and folders, whose names end with a slash:
// they are for the user of the image to write to.
func tarred(files []packed, at time.Time) ([]byte, error) {
	var text bytes.Buffer
	t := tar.NewWriter(&text)
	for _, f := range files {
		// USTAR has no room for what differs from machine to machine.
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.text)), ModTime: at, Format: tar.FormatUSTAR}
		if strings.HasSuffix(f.name, "/") {
			h.Uid, h.Gid = imageUser, imageUser
		}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.text); err != nil {
			return nil, err
		}
	}
	err := t.Close()
	return text.Bytes(), err
}

func zipped(files []packed, at time.Time) ([]byte, error) {
	var text bytes.Buffer
	z := zip.NewWriter(&text)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: at}
		h.SetMode(os.FileMode(f.mode))
		part, err := z.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := part.Write(f.text); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return text.Bytes(), err
}
