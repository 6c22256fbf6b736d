package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/openhands-local/openhands-local/api/printable"
	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/servertest"
)

// status runs a command and wants an exit status.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND …")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if end := new(exec.ExitError); errors.As(err, &end) {
		got = end.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v: exit status %d, want %d", args[1:], got, want)
	}
}

// post is a command for exec: it posts to conversations that do not exist, as
// often as its argument says.
func post() {
	n, err := strconv.Atoi(os.Args[1])
	for i := 0; err == nil && i < n; i++ {
		var answer *http.Response
		answer, err = http.Post(fmt.Sprintf("%s/api/conversations/c%d/events", os.Getenv("OPENHANDS_LOCAL_URL"), i),
			"application/json", strings.NewReader(`{"action":"message","args":{"content":"Hi"}}`))
		if err == nil {
			answer.Body.Close()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// execution is one run of the program's exec, with a place for temporary
// files that others share.
func execution(t *testing.T, temp string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := exec.LookPath("openhands-local")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, append([]string{"exec"}, args...)...)
	c.Env = append(os.Environ(), "TMPDIR="+temp)
	return c
}

// started starts c, on no terminal, and returns the first line that it writes.
func started(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(line[:n]))
}

// until polls, for ten seconds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after ten seconds: %s", what)
		}
	}
}

// alive tells whether a process exists, be it a zombie that its new parent
// has not buried.
func alive(t *testing.T, pid string) bool {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err == nil {
		_, state, _ := strings.Cut(string(stat), ") ")
		return !strings.HasPrefix(state, "Z")
	}
	p, err := os.FindProcess(n)
	return err == nil && p.Signal(syscall.Signal(0)) == nil
}

func folders(t *testing.T, temp string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(temp, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestExecFifty runs fifty at once: each has a port and a folder of its own,
// and none is left behind.
func TestExecFifty(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "GET /alive") // of openhands-local ready
	temp := t.TempDir()
	var (
		mu     sync.Mutex
		urls   []string
		wg     sync.WaitGroup
		failed = make(chan error, 50)
	)
	// Each waits until its input ends, so all fifty live at the same time.
	hold, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	all := make(chan struct{})
	for range 50 {
		c := execution(t, temp, "--", "sh", "-c", "echo $OPENHANDS_LOCAL_URL; read end; openhands-local ready $OPENHANDS_LOCAL_URL >&2")
		var stderr bytes.Buffer
		c.Stdin, c.Stderr = hold, &stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := c.Start(); err != nil {
				failed <- err
				return
			}
			line := make([]byte, 100)
			n, _ := out.Read(line)
			mu.Lock()
			if urls = append(urls, strings.TrimSpace(string(line[:n]))); len(urls) == 50 {
				close(all)
			}
			mu.Unlock()
			if err := c.Wait(); err != nil || !strings.HasPrefix(stderr.String(), "ready ") {
				failed <- fmt.Errorf("%v: %w\n%s", c.Args, err, &stderr)
			}
		})
	}
	select {
	case <-all:
	case <-time.After(30 * time.Second):
		t.Error("not all fifty run after thirty seconds")
	}
	if n := len(folders(t, temp)); n != 50 {
		t.Errorf("%d folders of fifty that run", n)
	}
	release.Close()
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	slices.Sort(urls)
	if n := len(slices.Compact(urls)); n != 50 {
		t.Errorf("%d addresses, want 50", n)
	}
	if left := folders(t, temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestExecKilled kills an exec: the next one removes its folder and no other,
// and on Linux its command ends too.
func TestExecKilled(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	living := execution(t, temp, "--", "sh", "-c", "echo $$; exec cat")
	hold, err := living.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	started(t, living)
	own := folders(t, temp)

	killed := execution(t, temp, "--", "sh", "-c", "echo $$; exec sleep 60")
	pid := started(t, killed)
	if n := len(folders(t, temp)); n != 2 {
		t.Fatalf("%d folders, want 2", n)
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	if runtime.GOOS == "linux" {
		until(t, "the command of a killed exec ends", func() bool { return !alive(t, pid) })
	}
	if n := len(folders(t, temp)); n != 2 {
		t.Errorf("%d folders after the kill, want 2", n)
	}
	if out, err := execution(t, temp, "--", "true").CombinedOutput(); err != nil {
		t.Errorf("the next exec: %v\n%s", err, out)
	}
	if left := folders(t, temp); !slices.Equal(left, own) {
		t.Errorf("folders = %v, want %v, which lives", left, own)
	}
	hold.Close()
	if err := living.Wait(); err != nil {
		t.Error(err)
	}
	if left := folders(t, temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestExecSignals forwards signals: how it ends is for the command to say.
func TestExecSignals(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "GET /alive") // of openhands-local ready
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("these tests run under nohup, which exec respects")
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			temp := t.TempDir()
			c := execution(t, temp, "--", "sh", "-c", `trap 'openhands-local ready $OPENHANDS_LOCAL_URL >&2 && exit 9' INT TERM HUP; echo $$; while :; do sleep .05; done`)
			started(t, c)
			// Twice: the second reaches the command too, and ends nothing by itself.
			for range 2 {
				if err := c.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			err := c.Wait()
			if end := new(exec.ExitError); !errors.As(err, &end) || end.ExitCode() != 9 {
				t.Errorf("after %v: %v, want exit status 9", s, err)
			}
			if left := folders(t, temp); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestExecOrphaned kills the parent: command, server and folder go too.
func TestExecOrphaned(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("these tests run under nohup, which exec respects")
	}
	temp := t.TempDir()
	c := execution(t, temp)
	script := fmt.Sprintf("'%s' exec -- sh -c 'echo $$; exec sleep 60' & wait", c.Path)
	env := c.Env
	c = exec.Command("sh", "-c", script)
	c.Env = env
	pid := started(t, c)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, "the command ends", func() bool { return !alive(t, pid) })
	until(t, "the folder is gone", func() bool { return len(folders(t, temp)) == 0 })
	_ = c.Wait()
}

// TestExecServerEnds: a command without its server is ended, and that is no
// success.
func TestExecServerEnds(t *testing.T) {
	srv, err := server.New(t.Context(), server.Config{Addr: "127.0.0.1:0", Data: server.Memory})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	e := &env{Context: context.Background(), stderr: printable.Writer{W: io.Discard}}
	err = during(e, srv, exec.Command("sleep", "60"))
	if f := new(failure); !errors.As(err, &f) || f.status != statusNoServer {
		t.Errorf("during = %v, want status %d", err, statusNoServer)
	}
}
