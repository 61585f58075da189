package heal

import (
	"context"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
)

// A rewriter turns damaged maps into maps without losses. Lost chunks, and regions whose page cannot be read, become
// unreadable pieces. Whole subtrees stay unchanged.
type rewriter struct {
	check  *snapshot.MapCheck // after it has walked the maps
	damage *repo.Damage
	writer *repo.Writer
	fold   diskmap.Fold[chunk.ID]       // the ID of each new subtree
	bad    map[diskmap.Subtree]chunk.ID // wholly unreadable subtrees by level and width; the key has no ID
}

func newRewriter(check *snapshot.MapCheck, damage *repo.Damage, writer *repo.Writer) *rewriter {
	w := &rewriter{check: check, damage: damage, writer: writer, bad: map[diskmap.Subtree]chunk.ID{}}
	w.fold = diskmap.Fold[chunk.ID]{
		Enter:      func(s diskmap.Subtree) (chunk.ID, bool) { return s.ID, w.check.IsWhole(s) },
		Beyond:     func() (chunk.ID, error) { return chunk.ID{}, nil },
		Page:       w.page,
		Node:       w.node,
		Unreadable: w.unreadable,
	}
	return w
}

func (w *rewriter) page(ctx context.Context, _ *diskmap.Map, _ int64, pieces []diskmap.Piece) (chunk.ID, error) {
	return w.writer.SaveMap(ctx, diskmap.AppendPage(nil, w.pieces(pieces)))
}

func (w *rewriter) node(ctx context.Context, s diskmap.Subtree, below []diskmap.Below[chunk.ID]) (chunk.ID, error) {
	n := new(diskmap.Node)
	for _, b := range below {
		n[b.Index] = b.Value
	}
	return w.save(ctx, s.Level, n)
}

func (w *rewriter) save(ctx context.Context, level int, n *diskmap.Node) (chunk.ID, error) {
	if *n == (diskmap.Node{}) {
		return chunk.ID{}, nil
	}
	return w.writer.SaveMap(ctx, n.AppendTo(nil, level))
}

// pieces returns the pieces of a region, with lost chunks as unreadable pieces.
func (w *rewriter) pieces(pieces []diskmap.Piece) (out []diskmap.Piece) {
	for _, q := range pieces {
		if q.Kind == diskmap.Data && w.check.Chunk(q) != nil {
			q = diskmap.Piece{Kind: diskmap.Unreadable, Len: q.Len}
		}
		if last := len(out) - 1; last >= 0 && q.Kind == diskmap.Unreadable && out[last].Kind == diskmap.Unreadable {
			out[last].Len += q.Len
		} else {
			out = append(out, q)
		}
	}
	return out
}

// unreadable returns the replacement for a node or page that is missing or damaged. A transient error is returned.
func (w *rewriter) unreadable(ctx context.Context, s diskmap.Subtree, why error) (chunk.ID, error) {
	if !snapshot.IsFinal(why) && !w.damage.Lost(s.ID) {
		return chunk.ID{}, why
	}
	return w.allBad(ctx, diskmap.Subtree{Level: s.Level, Width: s.Width})
}

// allBad saves a wholly unreadable node or page of a level and a width.
func (w *rewriter) allBad(ctx context.Context, s diskmap.Subtree) (id chunk.ID, err error) {
	if id, ok := w.bad[s]; ok || s.Width == 0 {
		return id, nil
	}
	if s.Level == 0 {
		id, err = w.writer.SaveMap(ctx, diskmap.AppendPage(nil, []diskmap.Piece{{Kind: diskmap.Unreadable, Len: uint32(s.Width)}}))
	} else {
		n := new(diskmap.Node)
		for i, child := range s.Below() {
			if n[i], err = w.allBad(ctx, child); err != nil {
				return chunk.ID{}, err
			}
		}
		id, err = w.save(ctx, s.Level, n)
	}
	if err == nil {
		w.bad[s] = id
	}
	return id, err
}
