package image

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Forget makes the system drop its cache of the disk, so that the next read comes from the medium. Pages not yet synced
// stay.
func (d *File) Forget() error {
	if err := unix.Fadvise(int(d.file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop cache of %s: %w", d.Path, err)
	}
	return nil
}
