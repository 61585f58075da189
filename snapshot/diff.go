package snapshot

import (
	"context"

	"platter/chunk"
	"platter/repo"
)

// A Range is a run of a disk, in bytes.
type Range struct {
	Off int64 `json:"offset"`
	Len int64 `json:"length"`
}

// ranges collects runs in order and joins those that touch.
type ranges []Range

func (r *ranges) add(off, n int64) {
	if n <= 0 {
		return
	}
	if last := len(*r) - 1; last >= 0 && (*r)[last].Off+(*r)[last].Len == off {
		(*r)[last].Len += n
		return
	}
	*r = append(*r, Range{off, n})
}

// Diff returns where the disks of two snapshots differ, in order, from their maps alone: no data are read. Where chunks
// have other bounds, ranges may be somewhat too long, never too short. What one disk has beyond the end of the other
// differs.
func Diff(ctx context.Context, r *repo.Repo, a, b *Snapshot) ([]Range, error) {
	return DiffParts(ctx, r, a, b, a.Whole(), b.Whole())
}

// DiffParts does the same for parts of the disks; ranges are counted from where the parts begin. Parts that do not begin at
// the same byte of their disks were cut in other places: where their maps do not agree, data are read and compared, and
// ranges are those of blocks.
func DiffParts(ctx context.Context, r *repo.Repo, a, b *Snapshot, inA, inB Part) ([]Range, error) {
	common := min(inA.Len, inB.Len)
	var out ranges
	if inA.Off == inB.Off {
		d := &differ{ctx: ctx, a: a.Map(r), b: b.Map(r), start: inA.Off, common: inA.Off + common}
		if err := d.trees(max(height(a.Size), height(b.Size)), 0, a.Root, b.Root); err != nil {
			return nil, err
		}
		out = d.out
	} else {
		d, err := newShiftedDiffer(ctx, r, a, b, inA, inB)
		if err != nil {
			return nil, err
		}
		if err := d.run(common); err != nil {
			return nil, err
		}
		out = d.out
	}
	out.add(common, max(inA.Len, inB.Len)-common)
	return out, nil
}

type differ struct {
	ctx           context.Context
	a, b          *Map
	start, common int64 // what is compared begins, and where both have bytes ends
	out           ranges
}

// trees compares what lies below two nodes of a level, or two pages.
func (d *differ) trees(level int, at int64, a, b chunk.ID) error {
	if a == b && d.sameShape(level) || !d.a.has(level, at) || !d.b.has(level, at) {
		return nil
	}
	fromA, toA := d.a.span(level, at)
	if _, toB := d.b.span(level, at); fromA >= d.common || max(toA, toB) <= d.start {
		return nil
	}
	if level == 0 {
		return d.pages(at, a, b)
	}
	na, err := d.a.children(d.ctx, level, a)
	if err != nil {
		return err
	}
	nb, err := d.b.children(d.ctx, level, b)
	if err != nil {
		return err
	}
	for i := range na {
		if err := d.trees(level-1, at*fanOut+int64(i), na[i], nb[i]); err != nil {
			return err
		}
	}
	return nil
}

// sameShape reports whether one id means the same for both maps: a root may stand on another level of a higher tree.
func (d *differ) sameShape(level int) bool {
	ha, hb := height(d.a.size), height(d.b.size)
	return ha == hb || level <= min(ha, hb)
}

// children returns a node's children. Above the root, a tree goes on as its own only child; a tree of zeros has none.
func (m *Map) children(ctx context.Context, level int, id chunk.ID) (*node, error) {
	switch {
	case id.IsZero():
		return new(node), nil
	case level > height(m.size):
		return &node{id}, nil
	}
	return m.node(ctx, level, id)
}

// pages compares two regions, piece by piece.
func (d *differ) pages(region int64, a, b chunk.ID) error {
	pa, err := d.a.page(d.ctx, region, a)
	if err != nil {
		return err
	}
	pb, err := d.b.page(d.ctx, region, b)
	if err != nil {
		return err
	}
	start := region * RegionSize
	end := min(start+RegionSize, d.common)
	ca, cb := cursor{at: start, rest: pa}, cursor{at: start, rest: pb}
	for at := max(start, d.start); at < end; {
		qa, startA := ca.seek(at)
		qb, startB := cb.seek(at)
		next := min(startA+int64(qa.len), startB+int64(qb.len), end)
		same := qa.kind == qb.kind && (qa.kind == zeroPiece || startA == startB && qa.id == qb.id && qa.len == qb.len)
		if !same {
			d.out.add(at-d.start, next-at)
		}
		at = next
	}
	return nil
}

// A cursor walks along the pieces of a region.
type cursor struct {
	at   int64 // where rest[0] starts
	rest []piece
}

// seek returns the piece that holds byte off, and where it starts.
func (c *cursor) seek(off int64) (piece, int64) {
	for c.at+int64(c.rest[0].len) <= off {
		c.at += int64(c.rest[0].len)
		c.rest = c.rest[1:]
	}
	return c.rest[0], c.at
}
