package restore

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// devices says that a restore can write to devices on this system.
const devices = true

// openExclusive opens a device with an exclusive claim in the kernel. The error is EBUSY if it is already claimed.
func openExclusive(path string, write bool) (*os.File, error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR
	}
	return os.OpenFile(path, flags|unix.O_EXCL, 0)
}

// openToLook opens a file only to query it. It needs no read permission.
func openToLook(path string) (*os.File, error) { return os.OpenFile(path, unix.O_PATH, 0) }

func isBusy(err error) bool { return errors.Is(err, unix.EBUSY) }
