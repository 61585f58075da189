//go:build !linux && !windows

package image

import "syscall"

// mediumErrors are the errors that drivers return for an unreadable sector.
var mediumErrors = [...]error{syscall.EIO}
