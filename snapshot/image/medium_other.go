//go:build !linux && !windows

package image

import "syscall"

// mediumErrors are what drivers say of a sector that cannot be read.
var mediumErrors = [...]error{syscall.EIO}
