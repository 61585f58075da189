package restore

import (
	"errors"
	"io"
	"syscall"
)

// again calls until no signal interrupts the call. The Go runtime interrupts its threads with signals, and network and FUSE
// file systems let that end system calls which elsewhere go on. Most of package os tries again by itself; os.Root does not.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// closing closes. A close that was interrupted is done, on Linux at least; what was written is known by the sync before it.
func closing(c io.Closer) error {
	if err := c.Close(); !errors.Is(err, syscall.EINTR) {
		return err
	}
	return nil
}
