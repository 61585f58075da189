package snapshot

import (
	"context"

	"platter/chunk"
	"platter/snapshot/diskmap"
)

// A Reader reads maps and the disks that they describe; a *repo.Repo does.
type Reader interface {
	diskmap.Loader
	Frames
}

// Diff returns the ranges where parts of the disks of two snapshots differ, in order. It compares maps alone and reads
// no data. Ranges count from the start of the parts. If chunk bounds differ, ranges may be slightly too long, but never
// too short. What one part has beyond the end of the other counts as different.
//
// Parts that start at different bytes of their disks were cut at different places. Where their maps disagree, Diff
// reads and compares the data, and ranges consist of whole blocks.
func Diff(ctx context.Context, r Reader, a, b *Snapshot, inA, inB Part) (*diskmap.Runs, error) {
	common, out := min(inA.Len, inB.Len), new(diskmap.Runs)
	if inA.Off == inB.Off {
		d := &differ{ctx: ctx, a: a.Map(r), b: b.Map(r), start: inA.Off, end: inA.Off + common, known: map[differPair]*diskmap.Runs{}}
		all, err := d.trees(max(diskmap.Height(a.Size), diskmap.Height(b.Size)), 0, a.Root, b.Root)
		if err != nil {
			return nil, err
		}
		out.Place(-inA.Off, all)
	} else {
		d, err := newShiftedDiffer(ctx, r, a, b, inA, inB, common)
		if err != nil {
			return nil, err
		}
		if err := d.run(); err != nil {
			return nil, err
		}
		out = &d.out
	}
	out.Add(common, max(inA.Len, inB.Len)-common)
	return out, nil
}

type differ struct {
	ctx        context.Context
	a, b       *diskmap.Map
	start, end int64 // the compared range, within both disks
	known      map[differPair]*diskmap.Runs
}

// A differPair is a pair of subtrees and the range to compare, counted from their start. A pair that occurs in many
// places is compared once.
type differPair struct {
	a, b     diskmap.Subtree
	from, to int64 // bytes
}

// trees compares two subtrees at one level, or two pages. Ranges count from their start.
func (d *differ) trees(level int, at int64, a, b chunk.ID) (*diskmap.Runs, error) {
	if a == b && d.sameShape(level) || !d.a.Has(level, at) || !d.b.Has(level, at) {
		return new(diskmap.Runs), nil
	}
	pair := differPair{a: d.a.Subtree(level, at, a), b: d.b.Subtree(level, at, b)}
	start, _ := d.a.Span(level, at)
	pair.from, pair.to = max(d.start-start, 0), min(max(pair.a.Width, pair.b.Width), d.end-start)
	if pair.from >= pair.to {
		return new(diskmap.Runs), nil
	}
	if out, ok := d.known[pair]; ok {
		return out, nil
	}
	if err := d.ctx.Err(); err != nil {
		return nil, err
	}
	compare := d.nodes
	if level == 0 {
		compare = d.pages
	}
	out, err := compare(level, at, a, b)
	if err == nil {
		d.known[pair] = out
	}
	return out, err
}

func (d *differ) nodes(level int, at int64, a, b chunk.ID) (*diskmap.Runs, error) {
	na, err := d.a.Children(d.ctx, level, a)
	if err != nil {
		return nil, err
	}
	nb, err := d.b.Children(d.ctx, level, b)
	if err != nil {
		return nil, err
	}
	out := new(diskmap.Runs)
	for i := range na {
		below, err := d.trees(level-1, at*diskmap.FanOut+int64(i), na[i], nb[i])
		if err != nil {
			return nil, err
		}
		out.Place(diskmap.ChildOffset(level, i), below)
	}
	return out, nil
}

// sameShape reports whether one ID means the same in both maps: a root may be at another level of a higher tree.
func (d *differ) sameShape(level int) bool {
	ha, hb := diskmap.Height(d.a.Size()), diskmap.Height(d.b.Size())
	return ha == hb || level <= min(ha, hb)
}

// pages compares two regions piece by piece.
func (d *differ) pages(_ int, region int64, a, b chunk.ID) (*diskmap.Runs, error) {
	pa, err := d.a.Page(d.ctx, region, a)
	if err != nil {
		return nil, err
	}
	pb, err := d.b.Page(d.ctx, region, b)
	if err != nil {
		return nil, err
	}
	out, end := new(diskmap.Runs), min(diskmap.RegionSize, d.end-region*diskmap.RegionSize)
	ca, cb := cursor{rest: pa}, cursor{rest: pb}
	for at := max(d.start-region*diskmap.RegionSize, 0); at < end; {
		qa, startA := ca.seek(at)
		qb, startB := cb.seek(at)
		next := min(startA+int64(qa.Len), startB+int64(qb.Len), end)
		same := qa.Kind == qb.Kind && (qa.Kind == diskmap.Zeros || startA == startB && qa.ID == qb.ID && qa.Len == qb.Len)
		if !same {
			out.Add(at, next-at)
		}
		at = next
	}
	return out, nil
}

// A cursor moves along the pieces of a region.
type cursor struct {
	at   int64 // where rest[0] starts in the region
	rest []diskmap.Piece
}

// seek returns the piece that holds byte off, and where it starts.
func (c *cursor) seek(off int64) (diskmap.Piece, int64) {
	for c.at+int64(c.rest[0].Len) <= off {
		c.at += int64(c.rest[0].Len)
		c.rest = c.rest[1:]
	}
	return c.rest[0], c.at
}
