package restore

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"platter/chunk"
)

// openDirect opens a file a second time to bypass the page cache; nil if that is not known to be good. ext4 and XFS
// write whole blocks into holes that way. A network file system would wait for its server after each write; btrfs would
// not compress.
func openDirect(f *os.File) *os.File {
	var fs unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(int(f.Fd()), &fs) }); err != nil {
		return nil
	}
	if kind := int64(fs.Type); kind != unix.EXT4_SUPER_MAGIC && kind != unix.XFS_SUPER_MAGIC {
		return nil
	}
	return reopenDirect(f, true)
}

// reopenDirect opens an open file or device a second time to bypass the page cache; nil if the system cannot. It uses
// the descriptor, because the file's name may lead elsewhere by now.
func reopenDirect(f *os.File, write bool) *os.File {
	mode := unix.O_RDONLY
	if write {
		mode = unix.O_RDWR
	}
	fd := -1
	err := again(func() (err error) {
		fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), mode|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil
	}
	direct := os.NewFile(uintptr(fd), f.Name())
	a, errA := f.Stat()
	b, errB := direct.Stat()
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		direct.Close()
		return nil
	}
	return direct
}

// onPage reports whether p is aligned so that the system can hand it to a medium. Go aligns slices of this size to
// pages.
func onPage(p []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(p)))%chunk.Block == 0
}

func isInvalid(err error) bool { return errors.Is(err, unix.EINVAL) }

// startWriting makes the system start to write a run to the medium now, not at the next sync. It is a hint.
func startWriting(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// punch makes a hole. The error wraps errors.ErrUnsupported if the file system has no holes.
func punch(f *os.File, off, n int64) error {
	err := again(func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
	if err != nil {
		return fmt.Errorf("make a hole of %d bytes at %d: %w", n, off, err)
	}
	return nil
}

// zeroOut zeroes a run of whole sectors of a device with the device's own command.
func zeroOut(f *os.File, off, n int64) error {
	run := [2]uint64{uint64(off), uint64(n)}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKZEROOUT, uintptr(unsafe.Pointer(&run)))
		switch {
		case errno == 0:
			return nil
		case errno == unix.EINTR:
		case errno == unix.ENOTTY || errno == unix.EOPNOTSUPP || errno == unix.EINVAL:
			return errors.ErrUnsupported
		default:
			return fmt.Errorf("make %d bytes at %d zero: %w", n, off, errno)
		}
	}
}

// dropCaches drops the cached pages of a device; they must be clean. It needs privileges. Reads without the page cache
// work without it.
func dropCaches(f *os.File) {
	_ = again(func() error { return unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0) })
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// rereadTable makes the system read the partition table again. The device must be open exclusively.
func rereadTable(f *os.File) error {
	err := again(func() error { return unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0) })
	if errors.Is(err, unix.EINVAL) { // a device without partitions
		return nil
	}
	return err
}

// dropCache drops a run from the page cache. Dirty pages would stay, so it first syncs the whole file: only then is the
// run known to be on the medium.
func dropCache(f *os.File, off, n int64) error {
	if err := again(func() error { return unix.Fdatasync(int(f.Fd())) }); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if err := again(func() error { return unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED) }); err != nil {
		return fmt.Errorf("drop cache: %w", err)
	}
	return nil
}
