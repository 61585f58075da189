package virtual

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"platter/snapshot/image"
)

// An origin is the source of a virtual disk's bytes: a file, a parent, or a decompressor of grains.
type origin struct {
	io.ReaderAt
	extents func() iter.Seq2[image.Extent, error] // its own; nil if its zeros are unknown
}

func originOf(d image.Disk) *origin { return &origin{ReaderAt: d, extents: d.Extents} }

// A piece is a run of a virtual disk and the place of its bytes.
type piece struct {
	off, n int64   // bytes of the virtual disk
	from   *origin // nil for zeros
	at     int64   // offset of its bytes in from
}

// A layout maps a disk to the places of its bytes.
type layout interface {
	// pieces yields the pieces of the disk from off to end, in order and without gaps. No piece extends past end, and
	// each is inside its origin. An error is the last thing it yields.
	pieces(off, end int64) iter.Seq2[piece, error]
}

// A mapped disk is composed of pieces of other files or disks.
type mapped struct {
	layout
	size int64 // bytes
}

var _ image.Disk = (*mapped)(nil)

// Size returns the size in bytes.
func (m *mapped) Size() int64 { return m.size }

// ReadAt reads at a byte offset; past the end it returns io.EOF.
func (m *mapped) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read virtual disk: negative offset")
	}
	if off >= m.size {
		return 0, io.EOF
	}
	whole := int64(len(p)) <= m.size-off
	if !whole {
		p = p[:m.size-off]
	}
	n := 0
	for pc, err := range m.pieces(off, off+int64(len(p))) {
		if err != nil {
			return n, err
		}
		to := p[n : n+int(pc.n)]
		if pc.from == nil {
			clear(to)
		} else if got, err := pc.from.ReadAt(to, pc.at); got < len(to) {
			if err == io.EOF { // the origin is shorter than when it was opened: this is not the end of the disk
				err = io.ErrUnexpectedEOF
			}
			return n + got, fmt.Errorf("read virtual disk at byte %d: %w", pc.off+int64(got), err)
		}
		n += len(to)
	}
	if !whole {
		return n, io.EOF
	}
	return n, nil
}

// Extents yields the disk in order. Its zeros are those without a place and those that an origin knows.
func (m *mapped) Extents() iter.Seq2[image.Extent, error] {
	return image.Joined(func(yield func(image.Extent, error) bool) {
		cursors := map[*origin]*cursor{}
		defer func() {
			for _, c := range cursors {
				c.stop()
			}
		}()
		for pc, err := range m.pieces(0, m.size) {
			if err != nil {
				yield(image.Extent{}, err)
				return
			}
			if pc.from == nil || pc.from.extents == nil {
				if !yield(image.Extent{Off: pc.off, Len: pc.n, Zero: pc.from == nil}, nil) {
					return
				}
				continue
			}
			c := cursors[pc.from]
			if c == nil {
				c = &cursor{}
				c.next, c.stop = iter.Pull2(pc.from.extents())
				cursors[pc.from] = c
			}
			for e, err := range c.between(pc.at, pc.at+pc.n) {
				e.Off += pc.off - pc.at
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	})
}

// A cursor passes over the extents of an origin once. It treats everything it has passed as data. If pieces are out of
// order, some zeros count as data, but there is never a second pass.
type cursor struct {
	next func() (image.Extent, error, bool)
	stop func()
	at   image.Extent // the last extent from next
}

// between yields the origin's extents between two offsets.
func (c *cursor) between(off, end int64) iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		for off < end {
			for c.at.Off+c.at.Len <= off {
				e, err, more := c.next()
				if !more && err == nil {
					err = io.ErrUnexpectedEOF // pieces are inside their origin
				}
				if err != nil {
					yield(image.Extent{}, err)
					return
				}
				c.at = e
			}
			e := image.Extent{Off: off, Len: min(end, c.at.Off+c.at.Len) - off, Zero: c.at.Zero}
			if off < c.at.Off {
				e = image.Extent{Off: off, Len: min(end, c.at.Off) - off}
			}
			if !yield(e, nil) {
				return
			}
			off += e.Len
		}
	}
}
