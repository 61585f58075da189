package store

import "golang.org/x/sys/unix"

// After an error the next read comes from the cache again.
func dropPages(fd uintptr) { _ = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED) }
