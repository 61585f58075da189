package store

import "golang.org/x/sys/unix"

func dropPages(fd uintptr) { _ = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED) } // where it fails, the cache is asked again
