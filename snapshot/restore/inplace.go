package restore

import (
	"bytes"
	"context"
	"errors"
	"iter"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// A heldRegion is a region where the map, the target or both hold data.
type heldRegion struct {
	diskmap.Region                // its page is zero if the map holds nothing
	data           []image.Extent // extents of the target, in order, none of them zero
}

// survey compares the target with the map, on all cores. It zeroes what must be zero, and sends what each region needs.
func (f *filling) survey(ctx context.Context, needs chan<- regionNeeds) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(f.m.repo.Workers())
	var walk error
	for reg, err := range f.held(gctx) {
		if walk = errors.Join(err, gctx.Err()); walk != nil {
			break
		}
		g.Go(func() error {
			lacks, err := f.compare(gctx, reg)
			if err != nil || reg.Page.IsZero() {
				return err
			}
			return send(gctx, needs, lacks)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return walk
}

// held yields the regions where the map or the target holds data, in order.
func (f *filling) held(ctx context.Context) iter.Seq2[heldRegion, error] {
	return func(yield func(heldRegion, error) bool) {
		next, stop := iter.Pull2(f.m.Regions(ctx))
		defer stop()
		mapped, err, more := next()
		// emit yields the map's regions before reg, then reg with its page.
		emit := func(reg heldRegion) bool {
			for more && err == nil && mapped.Index <= reg.Index {
				if mapped.Index == reg.Index {
					reg.Page = mapped.Page
				} else if !yield(heldRegion{Region: mapped}, nil) {
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
				region := e.Off / diskmap.RegionSize
				n := min(e.Len, (region+1)*diskmap.RegionSize-e.Off)
				if region != reg.Index && len(reg.data) > 0 {
					if !emit(reg) {
						return
					}
					reg.data = nil
				}
				reg.Index = region
				reg.data = append(reg.data, image.Extent{Off: e.Off, Len: n})
				e.Off, e.Len = e.Off+n, e.Len-n
			}
		}
		if len(reg.data) == 0 || emit(reg) {
			emit(heldRegion{Region: diskmap.Region{Index: diskmap.RegionCount(f.m.Size())}})
		}
	}
}

// compare zeroes what must be zero in a region, and returns what it needs.
func (f *filling) compare(ctx context.Context, reg heldRegion) (regionNeeds, error) {
	lacks := regionNeeds{Region: reg.Region}
	places, err := f.m.Places(ctx, reg.Index, reg.Page)
	if err != nil {
		return lacks, err
	}
	r, namer := f.windows.take(), f.m.repo.Namer(chunk.Data)
	defer func() { f.windows.put(r); f.m.repo.Return(chunk.Data, namer) }()
	data := reg.data
	for _, q := range places {
		if ctx.Err() != nil {
			return lacks, ctx.Err()
		}
		for len(data) > 0 && data[0].Off+data[0].Len <= q.Off {
			data = data[1:]
		}
		switch held := len(data) > 0 && data[0].Off < q.End(); {
		case q.Kind != diskmap.Data:
			if err := f.clearExtents(r, data, q.Off, q.End()); err != nil {
				return lacks, err
			}
		case held:
			if f.isRight(r, namer, max(q.End(), data[0].Off+data[0].Len), q) {
				lacks.partly = true
				break
			}
			fallthrough
		default: // a hole holds no chunk
			lacks.wants = append(lacks.wants, repo.Want{ID: q.ID, Off: q.Off, Len: q.Len})
		}
	}
	return lacks, nil
}

// isRight reports whether the target holds a chunk.
func (f *filling) isRight(r *windowReader, namer *chunk.Namer, limit int64, q diskmap.Place) bool {
	data, err := r.view(q.Off, int64(q.Len), limit)
	if err != nil { // an unreadable sector: writing it either mends it or returns an error
		data, err = r.view(q.Off, int64(q.Len), q.End())
	}
	if err != nil || namer.ID(data) != q.ID {
		return false
	}
	f.done.Right.Add(int64(q.Len))
	f.progress.Add(int64(q.Len))
	return true
}

// clearExtents zeroes what data has between off and end.
func (f *filling) clearExtents(r *windowReader, data []image.Extent, off, end int64) error {
	for _, e := range data {
		from, to := max(off, e.Off), min(end, e.Off+e.Len)
		if from >= end {
			break
		}
		n, err := clearRun(f.target, r, from, to)
		f.done.Zeroed.Add(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// writeDiffering writes only the blocks of data that differ on the target. In a region that is partly right this saves
// more than the comparison costs. A chunk is many blocks, and often only a few of them changed.
func (f *filling) writeDiffering(data []byte, off int64) error {
	r := f.windows.take()
	defer f.windows.put(r)
	old, err := r.view(off, int64(len(data)), off+int64(len(data)))
	if err != nil { // overwrite what is unreadable
		return f.writeSparse(data, off)
	}
	for at := 0; at < len(data); {
		n := 0
		for at+n < len(data) {
			end := min(at+n+chunk.Block, len(data))
			if bytes.Equal(data[at+n:end], old[at+n:end]) {
				break
			}
			n = end - at
		}
		if n > 0 {
			if err := f.writeSparse(data[at:at+n], off+int64(at)); err != nil {
				return err
			}
		}
		at = min(at+n+chunk.Block, len(data)) // the block after the run is equal
	}
	return nil
}

// clear makes a run zero.
func (f *filling) clear(off, n int64) error {
	r := f.windows.take()
	defer f.windows.put(r)
	zeroed, err := clearRun(f.target, r, off, off+n)
	f.done.Written.Add(zeroed)
	return err
}
