//go:build unix

package restore

import (
	"errors"

	"golang.org/x/sys/unix"
)

// lacksSync reports whether an error of a sync says that the file system has none, as some network file systems and FUSE do. Any
// other, EIO above all, says that bytes may be lost.
func lacksSync(err error) bool {
	for _, unknown := range []error{unix.EINVAL, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY} {
		if errors.Is(err, unknown) {
			return true
		}
	}
	return false
}
