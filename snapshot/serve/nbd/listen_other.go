//go:build !unix

package nbd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// ListenUnix listens on a Unix socket. Who can open it is decided by the folder that it is in. If a process serves on the
// path already, the error wraps ErrSocketTaken.
func ListenUnix(ctx context.Context, path string) (net.Listener, error) {
	if info, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err != nil || info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("listen on %s: there is a file there, and not a socket: remove it, or choose another path", path)
		}
		served, err := answers(ctx, path)
		if err == nil && served {
			err = ErrSocketTaken
		}
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", path, err)
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func isRefused(err error) bool {
	const connectionRefused = syscall.Errno(10061)
	return errors.Is(err, connectionRefused)
}
