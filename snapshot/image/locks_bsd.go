//go:build unix && !linux

package image

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// getLock asks for locks of other processes.
const getLock = unix.F_GETLK

// reopen opens a file once more, by its name. What has its name in /dev is no other description but the same.
func reopen(f *os.File) (*os.File, error) {
	if strings.HasPrefix(f.Name(), "/dev/") {
		return nil, errors.ErrUnsupported
	}
	return os.Open(f.Name())
}

// ownsFlock cannot be known.
func ownsFlock(*os.File) bool { return false }

// Lock does nothing: a lock would be lost with the first descriptor of the file that is closed.
func (System) Lock(*os.File) error { return nil }
