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

// write writes the disk, in stages that are joined by channels. It verifies regions that are on the medium while others
// are still written.
func (f *filling) write(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	workers := f.m.repo.Workers()
	needs := make(chan regionNeeds, workers)
	batches := make(chan repo.Batch)
	f.written = make(chan diskmap.Region, batchRegions)
	g.Go(func() error {
		defer close(needs)
		return f.compareAll(ctx, needs)
	})
	g.Go(func() error {
		defer close(batches)
		return f.group(ctx, needs, batches)
	})
	g.Go(func() error {
		defer close(f.written)
		return f.m.repo.Fetch(ctx, batches)
	})
	for range workers {
		g.Go(func() error { return f.verifyWritten(ctx) })
	}
	return g.Wait()
}

// A regionNeeds lists the chunks that the target does not have yet of a region.
type regionNeeds struct {
	diskmap.Region
	wants  []repo.Want
	partly bool // some of its chunks are already right
}

// compareAll sends what each region needs: of a new target everything, in place only what differs.
func (f *filling) compareAll(ctx context.Context, needs chan<- regionNeeds) error {
	if f.inPlace {
		return f.survey(ctx, needs)
	}
	return f.m.EachRegion(ctx, func(ctx context.Context, reg diskmap.Region) error {
		places, err := f.m.Places(ctx, reg.Index, reg.Page)
		if err != nil {
			return err
		}
		return send(ctx, needs, regionNeeds{Region: reg, wants: wantsAt(places)})
	})
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

// send sends v, unless the context ends first.
func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Limits of a batch, in regions and chunks. Larger batches save work: a frame shared by two batches is opened twice.
// Smaller ones save memory and time: the map of a batch is in memory, and its regions are verified only when it is
// complete.
const (
	batchRegions = 16
	batchChunks  = 32 << 10
)

// A batch is a set of regions whose chunks are fetched together.
type batch struct {
	filling *filling
	regions []diskmap.Region
	partly  map[int64]bool // by region: some of its chunks are already right
	wants   []repo.Want
}

// group groups regions into batches, in the order in which they come.
func (f *filling) group(ctx context.Context, needs <-chan regionNeeds, batches chan<- repo.Batch) error {
	fresh := func() *batch { return &batch{filling: f, partly: map[int64]bool{}} }
	b := fresh()
	for reg := range needs {
		b.regions, b.wants = append(b.regions, reg.Region), append(b.wants, reg.wants...)
		b.partly[reg.Index] = reg.partly
		if len(b.regions) >= batchRegions || len(b.wants) >= batchChunks {
			if err := send[repo.Batch](ctx, batches, b); err != nil {
				return err
			}
			b = fresh()
		}
	}
	if len(b.regions) == 0 {
		return nil
	}
	return send[repo.Batch](ctx, batches, b)
}

// Wants returns the chunks that the regions need.
func (b *batch) Wants() []repo.Want { return b.wants }

// Load writes chunks of one frame.
func (b *batch) Load(_ context.Context, got []repo.Got) error {
	f := b.filling
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
		if b.partly[got[0].Off/diskmap.RegionSize] {
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

// Done hands the regions, now written, to the verifier, if there is one.
func (b *batch) Done(ctx context.Context) error {
	if b.filling.verifier == nil {
		return nil
	}
	return b.filling.proveWritten(ctx, b.regions)
}

// proveWritten hands written regions to the verifier, once a read of them comes from the medium.
func (f *filling) proveWritten(ctx context.Context, regs []diskmap.Region) error {
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
		if err := send(ctx, f.written, reg); err != nil {
			return err
		}
	}
	return nil
}

// verifyWritten verifies written regions until there are no more.
func (f *filling) verifyWritten(ctx context.Context) error {
	for reg := range f.written {
		if err := f.verifier.region(ctx, reg); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	return nil
}
