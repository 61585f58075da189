package overlay

import (
	"context"
	"iter"

	"platter/snapshot/image"
)

// Extents yields the base's extents, with what was written and zeroed in their place.
func (d *Disk) Extents() iter.Seq2[image.Extent, error] { return d.over(d.base.Extents()) }

// ExtentsIn yields the extents of a range, as image.RangeReader says.
func (d *Disk) ExtentsIn(ctx context.Context, off, n int64) iter.Seq2[image.Extent, error] {
	return d.over(image.ExtentsIn(ctx, d.base, off, n))
}

// over lays the map over extents of the base.
func (d *Disk) over(base iter.Seq2[image.Extent, error]) iter.Seq2[image.Extent, error] {
	return image.Joined(func(yield func(image.Extent, error) bool) {
		for e, err := range base {
			if err != nil {
				yield(image.Extent{}, err)
				return
			}
			for end := e.Off + e.Len; e.Off < end; e.Off += e.Len {
				r, written := d.at(e.Off/unit, blocksOf(end))
				e.Len = min(r.end()*unit, end) - e.Off
				piece := e
				if written {
					piece.Zero = r.unit == 0
				}
				if !yield(piece, nil) {
					return
				}
			}
		}
	})
}

// Changed yields the ranges that were written, and as zero extents those that were zeroed: whole blocks, in order, with
// neighbours joined. The rest of the disk is the base's. Changes that other goroutines make meanwhile may be missing.
func (d *Disk) Changed(ctx context.Context) iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		var last image.Extent
		for block := int64(0); ; {
			if ctx.Err() != nil {
				yield(image.Extent{}, context.Cause(ctx))
				return
			}
			r, ok := d.changedFrom(block)
			if !ok {
				break
			}
			block = r.end()
			e := image.Extent{Off: r.at * unit, Len: min(r.end()*unit, d.size) - r.at*unit, Zero: r.unit == 0}
			if last.Len > 0 && last.Off+last.Len == e.Off && last.Zero == e.Zero {
				last.Len += e.Len
				continue
			}
			if last.Len > 0 && !yield(last, nil) {
				return
			}
			last = e
		}
		if last.Len > 0 {
			yield(last, nil)
		}
	}
}

// changedFrom returns the first run of the map that ends after a block, without what is before the block.
func (d *Disk) changedFrom(block int64) (r run, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if r, ok = d.blocks.after(block); ok {
		r = r.clip(max(r.at, block), r.end())
	}
	return r, ok
}
