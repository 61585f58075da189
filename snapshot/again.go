package snapshot

import (
	"errors"
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
