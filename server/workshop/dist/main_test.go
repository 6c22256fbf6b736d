package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/gen"
)

// git runs git in a folder, as somebody at some time.
func git(t *testing.T, folder string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "git", args...)
	c.Dir = folder
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_AUTHOR_DATE=2025-06-07T08:09:10Z",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_COMMITTER_DATE=2025-06-07T08:09:10Z")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestRelease makes the archive of this platform twice, in two clones of what
// is here, and wants the same bytes.
func TestRelease(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	origin := t.TempDir()
	git(t, origin, "init", "--quiet")
	git(t, origin, "--work-tree="+root, "add", "--all")
	git(t, origin, "--work-tree="+root, "commit", "--quiet", "--message=all")
	commit := git(t, origin, "rev-parse", "--short=12", "HEAD")

	name := fmt.Sprintf("openhands-local_v0.0.0-20250607080910-%s_%s_%s", commit, runtime.GOOS, runtime.GOARCH)
	extension := map[bool]string{true: ".zip", false: ".tar.gz"}[runtime.GOOS == "windows"]
	var archives [2][]byte
	for i := range archives {
		clone := filepath.Join(t.TempDir(), strings.Repeat("long/", i), "clone")
		git(t, origin, "clone", "--quiet", origin, clone)
		t.Chdir(clone)
		out := filepath.Join(clone, ".dist")
		if err := os.MkdirAll(filepath.Join(out, "of an earlier release"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := release(t.Context(), out, []string{runtime.GOOS + "/" + runtime.GOARCH}); err != nil {
			t.Fatal(err)
		}
		if archives[i], err = os.ReadFile(filepath.Join(out, name+extension)); err != nil {
			t.Fatal(err)
		}
		sums, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
		if want := fmt.Sprintf("%x  %s\n", sha256.Sum256(archives[i]), name+extension); err != nil || string(sums) != want {
			t.Errorf("SHA256SUMS = %q (%v), want %q", sums, err, want)
		}
		if files, err := os.ReadDir(out); err != nil || len(files) != 2 {
			t.Errorf("the folder has %v (%v), want the archive and SHA256SUMS", files, err)
		}
		if status := git(t, clone, "status", "--porcelain"); status != "" {
			t.Errorf("the checkout is changed:\n%s", status)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two folders made two archives")
	}
	if extension == ".zip" {
		return
	}

	z, err := gzip.NewReader(bytes.NewReader(archives[0]))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2025, 6, 7, 8, 9, 10, 0, time.UTC)
	program := filepath.Join(t.TempDir(), "openhands-local")
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if !h.ModTime.Equal(at) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s: of %v, %d:%d, %q:%q", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname, h.Gname)
		}
		if strings.HasSuffix(h.Name, "/openhands-local") {
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(text, []byte(filepath.Base(filepath.Dir(t.TempDir())))) {
				t.Error("the program knows the folder that it was built in")
			}
			if err := os.WriteFile(program, text, os.FileMode(h.Mode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := strings.Join(names, " "), name+"/openhands-local "+name+"/README.md"; got != want {
		t.Errorf("the archive has %s, want %s", got, want)
	}
	out, err := exec.CommandContext(t.Context(), program, "--version").Output()
	if want := "v0.0.0-20250607080910-" + commit + " (api " + gen.Version; err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("--version = %q (%v), want %q", out, err, want)
	}
}

// TestReleaseRefused: a release that cannot be made leaves the last one.
func TestReleaseRefused(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "dist")
	last := filepath.Join(out, "SHA256SUMS")
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(last, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ folder, platform, want string }{
		{t.TempDir(), "linux/amd64", "run from the root"},
		{root, "linux", "want GOOS/GOARCH"},
		{root, "linux/nothing", "unsupported GOOS/GOARCH"},
	} {
		t.Chdir(test.folder)
		if err := release(t.Context(), out, []string{test.platform}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("release of %s = %v, want %q", test.platform, err, test.want)
		}
		if _, err := os.Stat(last); err != nil {
			t.Errorf("the last release: %v", err)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(out)); err != nil || len(files) != 1 {
		t.Errorf("beside the last release there are %v (%v)", files, err)
	}
}

// TestPackWindows: a program without a version, as of no checkout, in a zip.
func TestPackWindows(t *testing.T) {
	name, archive, err := pack(os.Args[0], "windows", "arm64", []byte("read me"))
	if err != nil || name != "openhands-local_devel_windows_arm64.zip" {
		t.Fatalf("pack = %s, %v", name, err)
	}
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range z.File {
		got = append(got, fmt.Sprint(f.Name, " ", f.Mode(), " ", f.Modified.UTC().Format(time.DateTime)))
	}
	const want = "openhands-local_devel_windows_arm64/openhands-local.exe -rwxr-xr-x 1980-01-01 00:00:00" +
		", openhands-local_devel_windows_arm64/README.md -rw-r--r-- 1980-01-01 00:00:00"
	if strings.Join(got, ", ") != want {
		t.Errorf("the archive has %s, want %s", strings.Join(got, ", "), want)
	}
	if _, _, err := pack("main.go", "linux", "amd64", nil); err == nil {
		t.Error("pack of what is no program = nil")
	}
}
