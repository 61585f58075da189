package image

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A directReader reads whole blocks of a device past the page cache (O_DIRECT), and the rest through it: the device's
// end where it is no multiple of a block, memory that is not aligned, and what direct reads failed at.
//
// Of a device without writers, both ways read the same. The kernel writes dirty pages that its cache has of the
// device to the medium, and waits, before it reads that range directly, so what was written through the device node
// before a read is seen by it. Of a device that is mounted neither way is one moment: both miss file data that were not
// written back yet. A direct read shows what a power cut would have left there, while the cache may hold blocks of the
// file system's own that the journal has not let go; what was read is a mixture either way. What another machine changed
// on the medium behind this kernel's back, the direct read sees and the cache may not.
type directReader struct {
	plain   io.ReaderAt
	direct  *os.File
	block   int64       // bytes that offsets and lengths must be multiples of
	refused atomic.Bool // the device takes no direct reads after all
}

// ReadAt falls back on errors, but for those of the medium: to read a bad sector again takes a failing disk seconds, and
// to find it, read in sectors rather than in pages.
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
