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
