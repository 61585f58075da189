//go:build unix

package store

import "golang.org/x/sys/unix"

const unsupportedSync = unix.ENOSYS
