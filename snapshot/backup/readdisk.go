package backup

import (
	"context"
	"fmt"
	"io"

	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// A diskReader is the source of one worker: the regions of a disk that it receives as jobs.
type diskReader struct {
	disk  image.Disk
	cache image.Cached // the disk; nil if it is not an image.Cached
	run   *run
	jobs  <-chan regionJob
	first *firstFault

	retrying     *image.Retrying // the disk; nil if it does not retry
	around       *image.Around   // reads around media errors in one region
	aroundRegion int64           // the region of around

	job       regionJob // being assigned; its data are the extents that are left
	off, size int64     // of the region: assigned so far, and in total
}

func newDiskReader(disk image.Disk, b *run, jobs <-chan regionJob, first *firstFault) *diskReader {
	cache, _ := image.As[image.Cached](disk)
	retrying, _ := image.As[*image.Retrying](disk)
	return &diskReader{disk: disk, cache: cache, run: b, jobs: jobs, first: first, retrying: retrying}
}

// readers is the number of slots to fill.
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

// next advances to another region; it returns false if there is none.
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

// split returns the extents that start before byte end of the disk, and those that end after it.
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

// fill reads the extents in a slot; it fills holes with zeros without reading.
func (r *diskReader) fill(ctx context.Context, s *slot) {
	if fault := r.first.before(s.job.region); fault != nil {
		s.err = fault // what follows a fault is not worth reading
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

// readParts reads a slot from byte from to byte to. It records excluded ranges and failed reads.
func (r *diskReader) readParts(s *slot, from, to int64) error {
	if r.retrying == nil {
		return r.read(s.buf[from:to], s.pos()+from)
	}
	for e := range r.retrying.Excluded(s.pos()+from, to-from) {
		off := e.Off - s.pos()
		if err := r.tryRead(s, from, off); err != nil {
			return err
		}
		from = off + e.Len
		if r.retrying.Strict() {
			return fmt.Errorf("read at %d: %w", e.Off, image.ErrExcluded)
		}
		clear(s.buf[off:from])
		s.bad = append(s.bad, badRun{Extent: image.Extent{Off: off, Len: e.Len}})
		r.run.progress.Add(e.Len)
	}
	return r.tryRead(s, from, to)
}

// tryRead reads a part of a slot, and postpones a part that fails with a media error.
func (r *diskReader) tryRead(s *slot, from, to int64) error {
	if from == to {
		return nil
	}
	err := r.read(s.buf[from:to], s.pos()+from)
	if err == nil || !r.retrying.CanReadAround(err) {
		return err
	}
	s.bad = append(s.bad, badRun{image.Extent{Off: from, Len: to - from}, true})
	return nil
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

// rescue reads around the failed parts of a slot. Where it retries depends on earlier slots of the region. So the
// result does not depend on which worker reads what and when.
func (r *diskReader) rescue(ctx context.Context, s *slot) {
	if r.around == nil || r.aroundRegion != s.job.region {
		r.around, r.aroundRegion = r.retrying.Around(), s.job.region
	}
	tried := s.bad
	s.bad = make([]badRun, 0, len(tried))
	lost := int64(0)
	for _, run := range tried {
		if !run.again {
			s.bad, lost = append(s.bad, run), lost+run.Len
			continue
		}
		p := s.buf[run.Off : run.Off+run.Len]
		bad, err := r.around.Read(ctx, p, s.pos()+run.Off, nil)
		if err != nil {
			s.err = &fault{region: s.job.region, err: err}
			return
		}
		well := run.Len
		for _, e := range bad {
			s.bad = append(s.bad, badRun{Extent: image.Extent{Off: e.Off - s.pos(), Len: e.Len}})
			lost, well = lost+e.Len, well-e.Len
		}
		r.run.read.Add(well)
		r.run.progress.Add(run.Len)
	}
	s.zero = lost == int64(s.n)
}
