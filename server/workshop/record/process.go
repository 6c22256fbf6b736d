package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/openhands-local/openhands-local/api/conform"
)

// process is a server that a command starts, in a folder of its own.
type process struct {
	command string // with {port}
	env     map[string]string
	folder  string
	port    int
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the command has ended
}

const startTimeout = 3 * time.Minute

// start starts a server on no data, with the variables of env beside those every recording has: a secret key, a home in
// the folder, no proxy. It returns when the server says that it is ready.
func start(ctx context.Context, command string, env map[string]string) (*process, error) {
	folder, err := os.MkdirTemp("", "record")
	if err != nil {
		return nil, err
	}
	p := &process{command: command, env: env, folder: folder}
	if err := os.Mkdir(filepath.Join(folder, "home"), 0o700); err != nil {
		return nil, err
	}
	return p, p.run(ctx)
}

func (p *process) run(ctx context.Context) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.port = ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	args := strings.Fields(strings.ReplaceAll(p.command, "{port}", strconv.Itoa(p.port)))
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Dir = p.folder
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(p.folder, "home"), "TZ=UTC", "LANG=C.UTF-8",
		"OH_SECRET_KEY=a-secret", "LITELLM_LOCAL_MODEL_COST_MAP=True"}
	for name, value := range p.env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	log, err := os.OpenFile(filepath.Join(p.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		cmd.Wait() // how it ended is in its log
		close(ended)
	}(p.cmd, p.ended)
	for begun := time.Now(); time.Since(begun) < startTimeout; {
		if resp, err := http.Get(p.URL() + "/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			p.stop()
			return ctx.Err()
		case <-p.ended:
			text, _ := os.ReadFile(filepath.Join(p.folder, "log"))
			return fmt.Errorf("the server ended:\n%s", text[max(0, len(text)-2000):])
		case <-time.After(200 * time.Millisecond):
		}
	}
	p.stop()
	return fmt.Errorf("the server is not ready within %v", startTimeout)
}

func (p *process) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", p.port) }

// stop ends the server as its user would, and all of its process group if it takes long.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(15 * time.Second):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

func (p *process) Restart(ctx context.Context) error {
	p.stop()
	return p.run(ctx)
}

func (p *process) Close() error {
	p.stop()
	return os.RemoveAll(p.folder)
}

// shared is a server that outlives a case.
type shared struct{ conform.Server }

func (shared) Close() error { return nil }

// running is the URL of a server that somebody else started.
type running string

func (r running) URL() string                 { return string(r) }
func (running) Restart(context.Context) error { return errors.New("the server is somebody else's") }
func (running) Close() error                  { return nil }
