package image

import (
	"errors"
	"syscall"
)

// again repeats call until no signal interrupts it. The Go runtime interrupts its threads with signals. Network and
// FUSE file systems then end system calls that continue elsewhere. Package os retries by itself.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
