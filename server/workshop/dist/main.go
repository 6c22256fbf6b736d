// Command dist makes the archives of a release: for each platform one with
// the program and the README, and SHA256SUMS of all.
//
//	go run ./server/workshop/dist [-o FOLDER] [GOOS/GOARCH …]
//
// It runs from the root of the module. The version in the names is the one
// that the go command writes into the program: the tag or commit of the
// checkout, devel outside of one. The same commit and the same Go give the
// same bytes, in whichever folder and on whichever machine: nothing of either
// is in them, and times are the commit's.
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	program = "openhands-local"
	source  = "./server/openhands-local"
)

// platforms are those of a release.
var platforms = []string{
	"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64",
}

func main() {
	out := flag.String("o", ".dist", "the folder to make, in place of what is there")
	flag.Parse()
	wanted := flag.Args()
	if len(wanted) == 0 {
		wanted = platforms
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := release(ctx, *out, wanted); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// release makes the folder: whole, or as it was.
func release(ctx context.Context, out string, platforms []string) error {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		return fmt.Errorf("%w: run from the root of the module", err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(out), ".dist-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	made := filepath.Join(temp, "dist")
	if err := os.Mkdir(made, 0o755); err != nil {
		return err
	}
	var sums strings.Builder
	for _, p := range platforms {
		goos, goarch, ok := strings.Cut(p, "/")
		if !ok {
			return fmt.Errorf("platform %q: want GOOS/GOARCH", p)
		}
		file, err := build(ctx, temp, goos, goarch)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		name, archive, err := pack(file, goos, goarch, readme)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if err := os.WriteFile(filepath.Join(made, name), archive, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(archive), name)
		fmt.Printf("%s  %.1f MB\n", name, float64(len(archive))/1e6)
	}
	if err := os.WriteFile(filepath.Join(made, "SHA256SUMS"), []byte(sums.String()), 0o644); err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return os.Rename(made, out)
}

// build builds the program for a platform and returns its file.
func build(ctx context.Context, folder, goos, goarch string) (string, error) {
	file := filepath.Join(folder, program+"_"+goos+"_"+goarch)
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=auto", "-ldflags=-s -w", "-o", file, source)
	// Without cgo there is no C library in it, nor a name of this machine's.
	c.Env = append(c.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0")
	if text, err := c.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(text)))
	}
	return file, nil
}

// pack returns a program's archive and its name: a zip for Windows, a tar.gz
// for all others.
func pack(file, goos, goarch string, readme []byte) (name string, archive []byte, err error) {
	version, at, err := built(file)
	if err != nil {
		return "", nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	folder := strings.Join([]string{program, version, goos, goarch}, "_")
	files := []packed{{folder + "/" + program, 0o755, text}, {folder + "/README.md", 0o644, readme}}
	var b bytes.Buffer
	if goos == "windows" {
		files[0].name += ".exe"
		err = writeZip(&b, files, at)
		return folder + ".zip", b.Bytes(), err
	}
	err = writeTar(&b, files, at)
	return folder + ".tar.gz", b.Bytes(), err
}

// noCommit is the time of files that no commit has: the first that a zip knows.
var noCommit = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// built reads what the go command wrote into a program: its version, and when
// its commit was made.
func built(file string) (version string, at time.Time, err error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return "", time.Time{}, err
	}
	version, at = strings.Trim(info.Main.Version, "()"), noCommit
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			if at, err = time.Parse(time.RFC3339, s.Value); err != nil {
				return "", time.Time{}, err
			}
		}
	}
	return version, at.UTC(), nil
}

// A packed file is one of an archive.
type packed struct {
	name string
	mode int64
	text []byte
}

func writeTar(w io.Writer, files []packed, at time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		// USTAR has no room for what differs from machine to machine.
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.text)), ModTime: at, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.text); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

func writeZip(w io.Writer, files []packed, at time.Time) error {
	z := zip.NewWriter(w)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: at}
		h.SetMode(os.FileMode(f.mode))
		part, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := part.Write(f.text); err != nil {
			return err
		}
	}
	return z.Close()
}
