package snapshot

import (
	"context"
	"errors"
	"io/fs"

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
	done   map[subtree]chunk.ID // what was made of each; of those without an id, all is unreadable
}

// tree returns what takes the place of a node or a page.
func (w *rewriter) tree(ctx context.Context, m *Map, level int, at int64, id chunk.ID) (chunk.ID, error) {
	if id.IsZero() || !m.has(level, at) {
		return chunk.ID{}, ctx.Err()
	}
	key := m.subtree(level, at, id)
	if key.width == 0 {
		return chunk.ID{}, nil
	}
	if lost, ok := w.check.known[key]; ok && lost == nil {
		return id, nil
	}
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
	key := m.subtree(level, at, chunk.ID{})
	if id, ok := w.done[key]; ok {
		return id, nil
	}
	if level == 0 {
		id, err = w.writer.SaveMap(ctx, appendPage(nil, []piece{{kind: badPiece, len: uint32(key.width)}}))
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

// A measured subtree has so many bytes of data, and ranges that cannot be read, counted from where it begins.
type measured struct {
	data int64
	bad  Runs
}

// measure returns what a disk has.
func measure(ctx context.Context, m *Map) (*measured, error) {
	known := map[subtree]*measured{}
	var walk func(level int, at int64, id chunk.ID) (*measured, error)
	walk = func(level int, at int64, id chunk.ID) (*measured, error) {
		sum := new(measured)
		if id.IsZero() || ctx.Err() != nil {
			return sum, ctx.Err()
		}
		if !m.has(level, at) {
			return nil, errBeyond
		}
		key := m.subtree(level, at, id)
		if sum, ok := known[key]; ok {
			return sum, nil
		}
		if level == 0 {
			pieces, err := m.page(ctx, at, id)
			if err != nil {
				return nil, err
			}
			sum.pieces(pieces)
			known[key] = sum
			return sum, nil
		}
		n, err := m.node(ctx, level, id)
		if err != nil {
			return nil, err
		}
		for i, child := range n {
			below, err := walk(level-1, at*fanOut+int64(i), child)
			if err != nil {
				return nil, err
			}
			sum.data += below.data
			sum.bad.place(childOff(level, i), &below.bad)
		}
		known[key] = sum
		return sum, nil
	}
	return walk(height(m.sizeOf()), 0, m.rootOf())
}

func (s *measured) pieces(pieces []piece) {
	off := int64(0)
	for _, q := range pieces {
		switch q.kind {
		case dataPiece:
			s.data += int64(q.len)
		case badPiece:
			s.bad.add(off, int64(q.len))
		}
		off += int64(q.len)
	}
}

// Lost returns which ranges of a snapshot's disk are known to be lost: they read as zeros.
func Lost(ctx context.Context, r *repo.Repo, s *Snapshot) (*Runs, error) {
	if s.Unreadable == 0 {
		return new(Runs), nil
	}
	all, err := measure(ctx, s.Map(r))
	if err != nil {
		return nil, err
	}
	return &all.bad, nil
}
