package main

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// loaded reads an image as docker load does, and holds it to the index of its OCI
// layout.
func loaded(t *testing.T, text []byte) v1.Image {
	t.Helper()
	img, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		if sum, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok && sum != fmt.Sprintf("%x", sha256.Sum256(files[h.Name])) {
			t.Errorf("%s has another sum", h.Name)
		}
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(files["index.json"]))
	if err != nil || len(index.Manifests) != 1 {
		t.Fatalf("index.json = %s (%v)", files["index.json"], err)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(files["blobs/sha256/"+index.Manifests[0].Digest.Hex]))
	if err != nil {
		t.Fatal(err)
	}
	if name, err := img.ConfigName(); err != nil || name != manifest.Config.Digest {
		t.Errorf("manifest.json has the configuration %v (%v), the layout %v", name, err, manifest.Config.Digest)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 || len(manifest.Layers) != 1 {
		t.Fatalf("%d layers, of the layout %d (%v)", len(layers), len(manifest.Layers), err)
	}
	if digest, err := layers[0].Digest(); err != nil || digest != manifest.Layers[0].Digest {
		t.Errorf("manifest.json has the layer %v (%v), the layout %v", digest, err, manifest.Layers[0].Digest)
	}
	return img
}

// unpack lays the files of an image into a folder, as a runtime does.
func unpack(t *testing.T, img v1.Image, folder string) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	text, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(text); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(folder, h.Name)
		content, err := io.ReadAll(r)
		switch {
		case err != nil:
		case h.FileInfo().IsDir():
			err = os.Mkdir(name, h.FileInfo().Mode().Perm())
		default:
			err = os.WriteFile(name, content, h.FileInfo().Mode())
		}
		if err == nil && os.Getuid() == 0 {
			err = os.Chown(name, h.Uid, h.Gid)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestImage runs an image as far as that needs no container runtime: its files
// in a root folder that nobody may write to, its user, its environment and
// nothing else: no /tmp, /etc, /proc, HOME or C library. There the server starts,
// keeps what it is given, and is ready.
func TestImage(t *testing.T) {
	t.Chdir("../../..")
	b, err := compile(t.Context(), t.TempDir(), runtime.GOOS, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	made, err := image(b)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(made[0].text); n > 20_000_000 {
		t.Errorf("the image has %d bytes", n)
	}
	img := loaded(t, made[0].text)
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.OS != runtime.GOOS || file.Architecture != runtime.GOARCH || file.Config.Labels["org.opencontainers.image.version"] != b.version {
		t.Errorf("the image is of %s/%s, with %v", file.OS, file.Architecture, file.Config.Labels)
	}
	r := file.Config
	image := t.TempDir()
	unpack(t, img, image)
	var port, volume string
	for p := range r.ExposedPorts {
		port = strings.TrimSuffix(p, "/tcp")
	}
	for volume = range r.Volumes {
	}
	data := filepath.Join(image, volume)
	if err := os.Chmod(image, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(image, 0o755) })

	start := func(flags ...string) (c *exec.Cmd, url string) {
		ready := filepath.Join(data, "ready.json")
		c = inImage(t, image, r, slices.Concat(r.Entrypoint, []string{"--addr=127.0.0.1:0", "--ready-file=" + volume + "/ready.json"})...)
		c.Args = append(c.Args, flags...)
		log := new(bytes.Buffer)
		c.Stderr = log
		err := c.Start()
		if errors.Is(err, syscall.EPERM) && os.Getuid() != 0 {
			t.Skip("neither root nor a namespace of one's own is allowed here: ", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill() })
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
			var info struct{ URL string }
			if text, err := os.ReadFile(ready); err == nil && json.Unmarshal(text, &info) == nil {
				return c, info.URL
			}
		}
		_ = c.Process.Kill()
		_ = c.Wait()
		t.Fatalf("no server after twenty seconds: %s", log)
		return nil, ""
	}
	stop := func(c *exec.Cmd) {
		t.Helper()
		if err := errors.Join(c.Process.Signal(syscall.SIGTERM), c.Wait()); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}

	c, url := start()
	health := slices.Clone(r.Healthcheck.Test[1:])
	if i := len(health) - 1; health[i] == "http://127.0.0.1:"+port {
		health[i] = url
	} else {
		t.Errorf("the health check asks %s, want port %s", health[i], port)
	}
	if out, err := inImage(t, image, r, health...).CombinedOutput(); err != nil {
		t.Errorf("health check: %v\n%s", err, out)
	}
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	part, err := m.CreateFormFile("files", "a.txt")
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 1<<20) // which no archive makes smaller
	_, _ = rand.Read(random)
	_, _ = part.Write(random)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct{ method, path, kind, body, want string }{
		{"POST", "/api/conversations", "application/json", `{}`, `"status":"ok"`},
		{"POST", "/api/conversations/c/events", "application/json", `{"action":"message","args":{"content":"Hi"}}`, `{"success":true}`},
		{"POST", "/api/conversations/c/upload-files", m.FormDataContentType(), form.String(), `"skipped_files":[]`},
		{"GET", "/api/conversations/c/list-files", "", "", `a.txt`},
		{"GET", "/api/conversations/c/zip-directory", "", "", "PK\x03\x04"},
		{"GET", "/server_info", "", "", `"uptime"`},
		{"GET", "/_local/metrics", "", "", "openhands_local_events_appended_total"},
	} {
		if got := ask(t, q.method, url+q.path, q.kind, q.body, "localhost:"+port); !strings.Contains(got, q.want) {
			t.Errorf("%s %s answers %.300s, want %s", q.method, q.path, got, q.want)
		}
	}
	// An archive that cannot be finished must not look whole.
	if err := os.WriteFile(filepath.Join(data, "workspaces", "c", "unreadable"), nil, 0); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.Get(url + "/api/conversations/c/zip-directory"); err != nil {
		t.Error(err)
	} else if text, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("an archive with a file that cannot be read is %d bytes and whole", len(text))
	} else {
		resp.Body.Close()
	}
	stop(c)

	c, url = start()
	for path, want := range map[string]string{"events": `"content":"Hi"`, "list-files": "a.txt"} {
		if got := ask(t, "GET", url+"/api/conversations/c/"+path, "", "", "localhost:"+port); !strings.Contains(got, want) {
			t.Errorf("after a restart GET %s answers %.300s, want %s", path, got, want)
		}
	}
	stop(c)

	// What keeps nothing has no place for files here, and says so.
	c, url = start("--data=memory")
	for _, q := range []struct{ method, path, kind, body, want string }{
		{"POST", "/api/conversations/c/events", "application/json", `{"action":"message","args":{"content":"Hi"}}`, `{"success":true}`},
		{"GET", "/api/conversations/c/list-files", "", "", `[]`},
		{"GET", "/api/conversations/c/select-file?file=a.txt", "", "", "file does not exist"},
		{"GET", "/api/conversations/c/zip-directory", "", "", "PK\x05\x06"}, // an archive of nothing
		{"GET", "/api/conversations/c/git/changes", "", "", `[]`},
		{"GET", "/api/conversations/c/git/diff?path=a.txt", "", "", "not a git repository"},
		{"POST", "/api/conversations/c/upload-files", m.FormDataContentType(), form.String(), "Nothing can be uploaded"},
		{"POST", "/_local/reset", "application/json", "", ""},
	} {
		if got := ask(t, q.method, url+q.path, q.kind, q.body, "localhost:"+port); !strings.Contains(got, q.want) || strings.Contains(got, "Internal") {
			t.Errorf("%s %s in memory answers %.300q, want %s", q.method, q.path, got, q.want)
		}
	}
	stop(c)
	if files, err := os.ReadDir(image); err != nil || len(files) != 3 {
		t.Errorf("the image has %v (%v), want the program, the bill of its modules, and %s", files, err, volume)
	}
}

// inImage is a command in the image, as its user and in its environment.
func inImage(t *testing.T, image string, r v1.Config, command ...string) *exec.Cmd {
	t.Helper()
	var uid, gid int
	if _, err := fmt.Sscanf(r.User, "%d:%d", &uid, &gid); err != nil || uid == 0 {
		t.Fatalf("the user is %s (%v)", r.User, err)
	}
	c := exec.Command(command[0], command[1:]...)
	c.Dir, c.Env = "/", r.Env
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: image}
	if os.Getuid() == 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return c
	}
	c.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
	c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}}
	c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: os.Getgid(), Size: 1}}
	return c
}

// ask sends a request to a host by another name, and returns the body.
func ask(t *testing.T, method, url, kind, body, host string) string {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Host = host
	if kind != "" {
		q.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
