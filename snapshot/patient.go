package snapshot

import (
	"context"
	"iter"
	"sync/atomic"

	"platter/chunk"
	"platter/snapshot/image"
)

// A patientDisk goes on where a disk cannot be read, and has zeros there. It is for looking for chunks that are known by
// their ids: nothing else is taken from it, so nothing wrong can be.
type patientDisk struct {
	image.Disk
	ctx     context.Context // io.ReaderAt has no room for one
	skipped *atomic.Int64   // bytes
}

// ReadAt reads what can be read. The error is ctx's.
func (d *patientDisk) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.Disk.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	for n < len(p) && err != nil {
		if d.ctx.Err() != nil {
			return n, context.Cause(d.ctx)
		}
		block := p[n:min(n+chunk.Block, len(p))]
		if got, err := d.Disk.ReadAt(block, off+int64(n)); got < len(block) && err != nil {
			clear(block)
			d.skipped.Add(int64(len(block)))
		}
		n += len(block)
	}
	return n, nil
}

// Extents yields the disk in order; from where that is not known on, all may be data.
func (d *patientDisk) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		at := int64(0)
		for e, err := range d.Disk.Extents() {
			if err != nil {
				if left := d.Size() - at; left > 0 {
					yield(image.Extent{Off: at, Len: left}, d.ctx.Err())
				}
				return
			}
			if !yield(e, nil) {
				return
			}
			at = e.Off + e.Len
		}
	}
}
