package snapshot

import (
	"context"

	"platter/chunk"
	"platter/repo"
)

// Diff returns where the disks of two snapshots differ, in order, from their maps alone: no data are read. Where chunks
// have other bounds, ranges may be somewhat too long, never too short. What one disk has beyond the end of the other
// differs. Two subtrees that both maps have in many places, side by side, are compared once.
func Diff(ctx context.Context, r *repo.Repo, a, b *Snapshot) (*Runs, error) {
	d := &differ{ctx: ctx, a: a.Map(r), b: b.Map(r), common: min(a.Size, b.Size), known: map[[2]subtree]*Runs{}}
	below, err := d.trees(max(height(a.Size), height(b.Size)), 0, a.Root, b.Root)
	if err != nil {
		return nil, err
	}
	out := new(Runs)
	out.place(0, below)
	out.add(d.common, max(a.Size, b.Size)-d.common)
	return out, nil
}

type differ struct {
	ctx    context.Context
	a, b   *Map
	common int64 // bytes that both disks have
	known  map[[2]subtree]*Runs
}

// trees compares what lies below two nodes of a level, or two pages. Ranges are counted from where they begin.
func (d *differ) trees(level int, at int64, a, b chunk.ID) (*Runs, error) {
	if a == b && d.sameShape(level) || !d.a.has(level, at) || !d.b.has(level, at) {
		return new(Runs), nil
	}
	if from, _ := d.a.span(level, at); from >= d.common {
		return new(Runs), nil
	}
	key := [2]subtree{d.a.subtree(level, at, a), d.b.subtree(level, at, b)}
	if out, ok := d.known[key]; ok {
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
		d.known[key] = out
	}
	return out, err
}

func (d *differ) nodes(level int, at int64, a, b chunk.ID) (*Runs, error) {
	na, err := d.a.children(d.ctx, level, a)
	if err != nil {
		return nil, err
	}
	nb, err := d.b.children(d.ctx, level, b)
	if err != nil {
		return nil, err
	}
	out := new(Runs)
	for i := range na {
		below, err := d.trees(level-1, at*fanOut+int64(i), na[i], nb[i])
		if err != nil {
			return nil, err
		}
		out.place(childOff(level, i), below)
	}
	return out, nil
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
func (d *differ) pages(_ int, region int64, a, b chunk.ID) (*Runs, error) {
	pa, err := d.a.page(d.ctx, region, a)
	if err != nil {
		return nil, err
	}
	pb, err := d.b.page(d.ctx, region, b)
	if err != nil {
		return nil, err
	}
	out, end := new(Runs), min(RegionSize, d.common-region*RegionSize)
	ca, cb := cursor{rest: pa}, cursor{rest: pb}
	for at := int64(0); at < end; {
		qa, startA := ca.seek(at)
		qb, startB := cb.seek(at)
		next := min(startA+int64(qa.len), startB+int64(qb.len), end)
		same := qa.kind == qb.kind && (qa.kind == zeroPiece || startA == startB && qa.id == qb.id && qa.len == qb.len)
		if !same {
			out.add(at, next-at)
		}
		at = next
	}
	return out, nil
}

// A cursor walks along the pieces of a region.
type cursor struct {
	at   int64 // where in it rest[0] starts
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
