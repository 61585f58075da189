package image

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// nextData is the system's dataFinder. It moves the file's shared offset. That does no harm: ReadAt carries its own
// offset, and every seek here starts from an absolute one. So any number of iterations may run at once.
func nextData(f *os.File, off, size int64) (start, end int64, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	err = raw.Control(func(fd uintptr) { // prevents a concurrent Close from reusing the descriptor for another file
		start, end = seekData(int(fd), off, size)
	})
	if err != nil { // a type internal to package os, which does not match os.ErrClosed
		return 0, 0, fmt.Errorf("%w: %w", os.ErrClosed, err)
	}
	return start, end, nil
}

// seekData reports everything as data on all errors but one. A file system that cannot tell costs time, not bytes. On a
// failing medium the reads report the error better.
func seekData(fd int, off, size int64) (start, end int64) {
	start, err := seek(fd, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // no data from here on, or the file is shorter now; File.Changed detects that
		return size, size
	case err != nil || start < off:
		return off, size
	case start >= size:
		return size, size
	}
	end, err = seek(fd, start, unix.SEEK_HOLE)
	if err != nil || end <= start { // a faulty file system must not cause an endless loop
		return start, size
	}
	return start, min(end, size)
}

func seek(fd int, off int64, whence int) (at int64, err error) {
	err = again(func() error {
		at, err = unix.Seek(fd, off, whence)
		return err
	})
	return at, err
}
