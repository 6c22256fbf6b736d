// Command dist makes what a release is made of, and SHA256SUMS of all:
//
//	archive   the program and the README, for each platform
//	wheel     the Python package, for each platform (sources: .packages/python)
//	npm       the npm package, and one with the program for each platform (.packages/npm)
//	image     an image of the program alone, for each platform that is Linux
//	sbom      the modules in the program, for each platform
//
//	go run ./server/workshop/dist [-o FOLDER] [-only KIND,…] [GOOS/GOARCH …]
//
// It runs from the root of the module. The version in the names is the one
// that the go command writes into the program: the tag or commit of the
// checkout, devel outside of one. The same commit and the same Go give the
// same bytes, in whichever folder and on whichever machine: nothing of either
// is in them, and times are the commit's.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
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

// A kind is one of what a release is made of.
type kind struct {
	name string
	// each makes the files of a platform.
	each func(*build) ([]packed, error)
	// once makes those of no platform, nil for none. The build is any.
	once func(*build) ([]packed, error)
}

var kinds = []kind{
	{"archive", archive, nil},
	{"wheel", wheel, nil},
	{"npm", npmProgram, npmMain},
	{"image", image, nil},
	{"sbom", sbom, nil},
}

func main() {
	out := flag.String("o", ".dist", "the folder to make, in place of what is there")
	only := flag.String("only", "", "the kinds to make, with commas between; all unless set")
	flag.Parse()
	wanted := flag.Args()
	if len(wanted) == 0 {
		wanted = platforms
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := release(ctx, *out, *only, wanted); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// release makes the folder: whole, or as it was.
func release(ctx context.Context, out, only string, platforms []string) error {
	kinds, err := choose(only)
	if err != nil {
		return err
	}
	if _, err := os.Stat(source); err != nil {
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
	var sums []string
	put := func(b *build, of func(*build) ([]packed, error)) error {
		if of == nil {
			return nil
		}
		files, err := of(b)
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(made, f.name), f.text, 0o644); err != nil {
				return err
			}
			sums = append(sums, fmt.Sprintf("%x  %s\n", sha256.Sum256(f.text), f.name))
			fmt.Printf("%s  %.1f MB\n", f.name, float64(len(f.text))/1e6)
		}
		return nil
	}
	for i, p := range platforms {
		goos, goarch, ok := strings.Cut(p, "/")
		if !ok {
			return fmt.Errorf("platform %q: want GOOS/GOARCH", p)
		}
		b, err := compile(ctx, temp, goos, goarch)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		for _, k := range kinds {
			if i == 0 {
				if err := put(b, k.once); err != nil {
					return fmt.Errorf("%s: %w", k.name, err)
				}
			}
			if err := put(b, k.each); err != nil {
				return fmt.Errorf("%s: %s: %w", p, k.name, err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(made, "SHA256SUMS"), []byte(strings.Join(sums, "")), 0o644); err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return os.Rename(made, out)
}

// choose returns the kinds of a list of names, all for an empty one.
func choose(names string) (chosen []kind, err error) {
	if names == "" {
		return kinds, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no kind %q", name)
		}
		chosen = append(chosen, kinds[i])
	}
	return chosen, nil
}

// A build is the program for a platform.
type build struct {
	goos, goarch string
	text         []byte
	// info is what the go command wrote into it.
	info *debug.BuildInfo
	// version is the module's: v1.2.3, without a tag
	// v0.0.0-20250607080910-0123456789ab, outside of a checkout devel.
	version string
	// at is when its commit was made.
	at time.Time
}

// file is the program's name.
func (b *build) file() string {
	if b.goos == "windows" {
		return program + ".exe"
	}
	return program
}

// compile builds the program for a platform.
func compile(ctx context.Context, folder, goos, goarch string) (*build, error) {
	file := filepath.Join(folder, program+"_"+goos+"_"+goarch)
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=auto", "-ldflags=-s -w", "-o", file, source)
	// Without cgo there is no C library in it, nor a name of this machine's.
	c.Env = append(c.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0")
	if text, err := c.CombinedOutput(); err != nil {
		return nil, errors.Join(err, errors.New(string(text)))
	}
	return read(file, goos, goarch)
}

// noCommit is the time of files that no commit has: the first that a zip knows.
var noCommit = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// read reads a program that is built.
func read(file, goos, goarch string) (*build, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	b := &build{goos, goarch, text, info, strings.Trim(info.Main.Version, "()"), noCommit}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			at, err := time.Parse(time.RFC3339, s.Value)
			if err != nil {
				return nil, err
			}
			b.at = at.UTC()
		}
	}
	return b, nil
}
