package image

import (
	"context"
	"errors"
	"io"
	"iter"
)

// ErrUnreadable says that a run of a disk was not readable when the disk was stored, or was lost later. A read of it is
// an I/O error. ReadAt of such a disk fails with an error that wraps it.
var ErrUnreadable = errors.New("unreadable when it was stored, or lost since")

// A ContextReader reads under a context of the call's own. ReadAt of a disk that is one uses the context that the disk
// was opened with.
type ContextReader interface {
	// ReadAtContext is io.ReaderAt's ReadAt, and ends early if ctx ends. The error is then ctx's.
	ReadAtContext(ctx context.Context, p []byte, off int64) (n int, err error)
}

// A RangeReader finds the extents of a part of a disk without walking all of it.
type RangeReader interface {
	// ExtentsIn yields the extents from byte off to byte off+n in order and without gaps, clipped to that range. The range
	// is within the disk. Two neighbours may have the same kind.
	ExtentsIn(ctx context.Context, off, n int64) iter.Seq2[Extent, error]
}

// A Writable disk can be changed. Its size stays. All methods are safe for concurrent use. A call that is complete is
// seen by all reads after it, from whichever goroutine.
type Writable interface {
	Disk
	ContextReader
	RangeReader
	io.WriterAt
	// Zero makes n bytes at off read as zeros, and frees the room that they took.
	Zero(off, n int64) error
	// Sync makes durable what every completed WriteAt and Zero changed.
	Sync() error
}

// ReadAt reads from a disk under ctx if the disk or one that it wraps is a ContextReader. Otherwise ctx is looked at
// once, before the read.
func ReadAt(ctx context.Context, d Disk, p []byte, off int64) (n int, err error) {
	if r, ok := As[ContextReader](d); ok {
		return r.ReadAtContext(ctx, p, off)
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return d.ReadAt(p, off)
}

// ExtentsIn yields the extents of a part of a disk, as RangeReader says. A disk that is not a RangeReader is walked from its
// start.
func ExtentsIn(ctx context.Context, d Disk, off, n int64) iter.Seq2[Extent, error] {
	if r, ok := As[RangeReader](d); ok {
		return r.ExtentsIn(ctx, off, n)
	}
	return func(yield func(Extent, error) bool) {
		for e, err := range d.Extents() {
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(Extent{}, err)
				return
			}
			if e = e.clip(off, n); e.Len > 0 && !yield(e, nil) || e.Off >= off+n {
				return
			}
		}
	}
}

// clip returns the part of an extent that is within n bytes at off. Its Len is 0 if there is none.
func (e Extent) clip(off, n int64) Extent {
	from, to := max(e.Off, off), min(e.Off+e.Len, off+n)
	return Extent{Off: from, Len: max(to-from, 0), Zero: e.Zero}
}
