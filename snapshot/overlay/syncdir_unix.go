//go:build unix

package overlay

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// syncFolder makes the name of a new file durable. It ignores the error of file systems that cannot sync folders.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	err = dir.Sync()
	for _, unknown := range []error{unix.EINVAL, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY} {
		if errors.Is(err, unknown) {
			err = nil
		}
	}
	return errors.Join(err, dir.Close())
}
