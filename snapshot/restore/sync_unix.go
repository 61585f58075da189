//go:build unix

package restore

import (
	"errors"

	"golang.org/x/sys/unix"
)

// lacksSync reports whether a sync error means that the file system has no sync, as with some network file systems and
// FUSE. Any other error, above all EIO, means that bytes may be lost.
func lacksSync(err error) bool {
	for _, unknown := range []error{unix.EINVAL, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY} {
		if errors.Is(err, unknown) {
			return true
		}
	}
	return false
}
