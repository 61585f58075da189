package backup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// disk cuts all regions of a disk that may hold data, on all cores.
func (b *run) disk(ctx context.Context, disk image.Disk) error {
	jobs := make(chan regionJob)
	g, ctx := errgroup.WithContext(ctx)
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	first := &firstFault{found: stop}
	g.Go(func() error {
		defer close(jobs)
		err := b.feed(feeding, disk, jobs)
		if first.err() != nil {
			return nil
		}
		return err
	})
	for range b.repo.Workers() {
		g.Go(func() error {
			err := b.work(ctx, newDiskReader(disk, b, jobs, first))
			if bad := (*fault)(nil); errors.As(err, &bad) {
				first.add(bad)
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return first.err()
}

// A diskReader is the source of one worker: the regions of a disk that it gets as jobs.
type diskReader struct {
	disk  image.Disk
	cache image.Cached // the disk; nil where it cannot tell
	run   *run
	jobs  <-chan regionJob
	first *firstFault

	retrying *image.Retrying // the disk; nil where it is none
	around   *image.Around   // in a region
	sick     int64           // that region

	job       regionJob // being planned; data: what is left of it
	off, size int64     // of the region: what is planned, and all
}

func newDiskReader(disk image.Disk, b *run, jobs <-chan regionJob, first *firstFault) *diskReader {
	cache, _ := disk.(image.Cached)
	retrying, _ := disk.(*image.Retrying)
	return &diskReader{disk: disk, cache: cache, run: b, jobs: jobs, first: first, retrying: retrying}
}

// readers is as many as there are slots to fill.
func (r *diskReader) readers() int { return slotsAhead }

func (r *diskReader) assign(ctx context.Context, s *slot, wait bool) (bool, error) {
	if r.off == r.size {
		if ok, err := r.next(ctx, wait); !ok {
			return false, err
		}
	}
	n := min(slotLen, r.size-r.off)
	s.job, s.off, s.n, s.last = r.job, r.off, int(n), r.off+n == r.size
	r.off += n
	s.job.data, r.job.data = split(r.job.data, r.job.region*diskmap.RegionSize+r.off)
	return true, nil
}

// next goes on to another region; false when there is none.
func (r *diskReader) next(ctx context.Context, wait bool) (ok bool, err error) {
	if wait {
		select {
		case r.job, ok = <-r.jobs:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	} else {
		select {
		case r.job, ok = <-r.jobs:
		default:
		}
	}
	if ok {
		r.off, r.size = 0, diskmap.RegionLen(r.disk.Size(), r.job.region)
	}
	return ok, nil
}

// split returns the extents that begin before byte end of the disk, and those that end behind it.
func split(data []image.Extent, end int64) (before, behind []image.Extent) {
	n := 0
	for n < len(data) && data[n].Off < end {
		n++
	}
	if n > 0 && data[n-1].Off+data[n-1].Len > end {
		return data[:n], data[n-1:]
	}
	return data[:n], data[n:]
}

func (r *diskReader) cached(s *slot) bool {
	for _, e := range s.job.data {
		from, to := s.clip(e)
		if r.cache == nil || !r.cache.Cached(s.pos()+from, to-from) {
			return false
		}
	}
	return true
}

// pos is where on the disk the slot begins.
func (s *slot) pos() int64 { return s.job.region*diskmap.RegionSize + s.off }

// clip returns what of an extent lies in the slot, counted from there.
func (s *slot) clip(e image.Extent) (from, to int64) {
	return max(e.Off-s.pos(), 0), min(e.Off+e.Len-s.pos(), int64(s.n))
}

// fill reads the extents in a slot; holes are made up, not read.
func (r *diskReader) fill(ctx context.Context, s *slot) {
	if fault := r.first.before(s.job.region); fault != nil {
		s.err = fault // what lies behind it is not worth reading
		return
	}
	if s.zero = len(s.job.data) == 0; s.zero {
		return
	}
	done := int64(0)
	for _, e := range s.job.data {
		if ctx.Err() != nil {
			s.err = context.Cause(ctx)
			return
		}
		from, to := s.clip(e)
		clear(s.buf[done:from])
		if err := r.readParts(s, from, to); err != nil {
			s.err = &fault{region: s.job.region, err: err}
			return
		}
		done = to
	}
	clear(s.buf[done:s.n])
}

func (r *diskReader) read(p []byte, off int64) error {
	n, err := r.disk.ReadAt(p, off)
	if n < len(p) {
		if err == nil || err == io.EOF {
			err = fmt.Errorf("%w: it ends at %d now", image.ErrResized, off+int64(n))
		}
		return fmt.Errorf("read at %d: %w", off+int64(n), err)
	}
	r.run.read.Add(int64(n))
	r.run.progress.Add(int64(n))
	return nil
}
