//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package scratch

import (
	"os"
	"syscall"
)

// lockFolder opens a folder and locks it until it is closed or the process is
// gone; a child does not inherit the lock. It waits for another's lock, or
// returns an error.
func lockFolder(name string, wait bool) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), how); err {
		case nil:
			return f, nil
		case syscall.EINTR:
		default:
			f.Close()
			return nil, &os.PathError{Op: "flock", Path: name, Err: err}
		}
	}
}
