package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
	"github.com/openhands-local/openhands-local/store/storetest"
)

// confined makes a process run in mount and user namespaces of its own, after
// a line of shell that may mount: its folder is $0. Where namespaces are not
// allowed the test is skipped.
func confined(t *testing.T, mount, folder string) func(*exec.Cmd) {
	t.Helper()
	wrap := func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", mount + ` && exec "$@"`, folder, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
		c.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	probe := exec.CommandContext(t.Context(), "/bin/true")
	wrap(probe)
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("a process cannot mount in a namespace of its own here (%v: %s)", err, out)
	}
	return wrap
}

// TestFaultFullDisk serves a folder on a disk of 40 MB that is filled up and
// freed again. What does not fit is 507 and stores nothing; reading goes on;
// writing does once there is room, without a restart.
func TestFaultFullDisk(t *testing.T) {
	rounds := storetest.Rounds(t, 2, 20)
	disk := t.TempDir()
	p := startProcess(t, confined(t, `mount -t tmpfs -o size=40m tmpfs "$0"`, disk), "--data", filepath.Join(disk, "data"))
	inside := fmt.Sprintf("/proc/%d/root%s", p.Process.Pid, disk)
	filler := filepath.Join(inside, "filler")
	api := p.url + "/api/conversations/"
	want := map[int64]string{}
	add := func(content, key string) answer {
		a := keyed(t, api+"c/events", stored(content), key)
		if a.status == http.StatusOK {
			want[a.eventID(t)] = content
		}
		return a
	}
	refused := func(what string, a answer) {
		t.Helper()
		if a.status != http.StatusInsufficientStorage || !strings.HasPrefix(a.detail(t), "No space is left on the disk") {
			t.Errorf("%s: %d %s, want 507 and why", what, a.status, a.body)
		}
	}
	add("first", "")
	for round := range rounds {
		fillDisk(t, filler)
		big := fmt.Sprintf("round %d %s", round, strings.Repeat("x", 20_000))
		var content, key string
		last := answer{status: http.StatusOK}
		for n := 0; last.status == http.StatusOK; n++ {
			if n > 2000 {
				t.Fatal("no event is refused")
			}
			content, key = fmt.Sprint(n, " ", big), fmt.Sprint(round, "-", n)
			last = add(content, key)
		}
		// The same one may fit a moment later: bbolt takes free pages at random,
		// and needs fewer new ones when it happens to take a neat place.
		refused("event", last)
		refused("upload", upload(t, api+"c/upload-files", "a.txt", big))
		for _, path := range []string{"c/events?limit=100", "c/trajectory", "c", ""} {
			if a := request(t, "GET", strings.TrimSuffix(api+path, "/"), ""); a.status != http.StatusOK {
				t.Errorf("GET %s on a full disk: %d %s", path, a.status, a.body)
			}
		}
		checkEvents(t, p.url, "c", want)
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if a := add(content, key); a.status != http.StatusOK {
			t.Errorf("event with room again: %d %s", a.status, a.body)
		}
		if a := upload(t, api+"c/upload-files", "a.txt", "small"); a.status != http.StatusOK || !strings.Contains(a.body, "a.txt") {
			t.Errorf("upload with room again: %d %s", a.status, a.body)
		}
		if files, err := filepath.Glob(inside + "/data/workspaces/c/.upload-*"); len(files) > 0 || err != nil {
			t.Errorf("refused uploads left %v, %v", files, err)
		}
		if n := request(t, "DELETE", api+"big", ""); n.status != http.StatusOK {
			t.Errorf("DELETE: %d %s", n.status, n.body)
		}
		if round == 0 { // the disk shall not be full of events
			postAll(t, p.url, "big", big)
		}
	}
	// Killed while the disk is full, and started elsewhere.
	fillDisk(t, filler)
	for n := 0; add(fmt.Sprint(n, " last ", strings.Repeat("x", 200_000)), "").status == http.StatusOK; n++ {
	}
	elsewhere := t.TempDir()
	copied, err := os.ReadFile(inside + "/data/events.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(elsewhere, "events.db"), copied, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = p.Process.Kill()
	_ = p.Wait()
	p = startProcess(t, nil, "--data", elsewhere)
	checkEvents(t, p.url, "c", want)
	t.Attr("result", fmt.Sprintf("%d acknowledged events, all there once", len(want)))
}

// fillDisk writes a file until there is no space but for a few events.
func fillDisk(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	const left = 400_000
	if at, err := f.Seek(0, io.SeekCurrent); err != nil || f.Truncate(at-left) != nil {
		t.Fatal(err)
	}
}

// TestFaultReadOnlyAtStart starts the program on a folder that cannot be
// written: it says so, and what to do, and touches nothing.
func TestFaultReadOnlyAtStart(t *testing.T) {
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, before := range []string{"new", "used"} {
		disk := t.TempDir()
		data := filepath.Join(disk, "data")
		if before == "used" {
			p := startProcess(t, nil, "--data", data)
			postAll(t, p.url, "c", "kept")
			p.stop(t)
		}
		c := exec.CommandContext(t.Context(), file, "--addr=localhost:0", "--data", data)
		confined(t, `mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"`, disk)(c)
		out, err := c.CombinedOutput()
		want := fmt.Sprintf("data folder %s cannot be written: allow it, or choose another folder with --data", data)
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s folder: %v: %s, want %q", before, err, out, want)
		}
		if before == "used" {
			p := startProcess(t, nil, "--data", data)
			checkEvents(t, p.url, "c", map[int64]string{0: "kept"})
		} else if entries, err := os.ReadDir(disk); len(entries) > 0 || err != nil {
			t.Errorf("new folder: %v, %v, want nothing made", entries, err)
		}
	}
}

