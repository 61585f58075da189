//go:build unix && !linux

package overlay

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// punch does nothing. Later writes reuse the room.
func punch(*os.File, int64, int64) {}

// lock locks the file until it is closed. A file system without locks does without.
func lock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked(f.Name())
		}
		return nil
	}
}
