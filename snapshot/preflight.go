package snapshot

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot/image"
)

// A LostError says that a disk cannot be restored, because the repository does not have all of it.
type LostError struct {
	Ranges  *Runs   // of the disk
	Reasons []error // one of each kind; of very many the first
}

func (e *LostError) Error() string {
	places := "1 place"
	if e.Ranges.Count != 1 {
		places = fmt.Sprintf("%d places", e.Ranges.Count)
	}
	text := fmt.Sprintf("the repository lacks %d bytes of it, in %s", e.Ranges.Bytes, places)
	if len(e.Reasons) > 0 {
		text += fmt.Sprintf(" (%v)", e.Reasons[0])
	}
	return text + "; nothing was written. 'platter check' lists what is lost, 'platter repair packs' gets it back from a copy of the " +
		"repository or from a disk, and 'platter repair snapshots' makes a version of what is left"
}

// Unwrap returns the reasons.
func (e *LostError) Unwrap() []error { return e.Reasons }

// A preflight walks the part of a map that is to be restored, before the first byte is written: whether each chunk can be had, and
// how much there is. What a map has in many places is walked once; a part's two ends are walked by themselves.
type preflight struct {
	m       *content
	sources *repo.Sources

	mu    sync.Mutex
	known map[subtree]*stock
}

// A stock is what of a subtree there is, and what not.
type stock struct {
	data int64 // bytes of chunks
	lost       // of nothing: no reasons
}

// lookAhead looks at all of the map's part. It returns how many bytes of chunks there are. The error is a *LostError where some cannot be
// had, unless the disk that the part is to be written onto, which may be nil, has them in their places already.
func (m *content) lookAhead(ctx context.Context, onto image.Disk) (data int64, err error) {
	p := &preflight{m: m, sources: m.repo.Sources(), known: map[subtree]*stock{}}
	if err := p.pages(ctx); err != nil {
		return 0, err
	}
	all, err := p.walk(ctx, height(m.sizeOf()), 0, m.rootOf())
	if err != nil {
		return 0, err
	}
	if len(all.reasons) == 0 {
		return all.data, nil
	}
	if onto != nil {
		held, err := p.held(ctx, onto)
		if held || err != nil {
			return all.data, err
		}
	}
	return all.data, &LostError{&all.runs, all.reasons}
}

// pages looks at all pages, on all cores. walk finds them known.
func (p *preflight) pages(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.m.repo.Workers())
	seen := map[subtree]bool{}
	var visit func(level int, at int64, id chunk.ID) error
	visit = func(level int, at int64, id chunk.ID) error {
		key := p.m.subtree(level, at, id)
		if id.IsZero() || !p.m.has(level, at) || !p.m.touches(level, at) || seen[key] {
			return gctx.Err()
		}
		seen[key] = p.m.covers(level, at)
		if level == 0 {
			if seen[key] {
				g.Go(func() error {
					_, err := p.walk(gctx, 0, at, id)
					return err
				})
			}
			return nil
		}
		n, err := p.m.node(gctx, level, id)
		if err != nil {
			return nil // walk says so
		}
		for i, child := range n {
			if err := visit(level-1, at*fanOut+int64(i), child); err != nil {
				return err
			}
		}
		return nil
	}
	err := visit(height(p.m.sizeOf()), 0, p.m.rootOf())
	return cmp.Or(g.Wait(), ctx.Err(), err)
}

// walk returns what there is below one node or page. The error is ctx's, or says what may be otherwise another time.
func (p *preflight) walk(ctx context.Context, level int, at int64, id chunk.ID) (*stock, error) {
	if id.IsZero() || ctx.Err() != nil {
		return new(stock), ctx.Err()
	}
	if !p.m.has(level, at) {
		s := new(stock)
		s.because(errBeyond)
		return s, nil
	}
	if !p.m.touches(level, at) {
		return new(stock), nil
	}
	key, whole := p.m.subtree(level, at, id), p.m.covers(level, at)
	if s := p.get(key); whole && s != nil {
		return s, nil
	}
	look := p.node
	if level == 0 {
		look = p.page
	}
	s, err := look(ctx, level, at, id)
	if err != nil {
		if ctx.Err() != nil || !isFinal(err) {
			return nil, err
		}
		s = new(stock)
		s.runs.add(0, key.width)
		s.because(err)
	}
	if whole {
		p.mu.Lock()
		p.known[key] = s
		p.mu.Unlock()
	}
	return s, nil
}

func (p *preflight) get(key subtree) *stock {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[key]
}

func (p *preflight) node(ctx context.Context, level int, at int64, id chunk.ID) (*stock, error) {
	n, err := p.m.node(ctx, level, id)
	if err != nil {
		return nil, err
	}
	s := new(stock)
	for i, child := range n {
		below, err := p.walk(ctx, level-1, at*fanOut+int64(i), child)
		if err != nil {
			return nil, err
		}
		s.data += below.data
		if len(below.reasons) > 0 {
			s.runs.place(childOff(level, i), &below.runs)
			s.because(below.reasons...)
		}
	}
	return s, nil
}

func (p *preflight) page(ctx context.Context, _ int, at int64, id chunk.ID) (*stock, error) {
	places, err := p.m.places(ctx, at, id)
	if err != nil {
		return nil, err
	}
	from, to := p.m.within()
	s := new(stock)
	for _, q := range places {
		if q.kind != dataPiece {
			continue
		}
		off, end := max(q.off, from), min(q.end(), to)
		s.data += end - off
		if err := p.sources.Has(ctx, chunk.Data, q.id, q.len); err != nil {
			if ctx.Err() != nil || !isFinal(err) {
				return nil, err
			}
			s.runs.add(off-at*RegionSize, end-off)
			s.because(err)
		}
	}
	return s, nil
}

// held reports whether a disk has all chunks that cannot be had in their places: then they need not be fetched.
func (p *preflight) held(ctx context.Context, onto image.Disk) (bool, error) {
	from, to := p.m.within()
	t, err := p.m.seat(ctx, lookOnly{onto, to - from})
	if err != nil { // a chunk at an end of the part cannot be had
		return false, ctx.Err()
	}
	namer := p.m.repo.Namer(chunk.Data)
	defer p.m.repo.Return(chunk.Data, namer)
	var buf []byte
	for reg, err := range p.m.regions(ctx) {
		if err != nil {
			return false, ctx.Err() // a page that cannot be had
		}
		places, err := p.m.places(ctx, reg.index, reg.page)
		if err != nil {
			return false, ctx.Err()
		}
		for _, q := range places {
			if q.kind != dataPiece || q.end() <= from || q.off >= to || p.sources.Has(ctx, chunk.Data, q.id, q.len) == nil {
				continue
			}
			buf = append(buf[:0], make([]byte, q.len)...)
			if n, _ := t.ReadAt(buf, q.off); n < len(buf) || namer.ID(buf) != q.id {
				return false, ctx.Err()
			}
		}
	}
	return true, nil
}
