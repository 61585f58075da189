package snapshot

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"platter/chunk"
)

// openDirect opens a file once more, past the page cache; nil where that is not known to be good. ext4 and XFS write whole
// blocks into holes that way; a network file system would wait for its server after each write, btrfs would not compress.
func openDirect(f *os.File) *os.File {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return nil
	}
	if kind := int64(fs.Type); kind != unix.EXT4_SUPER_MAGIC && kind != unix.XFS_SUPER_MAGIC {
		return nil
	}
	direct, err := os.OpenFile(f.Name(), os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return nil
	}
	a, errA := f.Stat()
	b, errB := direct.Stat()
	if errA != nil || errB != nil || !os.SameFile(a, b) { // its name leads elsewhere now
		direct.Close()
		return nil
	}
	return direct
}

// onPage reports whether p lies where the system can hand it to a medium. Go puts slices of this size on pages.
func onPage(p []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(p)))%chunk.Block == 0
}

func isInvalid(err error) bool { return errors.Is(err, unix.EINVAL) }

// startWriting has the system begin to write a run to the medium now, and not when somebody waits for it. It is a hint.
func startWriting(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// punch makes a hole. The error wraps errors.ErrUnsupported where the file system has none.
func punch(f *os.File, off, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		default:
			return fmt.Errorf("make a hole of %d bytes at %d: %w", n, off, err)
		}
	}
}

// settle drops what the system caches of a run. What is dirty stays cached, so it is written first; all of the file,
// because only then is it known to be on the medium.
func settle(f *os.File, off, n int64) error {
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if err := unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop cache: %w", err)
	}
	return nil
}
