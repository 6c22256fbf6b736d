package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/CycloneDX/cyclonedx-go"

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

// TestRelease makes all for this platform twice, in two clones of what is here,
// and wants the same bytes.
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

	platform := runtime.GOOS + "/" + runtime.GOARCH
	var made [2]map[string][]byte
	for i := range made {
		clone := filepath.Join(t.TempDir(), strings.Repeat("long/", i), "clone")
		git(t, origin, "clone", "--quiet", origin, clone)
		t.Chdir(clone)
		out := filepath.Join(clone, ".dist")
		if err := os.MkdirAll(filepath.Join(out, "of an earlier release"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := release(t.Context(), out, "", []string{platform}); err != nil {
			t.Fatal(err)
		}
		made[i] = files(t, out)
		sums := string(made[i]["SHA256SUMS"])
		for name, text := range made[i] {
			if line := fmt.Sprintf("%x  %s\n", sha256.Sum256(text), name); name != "SHA256SUMS" && !strings.Contains(sums, line) {
				t.Errorf("SHA256SUMS lacks %s", line)
			}
		}
		if n := strings.Count(sums, "\n"); n != len(made[i])-1 {
			t.Errorf("SHA256SUMS has %d lines for %d files", n, len(made[i])-1)
		}
		if status := git(t, clone, "status", "--porcelain"); status != "" {
			t.Errorf("the checkout is changed:\n%s", status)
		}
	}
	for name, text := range made[0] {
		if !bytes.Equal(text, made[1][name]) {
			t.Errorf("two folders made two of %s", name)
		}
	}

	var names []string
	for name := range made[0] {
		names = append(names, name)
	}
	node := strings.Join(npmPlatforms[platform], "-")
	version := "0.0.0-20250607080910-" + commit
	want := []string{
		"SHA256SUMS",
		"openhands-local-" + version + ".tgz",
		"openhands-local-" + node + "-" + version + ".tgz",
		"openhands-local_v" + version + "_" + runtime.GOOS + "_" + runtime.GOARCH + map[bool]string{true: ".zip", false: ".tar.gz"}[runtime.GOOS == "windows"],
		"openhands_local-0.0.0.dev20250607080910+" + commit + "-py3-none-" + wheelTags[platform] + ".whl",
	}
	of := "openhands-local_v" + version + "_" + runtime.GOOS + "_" + runtime.GOARCH
	want = append(want, of+".cdx.json")
	if runtime.GOOS == "linux" {
		want = append(want, of+".image.tar")
	}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Fatalf("the release is\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
	for name, text := range made[0] {
		var program *packed
		for _, f := range unpacked(t, name, text, time.Date(2025, 6, 7, 8, 9, 10, 0, time.UTC)) {
			switch {
			case strings.HasSuffix(f.name, "/openhands-local") || strings.HasSuffix(f.name, "/openhands-local.exe"):
				program = &f
			case f.mode != 0o644:
				t.Errorf("%s: %s has the mode %o", name, f.name, f.mode)
			}
		}
		if program == nil {
			continue // SHA256SUMS and the npm package of no platform
		}
		if bytes.Contains(program.text, []byte(filepath.Base(filepath.Dir(t.TempDir())))) {
			t.Errorf("%s: the program knows the folder that it was built in", name)
		}
		file := filepath.Join(t.TempDir(), filepath.Base(program.name))
		if err := os.WriteFile(file, program.text, os.FileMode(program.mode)); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), file, "--version").Output()
		if want := "v" + version + " (api " + gen.Version; err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s: --version = %q (%v), want %q", name, out, err, want)
		}
	}
}

