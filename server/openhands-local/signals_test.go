package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openhands-local/openhands-local/server/servertest"
)

// TestSignals: the first signal drains, a double within 100 ms counts once,
// the second after that stops the program.
func TestSignals(t *testing.T) {
	t.Parallel()
	servertest.Needs(t, "POST /api/conversations/{conversation_id}/events")
	program, err := exec.LookPath("openhands-local")
	if err != nil {
		t.Fatal(err) // TestMain puts it there
	}
	start := func() (*exec.Cmd, string) {
		t.Helper()
		ready := filepath.Join(t.TempDir(), "ready.json")
		cmd := exec.Command(program, "--addr=127.0.0.1:0", "--data=memory", "--ready-file", ready)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if text, err := os.ReadFile(ready); err == nil {
				_, after, _ := strings.Cut(string(text), `"url":"http://`)
				addr, _, _ := strings.Cut(after, `"`)
				return cmd, addr
			}
		}
		t.Fatal("no server after ten seconds")
		return nil, ""
	}
	// A request whose body does not come keeps the server draining.
	hang := func(addr string) {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte("POST /api/conversations/c/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 64)); err != nil { // 100: the handler reads
			t.Fatal(err)
		}
	}
	send := func(cmd *exec.Cmd) {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("double", func(t *testing.T) {
		cmd, _ := start()
		send(cmd)
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
		if err := cmd.Wait(); err != nil {
			t.Errorf("after a double signal the program ends with %v", err)
		}
	})
	t.Run("second", func(t *testing.T) {
		cmd, addr := start()
		hang(addr)
		send(cmd)
		// On a busy machine the program may see two of them within 100 ms.
		begin, again := time.Now(), time.NewTicker(double+50*time.Millisecond)
		defer again.Stop()
		go func() {
			for {
				select {
				case <-again.C:
					_ = cmd.Process.Signal(syscall.SIGTERM)
				case <-t.Context().Done():
					return
				}
			}
		}()
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 || time.Since(begin) > 5*time.Second {
			t.Errorf("after a second signal the program ends with %d in %v, want 130 at once", code, time.Since(begin))
		}
	})
}
