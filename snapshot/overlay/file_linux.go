package overlay

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"platter/snapshot/image"
)

// punch makes a hole if the file system has holes. Otherwise the room stays taken until a later write reuses it.
func punch(f *os.File, off, n int64) {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// lock locks the file until it is closed, also against programs that read disks, such as a backup.
func lock(f *os.File) error {
	err := image.System{}.Lock(f)
	if errors.Is(err, image.ErrInUse) {
		return errLocked(f.Name())
	}
	return err
}
