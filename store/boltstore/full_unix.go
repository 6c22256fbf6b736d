//go:build !windows

package boltstore

import "syscall"

// fullErrors say that there is no room on the disk, in the user's share of it,
// or in the largest file it can hold.
var fullErrors = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}
