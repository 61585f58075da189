package snapshot

import (
	"context"
	"errors"
	"iter"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot/image"
)

// A heldRegion is a region of which the map, the target or both hold something.
type heldRegion struct {
	mapRegion                // its page is zero where the map holds nothing
	data      []image.Extent // of the target, in order, none of them zero
}

// survey compares the target with the map, on all cores: it zeroes what should be zero, and sends what each region lacks.
func (f *filling) survey(ctx context.Context, send func(regionPlan) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(f.m.repo.Workers())
	var walk error
	for reg, err := range f.held(gctx) {
		if walk = errors.Join(err, gctx.Err()); walk != nil {
			break
		}
		g.Go(func() error {
			wants, err := f.compare(gctx, reg)
			if err != nil || reg.page.IsZero() {
				return err
			}
			return send(regionPlan{reg.mapRegion, wants})
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return walk
}

// held yields the regions that hold something, in order.
func (f *filling) held(ctx context.Context) iter.Seq2[heldRegion, error] {
	return func(yield func(heldRegion, error) bool) {
		next, stop := iter.Pull2(f.m.regions(ctx))
		defer stop()
		mapped, err, more := next()
		// emit yields the map's regions before reg, and reg with its page.
		emit := func(reg heldRegion) bool {
			for more && err == nil && mapped.index <= reg.index {
				if mapped.index == reg.index {
					reg.page = mapped.page
				} else if !yield(heldRegion{mapRegion: mapped}, nil) {
					return false
				}
				mapped, err, more = next()
			}
			if err != nil {
				yield(heldRegion{}, err)
				return false
			}
			return len(reg.data) == 0 || yield(reg, nil)
		}
		var reg heldRegion
		for e, err := range f.target.Extents() {
			if err != nil {
				yield(heldRegion{}, err)
				return
			}
			for !e.Zero && e.Len > 0 {
				region := e.Off / RegionSize
				n := min(e.Len, (region+1)*RegionSize-e.Off)
				if region != reg.index && len(reg.data) > 0 {
					if !emit(reg) {
						return
					}
					reg.data = nil
				}
				reg.index = region
				reg.data = append(reg.data, image.Extent{Off: e.Off, Len: n})
				e.Off, e.Len = e.Off+n, e.Len-n
			}
		}
		if len(reg.data) == 0 || emit(reg) {
			emit(heldRegion{mapRegion: mapRegion{index: regions(f.m.size)}})
		}
	}
}

// compare zeroes what should be zero in a region, and returns the chunks that it lacks.
func (f *filling) compare(ctx context.Context, reg heldRegion) ([]repo.Want, error) {
	pieces, err := f.m.page(ctx, reg.index, reg.page)
	if err != nil {
		return nil, err
	}
	r, namer := f.windows.take(), f.m.repo.Namer(chunk.Data)
	defer func() { f.windows.put(r); f.m.repo.Return(chunk.Data, namer) }()
	var wants []repo.Want
	off, data := reg.index*RegionSize, reg.data
	for _, q := range pieces {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		end := off + int64(q.len)
		for len(data) > 0 && data[0].Off+data[0].Len <= off {
			data = data[1:]
		}
		switch held := len(data) > 0 && data[0].Off < end; {
		case q.kind != dataPiece:
			if err := f.clearExtents(r, data, off, end); err != nil {
				return nil, err
			}
		case held:
			right, err := f.isRight(r, namer, off, max(end, data[0].Off+data[0].Len), q)
			if err != nil {
				return nil, err
			}
			if right {
				break
			}
			fallthrough
		default: // a hole holds no chunk
			wants = append(wants, repo.Want{ID: q.id, Off: off, Len: q.len})
		}
		off = end
	}
	return wants, nil
}

// isRight reports whether the target holds a chunk at off.
func (f *filling) isRight(r *windowReader, namer *chunk.Namer, off, limit int64, q piece) (bool, error) {
	data, err := r.view(off, int64(q.len), limit)
	if err != nil || namer.ID(data) != q.id {
		return false, err
	}
	f.done.Right.Add(int64(q.len))
	f.progress.Add(int64(q.len))
	return true, nil
}

// clearExtents clears what data has between off and end.
func (f *filling) clearExtents(r *windowReader, data []image.Extent, off, end int64) error {
	for _, e := range data {
		from, to := max(off, e.Off), min(end, e.Off+e.Len)
		if from >= end {
			break
		}
		if err := f.clearRun(r, from, to); err != nil {
			return err
		}
	}
	return nil
}

// clear makes a run zero.
func (f *filling) clear(off, n int64) error {
	r := f.windows.take()
	defer f.windows.put(r)
	return f.clearRun(r, off, off+n)
}

// clearRun makes a run zero where it is not.
func (f *filling) clearRun(r *windowReader, off, end int64) error {
	for off < end {
		data, err := r.view(off, min(windowSize, end-off), end)
		if err != nil {
			return err
		}
		next := off + int64(len(data))
		for len(data) > 0 {
			skip := chunk.ZeroPrefix(data)
			if skip < len(data) {
				skip &^= chunk.Block - 1
			}
			data, off = data[skip:], off+int64(skip)
			n := dataBlocks(data)
			if n > 0 {
				if err := f.target.Zero(off, int64(n)); err != nil {
					return err
				}
			}
			data, off = data[n:], off+int64(n)
			f.done.Zeroed.Add(int64(n))
		}
		off = next
	}
	return nil
}
