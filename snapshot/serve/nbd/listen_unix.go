//go:build unix

package nbd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// maxSocketPath is the longest path in bytes. Systems allow 103, and the temporary folder needs some of them.
const maxSocketPath = 85

// ListenUnix listens on a Unix socket that only the user can open, from the first moment on. If a process serves on the
// path already, the error wraps ErrSocketTaken. A socket that nothing serves is replaced, any other file is not.
func ListenUnix(ctx context.Context, path string) (net.Listener, error) {
	path, err := filepath.Abs(path) // Close must find it wherever the process is then
	if err != nil {
		return nil, err
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listen on %s: the path is too long for a Unix socket: choose one of at most %d bytes", path, maxSocketPath)
	}
	// The socket is made in a folder that only the user can enter, and gets its place when its mode is right.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".nbd")
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	s, err := listenIn(ctx, filepath.Join(dir, "s"), path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	err = place(filepath.Join(dir, "s"), path)
	if errors.Is(err, fs.ErrExist) {
		if err = clearAway(ctx, path, filepath.Join(dir, "o")); err == nil {
			err = place(filepath.Join(dir, "s"), path)
		}
	}
	if err != nil {
		s.UnixListener.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return s, nil
}

// listenIn listens on a socket at temporary that will be linked to path.
func listenIn(ctx context.Context, temporary, path string) (*socket, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", temporary)
	if err != nil {
		return nil, err
	}
	s := &socket{UnixListener: l.(*net.UnixListener), path: path}
	s.SetUnlinkOnClose(false) // it would remove another name
	if err = os.Chmod(temporary, 0o600); err == nil {
		s.file, err = os.Lstat(temporary)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return s, nil
}

// place gives a socket a name that is free. The error wraps fs.ErrExist if it is not.
func place(socket, path string) error {
	err := os.Link(socket, path) // unlike a rename, it never replaces
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, statErr := os.Lstat(path); !errors.Is(statErr, fs.ErrNotExist) {
		return err
	}
	return os.Rename(socket, path) // a file system without hard links
}

// clearAway removes a socket that nothing serves. It first moves it to aside, and asks there once more: another process
// may have put its own socket on the path since the first question. Such a socket is put back.
func clearAway(ctx context.Context, path, aside string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file there, and not a socket: remove it, or choose another path")
	}
	for i, at := range [...]string{path, aside} {
		served, err := answers(ctx, at)
		switch {
		case err == nil && served:
			err = ErrSocketTaken
		case err == nil && i == 0:
			err = os.Rename(path, aside)
		}
		if err != nil && at == aside {
			err = errors.Join(err, place(aside, path))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A socket is a listener on a Unix socket, whose file it removes when it is closed.
type socket struct {
	*net.UnixListener
	path string
	file fs.FileInfo
}

// Addr returns the address that clients use.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Close stops listening. The file is removed if it is still this socket's.
func (s *socket) Close() error {
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.file) {
		os.Remove(s.path)
	}
	return s.UnixListener.Close()
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
