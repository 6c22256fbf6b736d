package main

import "syscall"

// dieWithParent lets the kernel end the child when this process is killed and
// can do nothing about it (prctl(2), PR_SET_PDEATHSIG).
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
