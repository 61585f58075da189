package image

import (
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A sectorReader reads single sectors from the medium. The page cache would read the page they are in, and that fails as a
// whole when one of its eight sectors does.
type sectorReader struct {
	once   sync.Once
	direct *os.File // the same file past the page cache; nil for none
	size   int64    // of a sector, in bytes
}

// open opens d once more, when the first sector is asked for: a disk without errors never needs it.
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

// SectorSize is what the medium says, where it can be asked for single sectors; else the length of a page.
func (d *File) SectorSize() int64 {
	d.sectors.open(d)
	return d.sectors.size
}

// ReadSectors reads past the page cache, where p and off allow it.
func (d *File) ReadSectors(p []byte, off int64) (int, error) {
	size := d.SectorSize()
	ahead := int64(uintptr(unsafe.Pointer(unsafe.SliceData(p))) % uintptr(size))
	if d.sectors.direct == nil || ahead != 0 || off%size != 0 || int64(len(p))%size != 0 {
		return d.ReadAt(p, off)
	}
	n, err := d.sectors.direct.ReadAt(p, off)
	if errors.Is(err, unix.EINVAL) { // the file system wants more than it says
		return d.ReadAt(p, off)
	}
	return n, err
}

// sectorSize is the least that f can be read by past the page cache, in bytes; 0 for not at all.
func sectorSize(f *os.File) int64 {
	if size, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err == nil {
		return int64(size)
	}
	var stat unix.Statx_t
	err := again(func() error { return unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &stat) })
	if err == nil && stat.Mask&unix.STATX_DIOALIGN != 0 {
		return int64(max(stat.Dio_offset_align, stat.Dio_mem_align))
	}
	return 512 // FUSE takes anything, older kernels do not tell
}

// isSame reports whether two open files are one file, or one device.
func isSame(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	two, err := b.Stat()
	return err == nil && (os.SameFile(one, two) || isDevice(a, b))
}
