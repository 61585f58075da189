package image

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A directReader reads whole blocks of a device, bypassing the page cache (O_DIRECT). It uses the cache for a partial
// block at the device's end, for unaligned memory, and where a direct read failed.
//
// On a device without writers both ways read the same. Before a direct read, the kernel writes the range's dirty pages
// to the medium and waits. So the read sees everything written through the device node before. On a mounted device,
// either way returns a mixture of moments, and both miss file data not yet written back. A direct read shows what a
// power cut would have left. The cache may also hold file system blocks that the journal still keeps back. Changes on
// the medium by another machine appear in a direct read, but maybe not in the cache.
type directReader struct {
	plain   io.ReaderAt
	direct  *os.File
	block   int64       // alignment of offsets and lengths, bytes
	refused atomic.Bool // the device refused a direct read
}

// ReadAt falls back to the cache on errors, except media errors. A second read of a bad sector costs seconds on a
// failing disk, and the cache reads in pages, which are larger than sectors.
func (d *directReader) ReadAt(p []byte, off int64) (n int, err error) {
	if whole := int64(len(p)) / d.block * d.block; whole > 0 && off%d.block == 0 && isAligned(p) && !d.refused.Load() {
		n, err = d.direct.ReadAt(p[:whole], off)
		if n == 0 && errors.Is(err, unix.EINVAL) {
			d.refused.Store(true)
		}
		if n == len(p) {
			return n, nil
		} else if IsMediaError(err) {
			return n, err
		}
	}
	m, err := d.plain.ReadAt(p[n:], off+int64(n))
	return n + m, err
}

func isAligned(p []byte) bool { return uintptr(unsafe.Pointer(unsafe.SliceData(p)))%Alignment == 0 }
