//go:build !linux

package main

import "syscall"

// dieWithParent does nothing: only Linux ends a child whose parent was killed.
func dieWithParent() *syscall.SysProcAttr { return nil }
