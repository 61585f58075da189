package restore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot/diskmap"
)

// A filling writes a snapshot's disk onto a target. It groups regions into batches. The chunks that a batch needs are
// fetched frame by frame, in pack order. Neighbours in a frame that are also neighbours on the disk are written in one
// call, from the frame's own memory.
type filling struct {
	m        *content
	target   target
	inPlace  bool // the target may hold anything; otherwise it reads as zeros
	done     *Result
	progress *repo.Progress
	verifier *verifier // nil without verification
	windows  *windows

	written chan diskmap.Region // regions that can be read back
	late    atomic.Bool         // the target can be read back only after all of it is synced
}

// newFilling prepares to write the map's part of the disk onto a target.
func newFilling(ctx context.Context, m *content, onto target, o Options, done *Result, p *repo.Progress) (*filling, error) {
	t, err := m.seat(ctx, onto)
	if err != nil {
		return nil, err
	}
	f := &filling{m: m, target: t, inPlace: o.InPlace, done: done, progress: p, windows: &windows{from: t}}
	if o.Verify {
		f.verifier = &verifier{m, t, done, p, f.windows}
	}
	return f, nil
}

// Limits of a batch, in regions and chunks. Larger batches save work: a frame shared by two batches is opened twice.
// Smaller ones save memory and time: the map of a batch is in memory, and its regions are verified only when it is
// complete.
const (
	batchRegions = 16
	batchChunks  = 32 << 10
)

// A regionNeeds lists the chunks that the target does not have yet of a region.
type regionNeeds struct {
	diskmap.Region
	wants  []repo.Want
	partly bool // some of its chunks are already right
}

