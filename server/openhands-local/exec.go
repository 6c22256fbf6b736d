package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/openhands-local/openhands-local/server"
	"github.com/openhands-local/openhands-local/server/journal"
	"github.com/openhands-local/openhands-local/server/scratch"
)

// Exit statuses of exec that are not the command's, as of env and timeout.
const (
	statusNoServer    = 125
	statusNotRunnable = 126
	statusNotFound    = 127
	statusSignalled   = 128 // and the signal's number
)

// execCmd runs a command with a server of its own, on a free port of this
// machine.
type execCmd struct {
	Data    string   `help:"Folder that keeps everything, or \"memory\"; a temporary folder unless set." placeholder:"DIR"`
	HAR     string   `name:"har" help:"When the command has ended, write what was asked and answered here as an HTTP Archive." placeholder:"FILE"`
	Command []string `arg:"" passthrough:"partial" help:"The command and its arguments, after --."`
	serverFlags
}

// Help says how the command finds its server, and when all ends.
func (x *execCmd) Help() string {
	return "The command finds its server's address in OPENHANDS_LOCAL_URL, and that of --agent-server in OPENHANDS_LOCAL_AGENT_SERVER_URL. Its exit status is ours; " +
		"with --faults it is 1 when the command's is 0 and a fault was never used. " +
		"125 means that no server started, 126 that the command cannot be run, 127 that there is none of this name. " +
		"Signals go to the command; it gets SIGTERM when the parent of openhands-local exec is gone, unless nohup was used. " +
		"Warnings alone are written to standard error; --log-requests writes all. " + x.serverFlags.Help()
}

func (x *execCmd) Run(e *env) error {
	if x.Command[0] == "--" {
		x.Command = x.Command[1:]
	}
	if len(x.Command) == 0 {
		return &failure{statusNoServer, errors.New("exec: want a command after --")}
	}
	if x.HAR != "" && x.Journal == 0 {
		return &failure{statusNoServer, errors.New("exec: --har wants a --journal above 0")}
	}
	child := exec.Command(x.Command[0], x.Command[1:]...)
	if child.Err != nil {
		return notRun(child.Err)
	}
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, e.stdout.W, e.stderr.W
	child.SysProcAttr = dieWithParent()

	data := x.Data
	if data == "" {
		folder, err := scratch.New()
		if err != nil {
			return &failure{statusNoServer, fmt.Errorf("exec: no temporary folder: %w (TMPDIR chooses another place, --data a folder that stays)", err)}
		}
		defer func() {
			if err := folder.Remove(); err != nil {
				fmt.Fprintln(e.stderr, "openhands-local: exec:", err)
			}
		}()
		data = folder.Name
	}
	var lenient server.LenientCount
	c := x.config(e)
	c.Addr, c.Data, c.Observe, c.KeepJournals = "localhost:0", data, lenient.Observe, x.HAR != ""
	if !x.LogRequests {
		c.Log, c.CountsLenient = slog.New(x.records(e.stderr, slog.LevelWarn)), true
	}
	srv, err := server.New(e, c)
	if err != nil {
		return &failure{statusNoServer, fmt.Errorf("exec: no server: %w", err)}
	}
	child.Env = append(child.Environ(), "OPENHANDS_LOCAL_URL="+srv.Info().URL)
	if v1 := srv.Info().AgentServer; v1 != "" {
		child.Env = append(child.Env, "OPENHANDS_LOCAL_AGENT_SERVER_URL="+v1)
	}
	err = during(e, srv, child)
	if x.HAR != "" {
		if failed := replaceFile(x.HAR, srv.WriteHAR, nil); failed != nil {
			fmt.Fprintln(e.stderr, "openhands-local: exec:", failed)
		}
		if dropped := srv.Journal().Page(journal.Query{}).Dropped; dropped > 0 {
			fmt.Fprintf(e.stderr, "openhands-local: exec: %s lacks the first %s: a larger --journal keeps more\n", x.HAR, plural(dropped, "request", "requests"))
		}
	}
	if lenient.Answers() > 0 {
		fmt.Fprintf(e.stderr, "openhands-local: %v: --strict refuses, --log-requests tells which\n", &lenient)
	}
	if unused := srv.UnusedFaults(); len(unused) > 0 {
		never := fmt.Errorf("exec: faults of %s that were never used: %s", x.Faults, strings.Join(unused, ", "))
		if err == nil {
			return never // exit status 1
		}
		fmt.Fprintln(e.stderr, "openhands-local:", never)
	}
	return err
}

// during serves while the child runs.
func during(e *env, srv *server.Server, child *exec.Cmd) error {
	// From here on a signal is the child's, not ours.
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	var parent <-chan struct{}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup, to outlive the parent
		signal.Notify(signals, syscall.SIGHUP)
		parent = orphaned()
	}

	ctx, stop := context.WithCancel(context.WithoutCancel(e))
	defer stop()
	served := make(chan error, 1)
	go func() { served <- srv.Run(ctx) }()

	// The child dies with the thread that started it (see dieWithParent), so
	// that must not end before.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := child.Start(); err != nil {
		stop()
		return errors.Join(notRun(err), <-served)
	}
	if e.Err() != nil { // a signal came before it could be the child's
		_ = child.Process.Signal(syscall.SIGTERM)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()

	var broken error // the server's end before the child's
	for {
		select {
		case s := <-signals:
			if s == os.Interrupt && onTerminal() {
				continue // which has sent it to the child too
			}
			_ = child.Process.Signal(s)
		case <-parent:
			parent = nil
			_ = child.Process.Signal(syscall.SIGTERM)
		case broken = <-served:
			served = nil
			_ = child.Process.Signal(syscall.SIGTERM)
		case err := <-ended:
			if served == nil {
				return &failure{statusNoServer, fmt.Errorf("exec: the server ended before the command: %w", broken)}
			}
			stop()
			if err := <-served; err != nil {
				fmt.Fprintln(e.stderr, "openhands-local: exec: the server did not end cleanly:", err)
			}
			return outcome(err)
		}
	}
}

// parentTime is how soon it is noticed that the parent is gone.
const parentTime = 250 * time.Millisecond

// orphaned returns a channel that is closed when the parent is gone.
func orphaned() <-chan struct{} {
	gone, parent := make(chan struct{}), os.Getppid()
	go func() {
		for range time.Tick(parentTime) {
			if os.Getppid() != parent {
				close(gone)
				return
			}
		}
	}()
	return gone
}

// onTerminal tells whether a standard stream is a terminal: Ctrl-C reaches
// all programs there.
func onTerminal() bool {
	return isTerminal(os.Stdin) || isTerminal(os.Stdout) || isTerminal(os.Stderr)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	null, err := os.Stat(os.DevNull)
	if !ok || err != nil {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && !os.SameFile(info, null)
}

// notRun is the end when there was no child.
func notRun(err error) error {
	status := statusNotRunnable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		status = statusNotFound
	}
	return &failure{status, err}
}

// outcome makes the child's end ours.
func outcome(err error) error {
	var end *exec.ExitError
	if !errors.As(err, &end) {
		return err
	}
	if s, ok := end.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return &failure{status: statusSignalled + int(s.Signal())}
	}
	return &failure{status: end.ExitCode()}
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}
