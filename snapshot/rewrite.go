package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"iter"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
)

// A rewriter makes maps of which nothing is lost out of maps of which something is: lost chunks, and regions whose page
// cannot be read, become unreadable pieces. Subtrees that are whole stay what they are.
type rewriter struct {
	check  *mapCheck // after it has walked the maps
	damage *repo.Damage
	writer *repo.Writer
	done   map[rewritten]chunk.ID
}

// A rewritten is a subtree that was made anew. One without an id is unreadable as a whole, and the same wherever it is as
// long.
type rewritten struct {
	id        chunk.ID
	level     int
	from, len int64
}

// tree returns what takes the place of a node or a page.
func (w *rewriter) tree(ctx context.Context, m *Map, level int, at int64, id chunk.ID) (chunk.ID, error) {
	if id.IsZero() || !m.has(level, at) {
		return chunk.ID{}, ctx.Err()
	}
	from, to := m.span(level, at)
	if from == to {
		return chunk.ID{}, nil
	}
	if lost, ok := w.check.known[subtree{id, from, to}]; ok && len(lost) == 0 {
		return id, nil
	}
	key := rewritten{id, level, from, to - from}
	if id, ok := w.done[key]; ok {
		return id, nil
	}
	made, err := w.anew(ctx, m, level, at, id)
	if err == nil {
		w.done[key] = made
	}
	return made, err
}

func (w *rewriter) anew(ctx context.Context, m *Map, level int, at int64, id chunk.ID) (chunk.ID, error) {
	if level == 0 {
		pieces, err := m.page(ctx, at, id)
		if err != nil {
			return w.unreadable(ctx, m, level, at, id, err)
		}
		return w.writer.SaveMap(ctx, appendPage(nil, w.pieces(pieces)))
	}
	n, err := m.node(ctx, level, id)
	if err != nil {
		return w.unreadable(ctx, m, level, at, id, err)
	}
	for i := range n {
		if n[i], err = w.tree(ctx, m, level-1, at*fanOut+int64(i), n[i]); err != nil {
			return chunk.ID{}, err
		}
	}
	return w.node(ctx, level, n)
}

func (w *rewriter) node(ctx context.Context, level int, n *node) (chunk.ID, error) {
	if *n == (node{}) {
		return chunk.ID{}, nil
	}
	return w.writer.SaveMap(ctx, n.appendTo(nil, level))
}

// pieces returns the pieces of a region without what is lost.
func (w *rewriter) pieces(pieces []piece) (out []piece) {
	for _, q := range pieces {
		if q.kind == dataPiece && w.check.chunk(q) != nil {
			q = piece{kind: badPiece, len: q.len}
		}
		if last := len(out) - 1; last >= 0 && q.kind == badPiece && out[last].kind == badPiece {
			out[last].len += q.len
		} else {
			out = append(out, q)
		}
	}
	return out
}

// unreadable returns what stands for a node or page that cannot be read, unless it may be read another time.
func (w *rewriter) unreadable(ctx context.Context, m *Map, level int, at int64, id chunk.ID, why error) (chunk.ID, error) {
	if ctx.Err() != nil {
		return chunk.ID{}, context.Cause(ctx)
	}
	if !isFinal(why) && !w.damage.Lost(id) {
		return chunk.ID{}, why
	}
	return w.bad(ctx, m, level, at)
}

// isFinal reports whether a read failed for a reason that does not pass.
func isFinal(err error) bool {
	return errors.Is(err, pack.ErrDamaged) || errors.Is(err, repo.ErrMissing) || errors.Is(err, fs.ErrNotExist)
}

// bad makes a node or page of which all that lies below cannot be read.
func (w *rewriter) bad(ctx context.Context, m *Map, level int, at int64) (id chunk.ID, err error) {
	from, to := m.span(level, at)
	key := rewritten{level: level, len: to - from}
	if id, ok := w.done[key]; ok {
		return id, nil
	}
	if level == 0 {
		id, err = w.writer.SaveMap(ctx, appendPage(nil, []piece{{kind: badPiece, len: uint32(to - from)}}))
	} else {
		n := new(node)
		for i := range n {
			if child := at*fanOut + int64(i); m.has(level-1, child) {
				if n[i], err = w.bad(ctx, m, level-1, child); err != nil {
					return chunk.ID{}, err
				}
			}
		}
		id, err = w.node(ctx, level, n)
	}
	if err == nil {
		w.done[key] = id
	}
	return id, err
}

// measure returns how many bytes of a disk are data, and how many are unreadable.
func (m *Map) measure(ctx context.Context) (data, bad int64, err error) {
	for q, err := range m.pieces(ctx) {
		if err != nil {
			return 0, 0, err
		}
		switch q.kind {
		case dataPiece:
			data += int64(q.len)
		case badPiece:
			bad += int64(q.len)
		}
	}
	return data, bad, ctx.Err()
}

// A placed is a piece, and where on the disk it lies, in bytes.
type placed struct {
	piece
	off int64
}

// pieces yields the pieces of all regions that have a page, in order.
func (m *Map) pieces(ctx context.Context) iter.Seq2[placed, error] {
	return func(yield func(placed, error) bool) {
		for reg, err := range m.regions(ctx) {
			var pieces []piece
			if err == nil {
				pieces, err = m.page(ctx, reg.index, reg.page)
			}
			if err != nil {
				yield(placed{}, err)
				return
			}
			off := reg.index * RegionSize
			for _, q := range pieces {
				if !yield(placed{q, off}, nil) {
					return
				}
				off += int64(q.len)
			}
		}
	}
}

// Lost yields which ranges of a snapshot's disk are known to be lost, in order, none next to another: they read as zeros.
// There may be more of them than memory can hold.
func Lost(ctx context.Context, r *repo.Repo, s *Snapshot) iter.Seq2[Range, error] {
	return func(yield func(Range, error) bool) {
		if s.Unreadable == 0 {
			return
		}
		var lost Range
		for q, err := range s.Map(r).pieces(ctx) {
			switch {
			case err != nil:
				yield(Range{}, err)
				return
			case q.kind != badPiece:
			case lost.Off+lost.Len == q.off:
				lost.Len += int64(q.len)
			default:
				if lost.Len > 0 && !yield(lost, nil) {
					return
				}
				lost = Range{q.off, int64(q.len)}
			}
		}
		if lost.Len > 0 {
			yield(lost, nil)
		}
	}
}
