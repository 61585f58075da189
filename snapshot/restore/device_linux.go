package restore

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// devices says that this system's can be written to.
const devices = true

// openExclusive opens a device so that the kernel lets nobody else claim it; the error is EBUSY where somebody has.
func openExclusive(path string, write bool) (*os.File, error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR
	}
	return os.OpenFile(path, flags|unix.O_EXCL, 0)
}

// openToLook opens what is only to be asked about, whoever may read it.
func openToLook(path string) (*os.File, error) { return os.OpenFile(path, unix.O_PATH, 0) }

func isBusy(err error) bool { return errors.Is(err, unix.EBUSY) }
