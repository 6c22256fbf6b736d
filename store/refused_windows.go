package store

import "syscall"

// refusedErrors are what a system says when it does not write.
var refusedErrors = map[error][]error{
	ErrFull:     {syscall.Errno(39), syscall.Errno(112)}, // ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL
	ErrReadOnly: {syscall.Errno(5), syscall.Errno(19)},   // ERROR_ACCESS_DENIED, ERROR_WRITE_PROTECT
}
