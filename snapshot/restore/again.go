package restore

import (
	"errors"
	"io"
	"syscall"
)

// again repeats call until no signal interrupts it. The Go runtime interrupts its threads with signals. Network and
// FUSE file systems then end system calls that continue elsewhere. Most of package os retries by itself; os.Root does
// not.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// closing closes c. On Linux at least, an interrupted close has closed the file. Write errors were reported by the sync
// before it.
func closing(c io.Closer) error {
	if err := c.Close(); !errors.Is(err, syscall.EINTR) {
		return err
	}
	return nil
}
