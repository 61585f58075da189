package image

import (
	"errors"
	"syscall"
)

// again calls until no signal interrupts the call. The Go runtime interrupts its threads with signals, and network and FUSE
// file systems let that end system calls which elsewhere go on. Package os tries again by itself.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
