package image

import (
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A sectorReader reads single sectors from the medium. The page cache would read the whole page, which fails if one of
// its eight sectors does.
type sectorReader struct {
	once   sync.Once
	direct *os.File // the same file, opened to bypass the page cache; nil if there is none
	size   int64    // of a sector, bytes
}

// open opens d a second time when the first sector is read: a disk without errors never needs it.
func (r *sectorReader) open(d *File) {
	r.once.Do(func() {
		r.size = Alignment
		f, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_DIRECT, 0)
		if err != nil {
			return
		}
		if size := sectorSize(f); size > 0 && isSame(f, d.file) {
			r.direct, r.size = f, size
			return
		}
		_ = f.Close()
	})
}

func (r *sectorReader) close() error {
	if r.direct == nil {
		return nil
	}
	return r.direct.Close()
}

// SectorSize returns the medium's sector size if single sectors can be read; else the page size.
func (d *File) SectorSize() int64 {
	d.sectors.open(d)
	return d.sectors.size
}

// ReadSectors bypasses the page cache if p and off are aligned.
func (d *File) ReadSectors(p []byte, off int64) (int, error) {
	size := d.SectorSize()
	ahead := int64(uintptr(unsafe.Pointer(unsafe.SliceData(p))) % uintptr(size))
	if d.sectors.direct == nil || ahead != 0 || off%size != 0 || int64(len(p))%size != 0 {
		return d.ReadAt(p, off)
	}
	n, err := d.sectors.direct.ReadAt(p, off)
	if errors.Is(err, unix.EINVAL) { // the file system requires a coarser alignment than it reports
		return d.ReadAt(p, off)
	}
	return n, err
}

// sectorSize returns the smallest unit in bytes in which reads of f can bypass the page cache; 0 if they cannot.
func sectorSize(f *os.File) int64 {
	if size, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err == nil {
		return int64(size)
	}
	var stat unix.Statx_t
	err := again(func() error { return unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &stat) })
	if err == nil && stat.Mask&unix.STATX_DIOALIGN != 0 {
		return int64(max(stat.Dio_offset_align, stat.Dio_mem_align))
	}
	return 512 // FUSE accepts any alignment; older kernels do not report it
}

// isSame reports whether two open files are the same file or device.
func isSame(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	two, err := b.Stat()
	return err == nil && (os.SameFile(one, two) || isDevice(a, b))
}
