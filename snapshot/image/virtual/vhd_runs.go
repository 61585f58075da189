package virtual

import (
	"errors"
	"fmt"
	"io"
	"iter"

	lru "github.com/hashicorp/golang-lru/v2"

	"platter/snapshot/image"
)

// A vhdRuns is a disk whose blocks are in any order in a file: a dynamic VHD or a VHDX.
type vhdRuns struct {
	file image.Disk
	size int64 // of the disk, in bytes
	// run returns the run at off, which is less than size. It has at least a byte and does not extend past the end.
	run func(off int64) (vhdRun, error)
}

// A vhdRun is a part of a disk that is contiguous in the file.
type vhdRun struct {
	at, len int64
	zero    bool // not allocated; reads as zeros
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

// Extents yields the allocated runs, without the file's holes.
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

// vhdHoles looks up the holes of a file in one pass from its first byte to its last, the order of a file written in
// one go. It treats anything before its position as data, which costs time but no bytes.
type vhdHoles struct {
	next func() (image.Extent, error, bool)
	at   image.Extent // the last extent from next
	over bool         // next has no more extents
}

// first returns whether off is in a hole, and for how many of n bytes that holds.
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

// vhdReadFull fills p from a file that was long enough when it was opened.
func vhdReadFull(file io.ReaderAt, p []byte, off int64) error {
	if n, err := file.ReadAt(p, off); n < len(p) {
		if err == nil || err == io.EOF {
			err = fmt.Errorf("%w: it ends early, at byte %d", ErrDamaged, off+int64(n))
		}
		return err
	}
	return nil
}

// vhdPages reads tables through a cache, which limits memory for a table of any length.
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
	if err != nil { // only for an invalid length
		panic(err)
	}
	return &vhdPages{file: file, cache: cache}
}

// read fills p from inside the file.
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

// vhdNoSnapshot refuses a snapshot option for a format without internal snapshots.
func vhdNoSnapshot(o *opening) error {
	if o.Snapshot != "" {
		return fmt.Errorf("%w: snapshot %q: a file of this format has no snapshots inside", ErrUnsupported, o.Snapshot)
	}
	return nil
}
