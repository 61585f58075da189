package store

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/windows"
)

func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// cannotLink reports whether an error says that the file system has no hard links. A FAT volume returns "invalid
// function"; an SMB server returns "not supported" or "access denied".
func cannotLink(err error) bool {
	var link *os.LinkError
	if !errors.As(err, &link) {
		return errors.Is(err, errors.ErrUnsupported)
	}
	for _, no := range []error{
		windows.ERROR_INVALID_FUNCTION, windows.ERROR_NOT_SUPPORTED, windows.ERROR_ACCESS_DENIED,
		windows.ERROR_INVALID_PARAMETER, windows.ERROR_CALL_NOT_IMPLEMENTED, windows.ERROR_TOO_MANY_LINKS, windows.ERROR_NOT_SAME_DEVICE,
	} {
		if errors.Is(link.Err, no) {
			return true
		}
	}
	return errors.Is(err, errors.ErrUnsupported)
}

// openNoFollow checks first. A link that appears after the check is followed, but never out of the root.
func openNoFollow(root *os.Root, name string, mode int) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file: %s", info.Mode())
	}
	return root.OpenFile(name, mode, 0)
}

// syncOpenFolder does nothing: Windows cannot sync a folder, and NTFS keeps a journal of its names.
func syncOpenFolder(*os.File) error { return nil }

// noSuchSync reports whether an error says that the file system has no FlushFileBuffers, as some network redirectors
// do.
func noSuchSync(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_FUNCTION) || errors.Is(err, windows.ERROR_NOT_SUPPORTED)
}

// transienceHere recognizes files that another process has open.
func transienceHere(err error) transience {
	var code syscall.Errno
	if errors.As(err, &code) && busyOnWindows(code) {
		return busy
	}
	return stays
}

// rename renames a file durably: Windows cannot sync the folder afterwards. MoveFileEx takes paths, so rename first
// checks that no folder on the way is a link.
func rename(root *os.Root, from, to string) error {
	for _, name := range []string{from, to} {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			info, err := root.Lstat(dir)
			if err != nil {
				return err
			}
			if !info.IsDir() {
				return fmt.Errorf("%s is not a folder but %s", dir, info.Mode())
			}
		}
	}
	if info, err := root.Lstat(to); err == nil && info.IsDir() {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: os.ErrExist}
	}
	old, err := longPath(root, from)
	if err != nil {
		return err
	}
	fresh, err := longPath(root, to)
	if err != nil {
		return err
	}
	if err := windows.MoveFileEx(old, fresh, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// longPath returns the system's path of a name below a root, without a limit on its length.
func longPath(root *os.Root, name string) (*uint16, error) {
	full, err := filepath.Abs(filepath.Join(root.Name(), filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(full, `\\?\`), strings.HasPrefix(full, `\\.\`):
	case strings.HasPrefix(full, `\\`):
		full = `\\?\UNC` + full[1:]
	default:
		full = `\\?\` + full
	}
	return windows.UTF16PtrFromString(full)
}
