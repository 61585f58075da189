package image

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// getLock queries locks of others, including other descriptors of this process.
const getLock = unix.F_OFD_GETLK

// Lock locks a file that is open for writing until it is closed. It works against programs that test locks, such as
// QEMU and platter. The error wraps ErrInUse if another program was faster. If the file system has no locks, Lock does
// nothing.
func (s System) Lock(f *os.File) error {
	err := control(int(f.Fd()), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: %s is locked", ErrInUse, f.Name())
	}
	return nil
}

// reopen opens an open file a second time, independent of its current name.
func reopen(f *os.File) (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

// ownsFlock reports whether this process inherited a descriptor that holds a lock on the file, as flock(1) passes on.
func ownsFlock(f *os.File) bool {
	id, ok := regularID(f)
	no, isDevice := blockDevno(f)
	if !ok && !isDevice {
		return false
	}
	entries, err := os.ReadDir("/proc/self/fdinfo")
	if err != nil {
		return false
	}
	for _, e := range entries {
		info, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil || !strings.Contains(string(info), "FLOCK") {
			continue
		}
		var st unix.Stat_t
		if unix.Stat("/proc/self/fd/"+e.Name(), &st) != nil {
			continue
		}
		if other, is := statDevno(&st); is && isDevice && other == no || ok && idOf(&st) == id {
			return true
		}
	}
	return false
}