// files reads a folder.
func files(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if all[e.Name()], err = os.ReadFile(filepath.Join(folder, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// unpacked are the files of an archive, which have a time and no owner; none of
// what is no archive.
func unpacked(t *testing.T, name string, text []byte, at time.Time) (all []packed) {
	t.Helper()
	switch filepath.Ext(name) {
	case ".whl", ".zip":
		z, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !f.Modified.Equal(at) {
				t.Errorf("%s: %s is of %v", name, f.Name, f.Modified)
			}
			all = append(all, packed{f.Name, int64(f.Mode()), text})
		}
	case ".gz", ".tgz":
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !h.ModTime.Equal(at) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
				t.Errorf("%s: %s is of %v, %d:%d, %q:%q", name, h.Name, h.ModTime, h.Uid, h.Gid, h.Uname, h.Gname)
			}
			all = append(all, packed{h.Name, h.Mode, text})
		}
	}
	return all
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
	for _, test := range []struct{ folder, only, platform, want string }{
		{t.TempDir(), "", "linux/amd64", "run from the root"},
		{root, "", "linux", "want GOOS/GOARCH"},
		{root, "", "linux/nothing", "unsupported GOOS/GOARCH"},
		{root, "npm,deb", "linux/amd64", `no kind "deb"`},
	} {
		t.Chdir(test.folder)
		if err := release(t.Context(), out, test.only, []string{test.platform}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("release of %s = %v, want %q", test.platform, err, test.want)
		}
		if _, err := os.Stat(last); err != nil {
			t.Errorf("the last release: %v", err)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(out)); err != nil || len(files) != 1 {
		t.Errorf("beside the last release there are %v (%v)", files, err)
	}
	if _, err := read("main.go", "linux", "amd64"); err == nil {
		t.Error("read of what is no program = nil")
	}
}

// TestArchives packs a program without a version, as of no checkout, for each
// platform.
func TestArchives(t *testing.T) {
	t.Chdir("../../..")
	var got []string
	for _, platform := range platforms {
		goos, goarch, _ := strings.Cut(platform, "/")
		b := &build{goos: goos, goarch: goarch, text: []byte("program"), info: new(debug.BuildInfo), version: "devel", at: noCommit}
		for _, k := range kinds {
			files, err := k.each(b)
			if err != nil {
				t.Fatalf("%s: %s: %v", platform, k.name, err)
			}
			for _, archive := range files {
				for _, f := range unpacked(t, archive.name, archive.text, noCommit) {
					if string(f.text) == "program" {
						got = append(got, fmt.Sprintf("%s: %s %o", archive.name, f.name, f.mode))
					}
				}
			}
		}
	}
	const want = `openhands-local_devel_linux_amd64.tar.gz: openhands-local_devel_linux_amd64/openhands-local 755
openhands_local-0.0.0.dev0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64.whl: openhands_local/openhands-local 755
openhands-local-linux-x64-0.0.0-devel.tgz: package/openhands-local 755
openhands-local_devel_linux_arm64.tar.gz: openhands-local_devel_linux_arm64/openhands-local 755
openhands_local-0.0.0.dev0-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl: openhands_local/openhands-local 755
openhands-local-linux-arm64-0.0.0-devel.tgz: package/openhands-local 755
openhands-local_devel_darwin_amd64.tar.gz: openhands-local_devel_darwin_amd64/openhands-local 755
openhands_local-0.0.0.dev0-py3-none-macosx_12_0_x86_64.whl: openhands_local/openhands-local 755
openhands-local-darwin-x64-0.0.0-devel.tgz: package/openhands-local 755
openhands-local_devel_darwin_arm64.tar.gz: openhands-local_devel_darwin_arm64/openhands-local 755
openhands_local-0.0.0.dev0-py3-none-macosx_12_0_arm64.whl: openhands_local/openhands-local 755
openhands-local-darwin-arm64-0.0.0-devel.tgz: package/openhands-local 755
openhands-local_devel_windows_amd64.zip: openhands-local_devel_windows_amd64/openhands-local.exe 755
openhands_local-0.0.0.dev0-py3-none-win_amd64.whl: openhands_local/openhands-local.exe 755
openhands-local-win32-x64-0.0.0-devel.tgz: package/openhands-local.exe 755
openhands-local_devel_windows_arm64.zip: openhands-local_devel_windows_arm64/openhands-local.exe 755
openhands_local-0.0.0.dev0-py3-none-win_arm64.whl: openhands_local/openhands-local.exe 755
openhands-local-win32-arm64-0.0.0-devel.tgz: package/openhands-local.exe 755`
	if strings.Join(got, "\n") != want {
		t.Errorf("the archives have\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// TestWheelRecord: a wheel lists each of its files with its sum, as pip wants.
func TestWheelRecord(t *testing.T) {
	t.Chdir("../../..")
	wheels, err := wheel(&build{goos: "darwin", goarch: "arm64", text: []byte("program"), info: new(debug.BuildInfo), version: "v1.2.3", at: noCommit})
	if err != nil {
		t.Fatal(err)
	}
	all := unpacked(t, wheels[0].name, wheels[0].text, noCommit)
	last := all[len(all)-1]
	const info = "openhands_local-1.2.3.dist-info/"
	for _, f := range all {
		sum := sha256.Sum256(f.text)
		line := fmt.Sprintf("%s,sha256=%s,%d\n", f.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(f.text))
		if f.name == info+"RECORD" {
			line = f.name + ",,\n"
		}
		if !strings.Contains(string(last.text), line) {
			t.Errorf("%s has\n%s, want %s", last.name, last.text, line)
		}
		if f.name == info+"METADATA" && !strings.HasPrefix(string(f.text), "Metadata-Version: 2.1\nName: openhands-local\nVersion: 1.2.3\n") {
			t.Errorf("%s = %.200s", f.name, f.text)
		}
		if f.name == info+"WHEEL" && !strings.HasSuffix(string(f.text), "\nRoot-Is-Purelib: false\nTag: py3-none-macosx_12_0_arm64\n") {
			t.Errorf("%s = %s", f.name, f.text)
		}
	}
}

// TestNpmDependencies: the npm package names those of all platforms, in its own
// version.
func TestNpmDependencies(t *testing.T) {
	t.Chdir("../../..")
	packages, err := npmMain(&build{version: "v1.2.3", at: noCommit})
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Version              string
		Types, Main          string
		Bin                  map[string]string
		OptionalDependencies map[string]string
	}
	names := map[string]bool{}
	for _, f := range unpacked(t, packages[0].name, packages[0].text, noCommit) {
		names[strings.TrimPrefix(f.name, "package/")] = true
		if f.name == "package/package.json" {
			if err := json.Unmarshal(f.text, &manifest); err != nil {
				t.Fatal(err)
			}
		}
	}
	if manifest.Version != "1.2.3" || len(manifest.OptionalDependencies) != len(platforms) || manifest.OptionalDependencies["@openhands-local/win32-x64"] != "1.2.3" {
		t.Errorf("package.json = %+v", manifest)
	}
	for _, name := range []string{manifest.Types, manifest.Main, manifest.Bin["openhands-local"], "README.md"} {
		if !names[name] {
			t.Errorf("the package lacks %q", name)
		}
	}
}

// TestBill: the bill of this program's modules names the ones that it uses.
func TestBill(t *testing.T) {
	b, err := read(os.Args[0], runtime.GOOS, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	text, err := bill(b)
	if err != nil {
		t.Fatal(err)
	}
	bom := new(cyclonedx.BOM)
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(text), cyclonedx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, c := range *bom.Components {
		found[c.Name] = c.PackageURL
	}
	if len(found) != len(b.info.Deps)+1 {
		t.Errorf("the bill has %d modules, want Go's own and %d", len(found), len(b.info.Deps))
	}
	const used = "github.com/CycloneDX/cyclonedx-go"
	if !strings.HasPrefix(found[used], "pkg:golang/"+used+"@v") || found["std"] != "pkg:golang/std@"+strings.TrimPrefix(runtime.Version(), "go") {
		t.Errorf("the bill has %q and %q", found[used], found["std"])
	}
}

func TestVersions(t *testing.T) {
	for _, test := range []struct{ version, python, npm string }{
		{"devel", "0.0.0.dev0", "0.0.0-devel"},
		{"v1.2.3", "1.2.3", "1.2.3"},
		{"v1.2.3+dirty", "1.2.3+dirty", "1.2.3-dirty"},
		{"v1.2.3-rc.1", "1.2.3rc1", "1.2.3-rc.1"},
		{"v1.2.3-alpha2", "1.2.3a2", "1.2.3-alpha2"},
		{"v0.0.0-20250607080910-0123456789ab", "0.0.0.dev20250607080910+0123456789ab", "0.0.0-20250607080910-0123456789ab"},
		{"v1.2.4-0.20250607080910-0123456789ab+dirty", "1.2.4.dev20250607080910+0123456789ab.dirty", "1.2.4-0.20250607080910-0123456789ab-dirty"},
	} {
		if got, err := pythonVersion(test.version); err != nil || got != test.python {
			t.Errorf("pythonVersion(%s) = %s, %v, want %s", test.version, got, err, test.python)
		}
		if got := npmVersion(test.version); got != test.npm {
			t.Errorf("npmVersion(%s) = %s, want %s", test.version, got, test.npm)
		}
	}
	for _, version := range []string{"1.2", "v1.2.3-next"} {
		if got, err := pythonVersion(version); err == nil {
			t.Errorf("pythonVersion(%s) = %s, want an error", version, got)
		}
	}
}
