package overlay

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// punch does nothing. Later writes reuse the room.
func punch(*os.File, int64, int64) {}

// lockAt is where the locked byte is, in bytes: locks of Windows forbid reads and writes, and this is far behind the
// file's end.
const lockAt = 1 << 62

// lock locks the file until it is closed. A file system without locks does without.
func lock(f *os.File) error {
	at := &windows.Overlapped{OffsetHigh: lockAt >> 32}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errLocked(f.Name())
	}
	return nil
}
