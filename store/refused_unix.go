//go:build !windows

package store

import "syscall"

// refusedErrors are what a system says when it does not write.
var refusedErrors = map[error][]error{
	// No room on the disk, in the user's share of it, or in the largest file it can hold.
	ErrFull:     {syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG},
	ErrReadOnly: {syscall.EROFS, syscall.EPERM, syscall.EACCES},
}
