package image

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// nextData is the system's dataFinder. It moves the file's shared offset, which is unused: ReadAt carries its own, and
// every seek here starts from an absolute one, so any number of iterations may run at once.
func nextData(f *os.File, off, size int64) (start, end int64, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	err = raw.Control(func(fd uintptr) { // keeps a concurrent Close from handing the descriptor to another file
		start, end = seekData(int(fd), off, size)
	})
	if err != nil { // of a type internal to the os package, which does not match os.ErrClosed
		return 0, 0, fmt.Errorf("%w: %w", os.ErrClosed, err)
	}
	return start, end, nil
}

// seekData answers "all of it is data" to every errno but one: a file system that cannot tell costs time, not bytes, and
// where the medium is failing the reads say it better.
func seekData(fd int, off, size int64) (start, end int64) {
	start, err := seek(fd, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // no data from here on, or the file has become shorter: File.Changed tells
		return size, size
	case err != nil || start < off:
		return off, size
	case start >= size:
		return size, size
	}
	end, err = seek(fd, start, unix.SEEK_HOLE)
	if err != nil || end <= start { // a confused file system must not keep the caller on the spot
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
