package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A recipe is what the Containerfile says: the arguments of each instruction
// of its last stage and RUN of the first.
func recipe(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	r := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if instruction, arguments, ok := strings.Cut(strings.TrimSpace(line), " "); ok && instruction != "#" {
			r[instruction] = arguments
		}
	}
	return r
}

// execForm is the command of an instruction in JSON.
func execForm(t *testing.T, arguments string) (command []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(arguments[strings.Index(arguments, "["):]), &command); err != nil {
		t.Fatalf("%s: %v", arguments, err)
	}
	return command
}

// TestContainer carries out the Containerfile as far as that needs no
// container runtime: the image's files in a root folder that nobody may write
// to, its user, its environment and nothing else: no /tmp, /etc, /proc, HOME
// or C library. There the server starts, keeps what it is given, and is ready.
func TestContainer(t *testing.T) {
	t.Parallel()
	r := recipe(t)
	port := r["EXPOSE"]
	if want := "OPENHANDS_LOCAL_ADDR=0.0.0.0:" + port + " OPENHANDS_LOCAL_DATA=" + r["VOLUME"]; r["ENV"] != want {
		t.Errorf("ENV = %s, want %s", r["ENV"], want)
	}
	if r["FROM"] != "scratch" || r["USER"] == "0:0" || r["COPY"] != "--from=build --chown="+r["USER"]+" /image/ /" {
		t.Errorf("FROM %s, USER %s, COPY %s", r["FROM"], r["USER"], r["COPY"])
	}

	image := t.TempDir()
	build := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(r["RUN"], "/image/", image+"/"))
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("RUN %s: %v\n%s", r["RUN"], err, out)
	}
	data := filepath.Join(image, r["VOLUME"])
	if os.Getuid() == 0 {
		var uid, gid int
		if _, err := fmt.Sscanf(r["USER"], "%d:%d", &uid, &gid); err != nil {
			t.Fatalf("USER %s: %v", r["USER"], err)
		}
		if err := os.Chown(data, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(image, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(image, 0o755) })

	start := func(flags ...string) (c *exec.Cmd, url string) {
		ready := filepath.Join(data, "ready.json")
		c = inImage(t, image, r, append(execForm(t, r["ENTRYPOINT"]), "--addr=127.0.0.1:0", "--ready-file="+r["VOLUME"]+"/ready.json")...)
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
	health := execForm(t, r["HEALTHCHECK"])
	if i := len(health) - 1; health[i] == "http://127.0.0.1:"+port {
		health[i] = url
	} else {
		t.Errorf("HEALTHCHECK asks %s, want port %s", health[i], port)
	}
	if out, err := inImage(t, image, r, health...).CombinedOutput(); err != nil {
		t.Errorf("HEALTHCHECK: %v\n%s", err, out)
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
	if files, err := os.ReadDir(image); err != nil || len(files) != 2 {
		t.Errorf("the image has %v (%v), want the program and %s", files, err, r["VOLUME"])
	}
}

// inImage is a command in the image, as its user and in its environment.
func inImage(t *testing.T, image string, r map[string]string, command ...string) *exec.Cmd {
	t.Helper()
	var uid, gid int
	if _, err := fmt.Sscanf(r["USER"], "%d:%d", &uid, &gid); err != nil {
		t.Fatalf("USER %s: %v", r["USER"], err)
	}
	c := exec.Command(command[0], command[1:]...)
	c.Dir, c.Env = "/", strings.Fields(r["ENV"])
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
