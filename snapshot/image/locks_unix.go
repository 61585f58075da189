//go:build unix

package image

import (
	"errors"
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// isLocked reports whether another process holds a lock that forbids the read or write. It returns false if the file
// system has no locks.
func (s System) isLocked(f *os.File, toWrite bool) bool {
	for _, test := range lockTests(toWrite) {
		if test.meets(int(f.Fd())) {
			return true
		}
	}
	return isFlocked(f, toWrite)
}

func (t lockTest) meets(fd int) bool {
	lock := unix.Flock_t{Type: unix.F_RDLCK, Start: t.off, Len: t.n}
	if t.exclusive {
		lock.Type = unix.F_WRLCK
	}
	if control(fd, getLock, &lock) != nil || lock.Type == unix.F_UNLCK {
		return false
	}
	end := lock.Start + lock.Len
	if lock.Len == 0 {
		end = math.MaxInt64
	}
	return !t.qemu || lock.Type == unix.F_WRLCK || lock.Start >= permBase && end <= lockEnd
}

func control(fd, cmd int, lock *unix.Flock_t) error {
	for {
		if err := unix.FcntlFlock(uintptr(fd), cmd, lock); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// isFlocked tests the other kind of lock, which can only be tried, not queried. udev takes a shared lock on a device
// whenever it looks at it, so on a device only an exclusive lock counts.
func isFlocked(f *os.File, toWrite bool) bool {
	how := unix.LOCK_SH
	if info, err := f.Stat(); toWrite && err == nil && info.Mode()&fs.ModeDevice == 0 {
		how = unix.LOCK_EX
	}
	again, err := reopen(f) // f may be inherited together with a lock
	if err != nil {
		return false
	}
	defer again.Close()
	err = unix.Flock(int(again.Fd()), how|unix.LOCK_NB)
	return errors.Is(err, unix.EWOULDBLOCK) && !ownsFlock(f)
}
