package serve

import (
	"context"
	"io"
	"iter"
	"sync/atomic"

	"platter/snapshot/image"
)

// A Disk is an open version. It is safe for concurrent use.
type Disk struct {
	v      *version
	closed atomic.Bool
}

var (
	_ image.Disk          = (*Disk)(nil)
	_ image.ContextReader = (*Disk)(nil)
	_ image.RangeReader   = (*Disk)(nil)
	_ io.Closer           = (*Disk)(nil)
)

// Close ends the use of the version. A second Close does nothing.
func (d *Disk) Close() error {
	if !d.closed.Swap(true) {
		d.v.library.release(d.v)
	}
	return nil
}

// Size returns the size in bytes.
func (d *Disk) Size() int64 { return d.v.disk.Size() }

// ReadAt is ReadAtContext with the context of the Library.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	return d.ReadAtContext(d.v.library.ctx, p, off)
}

// ReadAtContext reads at a byte offset; past the end it returns io.EOF. Errors are those of snapshot.Disk, or ErrClosed.
func (d *Disk) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if d.closed.Load() || d.v.library.ctx.Err() != nil {
		return 0, ErrClosed
	}
	d.v.ahead.note(off, int64(len(p)))
	return d.v.disk.ReadAtContext(ctx, p, off)
}

// Extents yields the disk in order.
func (d *Disk) Extents() iter.Seq2[image.Extent, error] { return d.v.disk.Extents() }

// ExtentsIn yields the extents of a range.
func (d *Disk) ExtentsIn(ctx context.Context, off, n int64) iter.Seq2[image.Extent, error] {
	return d.v.disk.ExtentsIn(ctx, off, n)
}
