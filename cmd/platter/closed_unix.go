//go:build unix

package main

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// wasClosed reports whether standard input, output or error was closed when the program began. The Go runtime replaces such a file
// with the null device, open for reading and writing, so that no file of ours gets its number. A shell opens the null device in one
// direction only, and a daemon opens it for several numbers at once.
func wasClosed(f *os.File) bool {
	fd := int(f.Fd())
	var is, null unix.Stat_t
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return true
	}
	if flags&unix.O_ACCMODE != unix.O_RDWR || flags&unix.O_CLOEXEC != 0 { // the runtime does not set the latter; Python does
		return false
	}
	if unix.Fstat(fd, &is) != nil || unix.Stat(os.DevNull, &null) != nil || is.Mode&unix.S_IFMT != unix.S_IFCHR || is.Rdev != null.Rdev {
		return false
	}
	return !slices.ContainsFunc([]int{0, 1, 2}, func(other int) bool { return other != fd && isSameOpenFile(fd, other, flags) })
}

// isSameOpenFile reports whether two descriptors of the null device are one open file: flags are the file's, not the descriptor's.
func isSameOpenFile(a, b, flags int) bool {
	was, err := unix.FcntlInt(uintptr(b), unix.F_GETFL, 0)
	if err != nil || was != flags {
		return false
	}
	if _, err := unix.FcntlInt(uintptr(a), unix.F_SETFL, flags^unix.O_APPEND); err != nil {
		return false
	}
	is, err := unix.FcntlInt(uintptr(b), unix.F_GETFL, 0)
	_, undone := unix.FcntlInt(uintptr(a), unix.F_SETFL, flags)
	return err == nil && undone == nil && is != was
}
