package nbd

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"runtime"
	"syscall"

	"platter/snapshot/image/nbd/wire"
)

// errno returns the number that tells a client of an error.
func errno(err error) wire.Errno {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errEnded),
		errors.Is(err, fs.ErrClosed), errors.Is(err, net.ErrClosed):
		return wire.ESHUTDOWN
	case isFull(err):
		return wire.ENOSPC
	}
	return wire.EIO
}

// isFull reports whether an error says that a disk or a quota is full.
func isFull(err error) bool {
	const diskFull, handleDiskFull = syscall.Errno(112), syscall.Errno(39) // of Windows
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) ||
		runtime.GOOS == "windows" && (errors.Is(err, diskFull) || errors.Is(err, handleDiskFull))
}
