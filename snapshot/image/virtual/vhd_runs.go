package virtual

import (
	"errors"
	"fmt"
	"io"
	"iter"

	lru "github.com/hashicorp/golang-lru/v2"

	"platter/snapshot/image"
)

// vhdRuns is a disk whose blocks lie anywhere in a file: a dynamic VHD, a VHDX.
type vhdRuns struct {
	file image.Disk
	size int64 // of the disk, in bytes
	// run tells where the disk goes on at off, which is less than size: at least a byte, and nothing past the end.
	run func(off int64) (vhdRun, error)
}

// A vhdRun is a part of a disk that lies together in the file.
type vhdRun struct {
	at, len int64
	zero    bool // it lies nowhere and reads as zeros
}

var _ image.Disk = (*vhdRuns)(nil)

func (d *vhdRuns) Size() int64 { return d.size }

func (d *vhdRuns) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read a virtual disk: negative offset")
	}
	if off >= d.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > d.size-off {
		p, end = p[:d.size-off], io.EOF
	}
	n := 0
	for n < len(p) {
		r, err := d.run(off + int64(n))
		if err != nil {
			return n, err
		}
		part := p[n : n+int(min(r.len, int64(len(p)-n)))]
		if r.zero {
			clear(part)
		} else if err := vhdReadFull(d.file, part, r.at); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, end
}

// Extents yields what is allocated less what are holes in the file.
func (d *vhdRuns) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		next, stop := iter.Pull2(d.file.Extents())
		defer stop()
		holes := vhdHoles{next: next}
		var last image.Extent
		emit := func(off, n int64, zero bool) bool {
			if last.Len > 0 && last.Zero == zero {
				last.Len += n
				return true
			}
			ok := last.Len == 0 || yield(last, nil)
			last = image.Extent{Off: off, Len: n, Zero: zero}
			return ok
		}
		for off := int64(0); off < d.size; {
			r, err := d.run(off)
			if err == nil && !r.zero {
				r.len, r.zero, err = holes.first(r.at, r.len)
			}
			if err != nil {
				if last.Len == 0 || yield(last, nil) {
					yield(image.Extent{}, err)
				}
				return
			}
			if !emit(off, r.len, r.zero) {
				return
			}
			off += r.len
		}
		if last.Len > 0 {
			yield(last, nil)
		}
	}
}

// vhdHoles looks up the holes of a file while it is gone through from its first byte to its last, which is how files are
// laid out that were written in one go. What lies further back than the last answer is data: it costs time, not bytes.
type vhdHoles struct {
	next func() (image.Extent, error, bool)
	at   image.Extent // the last that next gave
	over bool         // it gives no more
}

// first tells what is at off, and for how many bytes of n.
func (h *vhdHoles) first(off, n int64) (int64, bool, error) {
	for !h.over && h.at.Off+h.at.Len <= off {
		e, err, ok := h.next()
		if !ok {
			h.over = true
			break
		}
		if err != nil {
			h.over = true
			return 0, false, err
		}
		h.at = e
	}
	if h.over || off < h.at.Off {
		return n, false, nil
	}
	return min(n, h.at.Off+h.at.Len-off), h.at.Zero, nil
}

// vhdReadFull fills p from a file that was found to be long enough.
func vhdReadFull(file io.ReaderAt, p []byte, off int64) error {
	if n, err := file.ReadAt(p, off); n < len(p) {
		if err == nil || err == io.EOF {
			err = fmt.Errorf("%w: it ends at byte %d, in the midst of what it should hold", ErrDamaged, off+int64(n))
		}
		return err
	}
	return nil
}

// vhdPages reads tables through a cache, so that a table of any length takes no more memory than this.
type vhdPages struct {
	file  image.Disk
	cache *lru.Cache[int64, []byte]
}

const (
	vhdPageLen = 4096 // bytes
	vhdPageMax = 1024 // pages in memory
)

func newVHDPages(file image.Disk) *vhdPages {
	cache, err := lru.New[int64, []byte](vhdPageMax)
	if err != nil { // only for a length that is not positive
		panic(err)
	}
	return &vhdPages{file: file, cache: cache}
}

// read fills p from the file, of which it must be a part.
func (c *vhdPages) read(p []byte, off int64) error {
	for len(p) > 0 {
		at := off / vhdPageLen * vhdPageLen
		page, ok := c.cache.Get(at)
		if !ok {
			page = make([]byte, min(vhdPageLen, c.file.Size()-at))
			if err := vhdReadFull(c.file, page, at); err != nil {
				return err
			}
			c.cache.Add(at, page)
		}
		n := copy(p, page[off-at:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// vhdNoSnapshot refuses to look for a snapshot in a format that has none within.
func vhdNoSnapshot(o *opening) error {
	if o.Snapshot != "" {
		return fmt.Errorf("%w: snapshot %q: a file of this format has no snapshots inside", ErrUnsupported, o.Snapshot)
	}
	return nil
}
