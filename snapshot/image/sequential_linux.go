package image

import (
	"os"

	"golang.org/x/sys/unix"
)

// ReadSequentially makes reads leave the page cache as it was, and bypass the cache of a device if possible.
func (d *File) ReadSequentially() {
	plain := &lightReader{file: d.file, page: int64(os.Getpagesize())}
	d.read = plain
	// The reader keeps several reads in flight itself. The system's read-ahead would load pages beyond them, and hide
	// which pages were cached before. A file system that does not support the advice ignores it.
	_ = unix.Fadvise(int(d.file.Fd()), 0, 0, unix.FADV_RANDOM)
	if d.Kind == KindDevice {
		if f, block := openDirect(d.Path, d.file); f != nil {
			d.direct = f
			d.read = &directReader{plain: plain, direct: f, block: block}
		}
	}
}

// openDirect opens a device a second time, to bypass the page cache, and returns the alignment of reads in bytes. It
// returns nil if that is not possible, or if path leads to another device by now.
func openDirect(path string, device *os.File) (*os.File, int64) {
	block, err := unix.IoctlGetInt(int(device.Fd()), unix.BLKSSZGET)
	if err != nil || block <= 0 {
		return nil, 0
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, 0
	}
	if !isDevice(f, device) {
		_ = f.Close()
		return nil, 0
	}
	return f, max(int64(block), Alignment)
}

// isDevice reports whether two open files are the same block device.
func isDevice(a, b *os.File) bool {
	var is, was unix.Stat_t
	return again(func() error { return unix.Fstat(int(a.Fd()), &is) }) == nil && again(func() error { return unix.Fstat(int(b.Fd()), &was) }) == nil &&
		is.Mode&unix.S_IFMT == unix.S_IFBLK && was.Mode&unix.S_IFMT == unix.S_IFBLK && is.Rdev == was.Rdev
}

// Cached queries the page cache. Nothing counts as cached on a device whose reads bypass the cache.
func (d *File) Cached(off, n int64) bool { return d.direct == nil && allCached(d.file, off, n) }

// allCached reports whether all of a range is in the page cache. Linux before 6.5 cannot tell; then it returns false.
func allCached(f *os.File, off, n int64) bool {
	page := int64(os.Getpagesize())
	start, end := off/page*page, (off+n+page-1)/page*page
	var stat unix.Cachestat_t
	span := unix.CachestatRange{Off: uint64(start), Len: uint64(end - start)}
	return unix.Cachestat(uint(f.Fd()), &span, &stat, 0) == nil && stat.Cache == uint64((end-start)/page)
}
