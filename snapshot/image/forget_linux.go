package image

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Forget asks the system to drop what it caches of the disk, so that the next read comes from the medium. What was not
// synced before stays.
func (d *File) Forget() error {
	if err := unix.Fadvise(int(d.file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop cache of %s: %w", d.Path, err)
	}
	return nil
}