// TestFaultReadOnly takes the right to write to the file from a server that
// runs. Writes are 503 and say so, reading goes on, and writing does once it is
// allowed again, without a restart.
func TestFaultReadOnly(t *testing.T) {
	data := t.TempDir()
	s := servertest.NewServer(t, server.Config{Data: data})
	file := filepath.Join(data, "events.db")
	want := map[int64]string{}
	for round := range storetest.Rounds(t, 2, 50) {
		content := fmt.Sprint("round ", round)
		postAll(t, s.URL, "c", content)
		want[int64(round)] = content
		setImmutable(t, file, true)
		for range 2 {
			a := request(t, "POST", s.URL+"/api/conversations/c/events", stored("refused"))
			if a.status != http.StatusServiceUnavailable || !strings.HasPrefix(a.detail(t), "The data folder cannot be written now") {
				t.Errorf("POST: %d %s, want 503 and why", a.status, a.body)
			}
		}
		checkEvents(t, s.URL, "c", want)
		setImmutable(t, file, false)
	}
	postAll(t, s.URL, "c", "last")
	want[int64(len(want))] = "last"
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	checkEvents(t, s.URL, "c", want)
}

// setImmutable makes a file one that nobody may write to, not even who has it
// open; the test is skipped where that cannot be done.
func setImmutable(t *testing.T, file string, on bool) {
	t.Helper()
	const getFlags, setFlags, immutable = 0x80086601, 0x40086602, 0x10 // FS_IOC_GETFLAGS, …, FS_IMMUTABLE_FL
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var flags uintptr
	control := func(request uintptr) syscall.Errno {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&flags)))
		return errno
	}
	errno := control(getFlags)
	if errno == 0 {
		if flags &^= immutable; on {
			flags |= immutable
		}
		errno = control(setFlags)
	}
	if errno != 0 {
		t.Skipf("a file cannot be made immutable here (%v): needs ext4, xfs or btrfs, and CAP_LINUX_IMMUTABLE", errno)
	}
	if on {
		t.Cleanup(func() {
			flags &^= immutable
			if f, err := os.Open(file); err == nil {
				defer f.Close()
				_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), setFlags, uintptr(unsafe.Pointer(&flags)))
			}
		})
	}
}

// TestFaultDescriptors lets a server have 64 files open and holds more
// connections than that. Who is connected is served; who is not waits, and is
// served once connections are closed; nothing ends the server.
func TestFaultDescriptors(t *testing.T) {
	few := func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `ulimit -n 64 && exec "$@"`, "sh", c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	}
	p := startProcess(t, few, "--data", t.TempDir())
	addr := strings.TrimPrefix(p.url, "http://")
	want := map[int64]string{}
	for round := range storetest.Rounds(t, 1, 10) {
		content := fmt.Sprint("round ", round)
		postAll(t, p.url, "c", content) // over a connection that stays
		want[int64(len(want))] = content
		var held []net.Conn
		for range 100 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, c)
		}
		// The last of them is not accepted.
		last := held[len(held)-1]
		if _, err := io.WriteString(last, "GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = last.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := last.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the 100th connection: %v, want no answer yet", err)
		}
		content = fmt.Sprint("while none is left ", round)
		postAll(t, p.url, "c", content)
		want[int64(len(want))] = content
		if a := upload(t, p.url+"/api/conversations/c/upload-files", "a.txt", "text"); a.status != http.StatusServiceUnavailable || !strings.HasPrefix(a.detail(t), "Too many files are open") {
			t.Errorf("upload: %d %s, want 503 and why", a.status, a.body)
		}
		for _, c := range held[:len(held)-1] {
			c.Close()
		}
		_ = last.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := last.Read(make([]byte, 1)); err != nil {
			t.Errorf("the 100th connection once others are closed: %v, want an answer", err)
		}
		last.Close()
	}
	checkEvents(t, p.url, "c", want)
	p.stop(t)
	if text := p.log.String(); !strings.Contains(text, "accept4: too many open files") {
		t.Errorf("the records do not say why connections waited: %s", text)
	}
}