// fill writes the disk, syncs it and verifies it.
func (f *filling) fill(ctx context.Context) error {
	if err := f.write(ctx); err != nil {
		return err
	}
	if err := f.target.Sync(); err != nil {
		return err
	}
	if f.verifier == nil {
		return nil
	}
	if f.late.Load() {
		err := f.m.EachRegion(ctx, f.verifier.region)
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	if err := f.verifier.zeros(ctx); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// write writes the disk. Meanwhile it verifies regions that are already on the medium.
func (f *filling) write(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	workers := f.m.repo.Workers()
	f.written = make(chan diskmap.Region, batchRegions)
	g.Go(func() error {
		defer close(f.written)
		return f.m.repo.Fetch(gctx, f.feed)
	})
	for range workers {
		g.Go(func() error {
			for reg := range f.written {
				if err := f.verifier.region(gctx, reg); err != nil {
					return fmt.Errorf("verify: %w", err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// feed puts the chunks that the target needs, batch by batch.
func (f *filling) feed(ctx context.Context, put func(*repo.Batch) error) error {
	g, gctx := errgroup.WithContext(ctx)
	plans := make(chan regionNeeds, f.m.repo.Workers())
	g.Go(func() error {
		defer close(plans)
		send := func(plan regionNeeds) error {
			select {
			case plans <- plan:
				return nil
			case <-gctx.Done():
				return gctx.Err()
			}
		}
		return f.compareAll(gctx, send)
	})
	g.Go(func() error {
		var regs []regionNeeds
		var wants []repo.Want
		flush := func() error {
			b := f.batch(regs, wants)
			regs, wants = nil, nil
			return put(b)
		}
		for plan := range plans {
			regs, wants = append(regs, plan), append(wants, plan.wants...)
			if len(regs) >= batchRegions || len(wants) >= batchChunks {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return flush()
	})
	return g.Wait()
}

// compareAll sends what each region needs.
func (f *filling) compareAll(ctx context.Context, send func(regionNeeds) error) error {
	if f.inPlace {
		return f.survey(ctx, send)
	}
	return f.m.EachRegion(ctx, func(ctx context.Context, reg diskmap.Region) error {
		places, err := f.m.Places(ctx, reg.Index, reg.Page)
		if err != nil {
			return err
		}
		return send(regionNeeds{Region: reg, wants: wantsAt(places)})
	})
}

func (f *filling) batch(regs []regionNeeds, wants []repo.Want) *repo.Batch {
	partly := map[int64]bool{}
	for _, reg := range regs {
		partly[reg.Index] = reg.partly
	}
	return &repo.Batch{
		Wants: wants,
		Load:  func(_ context.Context, got []repo.Got) error { return f.load(got, partly) },
		Done: func(ctx context.Context) error {
			if f.verifier == nil || len(regs) == 0 {
				return nil
			}
			return f.proveWritten(ctx, regs)
		},
	}
}

// proveWritten hands written regions to the verifier, once a read of them comes from the medium.
func (f *filling) proveWritten(ctx context.Context, regs []regionNeeds) error {
	from, to := regs[0].Index, regs[0].Index
	for _, reg := range regs {
		from, to = min(from, reg.Index), max(to, reg.Index)
	}
	err := f.target.DropCache(from*diskmap.RegionSize, (to+1-from)*diskmap.RegionSize)
	if errors.Is(err, errors.ErrUnsupported) {
		f.late.Store(true)
		return nil
	}
	if err != nil {
		return err
	}
	for _, reg := range regs {
		select {
		case f.written <- reg.Region:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// load writes chunks of one frame.
func (f *filling) load(got []repo.Got, partly map[int64]bool) error {
	for len(got) > 0 {
		run, n := got[0].Data, 0
		for ; n < len(got); n++ {
			g := &got[n]
			if len(g.Data) != int(g.Len) {
				return diskmap.WrongLength(g.ID, len(g.Data), g.Len)
			}
			if n > 0 {
				longer, ok := joined(run, g.Data)
				if !ok || g.Off != got[0].Off+int64(len(run)) {
					break
				}
				run = longer
			}
			f.progress.Add(int64(g.Len))
		}
		write := f.writeSparse
		if partly[got[0].Off/diskmap.RegionSize] {
			write = f.writeDiffering
		}
		if err := write(run, got[0].Off); err != nil {
			return err
		}
		f.done.Differed.Add(int64(len(run)))
		got = got[n:]
	}
	return nil
}

// joined returns a and b as one slice if b directly follows a in memory.
func joined(a, b []byte) ([]byte, bool) {
	if n := len(a); n > 0 && len(b) > 0 && n+len(b) <= cap(a) && &a[:n+1][n] == &b[0] {
		return a[:n+len(b)], true
	}
	return nil, false
}

// writeSparse writes the blocks of data that are not all zeros. In place, it zeroes the others.
func (f *filling) writeSparse(data []byte, off int64) error {
	for len(data) > 0 {
		skip := chunk.ZeroPrefix(data)
		if skip < len(data) {
			skip &^= chunk.Block - 1
		}
		if skip > 0 && f.inPlace {
			if err := f.clear(off, int64(skip)); err != nil {
				return err
			}
		}
		data, off = data[skip:], off+int64(skip)
		n := dataBlocks(data)
		if n > 0 {
			if _, err := f.target.WriteAt(data[:n], off); err != nil {
				return err
			}
			f.done.Written.Add(int64(n))
		}
		data, off = data[n:], off+int64(n)
	}
	return nil
}

// dataBlocks returns the length of the run at the start of p whose blocks are not all zeros.
func dataBlocks(p []byte) int {
	n := 0
	for n < len(p) {
		end := min(n+chunk.Block, len(p))
		if chunk.IsZero(p[n:end]) {
			break
		}
		n = end
	}
	return n
}

// wantsAt returns a Want for each chunk among places.
func wantsAt(places []diskmap.Place) []repo.Want {
	wants := make([]repo.Want, 0, len(places))
	for _, p := range places {
		if p.Kind == diskmap.Data {
			wants = append(wants, repo.Want{ID: p.ID, Off: p.Off, Len: p.Len})
		}
	}
	return wants
}
