package store

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// cannotLink reports whether an error says that the file system has no hard links. A FAT volume says that the function is
// invalid, an SMB server that it is not supported or denied.
func cannotLink(err error) bool {
	var link *os.LinkError
	if !errors.As(err, &link) {
		return errors.Is(err, errors.ErrUnsupported)
	}
	for _, no := range []error{windows.ERROR_INVALID_FUNCTION, windows.ERROR_NOT_SUPPORTED, windows.ERROR_ACCESS_DENIED,
		windows.ERROR_INVALID_PARAMETER, windows.ERROR_CALL_NOT_IMPLEMENTED, windows.ERROR_TOO_MANY_LINKS, windows.ERROR_NOT_SAME_DEVICE} {
		if errors.Is(link.Err, no) {
			return true
		}
	}
	return errors.Is(err, errors.ErrUnsupported)
}

// openNoFollow looks first: a link that appears between the two looks is followed, but never out of the root.
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

// syncOpenFolder does nothing: Windows has no fsync of a folder, NTFS keeps a journal of its names.
func syncOpenFolder(*os.File) error { return nil }
